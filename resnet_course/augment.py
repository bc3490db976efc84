"""Random changes to pictures: to a whole uint8 batch at once, or one by one as in the original."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import transforms


def random_crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Shift every picture by its own random offset of up to `padding` pixels, mirrored at the border.

    images: uint8 [N, 3, H, W]. Returns uint8 [N, 3, H, W].
    """
    n, _, height, width = images.shape
    padded = F.pad(images.float(), (padding,) * 4, mode="reflect").to(torch.uint8)
    offsets = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=generator)
    rows = offsets[0] + torch.arange(height)  # [N, H]
    columns = offsets[1] + torch.arange(width)  # [N, W]
    picture = torch.arange(n)[:, None, None]
    return padded[picture, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror every picture left to right with probability 1/2, each drawn for itself.

    images: uint8 [N, 3, H, W]. Returns uint8 [N, 3, H, W].
    """
    flipped = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(flipped[:, None, None, None], images.flip(3), images)


def crop_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Crop with a padding of an eighth of the side (4 of 32 pixels), then flip.

    images: uint8 [N, 3, H, W]. Returns uint8 [N, 3, H, W].
    """
    return random_flip(random_crop(images, max(1, images.shape[-1] // 8), generator), generator)


# What Recipe.augmentation names; "original" works picture by picture, below.
AUGMENTATIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "none": lambda images, generator: images,
    "crop_flip": crop_flip,
}


def original_pipeline(
    train: bool,
    side: int = 32,
    image_size: int = 224,
    mean: tuple[float, float, float] = (0.4914, 0.4822, 0.4465),
    std: tuple[float, float, float] = (0.2023, 0.1994, 0.2010),
) -> Callable:
    """The published walk-through's transforms, in its order, from a PIL picture to float32 [3, H, W].

    train: the random ones too (crop, resize, flip, rotation); False: resize only.
    side: pixels a side of the pictures that come in; 32 in CIFAR-10.
    They draw from torch's global random numbers.
    """
    resize = transforms.Resize((image_size, image_size))
    tensor = [transforms.ToTensor(), transforms.Normalize(mean, std)]
    if not train:
        return transforms.Compose([resize, *tensor])
    crop, flip = transforms.RandomCrop(side, padding=4), transforms.RandomHorizontalFlip(0.5)
    return transforms.Compose([crop, resize, flip, transforms.RandomRotation(15), *tensor])
