"""The learning-rate schedules that a recipe can name: pure functions, which can be plotted and tested."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence


def one_cycle(progress: float, warmup: float = 0.2) -> float:
    """The factor on the learning rate: up in a straight line, then down half a cosine to 0.

    progress: the part of the training that is done, 0 to 1. warmup: the part that goes up.
    Source: Smith and Topin, "Super-Convergence", 2017 (arXiv 1708.07120), with a cosine for the way down.
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def plateau(accuracies: Sequence[float], patience: int = 2, factor: float = 0.5) -> float:
    """The factor on the learning rate after epochs with these validation accuracies.

    It is multiplied by `factor` once more than `patience` epochs in a row brought nothing better:
    torch's ReduceLROnPlateau with mode "max", as a pure function.
    """
    scale, best, waited = 1.0, -math.inf, 0
    for accuracy in accuracies:
        if accuracy > best * 1.0001:  # torch's threshold: a ten-thousandth more than the best
            best, waited = accuracy, 0
        else:
            waited += 1
        if waited > patience:
            scale, waited = scale * factor, 0
    return scale


# By name: the factor, from the part of the training that is done, 0 to 1, and the accuracies so far.
SCHEDULES: dict[str, Callable[[float, Sequence[float]], float]] = {
    "one_cycle": lambda progress, accuracies: one_cycle(progress),
    "plateau": lambda progress, accuracies: plateau(accuracies),
    "constant": lambda progress, accuracies: 1.0,
}
