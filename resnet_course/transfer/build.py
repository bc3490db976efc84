"""A network to start from, and a network brought in line with its recipe."""

from __future__ import annotations

import os
from typing import Protocol

from torch import nn

from resnet_course.common.errors import ArgumentError
from resnet_course.resnet.network import ResNet, resnet18
from resnet_course.transfer.freezing import Network, freeze
from resnet_course.transfer.parts import check_train_from
from resnet_course.transfer.weights import load_weights


class WhatIsTrained(Protocol):
    """The fields of a recipe that say what of a network is trained."""

    train_from: str
    dropout: float
    batchnorm_moves: bool


def build_model(
    num_classes: int,
    weights: str | os.PathLike | None = "auto",
    train_from: str = "layer4",
    dropout: float = 0.5,
) -> ResNet:
    """A ResNet-18 with pretrained weights, a new head for `num_classes`, and all before `train_from` frozen.

    `training.fit` brings `train_from` and `dropout` in line with its recipe, whatever they are here.

    weights: "imagenet", "builtin", "none" (or None), the path of a ResNet-18's state dict (see
        `load_weights`), or "auto": ImageNet's if they are on disk or can be downloaded, else the built-in
        ones, said aloud.
    train_from: "all", "layer1" … "layer4" or "fc", as in `freeze`.
    dropout: probability of zeroing each pooled feature while training.
    Raises ArgumentError, WeightsError, or DownloadError if ImageNet's weights were asked for and cannot be
    had.

    The new head is drawn from torch's global random numbers: call `torch.manual_seed` first.
    """
    check_train_from(train_from)  # before the weights are downloaded
    state = load_weights(weights)
    width = 64 if state is None else len(state["conv1.weight"])
    model = freeze(resnet18(num_classes, width, dropout), train_from)
    if state is not None:
        trunk = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
        model.load_state_dict(trunk, strict=False)  # load_weights has compared every tensor
    return model


def apply_recipe(model: Network, recipe: WhatIsTrained) -> Network:
    """Bring a network in line with its recipe: its dropout, and what of it is frozen; returns the network.

    Raises ArgumentError for a network that cannot follow it: without the part that the recipe trains from,
    or without a dropout for the recipe's.
    """
    dropout = getattr(model, "dropout", None)
    if isinstance(dropout, nn.Dropout):
        dropout.p = recipe.dropout
    elif recipe.dropout:
        raise ArgumentError(
            f"the recipe's dropout is {recipe.dropout:g}, but this {type(model).__name__} has no dropout; "
            "take a recipe with dropout 0, or a ResNet"
        )
    return freeze(model, recipe.train_from, batchnorm_moves=recipe.batchnorm_moves)
