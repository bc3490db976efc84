"""What `resnet-course doctor` says of the machine: how fast it is, and how long the recipes take."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator

import torch

from resnet_course.common.durations import format_duration
from resnet_course.machine.devices import device
from resnet_course.machine.estimates import costs
from resnet_course.machine.probing import probe
from resnet_course.machine.roofline import measure_limits, prediction_share, shares
from resnet_course.recipes import RECIPES

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "matplotlib", "ipywidgets", "jupyterlab", "nbval")
CIFAR10 = (45_000, 5_000)  # images to learn from, and to validate with
PICTURES = {"original": CIFAR10, "laptop": CIFAR10, "full": CIFAR10, "few": (500, 0)}


def environment() -> Iterator[str]:
    """Lines of text: Python, the system, and the version of every package that the course takes."""
    yield f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    for package in PACKAGES:
        try:
            yield f"{package:12} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            yield f"{package:12} MISSING: pip install {package}"


def report() -> Iterator[str]:
    """Lines of text, each as soon as it is measured."""
    yield f"torch threads {torch.get_num_threads()}, device {device()}"
    found = probe()
    yield str(found)
    for (precision, memory_format), milliseconds in found.milliseconds.items():
        yield f"a training step of the first layers, {precision}, {memory_format}: {milliseconds:.1f} ms"
    measured = {}
    for name, (images, validation_images) in PICTURES.items():
        recipe = RECIPES[name]
        measured[name] = costs(recipe, images, tuning_at_most=1.0)
        duration = format_duration(sum(cost.seconds(images, validation_images) for cost in measured[name]))
        pictures = f"{images + validation_images:,} pictures"
        yield f"recipe {name}, {pictures}, {recipe.all_epochs} epochs: about {duration}"
    limits = measure_limits(RECIPES["laptop"])
    yield str(limits)
    reached = shares({name: measured[name] for name in ("laptop", "full")}, limits)
    reached["prediction"] = prediction_share(RECIPES["laptop"].image_size, limits)
    yield f"reached of them: {', '.join(f'{work} {share:.0%}' for work, share in reached.items())}"
