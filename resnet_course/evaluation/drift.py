"""Whether a batch of new images still looks to the network like those that it was judged on."""

from __future__ import annotations

import torch
from torch import Tensor

from resnet_course.common.errors import ArgumentError


def drift_p_value(known: Tensor, batch: Tensor, permutations: int = 999, seed: int = 0) -> float:
    """How often chance alone would set a batch so far apart from known images: above 0, at most 1.

    A permutation test: known images and batch are put together and divided anew at random, as often as
    `permutations` says. The answer is the part of the divisions, the true one included, whose largest
    distance of a column is at least as large. It looks at no label. A small p-value says that the images
    differ, or that the classes come in other shares; it does not say that the accuracy is lower.

    known: probabilities of images like those of the test, float [N, C]. batch: of new ones, float [M, C].
    Raises ArgumentError if one is empty or the columns differ.
    Source: Rabanser, Günnemann and Lipton, "Failing Loudly", 2019, https://arxiv.org/abs/1810.11953, which
    tests the columns one by one and corrects for their number; the largest distance needs no correction.
    """
    if not len(known) or not len(batch) or known.shape[1:] != batch.shape[1:]:
        raise ArgumentError(
            f"known is {list(known.shape)} and batch {list(batch.shape)}; they must be [N, C] and [M, C], "
            "with at least one row each"
        )
    rows = torch.cat([known, batch])
    generator = torch.Generator().manual_seed(seed)
    true = _members(len(known), len(rows))
    divisions = [true, *(true[torch.randperm(len(rows), generator=generator)] for _ in range(permutations))]
    distances = _distances(rows, torch.stack(divisions))
    return float((distances >= distances[0] - 1e-9).double().mean())


def _members(count: int, total: int) -> Tensor:
    """Which of the rows belong to the first table, bool [total]."""
    return torch.arange(total) < count


def _distances(rows: Tensor, divisions: Tensor) -> Tensor:
    """The largest distance of a column, for each division of the rows in two: float64 [D].

    rows: float [N, C]. divisions: bool [D, N].
    """
    first = int(divisions[0].sum())
    found = torch.zeros(len(divisions), dtype=torch.float64)
    for column in rows.T:
        values, order = column.sort()
        own = divisions[:, order].double().cumsum(1)  # how many of the first table are at most so large
        other = torch.arange(1, len(rows) + 1) - own
        gap = (own / first - other / (len(rows) - first)).abs()
        last = torch.cat([values[1:] != values[:-1], torch.tensor([True])])  # equal values count together
        found = torch.maximum(found, gap[:, last].amax(1))
    return found
