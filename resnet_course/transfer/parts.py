"""The parts of a ResNet, in order, and the network cut in two between them."""

from __future__ import annotations

import copy
import itertools
from collections import OrderedDict

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from resnet_course.common.errors import ArgumentError

PARTS = {
    "stem": ("conv1", "bn1", "relu", "maxpool"),
    "layer1": ("layer1",),
    "layer2": ("layer2",),
    "layer3": ("layer3",),
    "layer4": ("layer4",),
    "fc": ("avgpool", "flatten", "dropout", "fc"),
}
# `train_from` names the first part that is trained; all before it is frozen. "all" freezes nothing.
TRAIN_FROM = ("all", *tuple(PARTS)[1:])


def check_train_from(train_from: str) -> None:
    """Raise ArgumentError unless `train_from` is one of TRAIN_FROM."""
    if train_from not in TRAIN_FROM:
        raise ArgumentError(f"train_from is {train_from!r}; it must be one of: {', '.join(TRAIN_FROM)}")


def split_at(model: nn.Module, train_from: str) -> tuple[nn.Sequential, nn.Module]:
    """The network in two: (trunk, head), where head(trunk(x)) == model(x) and both share its modules.

    train_from: the first part of the head: "layer1" … "layer4", or "fc", with which the head is pooling,
        dropout and the linear layer. With "all" the trunk is empty and the head the model itself.
    Raises ArgumentError for another `train_from`, and if the model has no such parts and it is not "all".
    """
    check_train_from(train_from)
    if train_from == "all":
        return nn.Sequential(), model
    modules = dict(model.named_children()) | {"flatten": nn.Flatten()}
    if missing := [name for names in PARTS.values() for name in names if name not in modules]:
        raise ArgumentError(
            f"train_from is {train_from!r}, but this {type(model).__name__} has no {', '.join(missing)}: "
            "only a ResNet can be cut there; take train_from 'all'"
        )
    before = list(PARTS).index(train_from)
    trunk, head = (
        nn.Sequential(OrderedDict((name, modules[name]) for part in parts for name in PARTS[part]))
        for parts in (list(PARTS)[:before], list(PARTS)[before:])
    )
    return trunk, head


def trunk_of(model: nn.Module, train_from: str) -> nn.Sequential:
    """The part of the network whose output is kept: all before `train_from`, as in `split_at`.

    With "fc" the average pooling too: of what is averaged already, the head's own pooling changes nothing,
    and 512 numbers an image are left instead of 512 maps.
    """
    trunk, head = split_at(model, train_from)
    return nn.Sequential(trunk, head.avgpool) if train_from == "fc" else trunk


def fused(model: nn.Module) -> nn.Module:
    """A copy of a network, or of its trunk, whose BatchNorms are fused into the convolutions, in eval mode.

    BatchNorm with fixed statistics only scales and shifts each channel, and so does a convolution's weight
    and bias: the results are the same up to rounding, with one pass over the maps less for each layer.
    The copy is where the network is; a BatchNorm is found where it follows its convolution in the order of
    the modules.
    """
    model = copy.deepcopy(model).eval()
    for module in list(model.modules()):
        children = list(module.named_children())
        for (name, child), (next_name, following) in itertools.pairwise(children):
            if isinstance(child, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(child, following))
                setattr(module, next_name, nn.Identity())
    return model
