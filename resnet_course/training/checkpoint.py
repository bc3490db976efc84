"""Checkpoints: one file that is enough to predict; written atomically, loaded without trusting it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from resnet_course import __version__
from resnet_course.common.files import write_atomically
from resnet_course.common.tensors import CheckpointError, read_tensors
from resnet_course.data.folder import SHORTER_SIDE
from resnet_course.data.images import LabelledSet
from resnet_course.recipes import Recipe
from resnet_course.resnet.architecture import ArchitectureError, build, compare, describe_weights

AnySet = TypeVar("AnySet", bound=LabelledSet)
FORMAT, FORMAT_1 = "resnet_course checkpoint 2", "resnet_course checkpoint 1"
PARTS = {
    "state_dict": dict,
    "classes": list,
    "stored_size": int,
    "dataset": str,
    "recipe": dict,
    "architecture": dict,
    "metrics": dict,
    "input": dict,
    "digests": list,
    "temperature": int | float,
    "threshold": int | float | None,
    "training": dict | None,
}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that is needed to use a trained network: nothing else has to be at hand.

    state_dict: the weights, under torchvision's names.
    classes: the class names, in the order of the outputs.
    stored_size: pixels a side of the squares that it learned from, before they were scaled to
        `recipe.image_size`; a new image goes the same way.
    dataset: the name of the image set.
    recipe: image size, normalisation and how it was trained.
    architecture: what `resnet.architecture.describe` says of the network; found from the weights if empty.
    metrics: numbers measured on it, by name.
    input: how images came in, beyond what the recipe says: "shorter_side", to which larger files were shrunk.
    digests: of the files that it was trained on or chosen by; it is never tested with one of them.
    temperature: what the logits are divided by before the softmax.
    threshold: the confidence below which the network's answer is that it does not know; None: none is.
    training: what `training.fit` needs to continue; None in a file that is only for predicting.
    versions: of what wrote the file it was read from, by name; `save` writes those of this machine.
    Raises ArchitectureError if the architecture is left out and the weights are those of no network known.
    """

    state_dict: dict[str, Tensor]
    classes: tuple[str, ...]
    stored_size: int
    dataset: str
    recipe: Recipe
    architecture: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    input: dict[str, Any] = field(default_factory=dict)
    digests: tuple[str, ...] = ()
    temperature: float = 1.0
    threshold: float | None = None
    training: dict[str, Any] | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.architecture:
            object.__setattr__(self, "architecture", describe_weights(self.state_dict, self.recipe.dropout))

    @property
    def shorter_side(self) -> int:
        """Pixels to which the shorter side of a larger image is shrunk when it is read."""
        return max(self.input.get("shorter_side", SHORTER_SIDE), self.stored_size)

    def unseen(self, labelled_set: AnySet) -> AnySet:
        """The images whose files it was neither trained on nor chosen by."""
        return labelled_set.without(self.digests)

    def model(self) -> nn.Module:
        """The network with these weights, in eval mode, on the CPU.

        Raises ArchitectureError if weights, classes and architecture do not fit each other.
        """
        with torch.device("meta"):  # no time and no random numbers are spent on weights that are replaced
            model = build(self.architecture)
        if difference := compare(self.state_dict, model.state_dict()):
            raise ArchitectureError(f"tensors {difference}")
        if self.architecture["num_classes"] != len(self.classes):
            raise ArchitectureError(
                f"{self.architecture['num_classes']} outputs for {len(self.classes)} classes"
            )
        own = {n: t.float() if t.is_floating_point() else t for n, t in self.state_dict.items()}
        model.load_state_dict({name: tensor.clone() for name, tensor in own.items()}, assign=True)
        return model.eval()


def save(path: str | os.PathLike, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint. At every moment `path` holds the old file or the new one, whole.

    All tensors are stored on the CPU, contiguous, whatever computed them.
    """
    content = {
        "format": FORMAT,
        "versions": _versions_here(),
        **{part: getattr(checkpoint, part) for part in PARTS},
        "classes": list(checkpoint.classes),
        "digests": list(checkpoint.digests),
        "recipe": checkpoint.recipe.to_dict(),
    }
    return write_atomically(path, lambda file: torch.save(_on_cpu(content), file))


def load(path: str | os.PathLike) -> Checkpoint:
    """Read a checkpoint; every byte is held against its checksum and every tensor against the network.

    The file is read with `weights_only=True`: a pickle that would run code is refused, not run. Parts that
    this version does not know are passed over, and files of the first format are read as well.
    Raises CheckpointError, with one line that says what is wrong.
    """
    path = Path(path)
    content = read_tensors(path)
    if not isinstance(content, Mapping) or content.get("format") not in (FORMAT, FORMAT_1):
        raise CheckpointError(f"{path} is not a checkpoint of this course: it holds {_kind_of(content)}")
    if content["format"] == FORMAT_1:
        defaults = {"architecture": {}, "input": {}, "digests": [], "temperature": 1.0, "threshold": None}
        content = {**defaults, "stored_size": content.get("side"), "training": None, **content}
    for part, kind in PARTS.items():
        if part not in content or not isinstance(content[part], kind):
            name = getattr(kind, "__name__", kind)
            raise CheckpointError(f"{path} is damaged: its part {part!r} is missing or not a {name}")
    if not all(isinstance(name, str) for name in (*content["classes"], *content["digests"])):
        raise CheckpointError(f"{path} is damaged: its classes and digests are not all words")
    try:
        checkpoint = Checkpoint(
            **{part: content[part] for part in PARTS}
            | {
                "classes": tuple(content["classes"]),
                "digests": tuple(content["digests"]),
                "recipe": Recipe.from_dict(content["recipe"]),
                "versions": {
                    str(name): str(version) for name, version in dict(content.get("versions") or {}).items()
                },
            }
        )
        checkpoint.model()
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path} does not fit the network: {' '.join(str(error).split())[:200]}"
        ) from None
    return checkpoint


def _versions_here() -> dict[str, str]:
    return {
        "resnet_course": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": metadata.version("torchvision"),
    }


def _on_cpu(value: Any) -> Any:
    """The same nested dicts, lists and tuples with contiguous copies on the CPU in the place of tensors."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", memory_format=torch.contiguous_format, copy=True)
    if isinstance(value, dict):
        return {key: _on_cpu(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_on_cpu(item) for item in value)
    return value


def _kind_of(content: Any) -> str:
    if not isinstance(content, Mapping):
        return "something else"
    if any(isinstance(value, Tensor) for value in content.values()):
        return "a bare state dict; pass it as weights instead"
    found = content.get("format")
    if isinstance(found, str) and found.startswith(FORMAT[:-1]):
        return f"format {found!r}; a version of the course that writes this format can read it"
    return "something else"
