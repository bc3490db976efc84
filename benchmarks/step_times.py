"""Times of single steps, parts of time_to_accuracy.py: the original beside the course, and torch.compile.

Every way runs in processes of its own, for what one leaves behind (memory that the C library keeps, threads,
compiled code) changes the time of the next.
"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace

import torch
from measuring import WARM_UP, course_steps, in_new_process, in_turn, some_images, weights_file
from torch.optim import AdamW

from resnet_course import machine
from resnet_course.recipes import LAPTOP, OPTIMIZERS, ORIGINAL, PLAIN, Recipe
from resnet_course.resnet import resnet18
from resnet_course.teaching.baseline import measure_original
from resnet_course.transfer import freeze

TRAIN, TEST = 50_000, 10_000  # images of CIFAR-10, which the original trains and validates on
AIRBENCH = 0.29e15  # floating-point operations to 94%: Keller Jordan, "94% on CIFAR-10 in 3.29 seconds", 2024
# What the course would do for the original's step: as many images of that size, with the same random changes.
EQUAL = replace(LAPTOP, image_size=224, batch_size=32, cached_views=0, augmentation="crop_flip_rotate")


def measure_steps(options: Namespace) -> dict[str, object]:
    """The original's step, its evaluation batch, its ten epochs, and a step of equal work by the course."""
    train, weights = some_images(options), weights_file(options.weights)
    engines = {}

    def original(what: str, steps: int, batches: int) -> list[float]:
        return measure_original(train, steps=steps, evaluate=batches, weights=weights)[what]

    def course(name: str, recipe: Recipe) -> list[float]:
        times, engines[name] = in_new_process(steps_and_engine, options, recipe)
        return times

    median = in_turn(
        {
            "original": lambda: original("step_milliseconds", options.steps, 0),
            "fp32": lambda: course("fp32", replace(EQUAL, precision="fp32")),
            "fastest": lambda: course("fastest", EQUAL),
            "original_batch": lambda: original("evaluation_milliseconds", 0, options.steps),
        },
        options.rounds,
    )
    epoch = (median["original"] * TRAIN + median["original_batch"] * TEST) / ORIGINAL.batch_size
    probe = machine.probe()
    gigaflops = probe.gigaflops(probe.fastest[0])
    return {
        "steps_each": options.steps * options.rounds,
        "original_step_milliseconds": round(median["original"], 1),
        "original_evaluation_batch_milliseconds": round(median["original_batch"], 1),
        "original_minutes_computed": round(ORIGINAL.epochs * epoch / 60_000, 1),
        "equal_step_fp32_milliseconds": round(median["fp32"], 1),
        "equal_step_fastest_milliseconds": round(median["fastest"], 1),
        "equal_step_fp32_ratio": round(median["fp32"] / median["original"], 3),
        "equal_step_fastest_ratio": round(median["fastest"] / median["original"], 3),
        "equal_step_fastest_is": engines["fastest"],
        "airbench94_minutes_computed": round(AIRBENCH / 1e9 / gigaflops / 60, 1),
    }


def steps_and_engine(options: Namespace, recipe: Recipe) -> tuple[list[float], str]:
    """Milliseconds of steps, computed as `fit` does, and on which engine. Run it in a new process."""
    engine = machine.choose(recipe)
    with engine.computing():
        times = course_steps(some_images(options), options.weights, recipe, WARM_UP + options.steps)
    return times[WARM_UP:], str(engine)


def measure_compile(options: Namespace) -> dict[str, object]:
    """One step of 128 images at 96 pixels, all layers: as it is, and through torch.compile."""
    first: dict[bool, float] = {}

    def steps(compiled: bool) -> list[float]:
        first[compiled], times = in_new_process(first_and_later_steps, options, compiled)
        return times

    median = in_turn({"plain": lambda: steps(False), "compiled": lambda: steps(True)}, options.rounds)
    compiling = (first[True] - first[False]) / 1000
    saved = (median["plain"] - median["compiled"]) / 1000
    return {
        "plain_milliseconds": round(median["plain"], 1),
        "compiled_milliseconds": round(median["compiled"], 1),
        "compiling_seconds": round(compiling, 1),
        "pays_after_steps": round(compiling / saved) if saved > 0 else None,
    }


def measure_optimizer(options: Namespace) -> dict[str, object]:
    """AdamW alone, layer4 and head, by PyTorch's loop and by the fused kernel that the recipes take."""
    network = freeze(resnet18(10), "layer4")
    weights = [each for each in network.parameters() if each.requires_grad]
    for each in weights:
        each.grad = torch.randn_like(each)
    plain, fused = AdamW(weights, lr=1e-6), OPTIMIZERS["adamw"]([{"params": weights}], 1e-6)
    with machine.choose(LAPTOP).computing():
        median = in_turn(
            {
                name: lambda optimizer=optimizer: machine.seconds(optimizer.step, options.steps, 5.0)
                for name, optimizer in (("plain", plain), ("fused", fused))
            },
            options.rounds,
        )
    return {
        "weights": sum(each.numel() for each in weights),
        "plain_milliseconds": round(1000 * median["plain"], 1),
        "fused_milliseconds": round(1000 * median["fused"], 1),
        "ratio": round(median["fused"] / median["plain"], 2),
    }


def first_and_later_steps(options: Namespace, compiled: bool) -> tuple[float, list[float]]:
    """Milliseconds of the first step, which compiles, and of later ones. Run it in a new process."""
    recipe = replace(PLAIN, image_size=96)
    prepare = {"prepare": torch.compile} if compiled else {}
    with machine.choose(recipe).computing():
        first, *later = course_steps(
            some_images(options), options.weights, recipe, WARM_UP + options.steps, **prepare
        )
    return first, later[WARM_UP - 1 :]
