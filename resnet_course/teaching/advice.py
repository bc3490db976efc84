"""Looks at a data set before it is learned from: what to mend first, and which recipe to begin with."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

import torch

from resnet_course import machine
from resnet_course.data.duplicates import NEAR, nearest
from resnet_course.data.images import ImageSet, Splits
from resnet_course.recipes import LAPTOP, Recipe

FEW, TINY, BALANCED = 50, 32, 3  # pictures a class; pixels a side; times the smallest class
PATIENCE, MEMORY = 15, 3e9  # minutes; bytes that LAPTOP needs at most
VIEWS = 20_000  # how often pictures are looked at in a training of LAPTOP's kind, all epochs together


@dataclass(frozen=True)
class Advice:
    """What `advise` found.

    warnings: one sentence each, the gravest first. recipe: to begin with. minutes: what it takes here.
    """

    warnings: tuple[str, ...]
    recipe: Recipe
    minutes: float

    def __str__(self) -> str:
        recipe = self.recipe
        lines = [f"- {warning}" for warning in self.warnings] or ["- Nothing to mend was found."]
        start = (
            f"Begin with: recipe {recipe.name}, image_size={recipe.image_size}, epochs={recipe.epochs}, "
            f"augmentation={recipe.augmentation!r}: about {self.minutes:.1f} minutes on this machine."
        )
        return "\n".join([*lines, start])


def advise(splits: Splits) -> Advice:
    """Warn of copies across splits, few or unequal classes and tiny pictures; propose a recipe.

    The proposal looks at the number and the size of the training pictures: small sets get more epochs, large
    pictures more pixels. Change one thing at a time from there, and judge by the validation split.
    """
    train = splits.train
    side = train.images.shape[-1]
    warnings = [*_copies(splits), *_classes(train)]
    if side < TINY:
        warnings.append(
            f"The pictures are tiny: half of them have at most {side} pixels on their shorter side. "
            "Take larger ones if you have them; scaling up adds no detail."
        )
    epochs = min(20, max(LAPTOP.epochs, round(VIEWS / len(train))))
    batch_size = min(LAPTOP.batch_size, max(8, len(train) // 10))
    image_size = LAPTOP.image_size if side <= 64 else 128
    recipe = replace(LAPTOP, epochs=epochs, batch_size=batch_size, image_size=image_size)
    minutes = machine.estimate(recipe, len(train), len(splits.val)) / 60
    return Advice(tuple(warnings), recipe, minutes)


def _copies(splits: Splits) -> list[str]:
    """A warning for each split that holds pictures of train."""
    found = []
    for name in ("val", "test"):
        others = getattr(splits, name)
        count = int((nearest(splits.train, others)[0] < NEAR).sum())
        if count:
            found.append(
                f"{count:,} of {len(others):,} {name} pictures are also in train, or nearly: the accuracy "
                "on them flatters. Keep all copies of a picture in one split."
            )
    return found


def _classes(train: ImageSet) -> list[str]:
    counts = torch.bincount(train.labels, minlength=len(train.classes)).tolist()
    smallest, largest = min(counts), max(counts)
    few, many = (train.classes[counts.index(count)] for count in (smallest, largest))
    found = []
    if largest > BALANCED * smallest:
        found.append(
            f"The classes are out of balance: {many} has {largest:,} pictures, {few} has {smallest:,}. "
            "Look at the accuracy of each class, not only at the overall one."
        )
    if smallest < FEW:
        found.append(
            f"{few} has only {smallest:,} pictures to learn from; much will depend on which ones they are. "
            f"Collect at least {FEW} if you can."
        )
    return found


def frontier_table() -> dict[str, Any]:
    """Recipes that benchmarks/frontier.py measured on the way to LAPTOP and FULL, those that failed too.

    Returns conditions (in words), and measured: by the recipe's name its size (pixels a side), train_from and
    epochs (of all phases), accuracy_percent (validation, of the best epoch) and seconds (of all its parts).
    """
    path = resources.files("resnet_course.teaching") / "tables" / "frontier_table.json"
    return json.loads(path.read_text(encoding="utf-8"))


def for_machine(probe: machine.Probe, minutes: float) -> tuple[str, ...]:
    """What to do on this machine, in sentences. minutes: what the recipe at hand takes here."""
    gain = probe.gigaflops("bf16") / probe.gigaflops("fp32")
    lines = [
        f"bf16 is {gain:.1f} times as fast as fp32: the precision 'auto' takes it."
        if gain > 1
        else f"bf16 is slower than fp32 here ({gain:.1f} times): the precision 'auto' stays with fp32.",
        f"{probe.threads} of {probe.cores} cores compute fastest."
        + (" Something else keeps the others busy: close it." if probe.threads < probe.cores else ""),
    ]
    if machine.device() == "cuda":
        lines.append("There is a GPU, and it is used: take FULL, and larger pictures.")
    if minutes > PATIENCE:
        lines.append(f"{minutes:.0f} minutes are long: take image_size=64, or one cached view.")
    if probe.memory_free < MEMORY:
        lines.append(
            f"Only {probe.memory_free / 1e9:.1f} GB of memory are free: close other programs, or take "
            "batch_size=64 and image_size=64."
        )
    return tuple(lines)


def freezing_table() -> dict[str, Any]:
    """Accuracies that benchmarks/freezing.py measured: what is trained, pictures a class, learning rate.

    Returns data and weights (in words), classes (how many), image_size, looks_and_batch_size (by pictures a
    class, as text: how many pictures were looked at, and how many a step), times_looked (by what is trained:
    how often as many), and accuracy_percent: by what is trained ("fc", "layer4", "all", "scratch"), by
    pictures a class ("10" … "1000", "all") and by learning rate, a list with each seed's accuracy.
    """
    path = resources.files("resnet_course.teaching") / "tables" / "freezing_table.json"
    return json.loads(path.read_text(encoding="utf-8"))
