"""What predictions say: confusions, scores of each class, and which of two networks is better."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from resnet_course.common.errors import ArgumentError
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


def top_accuracy(predictions: Predictions, count: int) -> float:
    """The part of the images whose true class is among the `count` classes with the highest logits."""
    if not 1 <= count <= len(predictions.classes):
        raise ArgumentError(f"count is {count}; it must be from 1 to {len(predictions.classes)}, the classes")
    ranked = predictions.logits.sort(dim=1, descending=True, stable=True).indices[:, :count]
    return float((ranked == predictions.labels[:, None]).any(1).double().mean())


@dataclass(frozen=True)
class Comparison:
    """Two networks on the same images. p_value: how often equal networks would differ at least so much."""

    only_first_right: int
    only_second_right: int
    p_value: float


def mcnemar(first: Predictions, second: Predictions) -> Comparison:
    """Compare two networks on the same images, by those that only one of them has right.

    The exact test: under equal networks each such image is a coin toss. Raises ArgumentError if the labels of
    the two differ. Source: McNemar, "Note on the sampling error of the difference between correlated
    proportions", 1947.
    """
    if not torch.equal(first.labels, second.labels):
        raise ArgumentError("the two were not made on the same images in the same order: their labels differ")
    one = int((first.correct & ~second.correct).sum())
    two = int((second.correct & ~first.correct).sum())
    tosses, fewer = one + two, min(one, two)
    tail = sum(math.comb(tosses, k) for k in range(fewer + 1))
    return Comparison(one, two, min(1.0, tail / 2 ** (tosses - 1)) if tosses else 1.0)
