"""What predictions say: confusions, scores of each class, and which of two networks is better."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from resnet_course.common.errors import ArgumentError
from resnet_course.evaluation.predictions import Predictions, wilson_interval


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
    """How well one class is found. Each is 0 to 1; None where there is nothing to divide by.

    precision: of what was called so, which part is. recall: of what is, which part was called so.
    f1: the harmonic mean of both. images: how many are of this class.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    images: int


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


def macro_recall(predictions: Predictions) -> float:
    """The mean of the classes' recalls, 0 to 1: each class counts the same, however many images it has.

    Also called balanced accuracy. A class without images does not count.
    """
    recalls = [recall for recall in predictions.per_class.values() if recall is not None]
    return sum(recalls) / len(recalls)


def worst_class(predictions: Predictions) -> tuple[str, float, tuple[float, float]]:
    """The class that is found least often: its name, its recall, and Wilson's 95% interval of that.

    Of equal recalls the first. Classes without images do not count.
    """
    recalls = {name: recall for name, recall in predictions.per_class.items() if recall is not None}
    name = min(recalls, key=recalls.__getitem__)
    members = predictions.labels == predictions.classes.index(name)
    right = int(predictions.correct[members].sum())
    return name, recalls[name], wilson_interval(right, int(members.sum()))


def brier_score(predictions: Predictions) -> float:
    """The mean squared distance between the probabilities and the truth: 0 is perfect, 2 the worst.

    The truth is 1 for the true class and 0 for the others. Like the negative log-likelihood
    (`Predictions.loss`) it is lowest for the true probabilities (a proper score).
    Source: Brier, "Verification of forecasts expressed in terms of probability", 1950.
    """
    truth = torch.nn.functional.one_hot(predictions.labels, len(predictions.classes))
    return float((predictions.probabilities.double() - truth).square().sum(1).mean())


def top_accuracy(predictions: Predictions, count: int) -> float:
    """The part of the images whose true class is among the `count` classes with the highest logits."""
    if not 1 <= count <= len(predictions.classes):
        raise ArgumentError(f"count is {count}; it must be from 1 to {len(predictions.classes)}, the classes")
    ranked = predictions.logits.sort(dim=1, descending=True, stable=True).indices[:, :count]
    return float((ranked == predictions.labels[:, None]).any(1).double().mean())


@dataclass(frozen=True)
class Comparison:
    """Two networks on the same images.

    only_first_right, only_second_right: images. p_value: how often equal networks would differ at least so
    much, 0 to 1. difference: the accuracy of the second minus that of the first, -1 to 1. interval: 95%
    confidence interval of the difference.
    """

    only_first_right: int
    only_second_right: int
    p_value: float
    difference: float
    interval: tuple[float, float]


def mcnemar(first: Predictions, second: Predictions) -> Comparison:
    """Compare two networks on the same images, by those that only one of them has right.

    The exact test: under equal networks each such image is a coin toss. The interval adds half an image to
    each of the four cells before it takes the normal approximation. Raises ArgumentError if the labels of the
    two differ. Sources: McNemar, "Note on the sampling error of the difference between correlated
    proportions", 1947; for the interval Agresti and Min, "Simple improved confidence intervals for comparing
    matched proportions", 2005.
    """
    _check_same_images(first, second)
    one = int((first.correct & ~second.correct).sum())
    two = int((second.correct & ~first.correct).sum())
    tosses, fewer = one + two, min(one, two)
    tail = sum(math.comb(tosses, k) for k in range(fewer + 1))
    p_value = min(1.0, tail / 2 ** (tosses - 1)) if tosses else 1.0
    total = len(first) + 2
    middle = (two - one) / total
    spread = 1.96 * math.sqrt(((tosses + 1) / total - middle**2) / total)
    interval = max(-1.0, middle - spread), min(1.0, middle + spread)
    return Comparison(one, two, p_value, (two - one) / len(first), interval)


def churn(first: Predictions, second: Predictions) -> float:
    """The part of the images that two networks give different classes, 0 to 1, whatever is right.

    Two networks of equal accuracy can differ on many images: who replaces one by the other changes those.
    Raises ArgumentError if the labels of the two differ.
    Source: Milani Fard et al., "Launch and Iterate: Reducing Prediction Churn", 2016.
    """
    _check_same_images(first, second)
    return float((first.predicted != second.predicted).double().mean())


def _check_same_images(first: Predictions, second: Predictions) -> None:
    if not torch.equal(first.labels, second.labels):
        raise ArgumentError("the two were not made on the same images in the same order: their labels differ")
