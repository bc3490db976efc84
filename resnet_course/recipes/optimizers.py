"""The optimisers that a recipe can name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer


def _adamw(groups: list[dict], learning_rate: float) -> Optimizer:
    """AdamW; on the CPU by PyTorch's fused kernel, the same sums in one pass through memory.

    It takes a fraction of the time (`benchmarks/time_to_accuracy.py optimizer`). On other devices PyTorch
    takes its own fast way.
    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019 (arXiv 1711.05101).
    """
    if any(weights.device.type != "cpu" for group in groups for weights in group["params"]):
        return AdamW(groups, lr=learning_rate)
    optimizer = _FusedAdamW(groups, lr=learning_rate, fused=True)
    optimizer.register_step_pre_hook(_bring_in_order)
    return optimizer


class _FusedAdamW(AdamW):
    """AdamW whose fused kernel gets all numbers as they lie in memory, one after the other.

    Of weights in channels-last memory it would make a copy in the other order, in every step.
    """

    def _init_group(self, group: dict[str, Any], *lists: Any) -> Any:
        """Collect weights, gradients and averages, which `_bring_in_order` has laid alike."""
        found = super()._init_group(group, *lists)
        for tensors in lists:
            if isinstance(tensors, list):  # whatever else a version of PyTorch passes
                tensors[:] = map(_as_it_lies, tensors)
        return found


def _as_it_lies(tensor: Tensor) -> Tensor:
    """The same numbers, the axis with the largest steps in memory first."""
    return tensor.detach().permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))


def _bring_in_order(optimizer: Optimizer, *_: Any) -> None:
    """Before a step, lay all gradients and averages in memory as their weights lie.

    The fused kernel walks through them from the first byte to the last and never asks in which order the
    numbers lie. Those of a network that was contiguous and is now channels-last would silently go to the
    wrong weights.
    """
    for weights in (weights for group in optimizer.param_groups for weights in group["params"]):
        if weights.grad is not None:
            weights.grad = _in_order_of(weights, weights.grad)
        state = optimizer.state.get(weights, {})
        state |= {name: _in_order_of(weights, tensor) for name, tensor in state.items() if name != "step"}


def _in_order_of(weights: Tensor, tensor: Tensor) -> Tensor:
    """The tensor, its numbers in memory in the order of the weights'; not copied where they are."""
    if tensor.stride() == weights.stride():
        return tensor
    return torch.empty_like(weights, requires_grad=False).copy_(tensor)


# By name: from parameter groups and the highest learning rate to an optimiser.
OPTIMIZERS: dict[str, Callable[[list[dict], float], Optimizer]] = {
    "adamw": _adamw,
    "sgd": lambda groups, learning_rate: SGD(groups, lr=learning_rate, momentum=0.9, nesterov=True),
}
