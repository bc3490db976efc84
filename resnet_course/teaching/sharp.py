"""Sharp pictures of drawn shapes, large enough to measure an input size, and tall or wide ones to cut."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from resnet_course.common.errors import ArgumentError
from resnet_course.data.images import ImageSet
from resnet_course.data.shapes import CLASSES, SHAPES


def draw_sharp(
    count: int, seed: int, share: float, side: int = 256, classes: Sequence[str] = CLASSES
) -> ImageSet:
    """Draw `count` sharp square pictures, each of one turned shape somewhere on a striped ground.

    share: how wide the shape is, as a part of the picture's side, 0 to 1. side: pixels.
    The same seed gives the same shapes, turns and colours for every share and side.
    Raises ArgumentError for another share.
    """
    if not 0 < share <= 1:
        raise ArgumentError(f"share is {share!r}; it must be above 0 and at most 1")
    random = np.random.RandomState(seed)
    labels = np.arange(count) % len(classes)
    images = torch.stack(
        [_paint(classes[label], random.random_sample(12), share, side, side) for label in labels]
    )
    name = f"sharp shapes, {share:.0%} wide"
    return ImageSet(images, torch.from_numpy(labels.astype(np.int64)), tuple(classes), name)


def draw_oblong(count: int, seed: int, height: int, width: int) -> list[Tensor]:
    """Draw `count` pictures of a key each, along the longer side: uint8 [3, height, width]."""
    random, long = np.random.RandomState(seed), max(height, width)
    turn = 0.25 if width > height else 0.0
    pictures = []
    for _ in range(count):
        draws = random.random_sample(12)
        draws[:3] = turn, 0.5, 0.5
        pictures.append(_paint("key", draws, 0.95 * long / min(height, width), height, width))
    return pictures


def _paint(shape: str, draws: np.ndarray, share: float, height: int, width: int) -> Tensor:
    """One picture, uint8 [3, height, width]. draws: 12 numbers from 0 to 1; share: of the shorter side."""
    radius, short = share / 2, min(height, width)
    room = max(0.0, 0.5 - radius)
    down, across = (np.arange(n, dtype=np.float32) / short - n / short / 2 for n in (height, width))
    x = across[None] - 2 * room * (draws[1] - 0.5)
    y = -down[:, None] + 2 * room * (draws[2] - 0.5)
    cosine, sine = math.cos(2 * math.pi * draws[0]), math.sin(2 * math.pi * draws[0])
    x, y = (cosine * x + sine * y) / radius, (cosine * y - sine * x) / radius
    cover = np.clip(0.5 - SHAPES[shape](x, y) * radius * short, 0, 1)
    stripes = 0.08 * np.sign(np.sin(40 * (across[None] * draws[3] + down[:, None] * (1 - draws[3]))))
    ground, figure = 0.05 + 0.35 * draws[4:7], 0.6 + 0.4 * draws[7:10]
    if draws[10] < 0.3:
        ground, figure = figure, ground
    picture = ground[:, None, None] + stripes
    picture = picture + cover * (figure[:, None, None] - picture)
    return torch.from_numpy((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))
