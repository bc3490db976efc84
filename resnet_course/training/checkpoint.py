"""Checkpoints: one file that is enough to predict; written atomically, loaded without trusting it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnet_course.common.files import write_atomically
from resnet_course.common.tensors import CheckpointError, read_tensors
from resnet_course.recipes import Recipe
from resnet_course.resnet.network import ResNet, resnet18

FORMAT = "resnet_course checkpoint 1"
REQUIRED = {"state_dict": dict, "classes": list, "side": int, "dataset": str, "recipe": dict, "metrics": dict}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that is needed to use a trained network: nothing else has to be at hand.

    state_dict: the weights, under torchvision's names.
    classes: the class names, in the order of the outputs.
    stored_size: pixels a side of the stored pictures that it learned from, before they were scaled to
        `recipe.image_size`; a new picture goes the same way.
    dataset: the name of the picture set.
    recipe: image size, normalisation and how it was trained.
    metrics: numbers measured on it, by name.
    training: what `training.fit` needs to continue; None in a file that is only for predicting.
    """

    state_dict: dict[str, Tensor]
    classes: tuple[str, ...]
    stored_size: int
    dataset: str
    recipe: Recipe
    metrics: dict[str, float] = field(default_factory=dict)
    training: dict[str, Any] | None = None

    def model(self) -> ResNet:
        """The network with these weights, in eval mode."""
        with torch.device("meta"):  # no time and no random numbers are spent on weights that are replaced
            model = resnet18(len(self.classes), len(self.state_dict["conv1.weight"]), self.recipe.dropout)
        own = {n: t.float() if t.is_floating_point() else t for n, t in self.state_dict.items()}
        model.load_state_dict({name: tensor.clone() for name, tensor in own.items()}, assign=True)
        return model.eval()


def save(path: str | os.PathLike, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint. At every moment `path` holds the old file or the new one, whole.

    The weights are stored on the CPU, contiguous, whatever computed them.
    """
    weights = {
        name: tensor.detach().to("cpu", memory_format=torch.contiguous_format, copy=True)
        for name, tensor in checkpoint.state_dict.items()
    }
    content = {
        "format": FORMAT,
        "versions": {"torch": str(torch.__version__), "torchvision": metadata.version("torchvision")},
        "state_dict": weights,
        "classes": list(checkpoint.classes),
        "side": checkpoint.stored_size,
        "dataset": checkpoint.dataset,
        "recipe": checkpoint.recipe.to_dict(),
        "metrics": checkpoint.metrics,
        "training": checkpoint.training,
    }
    return write_atomically(path, lambda file: torch.save(content, file))


def load(path: str | os.PathLike) -> Checkpoint:
    """Read a checkpoint; every byte is held against its checksum and every tensor against the network.

    The file is read with `weights_only=True`: a pickle that would run code is refused, not run.
    Raises CheckpointError, with one line that says what is wrong.
    """
    path = Path(path)
    content = read_tensors(path)
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        kind = (
            "a bare state dict; pass it as weights instead" if _is_state_dict(content) else "something else"
        )
        raise CheckpointError(f"{path} is no checkpoint of this course: it holds {kind}")
    for name, kind in REQUIRED.items():
        if not isinstance(content.get(name), kind):
            raise CheckpointError(f"{path} is damaged: its part {name!r} is missing or no {kind.__name__}")
    try:
        checkpoint = Checkpoint(
            state_dict=content["state_dict"],
            classes=tuple(content["classes"]),
            stored_size=content["side"],
            dataset=content["dataset"],
            recipe=Recipe.from_dict(content["recipe"]),
            metrics=content["metrics"],
            training=content.get("training"),
        )
        checkpoint.model()
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path} does not fit the network: {' '.join(str(error).split())[:200]}"
        ) from None
    return checkpoint


def _is_state_dict(content: Any) -> bool:
    return isinstance(content, Mapping) and any(isinstance(value, Tensor) for value in content.values())
