"""Which images a training learns from, and whether they fit the model."""

from __future__ import annotations

from torch import nn

from resnet_course.common.console import say
from resnet_course.data.images import DataError, ImageSet, LabelledSet, Splits, concatenate
from resnet_course.machine import distributed
from resnet_course.recipes import Recipe

LEAST = 10  # images of a class, below which that is said


def learning_and_choosing(splits: Splits, recipe: Recipe) -> tuple[ImageSet, ImageSet]:
    """The images that `fit` learns from, and those that it chooses the best epoch with: train and val.

    A recipe with the flaw `select_on_test` learns from both and chooses on test.
    """
    if recipe.select_on_test:
        return concatenate(splits.train, splits.val), splits.test
    return splits.train, splits.val


def check_sets(model: nn.Module, train: LabelledSet, val: LabelledSet, recipe: Recipe) -> None:
    """Raise DataError in one line unless the sets are large enough and fit each other, model and recipe."""
    least = 2 * distributed.world_size()
    if len(train) < least or len(val) < 1:
        raise DataError(
            f"{len(train)} images to train on and {len(val)} to validate on; it takes at least {least} and 1"
        )
    if train.kind == "features" and any(phase.mix != "none" for phase in recipe.phases):
        raise DataError(f"mix is {recipe.mix!r}, and features cannot be mixed as images are; take 'none'")
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    outputs = linear[-1].out_features if linear else len(train.classes)
    if train.classes != val.classes or outputs != len(train.classes):
        raise DataError(
            f"train has {len(train.classes)} classes, val {len(val.classes)}, the model {outputs} outputs; "
            "all three must agree, in names and order"
        )


def say_balance(train: LabelledSet, val: LabelledSet) -> None:
    """Say which class has hardly anything to learn from, and how often the largest one is right by itself."""
    numbers = train.labels.bincount(minlength=len(train.classes)).tolist()
    counts = dict(zip(train.classes, numbers, strict=True))
    smallest, largest = min(counts, key=counts.get), max(counts, key=counts.get)
    if counts[smallest] < LEAST:
        plural = "" if counts[smallest] == 1 else "s"
        say(f"The class {smallest} has only {counts[smallest]} image{plural} to learn from; more would help.")
    if counts[largest] > 2 * counts[smallest] and len(val):
        share = (val.labels == train.classes.index(largest)).float().mean().item()
        say(f"Always answering {largest}, the largest class, is right on {share:.0%} of validation images.")
