"""Answering only what is sure, or with as many classes as it takes: selective and conformal prediction."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from resnet_course.common.errors import ArgumentError
from resnet_course.evaluation.predictions import Predictions


def coverage_curve(predictions: Predictions) -> tuple[Tensor, Tensor]:
    """Accuracy if only the most confident predictions count: (coverage, accuracy), float64 [N] each, 0 to 1.

    Entry k: the k + 1 surest of the N images are answered, the others get "I don't know". One minus the
    accuracy is the selective risk. Source: Geifman and El-Yaniv, 2017 (arXiv 1705.08500).
    """
    order = predictions.probabilities.max(1).values.sort(descending=True, stable=True).indices
    answered = torch.arange(1, len(predictions) + 1, dtype=torch.float64)
    return answered / len(predictions), predictions.correct[order].double().cumsum(0) / answered


def area_under_risk_coverage(predictions: Predictions) -> float:
    """The mean of the selective risk over all coverages (AURC), 0 to 1: lower is better.

    With a confidence that means nothing it is about the error rate; with all right answers before all wrong
    ones it is as low as the accuracy allows. Source: Geifman, Uziel and El-Yaniv, 2018 (arXiv 1805.08206).
    """
    return float((1 - coverage_curve(predictions)[1]).mean())


def threshold_for(predictions: Predictions, coverage: float) -> float:
    """The confidence from which on a network answers, so that it answers this part of the images.

    predictions: on validation images. coverage: above 0 and up to 1. Raises ArgumentError for another one.
    """
    if not 0 < coverage <= 1:
        raise ArgumentError(f"the coverage is {coverage}; it must be above 0 and up to 1")
    surest = predictions.probabilities.max(1).values.sort(descending=True).values
    return float(surest[math.ceil(coverage * len(surest) - 1e-9) - 1])


def threshold_of_doubt(predictions: Predictions) -> float:
    """The confidence below which answers are more often wrong than right; 0 if there is none.

    It is the threshold with the most right answers less wrong ones among the images that are answered.
    predictions: on validation images, with the temperature that will be used.
    Source: Chow, "On Optimum Recognition Error and Reject Tradeoff", 1970, with half a mistake's cost for "I
    don't know".
    """
    sorted_by = predictions.probabilities.max(1).values.sort(descending=True, stable=True)
    gain = (2 * predictions.correct[sorted_by.indices].long() - 1).cumsum(0)
    last = int(len(gain) - 1 - gain.flip(0).argmax())  # of equal ones the threshold that answers most
    return 0.0 if last == len(gain) - 1 else float(sorted_by.values[last])


def conformal_quantile(predictions: Predictions, miss: float = 0.1) -> float:
    """How improbable a class may be, and still belong to the set of answers; 1 minus its least probability.

    The score of an image is 1 minus the probability of its true class. Of N calibration images it is the
    score at place ceil((N + 1)(1 - miss)), the least first; 1 if there are too few of them for that.
    predictions: on images that the network was not trained on. miss: the part of future sets that may miss
        the truth, above 0 and below 1. Raises ArgumentError for another one.
    Source: Vovk, Gammerman and Shafer, 2005; Sadinle, Lei and Wasserman, 2019 (arXiv 1609.00451).
    """
    if not 0 < miss < 1:
        raise ArgumentError(f"the part that may miss is {miss}; it must be above 0 and below 1")
    scores = 1 - predictions.probabilities.gather(1, predictions.labels[:, None])[:, 0].double()
    place = math.ceil((len(scores) + 1) * (1 - miss) - 1e-9)
    return float(scores.sort().values[place - 1]) if place <= len(scores) else 1.0


def prediction_sets(probabilities: Tensor, quantile: float) -> Tensor:
    """The classes that are improbable no more than `quantile` allows: bool [N, C]. A set may be empty.

    probabilities: float [N, C]. quantile: of `conformal_quantile`. If the new images come from where the
    calibration images came from, the sets hold the truth at least as often as was asked for, on average over
    both: split conformal prediction. For a single class or a changed source nothing is promised.
    """
    return 1 - probabilities.double() <= quantile
