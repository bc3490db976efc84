"""Looks at a data set before it is learned from: what to fix first, and which recipe to begin with."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from resnet_course import machine
from resnet_course.common.durations import format_duration
from resnet_course.data.duplicates import NEAR, nearest
from resnet_course.data.images import ImageSet, Splits
from resnet_course.recipes import FEW, LAPTOP, Recipe

LITTLE, TINY, BALANCED = 30, 32, 3  # images a class; pixels a side; times the smallest class
CHECKED, MANY = 20, 500  # validation images a class that say something; images a class from which on LAPTOP
PATIENCE, MEMORY = 15, 3e9  # minutes; bytes that LAPTOP needs at most


@dataclass(frozen=True)
class Advice:
    """What `advise` found.

    warnings: a few sentences each, the gravest first. recipe: to begin with. minutes: what it takes here.
    """

    warnings: tuple[str, ...]
    recipe: Recipe
    minutes: float

    def __str__(self) -> str:
        recipe, duration = self.recipe, format_duration(60 * self.minutes)
        lines = [f"- {warning}" for warning in self.warnings] or ["- Nothing to fix was found."]
        start = (
            f"Begin with the recipe {recipe.name} (--recipe {recipe.name}): {recipe.image_size} pixels, "
            f"{recipe.epochs} epochs, about {duration} on this machine."
        )
        return "\n".join([*lines, start])


def advise(splits: Splits) -> Advice:
    """Warn of copies across splits, few or unequal classes and tiny images; propose a recipe.

    The proposal looks at the number of training images: FEW for some ten to some hundred of each class,
    LAPTOP for more. Change one thing at a time from there, and judge by the validation split.
    """
    train = splits.train
    side = train.stored_size
    warnings = [*_copies(splits), *_classes(train), *_validation(splits.val)]
    if side < TINY:
        warnings.append(
            f"The images are tiny: half of them have at most {side} pixels on their shorter side. "
            "Take larger ones if you have them; scaling up adds no detail."
        )
    recipe = FEW if len(train) < MANY * len(train.classes) else LAPTOP
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
            "Look at the recall of each class, not only at the overall accuracy (notebook 03)."
        )
    if smallest < LITTLE:
        found.append(
            f"{few} has only {smallest:,} images left to learn from, without those for validation and test; "
            "much will depend on which ones they are. More of them would help more than any setting."
        )
    return found


def _validation(val: ImageSet) -> list[str]:
    """A warning where validation cannot say much."""
    counts = torch.bincount(val.labels, minlength=len(val.classes)).tolist()
    if min(counts) >= CHECKED:
        return []
    few = val.classes[counts.index(min(counts))]
    margin = 100 * 1.96 * (0.16 / max(1, len(val))) ** 0.5  # at an accuracy of 80%
    return [
        f"{few} has {min(counts):,} validation images; all {len(val):,} together leave an accuracy of 80% "
        f"uncertain by {margin:.0f} points. Quote cross-validation instead (notebook 03)."
    ]


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
        lines.append("There is a GPU, and it is used: take the recipe full.")
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
