"""`to_input`: from stored images to the numbers that a network takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Format(Protocol):
    """What `to_input` needs to know. An `InputFormat` has it and no more; a `Recipe` has it too."""

    @property
    def image_size(self) -> int:
        """Pixels a side of the network's input."""

    @property
    def mean(self) -> tuple[float, float, float]:
        """What is subtracted from red, green and blue, which range from 0 to 1."""

    @property
    def std(self) -> tuple[float, float, float]:
        """What they are divided by afterwards."""


@dataclass(frozen=True)
class InputFormat:
    """A `Format` where there is no recipe."""

    image_size: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


def scaled(images: Tensor, size: int) -> Tensor:
    """Square images scaled to `size` pixels a side, bilinearly: uint8 [N, 3, H, H] → [N, 3, size, size].

    Bytes are scaled several times faster than floats: 128 images to 96 pixels and normalised in 1.2 instead
    of 8.3 ms on two cores. Pillow, too, rounds what it has scaled to bytes.
    """
    x = images.contiguous(memory_format=torch.channels_last)
    if x.shape[-1] == size:
        return x
    return F.interpolate(x, (size, size), mode="bilinear", antialias=x.shape[-1] > size)


def to_input(images: Tensor, input_format: Format) -> Tensor:
    """Scale images to the format's size and normalise them.

    images: uint8 [N, 3, H, H]. Returns float32 [N, 3, image_size, image_size], channels-last.
    """
    size = input_format.image_size
    x = scaled(images, size)
    # numpy asks Linux for large pages of memory: 10 instead of 22 ms for 128 images of 224 pixels, on two
    # cores. A row of pixels is one run of memory, so whole rows are multiplied, not triples.
    numbers = torch.from_numpy(np.empty((len(x), size, size, 3), np.float32)).copy_(x.permute(0, 2, 3, 1))
    mean, std = (torch.tensor(values).repeat(size) for values in (input_format.mean, input_format.std))
    numbers.view(len(x), size, 3 * size).mul_(1 / (255 * std)).sub_(mean / std)
    return numbers.permute(0, 3, 1, 2)
