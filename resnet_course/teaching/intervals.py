"""What confidence intervals say, in words, and the interval of a mean."""

from __future__ import annotations

from torch import Tensor

from resnet_course.evaluation.summaries import student


def interval_text(interval: tuple[float, float], signed: bool = False) -> str:
    """A confidence interval of a share, 0 to 1, in percent; signed: of a difference, in points."""
    low, high = (100 * end for end in interval)
    return f"{low:+.1f} to {high:+.1f} points" if signed else f"{low:.1f} to {high:.1f}%"


def verdict(difference: tuple[float, float]) -> str:
    """What the confidence interval of a difference says, in words for a title."""
    low, high = difference
    return "no difference is shown" if low <= 0 <= high else "a difference is shown"


def mean_interval(values: Tensor) -> tuple[float, float]:
    """Student's 95% confidence interval of the mean of values, float [N].

    With fewer than two values nothing is known: it reaches from -1 to 1.
    """
    if len(values) < 2:
        return -1.0, 1.0
    mean, error = float(values.double().mean()), float(values.double().std()) / len(values) ** 0.5
    margin = student(len(values) - 1) * error
    return mean - margin, mean + margin
