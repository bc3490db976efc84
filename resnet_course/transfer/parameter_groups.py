"""The parameters for an optimiser, in groups with a rate and a decay of their own."""

from __future__ import annotations

import re

from torch import nn


def parameter_groups(
    model: nn.Module, weight_decay: float, decay_all: bool = False, layer_decay: float = 1.0
) -> list[dict]:
    """The trainable parameters for an optimiser, in groups: decayed and not decayed, of each part.

    BatchNorm's weights and all biases (the one-dimensional ones) are not decayed, unless `decay_all`:
    shrinking them does not make the network simpler. Source: He et al., "Bag of Tricks for Image
    Classification with Convolutional Neural Networks", 2018 (arXiv 1812.01187), section 3.1.

    layer_decay: what a part's learning rate is multiplied with, compared with the part after it; 1.0 gives
        all parts one rate, and two groups in all. Below 1 a group is {"rate": 1.0} for the head,
        {"rate": layer_decay} for the last stage (layer4 in a ResNet, layer3 in a stack),
        {"rate": layer_decay ** 2} for the one before, and so on to the stem: discriminative rates. Source:
        Howard and Ruder, "Universal Language Model Fine-tuning", 2018 (arXiv 1801.06146).
    """
    parts = _parts_before_head(model)
    by_rate: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = layer_decay ** parts[name.partition(".")[0]]
            by_rate.setdefault(rate, []).append(parameter)
    return [
        {"params": [p for p in parameters if (p.ndim > 1) == many], "weight_decay": decay, "rate": rate}
        for rate, parameters in by_rate.items()
        for many, decay in ((True, weight_decay), (False, weight_decay if decay_all else 0.0))
    ]


def _parts_before_head(model: nn.Module) -> dict[str, int]:
    """By name of the model's modules and parameters: 0 for the head, 1 for the last stage, … up to the stem.

    Stages are called layer1, layer2, …; a network without any is all head, and has one rate.
    """
    names = [name for name, _ in model.named_children()]
    stages = [name for name in names if re.fullmatch(r"layer\d+", name)]
    parts = dict.fromkeys([name for name, _ in model.named_parameters(recurse=False)], 0)
    for place, name in enumerate(names):
        later = sum(stage in names[place:] for stage in stages)  # and this one, if it is a stage
        in_the_stem = bool(stages) and place < names.index(stages[0])
        parts[name] = later + in_the_stem
    return parts
