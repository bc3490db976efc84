"""Iterates pictures as batches that a network can take, or their features: normalised, channels-last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import singledispatch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from resnet_course.data.images import ImageSet
from resnet_course.inputs.augment import AUGMENTATIONS, MIXES, original_pipeline
from resnet_course.recipes import Recipe


def to_input(images: Tensor, recipe: Recipe) -> Tensor:
    """Scale pictures to the recipe's size and normalise them.

    images: uint8 [N, 3, H, W]. Returns float32 [N, 3, image_size, image_size], channels-last.
    """
    side = recipe.image_size
    x = images.contiguous(memory_format=torch.channels_last)
    if x.shape[-1] != side:
        # Bytes are scaled several times faster than floats: 128 pictures to 96 pixels and normalised in 1.2
        # instead of 8.3 ms on two cores. Pillow, too, rounds what it has scaled to bytes.
        x = F.interpolate(x, (side, side), mode="bilinear", antialias=x.shape[-1] > side)
    # numpy asks Linux for large pages of memory: 10 instead of 22 ms for 128 pictures of 224 pixels, on two
    # cores. A row of pixels is one run of memory, so whole rows are multiplied, not triples.
    numbers = torch.from_numpy(np.empty((len(x), side, side, 3), np.float32)).copy_(x.permute(0, 2, 3, 1))
    mean, std = (torch.tensor(values).repeat(side) for values in (recipe.mean, recipe.std))
    numbers.view(len(x), side, 3 * side).mul_(1 / (255 * std)).sub_(mean / std)
    return numbers.permute(0, 3, 1, 2)


def count_batches(pictures: int, recipe: Recipe, *, train: bool, world_size: int = 1) -> int:
    """How many batches `train_batches` (train=True) or `eval_batches` yield for so many pictures."""
    full, rest = divmod(pictures, recipe.batch_size)
    # BatchNorm cannot learn from a single picture, so a last batch of one (for each process) is left out.
    return full + (rest >= 2 * world_size if train and full else rest > 0)


@singledispatch
def train_batches(
    image_set: ImageSet, recipe: Recipe, generator: torch.Generator, rank: int = 0, world_size: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: every picture once, in random order, augmented.

    Of several processes each gets its shard of every batch. All draw the same random numbers for the whole
    batch, so that the pictures are those that one process would see; the costly part, scaling and
    normalising, is done for the shard alone.

    image_set: pictures; a `FeatureSet` registers its own way (see features/feature_set.py).
    generator: draws the order and, but for "original", the augmentation.
    rank, world_size: which process this is, from 0, and of how many.
    Yields (inputs float32 [B, 3, image_size, image_size], labels int64 [B]; where the recipe mixes
    pictures, labels float32 [B, C]).
    """
    order = train_order(len(image_set), recipe, generator, world_size)
    if recipe.augmentation == "original":
        shards = [indices[rank::world_size] for indices in order]
        yield from _original_batches(image_set, shards, recipe, train=True)
        return
    for indices in order:
        images = AUGMENTATIONS[recipe.augmentation](image_set.images[indices], generator)
        labels = image_set.labels[indices]
        if recipe.mix != "none":
            images, labels = MIXES[recipe.mix](images, labels, len(image_set.classes), generator)
        yield to_input(images[rank::world_size], recipe), labels[rank::world_size]


def train_order(
    pictures: int, recipe: Recipe, generator: torch.Generator, world_size: int = 1
) -> tuple[Tensor, ...]:
    """The batches of one epoch as indices, int64 [B] each, in random order."""
    order = torch.randperm(pictures, generator=generator)
    order = order[: count_batches(pictures, recipe, train=True, world_size=world_size) * recipe.batch_size]
    return order.split(recipe.batch_size)


@singledispatch
def eval_batches(image_set: ImageSet, recipe: Recipe, view: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """Every picture once, in order, as it is. Yields the same as `train_batches`.

    view: which view, where features have several.
    """
    order = torch.arange(len(image_set)).split(recipe.batch_size)
    if recipe.augmentation == "original":
        yield from _original_batches(image_set, order, recipe, train=False)
        return
    for indices in order:
        yield to_input(image_set.images[indices], recipe), image_set.labels[indices]


class OriginalImages(Dataset):
    """The original's data set: one PIL picture at a time through its pipeline."""

    def __init__(self, image_set: ImageSet, recipe: Recipe, train: bool) -> None:
        self.image_set = image_set
        side = image_set.images.shape[-1]
        self.transform = original_pipeline(train, side, recipe.image_size, recipe.mean, recipe.std)

    def __len__(self) -> int:
        return len(self.image_set)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from torchvision.transforms.functional import to_pil_image

        image, label = self.image_set[index]
        return self.transform(to_pil_image(image)), label


def _original_batches(
    image_set: ImageSet, order: Sequence[Tensor], recipe: Recipe, train: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    pictures = OriginalImages(image_set, recipe, train)
    yield from DataLoader(pictures, batch_sampler=[batch.tolist() for batch in order], num_workers=0)
