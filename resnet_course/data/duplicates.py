"""Finds pictures that are in two sets, or nearly: scaled again, a little brighter, mirrored."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from resnet_course.data.images import ImageSet

SIDE = 8  # pixels a side of what is compared: small enough to forget compression and noise
# On CIFAR-10, closer pairs show the same thing to the eye, nearly all of them; see notebook 02.
NEAR = 0.015
CHUNK = 500  # pictures compared at once: 100 MB of distances to 50,000 others


def fingerprint(images: Tensor) -> Tensor:
    """What is compared: a picture scaled down to 8 × 8, without its mean brightness and contrast.

    images: uint8 [N, 3, H, W]. Returns float32 [N, 192], of length 1 (of length 0 for a plain area).
    """
    small = torch.cat([F.adaptive_avg_pool2d(part.float(), SIDE) for part in images.split(10_000)])
    small = small.flatten(1)
    return F.normalize(small - small.mean(1, keepdim=True), eps=1e-3)


def nearest(known: ImageSet, others: ImageSet) -> tuple[Tensor, Tensor]:
    """For every picture of `others`, how far its nearest picture in `known` is, mirrored or not, and which.

    Returns (distances float32 [M], from 0 for the same picture to 2; indices into `known`, int64 [M]).
    A distance is 1 minus the cosine between fingerprints.
    """
    prints = fingerprint(known.images)
    distances, indices = [], []
    for images in others.images.split(CHUNK):
        same, mirrored = (fingerprint(view) @ prints.T for view in (images, images.flip(3)))
        closest = torch.maximum(same, mirrored).max(1)
        distances.append(1 - closest.values)
        indices.append(closest.indices)
    return torch.cat(distances).clamp(min=0), torch.cat(indices)
