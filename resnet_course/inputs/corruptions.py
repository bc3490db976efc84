"""Damages images in six ways at five strengths, to see how a network's accuracy falls.

After Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions", 2019
(arXiv 1903.12261), with strengths of our own, scaled to the size of the image.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from resnet_course.common.errors import ArgumentError

STRENGTHS = (1, 2, 3, 4, 5)


def blur(images: Tensor, strength: int, generator: torch.Generator) -> Tensor:
    """A Gaussian blur whose width is 1 to 5 hundredths of the side."""
    sigma = images.shape[-1] * (0.01, 0.02, 0.03, 0.04, 0.05)[strength - 1]
    size = 2 * int(np.ceil(3 * sigma)) + 1
    size = min(size, 2 * ((images.shape[-1] - 1) // 2) + 1)
    return F.gaussian_blur(images, [size, size], [sigma, sigma])


def noise(images: Tensor, strength: int, generator: torch.Generator) -> Tensor:
    """Independent Gaussian noise on every number."""
    level = (8, 16, 26, 38, 54)[strength - 1]  # levels of 255
    drawn = torch.randn(images.shape, generator=generator) * level
    return (images + drawn).round().clamp(0, 255).to(torch.uint8)


def brightness(images: Tensor, strength: int, generator: torch.Generator) -> Tensor:
    """Lighter, by adding; what would be above white is white."""
    level = (25, 51, 76, 102, 127)[strength - 1]
    return (images.int() + level).clamp(0, 255).to(torch.uint8)


def jpeg(images: Tensor, strength: int, generator: torch.Generator) -> Tensor:
    """Saved as JPEG of lower and lower quality, and read again."""
    quality = (50, 30, 20, 12, 7)[strength - 1]
    found = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        found.append(torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1))
    return torch.stack(found)


def rotation(images: Tensor, strength: int, generator: torch.Generator) -> Tensor:
    """Turned by an angle, to the left or to the right; the corners show the image mirrored at its edges.

    Black corners would be a damage of their own, and often the greater one.
    """
    angle = (6, 12, 20, 30, 45)[strength - 1]  # degrees
    side = images.shape[-1]
    left = torch.rand(len(images), generator=generator) < 0.5
    wide = F.pad(images, [-(-side // 4)] * 4, padding_mode="reflect")  # a corner reaches out 0.21 of a side
    turned = images.clone()
    for part, sign in ((left, 1), (~left, -1)):
        if part.any():
            found = F.rotate(wide[part], sign * angle, interpolation=F.InterpolationMode.BILINEAR)
            turned[part] = F.center_crop(found, [side, side])
    return turned


def occlusion(images: Tensor, strength: int, generator: torch.Generator) -> Tensor:
    """A grey square of growing size at a random place."""
    side = images.shape[-1]
    size = max(1, round(side * (0.2, 0.3, 0.4, 0.5, 0.6)[strength - 1]))
    covered = images.clone()
    places = torch.randint(side - size + 1, (len(images), 2), generator=generator).tolist()
    for image, (top, left) in zip(covered, places, strict=True):
        image[:, top : top + size, left : left + size] = 127
    return covered


CORRUPTIONS: dict[str, Callable[[Tensor, int, torch.Generator], Tensor]] = {
    "blur": blur,
    "noise": noise,
    "brightness": brightness,
    "JPEG": jpeg,
    "rotation": rotation,
    "occlusion": occlusion,
}


def corrupt(images: Tensor, name: str, strength: int, seed: int = 0) -> Tensor:
    """Damage images; the same call gives the same result.

    images: uint8 [N, 3, H, H]. name: one of `CORRUPTIONS`. strength: 1 (mild) to 5 (severe).
    Returns new images of the same shape and type. Raises ArgumentError for another name or strength.
    """
    if name not in CORRUPTIONS:
        raise ArgumentError(f"corruption is {name!r}; it must be one of: {', '.join(CORRUPTIONS)}")
    if strength not in STRENGTHS:
        raise ArgumentError(f"strength is {strength!r}; it must be one of: 1, 2, 3, 4, 5")
    return CORRUPTIONS[name](images, strength, torch.Generator().manual_seed(seed))
