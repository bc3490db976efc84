"""Going on from a network of one's own: what of an earlier checkpoint is taken over."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from resnet_course.common.console import say
from resnet_course.common.tensors import CheckpointError
from resnet_course.data.images import LabelledSet
from resnet_course.recipes import Recipe
from resnet_course.settings import WEIGHTS_SOURCES
from resnet_course.training import checkpoint
from resnet_course.training.checkpoint import Checkpoint


def checkpoint_before(weights: str | os.PathLike | None) -> Checkpoint | None:
    """The checkpoint of the course that weights come from; None if they come from elsewhere."""
    if weights is None or str(weights) in WEIGHTS_SOURCES:
        return None
    path = Path(weights).expanduser()
    if not path.is_file():
        return None
    try:
        return checkpoint.load(path)
    except CheckpointError:  # a state dict, which `transfer.load_weights` reads
        return None


def take_over_head(model: nn.Module, classes: tuple[str, ...], before: Checkpoint) -> None:
    """Give the new head the rows of the classes that the network knew before, and say which.

    model: with a linear head `fc`. classes: in the order of its outputs. before: where its trunk comes from.
    """
    known = [name for name in classes if name in before.classes]
    new = [name for name in classes if name not in before.classes]
    head = before.state_dict
    if not isinstance(getattr(model, "fc", None), nn.Linear) or "fc.weight" not in head:
        known, new = [], list(classes)
    rows = torch.tensor([before.classes.index(name) for name in known], dtype=torch.int64)
    own = torch.tensor([classes.index(name) for name in known], dtype=torch.int64)
    with torch.no_grad():
        if known:
            model.fc.weight[own] = head["fc.weight"][rows].float()
            model.fc.bias[own] = head["fc.bias"][rows].float()
    gone = [name for name in before.classes if name not in classes]
    parts = [
        f"its head knows {len(known)} of {len(classes)} classes",
        f"new: {', '.join(new)}" if new else "",
        f"no longer there: {', '.join(gone)}" if gone else "",
    ]
    say(f"Going on from a network of {before.dataset}; {'; '.join(filter(None, parts))}.")


def go_on_from(
    weights: str | os.PathLike | None, model: nn.Module, train: LabelledSet, val: LabelledSet, recipe: Recipe
) -> tuple[str, ...]:
    """Take over what a checkpoint of the course knows beyond its trunk, and say what; else do nothing.

    weights: where the model's trunk comes from. model: with a linear head `fc` for the classes of train.
    train, val: how many of the images that judge the training the earlier network has seen is said.
    recipe: one that starts with a linear probe makes the head anew.
    Returns the digests of the files that it has learned from or was chosen by.
    """
    if not (before := checkpoint_before(weights)):
        return ()
    if any(phase.head == "linear_probe" for phase in recipe.phases):
        say(f"Going on from a network of {before.dataset}; its head is made anew, as a linear probe.")
    else:
        take_over_head(model, train.classes, before)
    judging, what = (val, "validation") if len(val) else (train, "cross-validation")
    seen = len(judging) - len(judging.without(before.digests))
    if seen:
        say(
            f"{seen:,} of {len(judging):,} images for {what} were among those that it learned from or was "
            f"chosen by, so {what} may flatter."
        )
    return before.digests
