"""The best linear layer on fixed features, found by L-BFGS."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def fit_linear(features: Tensor, labels: Tensor, num_classes: int, weight_decay: float = 1e-3) -> nn.Linear:
    """The linear layer with the lowest cross-entropy on fixed features, plus a penalty on its weights.

    features: float32 [N, C]. labels: int64 [N]. weight_decay: half of it times the squared weights of the
        standardised features is added to the mean loss.
    Returns a layer that takes features as they come. The problem is convex, so the answer does not depend
    on a learning rate or a seed; L-BFGS finds it. Source: Liu and Nocedal, "On the limited memory BFGS
    method for large scale optimization", 1989.
    """
    mean, std = features.mean(0), features.std(0).clamp(min=1e-6)
    standardised = (features - mean) / std
    layer = nn.Linear(features.shape[1], num_classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(layer(standardised), labels)
        value = value + 0.5 * weight_decay * layer.weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    with torch.no_grad():  # the standardisation moves into the layer
        layer.weight.div_(std)
        layer.bias.sub_(layer.weight @ mean)
    return layer.requires_grad_(False)
