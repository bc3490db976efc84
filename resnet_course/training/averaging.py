"""The average of a network's weights over the steps of its training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights and BatchNorm statistics, where they are."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


class WeightAverage:
    """An exponential moving average of the weights that learn.

    decay: what stays of the average at each step, 0 up to 1; 0 keeps no average and costs nothing.
    good_start: whether the weights that it begins with are worth a part in it, as those of a linear probe
        are: after few steps, where training can spoil what was right, they are most of the average. False:
        early in training it forgets faster.
    Source: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992; the faster
    start is TensorFlow's ExponentialMovingAverage; averages with the weights before fine-tuning: Wortsman et
    al., "Robust fine-tuning of zero-shot models", 2022 (arXiv 2109.01903).
    """

    def __init__(self, model: nn.Module, decay: float, good_start: bool = False) -> None:
        self.model, self.decay, self.good_start, self.steps = model, decay, good_start, 0
        self.weights = snapshot(model) if decay else {}
        self.frozen = {name for name, weights in model.named_parameters() if not weights.requires_grad}

    @torch.no_grad()
    def update(self) -> None:
        """Take one step: move the average towards the model's weights."""
        if not self.decay:
            return
        self.steps += 1
        stays = self.decay if self.good_start else min(self.decay, self.steps / (9 + self.steps))
        for name, tensor in self.model.state_dict().items():
            if name in self.frozen:  # of a step on few images a pass over them would be a tenth
                continue
            if tensor.is_floating_point():
                self.weights[name].lerp_(tensor, 1 - stays)
            else:
                self.weights[name].copy_(tensor)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it the model holds the average; after it its latest weights again."""
        if not self.decay:
            yield
            return
        latest = snapshot(self.model)
        self.model.load_state_dict(self.weights)
        try:
            yield
        finally:
            self.model.load_state_dict(latest)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` goes on from."""
        return {"average": self.weights, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that may come from another device."""
        self.steps = state["steps"]
        for name, tensor in state["average"].items():
            self.weights[name].copy_(tensor)
