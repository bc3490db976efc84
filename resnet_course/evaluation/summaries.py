"""What figures and widgets say about several runs. Metrics of predictions are in `evaluation`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Summary:
    """Several runs of the same: their mean, the least and the most."""

    mean: float
    least: float
    most: float

    @property
    def reach(self) -> tuple[float, float]:
        """How far the least lies below the mean, and the most above it."""
        return max(0.0, self.mean - self.least), max(0.0, self.most - self.mean)  # the mean is rounded


def summarise(values: float | Sequence[float]) -> Summary:
    """Of one value or several."""
    values = list(values) if isinstance(values, Sequence) else [values]
    return Summary(statistics.fmean(values), min(values), max(values))


@dataclass(frozen=True)
class Choice:
    """What several runs of one choice took and reached. seconds: the mean. accuracy: 0 to 1."""

    seconds: float
    accuracy: Summary


def summarise_choices(runs: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, Choice]:
    """By the choice's name, what its runs, (seconds, accuracy) each, took and reached."""
    return {
        name: Choice(statistics.fmean(s for s, _ in values), summarise([a for _, a in values]))
        for name, values in runs.items()
    }


def unbeaten(choices: Mapping[str, Choice]) -> list[str]:
    """The choices that no other one beats in both, from the fastest to the most accurate (the Pareto front).

    A choice is beaten by one that takes no longer and is no worse, and is not the same in both.
    """
    points = {name: (choice.seconds, choice.accuracy.mean) for name, choice in choices.items()}
    front = [
        name
        for name, (seconds, accuracy) in points.items()
        if not any(
            s <= seconds and a >= accuracy and (s, a) != (seconds, accuracy) for s, a in points.values()
        )
    ]
    return sorted(front, key=points.__getitem__)


# The 97.5% quantiles of Student's t for 1, 2, … degrees of freedom.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def student(degrees: int) -> float:
    """How many standard errors an interval of 95% reaches to each side. degrees: of freedom, from 1.

    Source: beyond 9 the expansion around the normal quantile of Abramowitz and Stegun, "Handbook of
    Mathematical Functions", 1964, 26.7.5.
    """
    if degrees <= len(STUDENT):
        return STUDENT[degrees - 1]
    z = 1.959964
    terms = (z, (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96)
    terms = (*terms, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384)
    return sum(term / degrees**power for power, term in enumerate(terms))


@dataclass(frozen=True)
class Difference:
    """How far one choice is ahead of another. mean: 0 to 1, signed. margin: half of the 95% interval."""

    mean: float
    margin: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return abs(self.mean) > self.margin

    def __str__(self) -> str:
        if math.isinf(self.margin):
            return f"{100 * self.mean:+.1f} points (one run: no interval)"
        low, high = 100 * (self.mean - self.margin), 100 * (self.mean + self.margin)
        told = "" if self.clear else ": not told apart"
        return f"{100 * self.mean:+.1f} points (95% interval {low:+.1f} to {high:+.1f}){told}"


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """The mean of first minus second, pair by pair, with Student's 95% interval.

    first, second: accuracies, 0 to 1, of runs that share a seed and pictures; what those do to both cancels.
    Source: Student, "The Probable Error of a Mean", 1908.
    """
    gaps = [a - b for a, b in zip(first, second, strict=True)]
    if len(gaps) < 2:
        return Difference(gaps[0], math.inf)
    margin = student(len(gaps) - 1) * statistics.stdev(gaps) / math.sqrt(len(gaps))
    return Difference(statistics.fmean(gaps), margin)


def difference_of_answers(first: Tensor, second: Tensor) -> Difference:
    """How much oftener `first` is right than `second` on the same images, with a 95% interval.

    first, second: bool [N], which answers are right. Only images count on which the two disagree.
    Source: McNemar, "Note on the sampling error of the difference between correlated proportions", 1947.
    """
    gaps = first.double() - second.double()
    return Difference(float(gaps.mean()), 1.96 * float(gaps.std(correction=0)) / math.sqrt(len(gaps)))


def cross_validated(accuracies: Sequence[float], folds: int) -> tuple[float, float]:
    """Mean and half of the 95% interval of the accuracies that repeated k-fold cross-validation found.

    accuracies: of every fold of every repetition, 0 to 1. The folds learn from nearly the same images, so the
        ordinary standard error would be too small; this one adds the share of the images that are checked.
    Source: Nadeau and Bengio, "Inference for the Generalization Error", 2003.
    """
    spread = statistics.stdev(accuracies) * math.sqrt(1 / len(accuracies) + 1 / (folds - 1))
    return statistics.fmean(accuracies), student(len(accuracies) - 1) * spread


def shares_of_rows(matrix: Tensor) -> Tensor:
    """Counts [R, C] → what part of its row each is, float64; 0 in an empty row."""
    return matrix.double() / matrix.sum(1, keepdim=True).clamp(min=1)
