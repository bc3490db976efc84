"""Looks at a data set before it is learned from: what to mend, and what to train in how many minutes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from resnet_course.data.duplicates import NEAR, nearest
from resnet_course.data.images import ImageSet, Splits
from resnet_course.recipes import Recipe
from resnet_course.settings import Settings
from resnet_course.training import all_that_may_learn
from resnet_course.training.planning.plan import Plan, PlanError, Planner, what_the_tables_say

LITTLE, TINY, BALANCED = 30, 32, 3  # images a class; pixels a side; times the smallest class
CHECKED = 20  # validation images a class that say something
MINUTES = (0.5, 2.0, 5.0, 20.0)  # that a plan is made for


@dataclass(frozen=True)
class Advice:
    """What `advise` found.

    found: what the images are. warnings: a few sentences each, the gravest first.
    plans: what to train in how many minutes; minutes in which nothing can be trained are left out.
    """

    found: str
    warnings: tuple[str, ...]
    plans: dict[float, Plan]

    @property
    def recipe(self) -> Recipe:
        """Of the plan for the longest time."""
        return self.plans[max(self.plans)].recipe

    def __str__(self) -> str:
        warnings = [f"- {warning}" for warning in self.warnings] or ["- Nothing to mend was found."]
        lines = [self.found, *warnings]
        before = None
        for minutes, plan in self.plans.items():
            if before and (plan.recipe, plan.images) == (before.recipe, before.images):
                lines.append(f"--minutes {minutes:g}: the same; more time would bring nothing that is known.")
            else:
                lines.append(f"--minutes {minutes:g}: {plan}.{what_the_tables_say(plan)}")
            before = plan
        return "\n".join(lines)


def advise(splits: Splits, width: int = 64) -> Advice:
    """Warn of copies across splits, few or unequal classes and tiny images; say what to train.

    The plans are those of `fit_in` on this machine, without the time to read the images. In reduced mode the
    machine is measured for a moment only.

    width: of the network, see `transfer.width_of`.
    """
    train = splits.train
    side = train.stored_size
    warnings = [*_copies(splits), *_two_labels(train), *_classes(train), *_validation(splits.val)]
    if side < TINY:
        warnings.append(
            f"The images are tiny: half of them have at most {side} pixels on their shorter side. "
            "Take larger ones if you have them; scaling up adds no detail."
        )
    learning, val = all_that_may_learn(splits)
    measure_for = 0.0 if Settings.from_env().reduced else math.inf
    planner = Planner(len(learning), len(train.classes), len(val), width, measure_for=measure_for, side=side)
    plans = {}
    for minutes in MINUTES:
        try:
            plans[minutes] = planner.plan(60 * minutes)
        except PlanError as error:
            reason = error
    if not plans:
        raise reason
    return Advice(_found(splits), tuple(warnings), plans)


def _found(splits: Splits) -> str:
    train = splits.train
    counts = torch.bincount(train.labels, minlength=len(train.classes)).tolist()
    side = train.stored_size
    pixels = f"{side} pixels on the shorter side" if train.photographs else f"squares of {side} pixels"
    return (
        f"{train.name}: {len(train.classes)} classes, {pixels}; {len(train):,} images to learn from, "
        f"{min(counts):,} to {max(counts):,} a class; {len(splits.val):,} to validate on, "
        f"{len(splits.test):,} to test"
    )


def _copies(splits: Splits) -> list[str]:
    """A warning for each split that holds images of train."""
    found = []
    for name in ("val", "test"):
        others = getattr(splits, name)
        count = int((nearest(splits.train, others)[0] < NEAR).sum()) if len(others) else 0
        if count:
            found.append(
                f"{count:,} of {len(others):,} {name} images are also in train, or nearly: the accuracy "
                "on them flatters. Keep all copies of an image in one split."
            )
    return found


def _two_labels(train: ImageSet) -> list[str]:
    """A warning where the same file lies in several classes."""
    labels: dict[str, set[int]] = {}
    for digest, label in zip(train.digests, train.labels.tolist(), strict=False):  # drawn images have none
        labels.setdefault(digest, set()).add(label)
    count = sum(len(found) > 1 for found in labels.values())
    if not count:
        return []
    return [f"{count:,} images lie in more than one class, as copies. Keep the right one of each."]


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
            f"{few} has only {smallest:,} image{'s' * (smallest != 1)} left to learn from, without those for "
            "validation and test; much will depend on which ones they are. More of them would help more than "
            "any setting."
        )
    return found


def _validation(val: ImageSet) -> list[str]:
    """A warning where validation cannot say much."""
    counts = torch.bincount(val.labels, minlength=len(val.classes)).tolist()
    if min(counts) >= CHECKED:
        return []
    least = min(counts)
    few = val.classes[counts.index(least)]
    margin = 100 * 1.96 * (0.16 / max(1, len(val))) ** 0.5  # at an accuracy of 80%
    return [
        f"{few} has {least:,} validation image{'s' * (least != 1)}; all {len(val):,} together leave "
        f"an accuracy of 80% uncertain by {margin:.0f} points. Quote cross-validation instead (notebook 03)."
    ]
