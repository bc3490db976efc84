"""Pretrained weights, a new head, freezing that lasts, trunk and head, parameter groups."""

from __future__ import annotations

import copy
import itertools
import os
from collections import OrderedDict
from importlib import resources
from pathlib import Path
from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from resnet_course.common.console import say
from resnet_course.common.download import DownloadError, download
from resnet_course.common.tensors import CheckpointError, read_tensors
from resnet_course.resnet.network import ResNet, resnet18
from resnet_course.settings import WEIGHTS_SOURCES

IMAGENET_URL = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
IMAGENET_SIZE = 46_830_571
IMAGENET_CHECKSUM = "sha256:f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"
BUILTIN_FILE = "builtin_resnet18_width16.pt"

# `train_from` names the first part that is trained; all before it is frozen.
PARTS = OrderedDict(
    stem=("conv1", "bn1", "relu", "maxpool"),
    layer1=("layer1",),
    layer2=("layer2",),
    layer3=("layer3",),
    layer4=("layer4",),
    fc=("avgpool", "flatten", "dropout", "fc"),
)
TRAIN_FROM = ("all", "layer1", "layer2", "layer3", "layer4", "fc")


class WeightsError(ValueError):
    """A file of weights cannot be used. The message says what does not fit and what would."""


def build_model(
    num_classes: int,
    weights: str | os.PathLike | None = "auto",
    train_from: str = "layer4",
    dropout: float = 0.5,
) -> ResNet:
    """A ResNet-18 with pretrained weights, a new head for `num_classes`, and all before `train_from` frozen.

    weights: "imagenet", "builtin", "none" (or None), the path of a state dict with torchvision's names,
        or "auto": ImageNet's if they are on disk or can be downloaded, else the built-in ones, said aloud.
    train_from: "all", "layer1" … "layer4" or "fc", as in `freeze`.
    dropout: probability of zeroing each pooled feature while training.
    Raises WeightsError, or DownloadError if ImageNet's weights were asked for and cannot be had.

    The new head is drawn from torch's global random numbers: call `torch.manual_seed` first.
    """
    _check_train_from(train_from)
    state = load_weights(weights)
    width = 64 if state is None else len(state["conv1.weight"])
    model = resnet18(num_classes, width, dropout)
    if state is not None:
        trunk = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
        model.load_state_dict(trunk, strict=False)  # load_weights has compared every tensor
    return freeze(model, train_from)


def load_weights(source: str | os.PathLike | None) -> dict[str, Tensor] | None:
    """The state dict of a ResNet-18 that `source` names (see `build_model`); None for no weights.

    Returns float32 tensors under torchvision's names, every one checked to be there and to have its shape.
    Raises WeightsError or DownloadError.
    """
    source = "none" if source is None else source
    if source == "auto":
        source = _choose()
    if source == "none":
        return None
    if source == "builtin":
        path = Path(str(resources.files("resnet_course.transfer") / BUILTIN_FILE))
    elif source == "imagenet":
        path = _imagenet(patient=True)
    else:
        path = Path(source).expanduser()
    return _read(path)


def _choose() -> str:
    try:
        _imagenet(patient=False)
    except (DownloadError, OSError) as error:
        reason = str(error).splitlines()[0]
        say(f"Weights: the built-in ones, from drawn shapes; ImageNet's cannot be had now: {reason}")
        return "builtin"
    say("Weights: ImageNet's, as torchvision publishes them (IMAGENET1K_V1).")
    return "imagenet"


def imagenet_path() -> Path:
    """Where torchvision keeps its own download of the weights, and so do we."""
    return Path(torch.hub.get_dir()) / "checkpoints" / IMAGENET_URL.rsplit("/", 1)[1]


def _imagenet(patient: bool) -> Path:
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
    _compare(state, path)
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def _compare(state: dict[str, Tensor], path: Path) -> None:
    """Raise WeightsError unless `state` fits a ResNet-18 of its own width; the head's size is free."""
    stem = state.get("conv1.weight")
    width = len(stem) if stem is not None and stem.ndim == 4 else 64
    with torch.device("meta"):  # shapes only, no memory
        wanted = {name: tuple(tensor.shape) for name, tensor in resnet18(1, width).state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    # Files saved before PyTorch 0.4.1 have no counters, and no result depends on them.
    missing = [n for n in wanted if n not in found and not n.endswith("num_batches_tracked")]
    missing = [n for n in missing if not n.startswith("fc.")]
    unexpected = [n for n in found if n not in wanted]
    shapes = [
        f"{n} is {list(found[n])}, not {list(wanted[n])}"
        for n in wanted
        if n in found and not n.startswith("fc.") and found[n] != wanted[n]
    ]
    problems = [
        f"{len(names)} {kind}: {', '.join(names[:5])}{' …' if len(names) > 5 else ''}"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("of the wrong shape", shapes))
        if names
    ]
    if problems:
        raise WeightsError(f"weights: {path} does not fit ResNet-18; tensors {'; '.join(problems)}")


def freeze(model: ResNet, train_from: str, *, batchnorm_moves: bool = False) -> ResNet:
    """Freeze all parts before `train_from` and unfreeze the rest; returns the model.

    Frozen means that nothing moves: the parameters take no gradient, and BatchNorm stays in eval mode,
    whatever later calls `model.train()`, so its running statistics stay too.

    train_from: the first part to train: "all" (nothing frozen), "layer1" (the stem frozen), "layer2",
        "layer3", "layer4" or "fc" (only the head is trained).
    batchnorm_moves: leave frozen BatchNorm in training mode, the flaw of `recipes.ORIGINAL`.
    Raises ValueError for another `train_from`.
    """
    _check_train_from(train_from)
    trunk, head = split_at(model, train_from)
    for part, frozen in ((trunk, True), (head, False)):
        part.requires_grad_(not frozen)
        for module in part.modules():
            module.__dict__.pop("train", None)
            if frozen and not batchnorm_moves:
                module.train = MethodType(_stay_in_eval_mode, module)
    model.train(model.training)
    return model


def _stay_in_eval_mode(module: nn.Module, mode: bool = True) -> nn.Module:
    """Stands in for `train()` on every frozen module. PyTorch calls it on the children, one by one."""
    return nn.Module.train(module, False)


def is_frozen(model: ResNet, train_from: str) -> bool:
    """True if nothing before `train_from` can move: as `freeze` leaves it, at least up to there."""
    trunk, _ = split_at(model, train_from)
    pinned = all("train" in module.__dict__ for part in trunk for module in part.modules())
    return pinned and not any(parameter.requires_grad for parameter in trunk.parameters())


def split_at(model: ResNet, train_from: str) -> tuple[nn.Sequential, nn.Sequential]:
    """The network in two: (trunk, head), where head(trunk(x)) == model(x) and both share its modules.

    train_from: the first part of the head, as in `freeze`; with "all" the trunk is empty, with "fc" the
        head is pooling, dropout and the linear layer.
    """
    _check_train_from(train_from)
    first = "stem" if train_from == "all" else train_from
    halves = (OrderedDict(), OrderedDict())
    for part, names in PARTS.items():
        half = halves[list(PARTS).index(part) >= list(PARTS).index(first)]
        for name in names:
            half[name] = nn.Flatten() if name == "flatten" else getattr(model, name)
    return nn.Sequential(halves[0]), nn.Sequential(halves[1])


def trunk_of(model: ResNet, train_from: str) -> nn.Sequential:
    """The part of the network whose output is kept: all before `train_from`.

    With "fc" the average pooling too: of what is averaged already, the head's own pooling changes nothing,
    and 512 numbers a picture are left instead of 512 maps.
    """
    trunk, head = split_at(model, train_from)
    return nn.Sequential(trunk, head.avgpool) if train_from == "fc" else trunk


def fused(trunk: nn.Sequential) -> nn.Sequential:
    """A copy of a frozen trunk whose BatchNorms are fused into the convolutions before them, in eval mode.

    BatchNorm with fixed statistics only scales and shifts each channel, and so does a convolution's weight
    and bias: the results are the same up to rounding, with one pass over the maps less for each layer.
    """
    trunk = copy.deepcopy(trunk).eval()
    for module in list(trunk.modules()):
        children = list(module.named_children())
        for (name, child), (next_name, following) in itertools.pairwise(children):
            if isinstance(child, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(child, following))
                setattr(module, next_name, nn.Identity())
    return trunk


def parameter_groups(
    model: nn.Module, weight_decay: float, decay_all: bool = False, layer_decay: float = 1.0
) -> list[dict]:
    """The trainable parameters for an optimiser, in groups: decayed and not decayed, of each part.

    BatchNorm's weights and all biases (the one-dimensional ones) are not decayed, unless `decay_all`:
    shrinking them does not make the network simpler. Source: He et al., "Bag of Tricks for Image
    Classification with Convolutional Neural Networks", 2018 (arXiv 1812.01187), section 3.1.

    layer_decay: what a part's learning rate is multiplied with, compared with the part after it; 1.0 gives
        all parts one rate, and two groups in all. Below 1 a group is {"rate": 1.0} for the head,
        {"rate": layer_decay} for layer4, {"rate": layer_decay ** 2} for layer3, and so on: discriminative
        rates. Source: Howard and Ruder, "Universal Language Model Fine-tuning", 2018 (arXiv 1801.06146).
    """
    by_rate: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            by_rate.setdefault(layer_decay ** _parts_before_head(name), []).append(parameter)
    return [
        {"params": [p for p in parameters if (p.ndim > 1) == many], "weight_decay": decay, "rate": rate}
        for rate, parameters in by_rate.items()
        for many, decay in ((True, weight_decay), (False, weight_decay if decay_all else 0.0))
    ]


def _parts_before_head(name: str) -> int:
    """How many parts of the network lie between a parameter and the end: 0 for the head, 1 for layer4, …"""
    module = name.partition(".")[0]
    for place, names in enumerate(reversed(PARTS.values())):
        if module in names:
            return place
    return 0  # a network of other parts, such as a small stack, has one rate


def _check_train_from(train_from: str) -> None:
    if train_from not in TRAIN_FROM:
        raise ValueError(f"train_from is {train_from!r}; it must be one of: {', '.join(TRAIN_FROM)}")
