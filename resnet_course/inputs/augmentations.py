"""The one registry of the augmentations that a recipe may name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from resnet_course.common.seeding import seeded
from resnet_course.inputs.augment import (
    cutmix,
    mixup,
    random_affine,
    random_colors,
    random_crop,
    random_erasing,
    random_flip,
    unmixed,
)
from resnet_course.inputs.photographs import random_resized_crop


def crop_eighth(images: Tensor, generator: torch.Generator) -> Tensor:
    """Crop with a padding of an eighth of the side: 4 of 32 pixels."""
    return random_crop(images, max(1, images.shape[-1] // 8), generator)


def unchanged(images: Tensor, generator: torch.Generator) -> Tensor:
    """The images as they are."""
    return images


def flip_rotate(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flip, then rotate by up to 15 degrees, without black borders."""
    return rotate(random_flip(images, generator), generator)


def rotate(images: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate by up to 15 degrees, without black borders."""
    return random_affine(images, generator, degrees=15)


def light(images: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation by up to three tenths, as lamps, weather and cameras do."""
    return random_colors(images, 0.3, generator)


def flip_light(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flip, then change the light."""
    return light(random_flip(images, generator), generator)


def flip_erasing(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flip, then cover a box in half of the images."""
    return random_erasing(random_flip(images, generator), generator)


def flip_trivial(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flip, then one change of a random kind and strength for every image.

    Source: Müller and Hutter, "TrivialAugment", 2021 (arXiv 2103.10158), from torchvision, image by
    image: its 7 ms for 128 images leave little to gain.
    """
    from torchvision.transforms import v2

    images, transform = random_flip(images, generator), v2.TrivialAugmentWide()
    seed = int(torch.randint(2**31, (), generator=generator))
    with seeded(seed):  # torchvision draws from torch's global random numbers
        return torch.stack([transform(image) for image in images])


@dataclass(frozen=True)
class Augmentation:
    """One way to change images at random.

    change: changes a uint8 batch [N, 3, H, W]; None: it changes image by image, see inputs/original.py.
    crops: whether a crop comes first. Of squares it cuts an eighth at most; of photographs, which have more
        to give, it is a random resized crop.
    unflipped: the change without its random mirroring; None: `draw_view` draws it as `batch` does.
    distinct_views: how many views of an image can differ, where nothing else is random.
    Where this is None, images larger than the network's input are scaled down first: a change takes the same
    time for images of any size.
    """

    change: Callable[[Tensor, torch.Generator], Tensor] | None
    crops: bool = False
    unflipped: Callable[[Tensor, torch.Generator], Tensor] | None = None
    distinct_views: int | None = None

    @property
    def image_by_image(self) -> bool:
        """True if it cannot change a batch at once."""
        return self.change is None

    def batch(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Square images changed at random, each in its own way: uint8 [N, 3, H, W]."""
        return self.change(crop_eighth(images, generator) if self.crops else images, generator)

    def of_photographs(
        self,
        photographs: Sequence[Tensor],
        size: int,
        scale: tuple[float, float],
        generator: torch.Generator,
        view: int | None = None,
    ) -> Tensor:
        """Photographs (uint8 [3, height, width] each) cropped and changed: uint8 [N, 3, size, size].

        scale: as in `random_resized_crop`. view: as in `draw_view`; None: mirrored at random.
        """
        images = random_resized_crop(photographs, size, scale, generator)
        if view is None or self.unflipped is None:
            return self.change(images, generator)
        return self.unflipped(images.flip(3) if view % 2 else images, generator)

    def draw_view(self, images: Tensor, view: int, generator: torch.Generator) -> Tensor:
        """View number `view` (from 0) of images that are augmented once and kept, not again every epoch.

        Instead of mirroring at random, the views with odd numbers are mirrored: two views in a row are never
        both the same way round. images: uint8 [N, 3, H, W].
        """
        if self.unflipped is None:
            return self.batch(images, generator)
        images = images.flip(3) if view % 2 else images
        return self.unflipped(crop_eighth(images, generator) if self.crops else images, generator)


# What `Recipe.augmentation` may name, and all that the other rooms need to know of it.
AUGMENTATIONS = {
    "none": Augmentation(unchanged, distinct_views=1),
    "flip": Augmentation(random_flip, unflipped=unchanged, distinct_views=2),
    "vertical_flip": Augmentation(partial(random_flip, vertical=True)),
    "crop_flip": Augmentation(random_flip, crops=True, unflipped=unchanged),
    "crop_flip_rotate": Augmentation(flip_rotate, crops=True, unflipped=rotate),
    "crop_flip_light": Augmentation(flip_light, crops=True, unflipped=light),
    "crop_flip_erasing": Augmentation(flip_erasing, crops=True, unflipped=random_erasing),
    "trivial": Augmentation(flip_trivial, crops=True),
    "original": Augmentation(None),
}

# What `Recipe.mix` may name: each takes (images, labels, num_classes, generator) and returns both.
MIXES = {"none": unmixed, "mixup": mixup, "cutmix": cutmix}
