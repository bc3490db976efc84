"""The optimisers that a recipe can name."""

from __future__ import annotations

from collections.abc import Callable

from torch.optim import SGD, AdamW, Optimizer

# By name: from parameter groups and the highest learning rate to an optimiser.
OPTIMIZERS: dict[str, Callable[[list[dict], float], Optimizer]] = {
    "adamw": lambda groups, learning_rate: AdamW(groups, lr=learning_rate),
    "sgd": lambda groups, learning_rate: SGD(groups, lr=learning_rate, momentum=0.9, nesterov=True),
}
