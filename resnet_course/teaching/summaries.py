"""What figures and widgets say about several runs. Metrics of predictions are in `evaluation`."""

from __future__ import annotations

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


def shares_of_rows(matrix: Tensor) -> Tensor:
    """Counts [R, C] → what part of its row each is, float64; 0 in an empty row."""
    return matrix.double() / matrix.sum(1, keepdim=True).clamp(min=1)
