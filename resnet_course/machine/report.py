"""What `resnet-course doctor` says of the machine: how fast it is, and how long the recipes take."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator

import torch

from resnet_course.common.durations import format_duration
from resnet_course.machine.devices import device
from resnet_course.machine.estimates import costs
from resnet_course.machine.probing import Probe, probe
from resnet_course.machine.roofline import measure_limits, prediction_share, shares
from resnet_course.recipes import RECIPES

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "matplotlib", "ipywidgets", "jupyterlab", "nbval")
CIFAR10 = (45_000, 5_000)  # images to learn from, and to validate with
PATIENCE, MEMORY = 15, 3e9  # minutes; bytes that LAPTOP needs at most
PICTURES = {"original": CIFAR10, "laptop": CIFAR10, "full": CIFAR10, "top": CIFAR10, "few": (500, 0)}


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


def _about_bf16(probe: Probe) -> str:
    """Which precision is taken, and why."""
    bf16, fp32 = probe.gigaflops("bf16"), probe.gigaflops("fp32")
    if bf16 is None:
        why = "This processor is slow in bf16" if probe.bf16_is_slow else "bf16 was not measured"
        return f"{why}: the precision 'auto' stays with fp32."
    fast = (
        f"bf16 is {bf16 / fp32:.1f} times as fast as fp32"
        if bf16 > fp32
        else f"fp32 is {fp32 / bf16:.1f} times as fast as bf16"
    )
    if probe.fastest[0] == "bf16":
        return f"{fast}: the precision 'auto' takes bf16."
    return f"{fast}: the precision 'auto' stays with fp32."


def advice(probe: Probe, minutes: float) -> tuple[str, ...]:
    """What to do on this machine, in sentences. minutes: what the recipe at hand takes here."""
    lines = [
        _about_bf16(probe),
        f"{probe.threads} of {probe.cores} cores compute fastest."
        + (
            " The others are hyper-threads of the same cores, or something else keeps them busy: close it."
            if probe.threads < probe.cores
            else ""
        ),
    ]
    if device().startswith("cuda"):
        lines.append("There is a GPU, and it is used: take the recipe top.")
    if minutes > PATIENCE:
        lines.append(
            f"{format_duration(60 * minutes)} are long: take fewer images first (--limit), or in Python "
            "replace(recipe, image_size=64)."
        )
    if probe.memory_free < MEMORY:
        lines.append(
            f"Only {probe.memory_free / 1e9:.1f} GB of memory are free: close other programs, or in "
            "Python take replace(recipe, batch_size=64, image_size=64)."
        )
    return tuple(lines)
