"""What `machine.keeping_memory` saves, and that it leaves a process as it found it.

A part of time_to_accuracy.py, on Linux with glibc; every measurement runs in a new process.
"""

from __future__ import annotations

import resource
import statistics
from argparse import Namespace
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace

import torch
from measuring import WARM_UP, course_steps, in_new_process, in_turn, some_images, weights_file
from torch.utils.data import DataLoader

from resnet_course import machine
from resnet_course.recipes import ORIGINAL, PLAIN, Recipe
from resnet_course.teaching import original_loop


def measure_memory(options: Namespace) -> dict[str, object]:
    """A step of the course with memory kept, and with memory given back to the system."""
    found: dict[str, object] = {}
    # Nothing is left for the measured processes to choose: the probe keeps memory.
    recipe = replace(PLAIN, image_size=128, memory_format="channels_last", precision=_fastest_precision())
    for train_from in ("all", "layer3"):
        found[f"train_from_{train_from}"] = _saved(options, replace(recipe, train_from=train_from))
    return found


def _fastest_precision() -> str:
    return machine.choose(PLAIN).precision


def _saved(options: Namespace, recipe: Recipe) -> dict[str, float]:
    ways = {
        "kept": lambda: in_new_process(step_with_memory, options, recipe, True),
        "given_back": lambda: in_new_process(step_with_memory, options, recipe, False),
    }
    median = in_turn(ways, options.rounds)
    return {
        "kept_milliseconds": round(median["kept"], 1),
        "given_back_milliseconds": round(median["given_back"], 1),
        "times_as_long": round(median["given_back"] / median["kept"], 2),
    }


def step_with_memory(options: Namespace, recipe: Recipe, kept: bool) -> list[float]:
    """Milliseconds of steps of 128 images."""
    with machine.keeping_memory() if kept else nullcontext():
        steps = WARM_UP + options.steps
        return course_steps(some_images(options), options.weights, recipe, steps)[WARM_UP:]


def measure_left_behind(options: Namespace) -> dict[str, object]:
    """The original's step and its page faults before and after one block of `keeping_memory`."""
    runs = [in_new_process(before_and_after, options) for _ in range(options.rounds)]
    median = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    return {name: round(value, 3 if name == "after_to_before" else 1) for name, value in median.items()}


def before_and_after(options: Namespace) -> dict[str, float]:
    """The original's step before and after one block of `keeping_memory`, in one process."""
    train = some_images(options)
    images = train.images.permute(0, 2, 3, 1).numpy()
    pipeline, _ = original_loop.pipelines(train.stored_size)
    torch.manual_seed(0)
    model = original_loop.pretrained(len(train.classes), weights_file(options.weights))
    dataset = original_loop.Images(images, train.labels.numpy(), pipeline)
    loader = DataLoader(dataset, ORIGINAL.batch_size, shuffle=True)
    trained = original_loop.train(model, loader, original_loop.make_optimizer(model))
    steps = (milliseconds for _, milliseconds in trained)

    before, faults_before = _steps_and_faults(steps, options.steps)
    with machine.keeping_memory():
        next(steps)
    after, faults_after = _steps_and_faults(steps, options.steps)
    return {
        "before_milliseconds": before,
        "after_milliseconds": after,
        "after_to_before": after / before,
        "before_page_faults": faults_before,
        "after_page_faults": faults_after,
    }


def _steps_and_faults(steps: Iterator[float], count: int) -> tuple[float, float]:
    """The median milliseconds of a few steps, and the page faults of each that needed no disk."""
    for _ in range(WARM_UP):
        next(steps)
    start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    times = [next(steps) for _ in range(count)]
    return statistics.median(times), (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start) / count
