"""The best linear layer on fixed features, found by L-BFGS; a head can start as it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_course.common.errors import ArgumentError
from resnet_course.data.images import LabelledSet
from resnet_course.features import network_for
from resnet_course.inputs.batches import eval_batches
from resnet_course.machine import Engine
from resnet_course.recipes import STATISTICS_OF, Recipe
from resnet_course.resnet.network import eval_mode
from resnet_course.training.history import Measured

PROBE_DECAY = 0.1  # with 10 and with 50 images a class, 96 to 224 pixels, as good as any from 0.001 to 0.3
FOLDS = 5


def fit_linear(features: Tensor, labels: Tensor, num_classes: int, weight_decay: float = 1e-3) -> nn.Linear:
    """The linear layer with the lowest cross-entropy on fixed features, plus a penalty on its weights.

    features: float32 [N, C]. labels: int64 [N]. weight_decay: half of it times the squared weights of the
        standardised features is added to the mean loss.
    Returns a layer that takes features as they come. The problem is convex, so the answer does not depend
    on a learning rate or a seed; L-BFGS finds it. Source: Liu and Nocedal, "On the limited memory BFGS
    method for large scale optimization", 1989.
    Raises ArgumentError if there are no features or some are not finite.
    """
    if not len(features) or not features.isfinite().all():
        raise ArgumentError(
            f"a linear layer learns from finite features of one image or more; these are of {len(features)}"
            f"{', and some are infinite or not a number' if len(features) else ''}"
        )
    mean, std = features.mean(0), features.std(0, correction=min(1, len(features) - 1)).clamp(min=1e-6)
    standardised = (features - mean) / std
    layer = nn.Linear(features.shape[1], num_classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    options = {"max_iter": 200, "history_size": 10, "line_search_fn": "strong_wolfe"}
    optimizer = torch.optim.LBFGS(layer.parameters(), **options)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(layer(standardised), labels)
        value = value + 0.5 * weight_decay * layer.weight.square().sum()
        value.backward()
        return value

    # In one thread: matrices this small gain little from a second one, and beside another program it makes
    # them 20 times slower (500 and 100 images: 3.0 s and 3.7 s in two threads, 0.15 s and 0.17 s in one).
    with torch.enable_grad(), replace(Engine.of(layer), threads=1).computing():
        optimizer.step(loss)
    with torch.no_grad():  # the standardisation moves into the layer
        layer.weight.div_(std)
        layer.bias.sub_(layer.weight @ mean)
    return layer.requires_grad_(False)


def pooled_features(model: nn.Module, labelled_set: LabelledSet, recipe: Recipe, engine: Engine) -> Tensor:
    """What a network, as it is, gives to its head: float32 [V, N, C], of all V views of cached features.

    Images are looked at once, without augmentation.
    Raises ArgumentError if the head is more than one linear layer.
    """
    if not isinstance(getattr(model, "fc", None), nn.Linear):
        raise ArgumentError(
            "a linear probe takes the place of the head, but the model's head is not a single linear layer; "
            "take a ResNet with a plain head, or head 'random' and validation images"
        )
    found: list[Tensor] = []
    hook = model.fc.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].float().cpu()))
    network = network_for(model, labelled_set)
    try:
        with torch.inference_mode(), eval_mode(model), engine.computing():
            for inputs in _inputs(labelled_set, recipe):
                with engine.autocast():
                    network(engine.place(inputs))
    finally:
        hook.remove()
    with torch.inference_mode(False):
        return torch.cat(found).unflatten(0, (-1, len(labelled_set)))


def _inputs(labelled_set: LabelledSet, recipe: Recipe) -> Iterator[Tensor]:
    """All images in their order, view after view."""
    if labelled_set.kind == "images":
        yield from (inputs for inputs, _ in eval_batches(labelled_set, recipe))
        return
    for view in range(labelled_set.views):
        for indices in torch.arange(len(labelled_set)).split(recipe.batch_size):
            yield labelled_set.read(indices, view)


def take_statistics(model: nn.Module, labelled_set: LabelledSet, recipe: Recipe, engine: Engine) -> None:
    """Give the BatchNorm layers that will learn the statistics of the training images, at the recipe's size.

    While they learn they normalise by each batch. Where the stored statistics are those of other images, or
    of another size, a head that was fitted with them is wrong from the first step on.

    model: what is frozen of it keeps its statistics. The mean over the whole batches of STATISTICS_OF images
        is taken, or the only batch.
    Source: Li, Wang, Shi, Liu and Hou, "Revisiting Batch Normalization For Practical Domain Adaptation", 2016
    (arXiv 1603.04779).
    """
    network = network_for(model, labelled_set)
    with torch.no_grad(), eval_mode(model), engine.computing():
        norms = [each for each in network.train().modules() if isinstance(each, nn.BatchNorm2d)]
        learn = [(norm, norm.momentum) for norm in norms if norm.training]
        for norm, _ in learn:
            norm.reset_running_stats()
            norm.momentum = None  # the mean of all batches counts, not mostly the last ones
        try:
            for number, inputs in enumerate(_inputs(labelled_set, recipe)):
                enough = number * recipe.batch_size >= STATISTICS_OF
                if enough or (number and len(inputs) < recipe.batch_size):
                    break
                with engine.autocast():
                    network(engine.place(inputs))
        finally:
            for norm, momentum in learn:
                norm.momentum = momentum


def start_head_as_linear_probe(model: nn.Module, features: Tensor, labels: Tensor) -> None:
    """Give `model.fc` the best linear layer on what the network, as it is, makes of the training images.

    A head from random sends large and meaningless gradients into pretrained layers, and with few images those
    forget more than they learn.

    features: what `pooled_features` found. labels: int64 [N].
    Source: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution",
    2022 (arXiv 2202.10054): linear probing, then fine-tuning.
    """
    best = _probe(features, labels, model.fc.out_features)
    with torch.no_grad():
        model.fc.weight.copy_(best.weight)
        model.fc.bias.copy_(best.bias)


def cross_validated(features: Tensor, labels: Tensor, groups: Sequence[str], num_classes: int) -> Measured:
    """How well a linear probe answers for images that it has not learned from, measured on all images.

    The images are dealt into FOLDS folds, class by class, all of a group into one; each fold is answered by
    a probe that learned from the others, by the mean of its logits over an image's views.

    features: what `pooled_features` found. labels: int64 [N]. groups: of each image what it belongs to.
    Source: stratified cross-validation as in Kohavi, "A Study of Cross-Validation and Bootstrap for Accuracy
    Estimation and Model Selection", 1995.
    """
    fold = _folds(labels, groups)
    logits = torch.empty(len(labels), num_classes)
    for own in fold.unique():
        probe = _probe(features[:, fold != own], labels[fold != own], num_classes)
        logits[fold == own] = probe(features[:, fold == own]).mean(0)
    loss, right = F.cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).float().mean().item()
    return Measured(loss, right, len(labels), folds=len(fold.unique()))


def _probe(features: Tensor, labels: Tensor, num_classes: int) -> nn.Linear:
    return fit_linear(features.flatten(0, 1), labels.repeat(len(features)), num_classes, PROBE_DECAY)


def _folds(labels: Tensor, groups: Sequence[str]) -> Tensor:
    """The fold of each image: the groups of a class, in the order of their digests, are dealt in turn."""
    label_of = dict(zip(groups, labels.tolist(), strict=True))
    digests = {group: hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest() for group in label_of}
    in_turn = sorted(label_of, key=lambda group: (label_of[group], digests[group]))
    fold = {group: number % FOLDS for number, group in enumerate(in_turn)}
    return torch.tensor([fold[group] for group in groups])
