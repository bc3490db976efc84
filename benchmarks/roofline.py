"""How near to this processor's limits the course works, and where the seconds of a training go.

    uv run python benchmarks/roofline.py PART --data folder:DIR --weights FILE --data-is … --weights-are …

PART is "limits" (one large product, a copy, and what part of them the trunk pass, the steps and a prediction
reach; it draws docs/roofline.png) or "seconds" (LAPTOP, from the command to its end, piece by piece).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from matplotlib.ticker import FuncFormatter, NullFormatter
from record import RESULTS, parser, record
from torch import Tensor, nn

from resnet_course import machine
from resnet_course.machine.operations import operations
from resnet_course.recipes import FULL, LAPTOP, ORIGINAL
from resnet_course.resnet import resnet18
from resnet_course.teaching import plots
from resnet_course.teaching.plots.palette import BASELINE, SERIES
from resnet_course.transfer import freeze, split_at, trunk_of

PICTURES = 45_000, 5_000  # of CIFAR-10, to learn from and to validate on
FIGURE = RESULTS.parents[1] / "docs" / "roofline.png"
PIECES = {  # by what is done: the function whose time is taken, with all that it calls
    "reading and decoding": ("resnet_course.data", "load"),
    "probe": ("resnet_course.machine", "probe"),
    "estimate": ("resnet_course.machine", "estimate"),
    "trunk pass": ("resnet_course.training.phases", "cache_features"),
    "measuring the convolutions": ("resnet_course.training.phases", "_tuned"),
    "steps": ("resnet_course.training.loop", "train_epoch"),
    "validation": ("resnet_course.training.loop", "validate"),
}


def measure_limits(options: Namespace) -> dict[str, object]:
    """The limits, the shares of them that the course reaches, and operations for each byte of memory."""
    costs = {recipe.name: machine.costs(recipe, PICTURES[0]) for recipe in (LAPTOP, FULL, ORIGINAL)}
    minutes = {name: sum(cost.seconds(*PICTURES) for cost in phases) / 60 for name, phases in costs.items()}
    limits = machine.measure_limits(LAPTOP)
    reached = machine.shares({name: costs[name] for name in ("laptop", "full")}, limits)
    reached["prediction"] = machine.prediction_share(LAPTOP.image_size, limits)
    intensity = dict(zip(reached, intensities(), strict=True))
    precisions = (*[costs["laptop"][0].precision] * 2, costs["full"][0].precision, "fp32")
    speed = {
        name: share * limits.gigaflops[precision]
        for (name, share), precision in zip(reached.items(), precisions, strict=True)
    }
    draw(limits, reached, speed, intensity)
    return {
        "gigaflops": {name: round(speed, 1) for name, speed in limits.gigaflops.items()},
        "gigabytes_a_second": round(limits.gigabytes, 1),
        "minutes_estimated": {name: round(each, 1) for name, each in minutes.items()},
        "reached_percent": {name.replace(" ", "_"): round(100 * share, 1) for name, share in reached.items()},
        "operations_a_byte": {name.replace(" ", "_"): round(each, 1) for name, each in intensity.items()},
    }


def intensities() -> list[float]:
    """Operations a byte of the trunk pass and the step of LAPTOP, of FULL's step, and of a prediction."""
    laptop, full = (freeze(resnet18(10), recipe.train_from) for recipe in (LAPTOP, FULL))
    trunk, head = trunk_of(laptop, "layer4"), split_at(laptop, "layer4")[1]
    image = torch.zeros(1, 3, LAPTOP.image_size, LAPTOP.image_size)
    with torch.no_grad():
        features = trunk.eval()(image)
    larger = torch.zeros(1, 3, FULL.image_size, FULL.image_size)
    return [
        intensity(trunk, image, LAPTOP.batch_size, learning=False),
        intensity(head, features, LAPTOP.batch_size, learning=True),
        intensity(full, larger, FULL.batch_size, learning=True),
        intensity(laptop, image, 1, learning=False),
    ]


def intensity(network: nn.Module, image: Tensor, batch: int, learning: bool) -> float:
    """Operations for each byte, if every convolution reads and writes each of its tensors once.

    A gradient reads and writes as much as the pass forward, so learning is counted as three of it.
    """
    moved = 0.0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal moved
        passes = 3 if learning and module.weight.requires_grad else 1
        moved += 4 * passes * (inputs[0].numel() + output.numel() + module.weight.numel() / batch)

    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        network.eval()(image)
    for hook in hooks:
        hook.remove()
    return operations(network, image, learning) / moved


def draw(
    limits: machine.Limits, reached: dict[str, float], speed: dict[str, float], intensity: dict[str, float]
) -> None:
    """The two roofs, and a point for each piece of work. speed: GFLOP/s."""
    figure, axes = plots.subplots(figsize=(8, 4.5))
    axis, most = axes[0, 0], max(limits.gigaflops.values())
    bytes_ = np.geomspace(1, 1_000, 200)
    for name, peak in limits.gigaflops.items():
        roof = np.minimum(peak, limits.gigabytes * bytes_)
        line = BASELINE.line if name == "fp32" else ":"
        axis.plot(bytes_, roof, color=BASELINE.color, linestyle=line, label=f"the most there is, {name}")
    for style, (name, share) in zip(SERIES, reached.items(), strict=False):
        axis.plot(intensity[name], speed[name], **style.points, markersize=9, label=f"{name}, {share:.0%}")
    axis.set(xscale="log", yscale="log", xlabel="operations for each byte of memory", ylabel="GFLOP/s")
    axis.set_ylim(limits.gigabytes, 2 * most)
    for one in (axis.xaxis, axis.yaxis):
        one.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
        one.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9)
    by_memory = [name for name in reached if intensity[name] * limits.gigabytes < speed[name] / reached[name]]
    what = f"memory limits {', '.join(by_memory)}" if by_memory else "arithmetic limits all, not memory"
    title = f"{limits.gigaflops['fp32']:,.0f} GFLOP/s in fp32, {limits.gigabytes:,.0f} GB/s: {what}"
    plots.finish(figure, title, "Speed against operations for each byte, both on logarithmic axes.")
    figure.savefig(FIGURE, dpi=110)


def measure_seconds(options: Namespace) -> dict[str, object]:
    """LAPTOP in a process of its own with an empty home, its main functions timed."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["train", "--data", options.data, "--weights", options.weights, "--out", f"{folder}/run"]
        if options.limit:
            words += ["--limit", str(options.limit)]
        environment = os.environ | {"RESNET_COURSE_HOME": f"{folder}/home", "PIECES": f"{folder}/pieces.json"}
        start = time.perf_counter()
        subprocess.run([sys.executable, __file__, "--child", *words], env=environment, check=True)
        whole = time.perf_counter() - start
        pieces = json.loads(Path(folder, "pieces.json").read_text(encoding="utf-8"))
    pieces["saving and the rest"] = whole - sum(pieces.values())
    found = {name.replace(" ", "_"): round(seconds, 1) for name, seconds in pieces.items()}
    return {"seconds": found, "all_seconds": round(whole, 1), "pictures": options.limit or "all"}


def child(words: list[str]) -> None:
    """Run the command line with PIECES timed, what one of them takes within another counted once."""
    start = time.perf_counter()
    import importlib

    from resnet_course.__main__ import main as command

    pieces, running = dict.fromkeys(("imports", *PIECES), 0.0), []

    def timed(name: str, function):
        def wrapper(*arguments, **options):
            begin, inner = time.perf_counter(), len(running)
            running.append(0.0)
            try:
                return function(*arguments, **options)
            finally:
                took, within = time.perf_counter() - begin, running.pop()
                pieces[name] += took - within
                if inner:
                    running[-1] += took

        return wrapper

    for name, (room, function) in PIECES.items():
        module = importlib.import_module(room)
        setattr(module, function, timed(name, getattr(module, function)))
    pieces["imports"] = time.perf_counter() - start
    status = command(words)
    Path(os.environ["PIECES"]).write_text(json.dumps(pieces), encoding="utf-8")
    raise SystemExit(status)


PARTS = {"limits": measure_limits, "seconds": measure_seconds}


def main() -> None:
    """Measure one part and record it."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
    arguments = parser(__doc__)
    arguments.add_argument("part", choices=PARTS)
    arguments.add_argument("--limit", type=int, help="train on so many pictures")
    options = arguments.parse_args()
    record(f"roofline_{options.part}", PARTS[options.part](options), options.data_is, options.weights_are)


if __name__ == "__main__":
    main()
