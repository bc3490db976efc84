"""Finding images whose label is probably wrong: confident learning.

Source: Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021
(arXiv 1911.00068).
"""

from __future__ import annotations

import torch
from torch import Tensor

from resnet_course.common.errors import ArgumentError


def confident_joint(probabilities: Tensor, labels: Tensor) -> Tensor:
    """How many images of each label are confidently of each class: int64 [C, C], row = label.

    An image counts for the most probable of the classes that it reaches the threshold of: the mean
    probability of that class over the images labelled so. It counts nowhere if it reaches none.
    probabilities: float [N, C], each image's from a network that has not learned from that image (out of
        fold). labels: int64 [N], as given. Raises ArgumentError if the two do not fit.
    """
    confident = _confident_classes(probabilities, labels)
    known = confident >= 0
    classes = probabilities.shape[1]
    pairs = labels[known] * classes + confident[known]
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def label_issues(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The places of the images that are confidently of another class than their label says: int64 [K].

    Where the label is the most probable class all the same, the image is left out, as cleanlab does. The
    least probable label comes first. The arguments are those of `confident_joint`.
    """
    confident = _confident_classes(probabilities, labels)
    doubted = (confident >= 0) & (confident != labels) & (probabilities.argmax(1) != labels)
    found = doubted.nonzero()[:, 0]
    of_label = probabilities.gather(1, labels[:, None])[:, 0]
    return found[of_label[found].argsort(stable=True)]


def _confident_classes(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The class that each image confidently belongs to, int64 [N]; -1: to none."""
    if probabilities.ndim != 2 or labels.shape != (len(probabilities),):
        raise ArgumentError(
            f"probabilities are {list(probabilities.shape)} and labels {list(labels.shape)}; they must be "
            "[N, C] and [N]"
        )
    own = torch.nn.functional.one_hot(labels, probabilities.shape[1]).to(probabilities.dtype)
    count = own.sum(0)
    thresholds = (probabilities * own).sum(0) / count.clamp(min=1)
    thresholds[count == 0] = torch.inf  # a class that nobody was labelled as has no threshold
    reached = probabilities.masked_fill(probabilities < thresholds, -1)
    best = reached.max(1)
    return torch.where(best.values >= 0, best.indices, -1)
