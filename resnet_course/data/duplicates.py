"""Finds images that are in two sets, or nearly: scaled again, a little brighter, mirrored."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from resnet_course.data.images import ImageSet

SIDE = 8  # pixels a side of what is compared: small enough to forget compression and noise
# On CIFAR-10, closer pairs show the same thing to the eye, nearly all of them; see notebook 02.
NEAR = 0.015
CHUNK = 200  # images read at once: 160 MB as float at 256 pixels
KNOWN_CHUNK = 10_000  # images that those are compared with at once: 20 MB of distances


def fingerprint(images: Tensor) -> Tensor:
    """What is compared: an image scaled down to 8 × 8, without its mean brightness and contrast.

    images: uint8 [N, 3, H, W], on any device. Returns float32 [N, 192] on the CPU, of length 1 (of length
    0 for a plain area).
    """
    small = F.adaptive_avg_pool2d(images.float(), SIDE).flatten(1).cpu()
    return F.normalize(small - small.mean(1, keepdim=True), eps=1e-3)


def nearest(known: ImageSet, others: ImageSet) -> tuple[Tensor, Tensor]:
    """For every image of `others`, how far its nearest image in `known` is, mirrored or not, and which.

    Beside the sets it takes 800 bytes for each known image, and about 300 MB.
    Returns (distances float32 [M], from 0 for the same image to 2; indices into `known`, int64 [M]), both
    on the CPU. A distance is 1 minus the cosine between fingerprints.
    """
    prints = torch.cat([fingerprint(images) for images in known.chunks(CHUNK)])
    distances, indices = [], []
    for images in others.chunks(CHUNK):
        views = fingerprint(images), fingerprint(images.flip(3))
        closest = torch.full((len(images),), -torch.inf)
        where = torch.zeros(len(images), dtype=torch.int64)
        for start in range(0, len(prints), KNOWN_CHUNK):
            part = prints[start : start + KNOWN_CHUNK].T
            cosines, found = torch.maximum(*(view @ part for view in views)).max(1)
            where = torch.where(cosines > closest, found + start, where)
            closest = torch.maximum(closest, cosines)
        distances.append(1 - closest)
        indices.append(where)
    return torch.cat(distances).clamp(min=0), torch.cat(indices)
