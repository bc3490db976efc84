"""Checkpoints: one file that is enough to predict; written atomically, loaded without trusting it."""

from __future__ import annotations

import os
import pickle
import uuid
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from resnet_course.recipes import Recipe
from resnet_course.resnet import ResNet, resnet18

FORMAT = "resnet_course checkpoint 1"
REQUIRED = {"state_dict": dict, "classes": list, "side": int, "dataset": str, "recipe": dict, "metrics": dict}


class CheckpointError(ValueError):
    """A file is no checkpoint that can be used. The message says why."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that is needed to use a trained network: nothing else has to be at hand.

    state_dict: the weights, under torchvision's names.
    classes: the class names, in the order of the outputs.
    side: pixels a side of the stored pictures that it learned from, before they were scaled to
        `recipe.image_size`; a new picture goes the same way.
    dataset: the name of the picture set.
    recipe: image size, normalisation and how it was trained.
    metrics: numbers measured on it, by name.
    training: what `training.fit` needs to continue; None in a file that is only for predicting.
    """

    state_dict: dict[str, Tensor]
    classes: tuple[str, ...]
    side: int
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
        "side": checkpoint.side,
        "dataset": checkpoint.dataset,
        "recipe": checkpoint.recipe.to_dict(),
        "metrics": checkpoint.metrics,
        "training": checkpoint.training,
    }
    return write_atomically(path, lambda file: torch.save(content, file))


def write_atomically(path: str | os.PathLike, write: Callable[[BinaryIO], object]) -> Path:
    """Let `write(binary file)` fill a temporary file beside `path`, then put it in `path`'s place.

    A power cut or a kill leaves the old file or the new one, and at worst a stray temporary file,
    which the next write of the same name removes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for stray in path.parent.glob(f".{path.name}.*.tmp"):
        stray.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())  # the bytes are on the disk before the name points to them
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


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
            side=content["side"],
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


def read_tensors(path: str | os.PathLike) -> Any:
    """What `torch.save` wrote into a file: tensors and plain values, verified as far as the file allows.

    Raises CheckpointError for a file that is missing, cut short, damaged, foreign, or holds anything
    that could run code.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; give the path of a file in it")
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:  # torch.load itself does not look at the checksums
                broken = archive.testzip()
            if broken:
                raise CheckpointError(f"{path} is damaged: the checksum of its part {broken!r} is wrong")
        return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # zipfile and the unpickler raise nearly anything on hostile bytes
        if isinstance(error, pickle.UnpicklingError) and "Unsupported global" in str(error):
            raise CheckpointError(
                f"{path} is refused: it holds more than tensors and plain values; loading it could run code"
            ) from None
        raise CheckpointError(f"{path} is no file of torch.save, or it is cut short or damaged") from None


def _is_state_dict(content: Any) -> bool:
    return isinstance(content, Mapping) and any(isinstance(value, Tensor) for value in content.values())
