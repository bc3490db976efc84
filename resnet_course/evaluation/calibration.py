"""Whether a network is as sure as it is right: reliability, calibration error, temperature."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from resnet_course.common.errors import ArgumentError

if TYPE_CHECKING:
    from resnet_course.evaluation.predictions import Predictions


@dataclass(frozen=True)
class Bin:
    """The predictions whose confidence lies above `low` and up to `high`.

    confidence and accuracy: their means, 0 to 1; None in an empty bin.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


def reliability(predictions: Predictions, bins: int = 15, equal_mass: bool = False) -> list[Bin]:
    """Confidence against accuracy, bin by bin; `Predictions.ece` sums them up.

    bins: how many. equal_mass: False, the bins are equal ranges of confidence, some of which may be empty;
        True, they hold equal numbers of predictions (one more or less), the least sure first.
    Source of the latter: Nguyen and O'Connor, 2015 (arXiv 1508.05154).
    """
    confidence = predictions.probabilities.max(1).values.double()
    correct = predictions.correct.double()
    if equal_mass:
        order = confidence.argsort(stable=True).tensor_split(min(bins, len(predictions)))
        edges = [0.0, *(float(confidence[part[-1]]) for part in order[:-1]), 1.0]
        means = [(float(confidence[part].mean()), float(correct[part].mean())) for part in order]
        return [
            Bin(edges[n], edges[n + 1], len(part), *mean)
            for n, (part, mean) in enumerate(zip(order, means, strict=True))
        ]
    place = _places(confidence, bins)
    count = torch.bincount(place, minlength=bins).tolist()
    sums = [
        torch.zeros(bins, dtype=torch.float64).index_add_(0, place, values).tolist()
        for values in (confidence, correct)
    ]
    return [
        Bin(n / bins, (n + 1) / bins, count[n], *((s[n] / count[n] if count[n] else None) for s in sums))
        for n in range(bins)
    ]


def _places(confidence: Tensor, bins: int) -> Tensor:
    """The bin of each confidence among equal ranges (0, 1/15], (1/15, 2/15], …"""
    return (confidence * bins).ceil().long().clamp(1, bins) - 1


def ece_without_error(
    predictions: Predictions,
    bins: int = 15,
    equal_mass: bool = False,
    draws: int = 1_000,
    seed: int = 0,
    quantile: float | None = None,
) -> float:
    """The calibration error that a perfectly calibrated network would show on so many images: 0 to 1.

    Few images show an error even where there is none, because each bin's accuracy is a sample. Here the
    confidences stay, and what is right is drawn with exactly their probability. draws: of which it is the
    mean. seed: of the draws. quantile: 0 to 1, of the draws, in place of their mean.
    Source: Vaicenavicius et al., "Evaluating model calibration in classification", 2019 (arXiv 1902.06977).
    """
    confidence = predictions.probabilities.max(1).values.double().clamp(max=1)
    if equal_mass:
        parts = confidence.argsort(stable=True).tensor_split(min(bins, len(predictions)))
        place = torch.empty(len(predictions), dtype=torch.int64)
        for number, part in enumerate(parts):
            place[part] = number
    else:
        place = _places(confidence, bins)
    generator = torch.Generator().manual_seed(seed)
    errors = torch.empty(draws, dtype=torch.float64)
    for draw in range(draws):  # one at a time: all together take gigabytes for 100,000 images
        right = torch.rand(len(predictions), generator=generator, dtype=torch.float64) < confidence
        gaps = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, confidence - right.double())
        errors[draw] = gaps.abs().sum() / len(predictions)
    return float(errors.mean() if quantile is None else errors.quantile(quantile))


def overconfidence(predictions: Predictions) -> tuple[float, tuple[float, float]]:
    """Mean confidence minus accuracy, -1 to 1, and its 95% confidence interval.

    Above 0: too sure. Unlike the calibration error it has a sign and, for few images too, no bias; but what
    is too sure here and not sure enough there cancels. The interval is the normal approximation.
    """
    gaps = predictions.probabilities.max(1).values.double() - predictions.correct.double()
    gap = float(gaps.mean())
    spread = 1.96 * float(gaps.std()) / math.sqrt(len(gaps)) if len(gaps) > 1 else 1.0
    return gap, (gap - spread, gap + spread)


def fit_temperature(predictions: Predictions) -> float:
    """The number above 0 that divides the logits so that their cross-entropy is lowest.

    Fit it on validation predictions. It changes confidence, not the predicted class.
    Source: Guo et al., "On Calibration of Modern Neural Networks", 2017 (arXiv 1706.04599).
    """
    logits, labels = predictions.logits.double(), predictions.labels
    low, high = math.log(1e-2), math.log(1e2)  # the loss has one valley in the logarithm of the temperature
    ratio = (math.sqrt(5) - 1) / 2  # golden-section search

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(logits / math.exp(log_temperature), labels))

    while high - low > 1e-5:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def with_temperature(predictions: Predictions, temperature: float) -> Predictions:
    """The same predictions with their logits divided by a temperature, which must be above 0."""
    if not temperature > 0:
        raise ArgumentError(f"the temperature is {temperature}; it must be above 0")
    return replace(predictions, logits=predictions.logits / temperature)
