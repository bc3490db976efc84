"""Looks at a data set before it is learned from: what to fix first, and which recipe to begin with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from resnet_course import machine
from resnet_course.common.durations import format_duration
from resnet_course.data.duplicates import NEAR, nearest
from resnet_course.data.images import ImageSet, Splits
from resnet_course.recipes import LAPTOP, Recipe

FEW, TINY, BALANCED = 50, 32, 3  # images a class; pixels a side; times the smallest class
PATIENCE, MEMORY = 15, 3e9  # minutes; bytes that LAPTOP needs at most
SEEN = 20_000  # images in a training of LAPTOP's kind, those of all epochs counted


@dataclass(frozen=True)
class Advice:
    """What `advise` found.

    warnings: one sentence each, the gravest first. recipe: to begin with. minutes: what it takes here.
    """

    warnings: tuple[str, ...]
    recipe: Recipe
    minutes: float

    def __str__(self) -> str:
        recipe, duration = self.recipe, format_duration(60 * self.minutes)
        lines = [f"- {warning}" for warning in self.warnings] or ["- Nothing to fix was found."]
        start = (
            f"Begin with: recipe {recipe.name}, image_size={recipe.image_size}, epochs={recipe.epochs}, "
            f"augmentation={recipe.augmentation!r}: about {duration} on this machine."
        )
        return "\n".join([*lines, start])


def advise(splits: Splits) -> Advice:
    """Warn of copies across splits, few or unequal classes and tiny images; propose a recipe.

    The proposal looks at the number and the size of the training images: small sets get more epochs, large
    images more pixels. Change one thing at a time from there, and judge by the validation split.
    """
    train = splits.train
    side = train.stored_size
    warnings = [*_copies(splits), *_classes(train)]
    if side < TINY:
        warnings.append(
            f"The images are tiny: half of them have at most {side} pixels on their shorter side. "
            "Take larger ones if you have them; scaling up adds no detail."
        )
    epochs = min(20, max(LAPTOP.epochs, round(SEEN / len(train))))
    batch_size = min(LAPTOP.batch_size, max(8, len(train) // 10))
    recipe = replace(LAPTOP, epochs=epochs, batch_size=batch_size)
    minutes = machine.estimate(recipe, len(train), len(splits.val)) / 60
    return Advice(tuple(warnings), recipe, minutes)


def _copies(splits: Splits) -> list[str]:
    """A warning for each split that holds images of train."""
    found = []
    for name in ("val", "test"):
        others = getattr(splits, name)
        count = int((nearest(splits.train, others)[0] < NEAR).sum())
        if count:
            found.append(
                f"{count:,} of {len(others):,} {name} images are also in train, or nearly: the accuracy "
                "on them flatters. Keep all copies of an image in one split."
            )
    return found


def _classes(train: ImageSet) -> list[str]:
    counts = torch.bincount(train.labels, minlength=len(train.classes)).tolist()
    smallest, largest = min(counts), max(counts)
    few, many = (train.classes[counts.index(count)] for count in (smallest, largest))
    found = []
    if largest > BALANCED * smallest:
        found.append(
            f"The classes are out of balance: {many} has {largest:,} images, {few} has {smallest:,}. "
            "Look at the accuracy of each class, not only at the overall one."
        )
    if smallest < FEW:
        found.append(
            f"{few} has only {smallest:,} images to learn from; much will depend on which ones they are. "
            f"Collect at least {FEW} if you can."
        )
    return found


def _about_bf16(probe: machine.Probe) -> str:
    """Which precision is taken, and why."""
    bf16, fp32 = probe.gigaflops("bf16"), probe.gigaflops("fp32")
    if bf16 is None:
        why = "This processor would emulate bf16" if probe.emulates_bf16 else "bf16 was not measured"
        return f"{why}: the precision 'auto' stays with fp32."
    if bf16 > fp32:
        return f"bf16 is {bf16 / fp32:.1f} times as fast as fp32: the precision 'auto' takes it."
    return f"fp32 is {fp32 / bf16:.1f} times as fast as bf16: the precision 'auto' stays with it."


def for_machine(probe: machine.Probe, minutes: float) -> tuple[str, ...]:
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
    if machine.device().startswith("cuda"):
        lines.append("There is a GPU, and it is used: take FULL, and larger images.")
    if minutes > PATIENCE:
        lines.append(f"{format_duration(60 * minutes)} are long: take image_size=64, or one cached view.")
    if probe.memory_free < MEMORY:
        lines.append(
            f"Only {probe.memory_free / 1e9:.1f} GB of memory are free: close other programs, or take "
            "batch_size=64 and image_size=64."
        )
    return tuple(lines)
