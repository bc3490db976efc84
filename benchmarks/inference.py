"""What does not learn, each convolution, its addition and its ReLU in one kernel, beside PyTorch's own way.

    uv run python benchmarks/inference.py --data folder:DIR --weights FILE --data-is … --weights-are …
        --machine avx512

The trunk pass of `laptop`, BatchNorms fused in both ways; the whole network on a batch, as in validation,
and on one image, as in prediction; a step of the first phase of `full`, whose frozen part runs in every step.
In turn in one process: idle, then beside another program that computes on as many threads. The instructions
may be capped as in convolutions.py.
"""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable

import torch
from measuring import endless, in_turn, some_images, step_times, timed
from record import named, parser, record
from torch import Tensor, nn

from resnet_course import machine
from resnet_course.inputs import to_input
from resnet_course.machine import Engine
from resnet_course.recipes import FULL, LAPTOP
from resnet_course.training import make_optimizer
from resnet_course.transfer import apply_recipe, build_model, fused, trunk_of

IMAGES, ROUNDS = 64, 15
BUSY = "import torch; a = torch.randn(2048, 2048)\nwhile True: a @ a"


def main() -> None:
    """Measure and record."""
    options = parser(__doc__).parse_args()
    measured = {"idle": ratios(options)}
    other = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        measured["beside_another_program"] = ratios(options)
    finally:
        other.kill()
    record(named("inference", options), measured, options.data_is, options.weights_are)


def ratios(options: Namespace) -> dict[str, object]:
    """Milliseconds of each piece of work in both ways, and how they compare."""
    engine, measured = machine.choose(LAPTOP), {}
    works = {**passes(options, engine), "step_of_full": steps(options)}
    for name, ways in works.items():
        with engine.computing():
            for way in ways.values():
                way()  # makes its kernels
            median = in_turn(ways, ROUNDS)
        measured[name] = {f"{way}_milliseconds": round(1000 * median[way], 1) for way in ways}
        measured[name]["ratio"] = round(median["one_kernel"] / median["pytorch"], 3)
    return {"engine": str(engine), **measured}


def passes(options: Namespace, engine: Engine) -> dict[str, dict[str, Callable[[], list[float]]]]:
    """The forward passes without gradients."""
    images = some_images(options)
    model = engine.place(build_model(len(images.classes), options.weights, "layer4", 0.0)).eval()
    trunk, inputs = trunk_of(model, "layer4"), engine.place(to_input(images.take(slice(IMAGES)), LAPTOP))

    def way(network: nn.Module, inputs: Tensor) -> Callable[[], list[float]]:
        @torch.inference_mode()
        def forward() -> None:
            with engine.autocast():
                network(inputs)

        return timed(forward)

    both = {"pytorch": model, "one_kernel": machine.for_inference(model, engine)}
    trunks = {"pytorch": fused(trunk), "one_kernel": machine.for_inference(trunk, engine)}
    return {
        "trunk_pass": {name: way(network, inputs) for name, network in trunks.items()},
        "validation": {name: way(network, inputs) for name, network in both.items()},
        "one_image": {name: way(network, inputs[:1]) for name, network in both.items()},
    }


def steps(options: Namespace) -> dict[str, Callable[[], list[float]]]:
    """One training step."""
    images, recipe = some_images(options), FULL.phases[0]
    model = build_model(len(images.classes), options.weights, recipe.train_from, recipe.dropout)
    apply_recipe(model, recipe)
    engine = machine.choose(recipe)
    engine.place(model)
    batches, optimizer = endless(images, recipe), make_optimizer(model, recipe)
    networks = {"pytorch": model, "one_kernel": machine.on_frozen_trunk(model, recipe.train_from, engine)}
    return {
        name: lambda network=network: [
            each / 1000 for each in step_times(network, batches, optimizer, engine, 1)
        ]
        for name, network in networks.items()
    }


if __name__ == "__main__":
    main()
