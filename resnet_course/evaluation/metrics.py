"""What predictions say: confusions, scores of each class, calibration, comparisons, outliers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from resnet_course.evaluation.predictions import Predictions


def confusion_matrix(predictions: Predictions) -> Tensor:
    """Counts, int64 [C, C]: row = the true class, column = the predicted one. All classes are there."""
    classes = len(predictions.classes)
    pairs = predictions.labels * classes + predictions.predicted
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def confusable_order(matrix: Tensor) -> list[int]:
    """An order of the classes in which those that are confused stand together.

    matrix: a confusion matrix [C, C]. The pair with most confusions (both ways, as rates) begins; then the
    class that is confused most with one of the two ends is put there, until none is left.
    """
    rates = matrix.double() / matrix.sum(1, keepdim=True).clamp(min=1)
    mixed = rates + rates.T
    mixed.fill_diagonal_(-1)
    if len(mixed) < 2:
        return list(range(len(mixed)))
    order = list(divmod(int(mixed.argmax()), len(mixed)))
    while len(order) < len(mixed):
        left = [label for label in range(len(mixed)) if label not in order]
        first = max(left, key=lambda label: float(mixed[order[0], label]))
        last = max(left, key=lambda label: float(mixed[order[-1], label]))
        if mixed[order[0], first] > mixed[order[-1], last]:
            order.insert(0, first)
        else:
            order.append(last)
    return order


@dataclass(frozen=True)
class ClassScores:
    """How well one class is found. Each is 0 to 1; None where nothing could be divided.

    precision: of what was called so, the share that is. recall: of what is, the share that was called so.
    f1: the harmonic mean of both. pictures: how many are of this class.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    pictures: int


def class_scores(predictions: Predictions) -> dict[str, ClassScores]:
    """Precision, recall and F1 of every class. F1 is None for a class that is neither there nor predicted."""
    matrix = confusion_matrix(predictions)
    found = {}
    for label, name in enumerate(predictions.classes):
        right, called, there = (
            int(n) for n in (matrix[label, label], matrix[:, label].sum(), matrix[label].sum())
        )
        found[name] = ClassScores(
            right / called if called else None,
            right / there if there else None,
            2 * right / (called + there) if called + there else None,
            there,
        )
    return found


def top_accuracy(predictions: Predictions, count: int) -> float:
    """The share of pictures whose true class is among the `count` classes with the highest logits."""
    if not 1 <= count <= len(predictions.classes):
        raise ValueError(f"count is {count}; it must be from 1 to {len(predictions.classes)}, the classes")
    ranked = predictions.logits.sort(dim=1, descending=True, stable=True).indices[:, :count]
    return float((ranked == predictions.labels[:, None]).any(1).double().mean())


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
    """Confidence against accuracy in equal ranges of confidence, the same as `Predictions.ece` sums up."""
    confidence = predictions.probabilities.max(1).values.double()
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
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
        raise ValueError(f"the temperature is {temperature}; it must be above 0")
    return replace(predictions, logits=predictions.logits / temperature)


def coverage_curve(predictions: Predictions) -> tuple[Tensor, Tensor]:
    """Accuracy if only the most confident predictions count: (coverage, accuracy), float64 [N] each, 0 to 1.

    Entry k: the share k + 1 of N of the pictures is answered, the others get "I don't know".
    """
    order = predictions.probabilities.max(1).values.sort(descending=True, stable=True).indices
    answered = torch.arange(1, len(predictions) + 1, dtype=torch.float64)
    return answered / len(predictions), predictions.correct[order].double().cumsum(0) / answered


@dataclass(frozen=True)
class Comparison:
    """Two networks on the same pictures. p_value: how often equal networks would differ at least so much."""

    only_first_right: int
    only_second_right: int
    p_value: float


def mcnemar(first: Predictions, second: Predictions) -> Comparison:
    """Compare two networks on the same pictures, by those that only one of them has right.

    The exact test: under equal networks each such picture is a coin toss. Raises ValueError if the labels of
    the two differ. Source: McNemar, "Note on the sampling error of the difference between correlated
    proportions", 1947.
    """
    if not torch.equal(first.labels, second.labels):
        raise ValueError("the two were not made on the same pictures in the same order: their labels differ")
    one = int((first.correct & ~second.correct).sum())
    two = int((second.correct & ~first.correct).sum())
    tosses, fewer = one + two, min(one, two)
    tail = sum(math.comb(tosses, k) for k in range(fewer + 1))
    return Comparison(one, two, min(1.0, tail / 2 ** (tosses - 1)) if tosses else 1.0)


# Noticing what belongs to none of the classes. A score is higher, the more a picture is like one of them.


def maximum_softmax(logits: Tensor) -> Tensor:
    """The highest probability of each row: float [N]. Source: Hendrycks, Gimpel 2016 (arXiv 1610.02136)."""
    return logits.softmax(1).max(1).values


def negative_energy(logits: Tensor) -> Tensor:
    """The log of the summed exponentials of each row: float [N]. Source: Liu et al., arXiv 2010.03759."""
    return logits.logsumexp(1)


def negative_mahalanobis(features: Tensor, known: Tensor, labels: Tensor) -> Tensor:
    """Minus the distance from each row to the nearest mean of a class, each direction by its own spread.

    features: float [N, D]. known, labels: the features [M, D] and classes int64 [M] of training pictures.
    Returns float [N]: minus the Mahalanobis distance with one covariance for all classes.
    Source: Lee et al. 2018 (arXiv 1807.03888).
    """
    present = labels.unique()
    means = torch.stack([known[labels == label].mean(0) for label in present]).double()
    within = known.double() - means[torch.searchsorted(present, labels)]
    covariance = within.T @ within / len(known)
    covariance += 1e-3 * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)
    root = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(root, features.double().T, upper=False).T
    white_means = torch.linalg.solve_triangular(root, means.T, upper=False).T
    return -torch.cdist(white, white_means).min(1).values


def roc_curve(known: Tensor, unknown: Tensor) -> tuple[Tensor, Tensor, float]:
    """How well a score tells known pictures from unknown ones, for every threshold.

    known, unknown: scores [N] and [M], higher for known.
    Returns (the share of unknown pictures accepted, the share of known ones accepted, the area under the
    curve): float64 [K], [K], and 0 to 1, where 0.5 is chance.
    """
    if not len(known) or not len(unknown):
        raise ValueError(
            f"{len(known)} known and {len(unknown)} unknown pictures; it takes at least one of each"
        )
    thresholds = torch.cat([known, unknown]).unique().flip(0)
    shares = [
        torch.cat([torch.zeros(1), (scores[:, None] >= thresholds).double().mean(0)]).double()
        for scores in (unknown, known)
    ]
    false, true = shares
    area = float(((false[1:] - false[:-1]) * (true[1:] + true[:-1]) / 2).sum())
    return false, true, area
