"""Pretrained weights: where they come from, and whether they fit."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

from resnet_course.common.console import say
from resnet_course.common.download import DownloadError, download
from resnet_course.common.errors import CourseError
from resnet_course.common.tensors import CheckpointError, read_tensors
from resnet_course.resnet.architecture import compare
from resnet_course.resnet.network import resnet18
from resnet_course.settings import WEIGHTS_SOURCES

IMAGENET_URL = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
IMAGENET_SIZE = 46_830_571
IMAGENET_CHECKSUM = "sha256:f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"
BUILTIN_FILE = "builtin_resnet18_width16.pt"


class WeightsError(CourseError, ValueError):
    """A file of weights cannot be used. The message says what does not fit and what would."""


def load_weights(source: str | os.PathLike | None) -> dict[str, Tensor] | None:
    """The state dict of a ResNet-18 that `source` names (see `build_model`); None for no weights.

    Returns float32 tensors on the CPU under torchvision's names, every one but the head's checked to be there
    and to have its shape.
    Raises WeightsError or DownloadError.
    """
    source = "none" if source is None else source
    path = SOURCES[source]() if source in SOURCES else Path(source).expanduser()
    return None if path is None else _read(path)


def imagenet_path() -> Path:
    """Where torchvision keeps its own download of the weights, and so do we."""
    return Path(torch.hub.get_dir()) / "checkpoints" / IMAGENET_URL.rsplit("/", 1)[1]


def _auto() -> Path:
    try:
        path = _imagenet(patient=False)
    except (DownloadError, OSError) as error:
        reason = str(error).splitlines()[0]
        say(f"Weights: the built-in ones, from drawn shapes; ImageNet's cannot be had now: {reason}")
        return _builtin()
    say("Weights: ImageNet's, as torchvision publishes them (IMAGENET1K_V1).")
    return path


def _imagenet(patient: bool = True) -> Path:
    """`imagenet_path()`, downloaded if it is not there."""
    path = imagenet_path()
    return download(
        [IMAGENET_URL],
        path,
        size=IMAGENET_SIZE,
        checksum=IMAGENET_CHECKSUM,
        by_hand=f"Fetch {IMAGENET_URL} with a browser and put it at {path}.",
        patient=patient,
    )


def _builtin() -> Path:
    return Path(str(resources.files("resnet_course.transfer") / BUILTIN_FILE))


def _none() -> None:
    return None


_FUNCTIONS = {"auto": _auto, "imagenet": _imagenet, "builtin": _builtin, "none": _none}
SOURCES = {name: _FUNCTIONS[name] for name in WEIGHTS_SOURCES}  # a source without a function fails here


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state = read_tensors(path)
    except CheckpointError as error:
        legal = ", ".join(WEIGHTS_SOURCES)
        raise WeightsError(f"weights: {error}; give a file of a state dict, or one of: {legal}") from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]  # a checkpoint of this course serves as weights too
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise WeightsError(f"weights: {path} holds no state dict (a dict from names to tensors)")
    if difference := _difference(state):
        raise WeightsError(f"weights: {path} does not fit ResNet-18; tensors {difference}")
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def _difference(state: dict[str, Tensor]) -> str:
    """Where `state` differs from a ResNet-18 of its own width; the head is free."""
    stem = state.get("conv1.weight")
    width = len(stem) if stem is not None and stem.ndim == 4 else 64
    with torch.device("meta"):  # shapes only, no memory
        wanted = resnet18(1, width).state_dict()
    # Files saved before PyTorch 0.4.1 have no counters, and no result depends on them.
    return compare(
        {name: tensor for name, tensor in state.items() if not name.startswith("fc.")},
        {
            name: tensor
            for name, tensor in wanted.items()
            if not name.startswith("fc.") and (name in state or not name.endswith("num_batches_tracked"))
        },
    )
