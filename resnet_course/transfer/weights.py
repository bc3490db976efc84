"""Pretrained weights: where they come from, and whether they fit."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

from resnet_course.common.console import say
from resnet_course.common.download import DownloadError, download, inspect
from resnet_course.common.mirrors import answering
from resnet_course.common.tensors import CheckpointError, read_tensors
from resnet_course.resnet.architecture import compare
from resnet_course.resnet.network import resnet18
from resnet_course.settings import WEIGHTS_SOURCES, Settings
from resnet_course.transfer.look_alikes import name_network
from resnet_course.transfer.state_dicts import WeightsError, find_trunk

IMAGENET_URL = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
IMAGENET_SIZE = 46_830_571
IMAGENET_CHECKSUM = "sha256:f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"
BUILTIN_FILE = "builtin_resnet18_width16.pt"
COUNTER, STATISTICS = "num_batches_tracked", ("running_mean", "running_var")  # of BatchNorm
MISSING_STATISTICS = "; they are BatchNorm's, and model.state_dict() has them, but model.parameters() has not"


def load_weights(source: str | os.PathLike | None) -> dict[str, Tensor] | None:
    """The state dict of a ResNet-18 that `source` names (see `build_model`); None for no weights.

    A file may hold the state dict under a key, its names may have a prefix, and its head may be any.
    Returns float32 tensors on the CPU under torchvision's names, every one but the head's checked to be
    there, to have its shape, and to be finite. Of the head only `fc.weight` and `fc.bias` are returned.
    Raises WeightsError or DownloadError.
    """
    source = "none" if source is None else source
    path = SOURCES[source]() if source in SOURCES else Path(source).expanduser()
    return None if path is None else _read(path)


def width_of(source: str | os.PathLike | None) -> int:
    """The width of the network that `build_model` makes of these weights: 64, or 16 for the built-in ones.

    Raises WeightsError or DownloadError, as `load_weights`.
    """
    state = load_weights(source)
    return 64 if state is None else len(state["conv1.weight"])


def imagenet_path() -> Path:
    """Where torchvision keeps its own download of the weights, and so do we."""
    return Path(torch.hub.get_dir()) / "checkpoints" / IMAGENET_URL.rsplit("/", 1)[1]


def imagenet_state() -> str:
    """What is on this disk, verified: "whole", "missing", or what is wrong and where. Raises OSError."""
    path = imagenet_path()
    found = inspect(path, size=IMAGENET_SIZE, checksum=IMAGENET_CHECKSUM)
    return found if found in ("whole", "missing") else f"{found}: {path}"


def _auto() -> Path:
    try:
        path = _imagenet(patient=False)
    except (DownloadError, OSError) as error:
        reason = str(error).splitlines()[0]
        say(
            f"Weights: the built-in ones, from drawn shapes, because ImageNet's cannot be had now: {reason}; "
            "RESNET_COURSE_WEIGHTS=imagenet asks again."
        )
        return _builtin()
    say("Weights: ImageNet's, as torchvision publishes them (IMAGENET1K_V1).")
    return path


def _imagenet(patient: bool = True) -> Path:
    """`imagenet_path()`, downloaded if it is not there."""
    path = imagenet_path()
    if not patient and not path.is_file():
        settings = Settings.from_env()
        answering([IMAGENET_URL], settings.patience, settings.home)
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
        content = read_tensors(path)
    except CheckpointError as error:
        legal = ", ".join(WEIGHTS_SOURCES)
        raise WeightsError(f"weights: {error}; give a file of a state dict, or one of: {legal}") from None
    state = find_trunk(content, f"weights: {path}")
    # Files saved before PyTorch 0.4.1 have no counters, some have lists of them; no result depends on them.
    state = {name: tensor for name, tensor in state.items() if not name.endswith(COUNTER) or not tensor.ndim}
    if problem := _misfit(state):
        raise WeightsError(f"weights: {path} {problem}")
    state = {name: tensor if name.endswith(COUNTER) else tensor.float() for name, tensor in state.items()}
    if problem := _impossible(state):
        raise WeightsError(f"weights: {path} is damaged: {problem}; no network can compute with that")
    return state


def _misfit(state: dict[str, Tensor]) -> str:
    """Where `state` differs from a ResNet-18 of its own width, in words; the head is free."""
    stem = state.get("conv1.weight")
    width = len(stem) if stem is not None and stem.ndim == 4 else 64
    with torch.device("meta"):  # shapes only, no memory
        wanted = resnet18(1, max(1, width)).state_dict()
    wanted = {
        name: tensor
        for name, tensor in wanted.items()
        if not name.startswith("fc.") and (name in state or not name.endswith(COUNTER))
    }
    trunk = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    if difference := compare(trunk, wanted):
        looks = name_network(trunk)
        missing = [name for name in wanted if name not in trunk]
        if looks is None and missing and all(name.endswith(STATISTICS) for name in missing):
            difference += MISSING_STATISTICS
        return f"does not fit ResNet-18{f': this looks like {looks}' if looks else ''}; tensors {difference}"
    for name, tensor in trunk.items():
        if tensor.is_meta:
            return f"holds no numbers: {name} is on the device meta; save the weights after they are loaded"
        if not name.endswith(COUNTER) and (not tensor.is_floating_point() or tensor.layout != torch.strided):
            kind = str(tensor.dtype if tensor.layout == torch.strided else tensor.layout)
            kind = kind.removeprefix("torch.")
            return f"does not fit ResNet-18: {name} is {kind}; it must be float32, float16 or bfloat16"
    return ""


def _impossible(state: dict[str, Tensor]) -> str:
    """Numbers that are none and variances below zero, in words; empty where all is well."""
    for name, tensor in state.items():
        if name.endswith(COUNTER):
            continue
        if count := int((~tensor.isfinite()).sum()):
            return f"{count:,} of the {tensor.numel():,} numbers of {name} are not finite (NaN or infinite)"
        if name.endswith("running_var") and (tensor < 0).any():
            return f"{name} has a variance of {float(tensor.min()):.3g}, and none is below 0"
    return ""
