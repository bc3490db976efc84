"""Which images a training learns from, and whether they fit the model."""

from __future__ import annotations

import torch
from torch import nn

from resnet_course.common.console import say
from resnet_course.data.images import DataError, ImageSet, LabelledSet, Splits, concatenate
from resnet_course.machine import distributed
from resnet_course.recipes import Recipe
from resnet_course.training.history import CALIBRATES

LEAST = 10  # images of a class, below which that is said


def learning_and_choosing(splits: Splits, recipe: Recipe) -> tuple[ImageSet, ImageSet]:
    """The images that `fit` learns from, and those that it chooses the best epoch with: train and val.

    A recipe whose head starts as a linear probe is for few images, of which every one counts: it learns from
    those too that the loader had set aside, and a set that is empty then is replaced by cross-validation.
    A recipe with the flaw `select_on_test` learns from both and chooses on test; raises DataError if that
    is empty.
    """
    if recipe.select_on_test:
        if not len(splits.test):
            raise DataError(
                f"the recipe {recipe.name} chooses its epoch on the test split, and {splits.train.name} has "
                "none; add --test-share 0.2, or take another recipe"
            )
        return concatenate(splits.train, splits.val), splits.test
    if recipe.head == "linear_probe":
        return _with_set_aside(splits)
    return splits.train, splits.val


def all_that_may_learn(splits: Splits) -> tuple[ImageSet, ImageSet]:
    """Train and val where no recipe is chosen yet: what was set aside learns too if it is too little.

    With fewer than CALIBRATES validation images neither an epoch nor a temperature can be chosen well.
    """
    too_few = "val" in splits.set_aside and len(splits.val) < CALIBRATES
    return _with_set_aside(splits) if too_few else (splits.train, splits.val)


def _with_set_aside(splits: Splits) -> tuple[ImageSet, ImageSet]:
    """Train with all that the loader had set aside from it, and what is left of val."""
    train, val = splits.train, splits.val
    for name in splits.set_aside:
        train = concatenate(train, getattr(splits, name))
    if splits.set_aside:
        val = val.subset(torch.arange(0)) if "val" in splits.set_aside else val
        say(f"All {len(train):,} images are learned from, those set aside among them.")
    return train, val


def check_sets(model: nn.Module, train: LabelledSet, val: LabelledSet, recipe: Recipe) -> None:
    """Raise DataError in one line unless the sets are large enough and fit each other, model and recipe."""
    least = 2 * distributed.world_size()
    if len(train) < least:
        raise DataError(f"{len(train)} images to train on; it takes at least {least}")
    if not len(val) and len(set(train.groups)) < 2:
        raise DataError("all images are copies or of one group, so nothing can be validated; add others")
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
    if counts[largest] > 2 * counts[smallest]:
        judged, what = (val, "validation") if len(val) else (train, "training")
        share = (judged.labels == train.classes.index(largest)).float().mean().item()
        say(f"Always answering {largest}, the largest class, is right on {share:.0%} of {what} images.")
