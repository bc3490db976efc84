"""Intervals: the bootstrap, for any number that is computed from predictions; for two sets of images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from resnet_course.evaluation.predictions import Predictions


def bootstrap_interval(
    statistic: Callable[[Predictions], float],
    predictions: Predictions,
    draws: int = 500,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """The percentile interval of a statistic: between these it lies for most other samples of images.

    As many images as there are, are drawn with replacement, again and again, and the statistic is computed of
    each draw. statistic: a number for predictions, such as `Predictions.accuracy.fget` or `brier_score`.
    draws: how many. seed: of the draws. level: the part of the draws between the two ends, 0 to 1.
    It says how much the images matter, not how much another training would.
    Source: Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(draws):
        rows = torch.randint(len(predictions), (len(predictions),), generator=generator)
        drawn = replace(predictions, logits=predictions.logits[rows], labels=predictions.labels[rows])
        found.append(statistic(drawn))
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = torch.tensor(found, dtype=torch.float64).quantile(ends).tolist()
    return low, high


def difference_between_sets(first: Predictions, second: Predictions) -> tuple[float, tuple[float, float]]:
    """The accuracy on a second set of images minus that on a first one, -1 to 1, and its 95% interval.

    For two sets that share no image; two networks on the same images are compared with `metrics.mcnemar`.
    Source: Newcombe, "Interval estimation for the difference between independent proportions", 1998, whose
    method 10 joins the two Wilson intervals.
    """
    (low_1, high_1), (low_2, high_2) = first.interval(), second.interval()
    one, two = first.accuracy, second.accuracy
    down, up = math.hypot(two - low_2, high_1 - one), math.hypot(high_2 - two, one - low_1)
    return two - one, (two - one - down, two - one + up)
