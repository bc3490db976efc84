"""Noticing what belongs to none of the classes. A score is higher, the more an image is like one of them."""

from __future__ import annotations

import torch
from torch import Tensor

from resnet_course.common.errors import ArgumentError


def maximum_softmax(logits: Tensor) -> Tensor:
    """The highest probability of each row: float [N]. Source: Hendrycks, Gimpel 2016 (arXiv 1610.02136)."""
    return logits.softmax(1).max(1).values


def negative_energy(logits: Tensor) -> Tensor:
    """The log of the summed exponentials of each row: float [N]. Source: Liu et al., arXiv 2010.03759."""
    return logits.logsumexp(1)


def negative_mahalanobis(features: Tensor, known: Tensor, labels: Tensor) -> Tensor:
    """Minus the distance from each row to the nearest mean of a class, each direction by its own spread.

    features: float [N, D]. known, labels: the features [M, D] and classes int64 [M] of training images.
    Returns float64 [N]: minus the Mahalanobis distance with one covariance for all classes.
    Source: Lee et al. 2018 (arXiv 1807.03888).
    """
    present = labels.unique()
    means = torch.stack([known[labels == label].mean(0) for label in present]).double()
    within = known.double() - means[torch.searchsorted(present, labels)]
    covariance = within.T @ within / len(known)
    # A direction without any spread, such as a dead channel, counts as one with a thousandth of the mean.
    ridge = 1e-3 * covariance.diagonal().mean().clamp(min=1e-12)
    root = torch.linalg.cholesky(covariance + ridge * torch.eye(len(covariance), dtype=torch.float64))
    white = torch.linalg.solve_triangular(root, features.double().T, upper=False).T
    white_means = torch.linalg.solve_triangular(root, means.T, upper=False).T
    return -torch.cdist(white, white_means).min(1).values


def negative_neighbour_distance(features: Tensor, known: Tensor, neighbours: int = 10) -> Tensor:
    """Minus the distance from each row to the k-th nearest training image, all scaled to length 1: float [N].

    features: float [N, D]. known: the features [M, D] of training images. neighbours: k; M if M is less.
    Source: Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", 2022 (arXiv 2204.06507).
    """
    features, known = (torch.nn.functional.normalize(each) for each in (features, known))
    distances = torch.cdist(features, known)
    return -distances.kthvalue(min(neighbours, len(known)), dim=1).values


def false_positive_rate(known: Tensor, unknown: Tensor, accepted: float = 0.95) -> float:
    """The part of the unknown images that is accepted where a part `accepted` of the known ones is: 0 to 1.

    known, unknown: scores [N] and [M], higher for known. With 0.95 it is called FPR95.
    """
    false, true, _ = roc_curve(known, unknown)
    return float(false[(true >= accepted - 1e-9).nonzero()[0, 0]])


def auroc_interval(area: float, known: int, unknown: int) -> tuple[float, float]:
    """The 95% confidence interval of an area under the ROC curve, for so many known and unknown images.

    area: 0 to 1. Source: Hanley and McNeil, "The meaning and use of the area under a ROC curve", 1982.
    """
    both, other = area / (2 - area) - area**2, 2 * area**2 / (1 + area) - area**2
    variance = (area * (1 - area) + (known - 1) * other + (unknown - 1) * both) / (known * unknown)
    spread = 1.96 * variance**0.5
    return max(0.0, area - spread), min(1.0, area + spread)


def roc_curve(known: Tensor, unknown: Tensor) -> tuple[Tensor, Tensor, float]:
    """How well a score tells known images from unknown ones, for every threshold.

    known, unknown: scores [N] and [M], higher for known.
    Returns (which part of the unknown images is accepted, which part of the known ones, the area under the
    curve): float64 [K], [K], and 0 to 1, where 0.5 is chance. The first entry accepts none, each further one
    all down to the next lower score.
    Raises ArgumentError if one of the two is empty, or a score is not a number.
    """
    if not len(known) or not len(unknown):
        raise ArgumentError(
            f"{len(known)} known and {len(unknown)} unknown images; it takes at least one of each"
        )
    scores, order = torch.cat([known, unknown]).sort(descending=True)
    if scores.isnan().any():
        raise ArgumentError("a score is not a number (NaN), so the images have no order")
    is_known = order < len(known)
    last_of_equals = torch.cat([scores[1:] != scores[:-1], torch.tensor([True])])
    false, true = (
        torch.cat([torch.zeros(1), accepted.cumsum(0)[last_of_equals]]).double() / accepted.sum()
        for accepted in (~is_known, is_known)
    )
    return false, true, float(torch.trapezoid(true, false))
