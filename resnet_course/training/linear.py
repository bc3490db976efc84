"""The best linear layer on fixed features, found by L-BFGS; a head can start as it."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_course.common.errors import ArgumentError
from resnet_course.data.images import LabelledSet
from resnet_course.features import network_for
from resnet_course.inputs.batches import train_batches
from resnet_course.machine import Engine
from resnet_course.recipes import Recipe
from resnet_course.resnet.network import eval_mode

PROBE_DECAY = 0.1  # with 10 and with 50 images a class, 96 to 224 pixels, as good as any from 0.001 to 0.3


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


def start_head_as_linear_probe(model: nn.Module, train: LabelledSet, recipe: Recipe, engine: Engine) -> None:
    """Give `model.fc` the best linear layer on what the network, as it is, makes of the training images.

    A head from random sends large and meaningless gradients into pretrained layers, and with few images those
    forget more than they learn. Every image is looked at as often as the recipe caches views, at least once.
    Source: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution",
    2022 (arXiv 2202.10054): linear probing, then fine-tuning.
    Raises ArgumentError if the head is more than one linear layer.
    """
    if not isinstance(getattr(model, "fc", None), nn.Linear):
        raise ArgumentError(
            "the recipe's head is 'linear_probe', but the model's head is not a single linear layer; take a "
            "ResNet with a plain head, or head 'random'"
        )
    plan = replace(recipe, mix="none")
    pooled: list[Tensor] = []
    labels: list[Tensor] = []
    hook = model.fc.register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0].float().cpu()))
    generator = torch.Generator().manual_seed(recipe.seed)
    network = network_for(model, train)
    try:
        with torch.inference_mode(), eval_mode(model), engine.computing():
            for _ in range(max(1, recipe.cached_views)):
                for inputs, targets in train_batches(train, plan, generator):
                    with engine.autocast():
                        network(engine.place(inputs))
                    labels.append(targets)
    finally:
        hook.remove()
    with torch.inference_mode(False):
        best = fit_linear(torch.cat(pooled).clone(), torch.cat(labels), model.fc.out_features, PROBE_DECAY)
    with torch.no_grad():
        model.fc.weight.copy_(best.weight)
        model.fc.bias.copy_(best.bias)
