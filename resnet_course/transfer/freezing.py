"""Freezing that lasts: through later calls of `train()`, copies, and files."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

from torch import nn

from resnet_course.transfer.parts import split_at

Network = TypeVar("Network", bound=nn.Module)


def freeze(model: Network, train_from: str, *, batchnorm_moves: bool = False) -> Network:
    """Freeze all parts before `train_from` and unfreeze the rest; returns the model.

    Frozen means that nothing moves: the parameters take no gradient, and BatchNorm stays in eval mode,
    whatever later calls `model.train()`, so its running statistics stay too.

    train_from: the first part to train: "all" (nothing frozen), "layer1" (the stem frozen), "layer2",
        "layer3", "layer4" or "fc" (only the head is trained).
    batchnorm_moves: leave frozen BatchNorm in training mode, the flaw of `recipes.ORIGINAL`.
    Raises ArgumentError as `split_at` does: a network without these parts knows only "all".
    """
    trunk, head = split_at(model, train_from)
    for part, frozen in ((trunk, True), (head, False)):
        part.requires_grad_(not frozen)
        for module in part.modules():
            module.__dict__.pop("train", None)
            if frozen and not batchnorm_moves:
                # A bound method could be pickled but not unpickled: pickle looks it up by name on the module.
                module.train = partial(_stay_in_eval_mode, module)
    model.train(model.training)
    return model


def _stay_in_eval_mode(module: nn.Module, mode: bool = True) -> nn.Module:
    """Stands in for `train()` on every frozen module. PyTorch calls it on the children, one by one."""
    return nn.Module.train(module, False)


def is_frozen(model: nn.Module, train_from: str) -> bool:
    """True if nothing before `train_from` can move: as `freeze` leaves it, at least up to there."""
    trunk, _ = split_at(model, train_from)
    modules = [module for part in trunk for module in part.modules()]
    stay = all("train" in module.__dict__ and not module.training for module in modules)
    return stay and not any(parameter.requires_grad for parameter in trunk.parameters())
