"""Whether a network is as sure as it is right: reliability, temperature, answering only what is sure."""

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


def reliability(predictions: Predictions, bins: int = 15) -> list[Bin]:
    """Confidence against accuracy in equal ranges of confidence; `Predictions.ece` sums them up."""
    confidence = predictions.probabilities.max(1).values.double()
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1  # (0, 1/15], (1/15, 2/15], …
    count = torch.bincount(place, minlength=bins).tolist()
    sums = [
        torch.zeros(bins, dtype=torch.float64).index_add_(0, place, values).tolist()
        for values in (confidence, predictions.correct.double())
    ]
    return [
        Bin(n / bins, (n + 1) / bins, count[n], *((s[n] / count[n] if count[n] else None) for s in sums))
        for n in range(bins)
    ]


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


def coverage_curve(predictions: Predictions) -> tuple[Tensor, Tensor]:
    """Accuracy if only the most confident predictions count: (coverage, accuracy), float64 [N] each, 0 to 1.

    Entry k: the k + 1 surest of the N images are answered, the others get "I don't know".
    """
    order = predictions.probabilities.max(1).values.sort(descending=True, stable=True).indices
    answered = torch.arange(1, len(predictions) + 1, dtype=torch.float64)
    return answered / len(predictions), predictions.correct[order].double().cumsum(0) / answered
