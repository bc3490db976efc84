"""How near to this processor's limits the course works; it draws docs/roofline_MACHINE.png.

    uv run python benchmarks/roofline.py --data any --weights none --data-is … --weights-are …
        --machine avx512

The limits are one large matrix product and a copy; beside them stand the trunk pass and the steps of LAPTOP,
the steps of FULL, and the prediction of one image. All of it runs on noise, whatever is named.
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.ticker import FuncFormatter, NullFormatter
from record import RESULTS, named, parser, record
from torch import Tensor, nn

from resnet_course import machine, plots
from resnet_course.machine.operations import operations
from resnet_course.plots.palette import BASELINE, SERIES
from resnet_course.recipes import FULL, LAPTOP, ORIGINAL
from resnet_course.resnet import resnet18
from resnet_course.transfer import freeze, split_at, trunk_of

PICTURES = 45_000, 5_000  # of CIFAR-10, to learn from and to validate on
BYTES = {"fp32": 4, "bf16": 2, "int8": 1}  # of each number
LINES = {"fp32": BASELINE.line, "bf16": "-.", "int8": ":"}
DOCS = RESULTS.parents[1] / "docs"


def measure_limits(name: str) -> dict[str, object]:
    """The limits, the shares of them that the course reaches, and operations for each byte of memory.

    name: of the figure and of the record.
    """
    costs = {recipe.name: machine.costs(recipe, PICTURES[0]) for recipe in (LAPTOP, FULL, ORIGINAL)}
    minutes = {name: sum(cost.seconds(*PICTURES) for cost in phases) / 60 for name, phases in costs.items()}
    limits = machine.measure_limits(LAPTOP)
    reached = machine.shares({name: costs[name] for name in ("laptop", "full")}, limits)
    reached["prediction"] = machine.prediction_share(LAPTOP.image_size, limits)
    laptop = costs["laptop"][0]
    frozen, learns = BYTES[laptop.trunk_precision], BYTES[laptop.precision]
    intensity = dict(zip(reached, intensities(frozen, learns), strict=True))
    fp32 = limits.gigaflops["fp32"]
    speeds = (
        laptop.trunk_operations / laptop.trunk / 1e9,
        *(speed_of_steps(costs[name]) for name in ("laptop", "full")),
        reached["prediction"] * fp32,
    )
    speed = dict(zip(reached, speeds, strict=True))
    draw(name, limits, reached, speed, intensity)
    return {
        "gigaflops": {name: round(speed, 1) for name, speed in limits.gigaflops.items()},
        "gigabytes_a_second": round(limits.gigabytes, 1),
        "minutes_estimated": {name: round(each, 1) for name, each in minutes.items()},
        "reached_percent": {name.replace(" ", "_"): round(100 * share, 1) for name, share in reached.items()},
        "operations_a_byte": {name.replace(" ", "_"): round(each, 1) for name, each in intensity.items()},
    }


def speed_of_steps(costs: tuple[machine.Cost, ...]) -> float:
    """Billions of operations a second in the steps of all phases."""
    operations = sum(cost.recipe.epochs * cost.step_operations for cost in costs)
    seconds = (cost.recipe.epochs * (cost.gradients + cost.update / cost.recipe.batch_size) for cost in costs)
    return operations / sum(seconds) / 1e9


def intensities(frozen: int, learns: int) -> list[float]:
    """Operations a byte of the trunk pass and the step of LAPTOP, of FULL's step, and of a prediction.

    frozen, learns: bytes of each number in what is frozen and in what learns, while a network learns.
    """
    laptop, full = (freeze(resnet18(10), recipe.train_from) for recipe in (LAPTOP, FULL))
    trunk, head = trunk_of(laptop, "layer4"), split_at(laptop, "layer4")[1]
    image = torch.zeros(1, 3, LAPTOP.image_size, LAPTOP.image_size)
    with torch.no_grad():
        features = trunk.eval()(image)
    larger = torch.zeros(1, 3, FULL.image_size, FULL.image_size)
    return [
        intensity(trunk, image, LAPTOP.batch_size, frozen),
        intensity(head, features, LAPTOP.batch_size, frozen, learns),
        intensity(full, larger, FULL.batch_size, frozen, learns),
        intensity(laptop.requires_grad_(False), image, 1, BYTES["fp32"]),
    ]


def intensity(network: nn.Module, image: Tensor, batch: int, frozen: int, learns: int = 0) -> float:
    """Operations for each byte, if every convolution reads and writes each of its tensors once.

    A gradient reads and writes as much as the pass forward, so learning is counted as three of it.
    frozen, learns: bytes of each number that a layer reads or writes which is frozen, and which learns.
    """
    moved = 0.0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal moved
        each = 3 * learns if module.weight.requires_grad else frozen
        moved += each * (inputs[0].numel() + output.numel() + module.weight.numel() / batch)

    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        network.eval()(image)
    for hook in hooks:
        hook.remove()
    return operations(network, image, learning=learns > 0) / moved


def draw(
    name: str,
    limits: machine.Limits,
    reached: dict[str, float],
    speed: dict[str, float],
    intensity: dict[str, float],
) -> None:
    """The two roofs, and a point for each piece of work. speed: billions of operations a second."""
    figure, axes = plots.subplots(figsize=(8, 4.5))
    axis, most = axes[0, 0], max(limits.gigaflops.values())
    bytes_ = np.geomspace(1, 1_000, 200)
    for precision, peak in limits.gigaflops.items():
        roof = np.minimum(peak, limits.gigabytes * bytes_)
        axis.plot(
            bytes_,
            roof,
            color=BASELINE.color,
            linestyle=LINES[precision],
            label=f"the most there is, {precision}",
        )
    for style, (work, share) in zip(SERIES, reached.items(), strict=False):
        axis.plot(intensity[work], speed[work], **style.points, markersize=9, label=f"{work}, {share:.0%}")
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="operations for each byte of memory",
        ylabel="billions of operations a second",
    )
    axis.set_ylim(limits.gigabytes, 2 * most)
    for one in (axis.xaxis, axis.yaxis):
        one.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
        one.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9)
    by_memory = [name for name in reached if intensity[name] * limits.gigabytes < speed[name] / reached[name]]
    what = (
        f"memory limits {', '.join(by_memory)}" if by_memory else "arithmetic is the limit of all, not memory"
    )
    title = f"{limits.gigaflops['fp32']:,.0f} GFLOP/s in fp32, {limits.gigabytes:,.0f} GB/s: {what}"
    plots.finish(figure, title, "Speed against operations for each byte, both on logarithmic axes.")
    figure.savefig(DOCS / f"{name}.png", dpi=110)


def main() -> None:
    """Measure and record."""
    options = parser(__doc__).parse_args()
    name = named("roofline", options)
    record(name, measure_limits(name), options.data_is, options.weights_are)


if __name__ == "__main__":
    main()
