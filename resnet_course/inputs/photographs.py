"""Random crops of photographs: images of any shape, of which a network sees another part every time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from resnet_course.data.rows import resized

RATIO = 4 / 3  # of a crop's sides, at most, either way


def random_resized_crop(
    photographs: Sequence[Tensor], size: int, scale: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Of each photograph a part of random area, shape and place, scaled to a square.

    photographs: uint8 [3, height, width] each. size: pixels a side of the results. scale: the least and the
        largest share of the photograph's area.
    Returns uint8 [N, 3, size, size].
    Source: Szegedy et al., "Going Deeper with Convolutions", 2014 (arXiv 1409.4842), as torchvision's
    RandomResizedCrop; that draws again where a crop does not fit, here its sides are cut to the photograph's.
    """
    draws = torch.rand(4, len(photographs), generator=generator)
    shares = scale[0] + draws[0] * (scale[1] - scale[0])
    ratios = torch.exp((2 * draws[1] - 1) * math.log(RATIO))
    crops = torch.empty(len(photographs), size, size, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
    for number, photograph in enumerate(photographs):
        height, width = photograph.shape[1:]
        area, ratio = float(shares[number]) * height * width, float(ratios[number])
        tall = min(height, max(1, round(math.sqrt(area / ratio))))
        wide = min(width, max(1, round(math.sqrt(area * ratio))))
        top = int(draws[2, number] * (height - tall + 1))
        left = int(draws[3, number] * (width - wide + 1))
        crops[number] = resized(photograph[:, top : top + tall, left : left + wide], size)
    return crops
