"""Batches of a set that a network can take: an epoch to learn from, all in order, all in several views.

What is written here is for images. Another kind of set registers its own way of each with these functions, as
`features` does, so nobody who uses them asks what a set is.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import singledispatch
from typing import Protocol

import torch
from torch import Tensor

from resnet_course.data.images import ImageSet
from resnet_course.inputs.augmentations import AUGMENTATIONS, MIXES
from resnet_course.inputs.original import original_batches
from resnet_course.inputs.transforms import Format, scaled, to_input
from resnet_course.inputs.views import views_of


class Plan(Format, Protocol):
    """What is needed to make batches; a `Recipe` has it."""

    @property
    def batch_size(self) -> int:
        """Images in a batch."""

    @property
    def augmentation(self) -> str:
        """A name in `AUGMENTATIONS`."""

    @property
    def crop_scale(self) -> tuple[float, float]:
        """The least and the largest share of a photograph's area that a random crop shows."""

    @property
    def mix(self) -> str:
        """A name in `MIXES`."""

    @property
    def test_views(self) -> int:
        """How many views of each image `view_batches` gives."""


def count_batches(images: int, plan: Plan, *, train: bool, world_size: int = 1) -> int:
    """How many batches `train_batches` (train=True) or the others yield of so many images."""
    full, rest = divmod(images, plan.batch_size)
    # BatchNorm cannot learn from a single image, so a last batch of one (for each process) is left out.
    return full + (rest >= 2 * world_size if train and full else rest > 0)


@singledispatch
def train_batches(
    image_set: ImageSet, plan: Plan, generator: torch.Generator, rank: int = 0, world_size: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: every image once, in random order, augmented.

    Of several processes each gets its shard of every batch. All draw the same random numbers for the whole
    batch, so the images are those that one process would see; the costly part, scaling and normalising, is
    done for the shard alone.

    generator: draws the order and, but for "original", the augmentation.
    rank, world_size: which process this is, from 0, and of how many.
    Yields (inputs float32 [B, 3, image_size, image_size], labels int64 [B]; of mixed images labels
    float32 [B, C]).
    """
    order = train_order(len(image_set), plan, generator, world_size)
    augmentation, mix = AUGMENTATIONS[plan.augmentation], MIXES[plan.mix]
    if augmentation.image_by_image:
        yield from original_batches(image_set, [batch[rank::world_size] for batch in order], plan, train=True)
        return
    for indices in order:
        images = augmented(image_set, indices, plan, generator)
        images, labels = mix(images, image_set.labels[indices], len(image_set.classes), generator)
        yield to_input(images[rank::world_size], plan), labels[rank::world_size]


def augmented(
    image_set: ImageSet, indices: Tensor, plan: Plan, generator: torch.Generator, view: int | None = None
) -> Tensor:
    """Images at `indices` (int64 [B]) as the plan's augmentation changes them: uint8 [B, 3, S, S].

    S is the plan's image size where images are larger and more is random than their mirroring, else the size
    at which they are stored.
    view: the number of one of several views that are drawn once and kept; None: drawn anew.
    """
    augmentation = AUGMENTATIONS[plan.augmentation]
    if image_set.photographs and augmentation.crops:
        size, scale = plan.image_size, plan.crop_scale
        return augmentation.of_photographs(image_set.whole(indices), size, scale, generator, view)
    images = image_set.take(indices)
    if augmentation.distinct_views is None and images.shape[-1] > plan.image_size:
        images = scaled(images, plan.image_size)
    return (
        augmentation.batch(images, generator)
        if view is None
        else augmentation.draw_view(images, view, generator)
    )


def train_order(
    images: int, plan: Plan, generator: torch.Generator, world_size: int = 1
) -> tuple[Tensor, ...]:
    """The batches of one epoch as indices, int64 [B] each, in random order."""
    order = torch.randperm(images, generator=generator)
    order = order[: count_batches(images, plan, train=True, world_size=world_size) * plan.batch_size]
    return order.split(plan.batch_size)


@singledispatch
def eval_batches(image_set: ImageSet, plan: Plan) -> Iterator[tuple[Tensor, Tensor]]:
    """Every image once, in order, as it is. Yields the same as `train_batches`."""
    order = torch.arange(len(image_set)).split(plan.batch_size)
    if AUGMENTATIONS[plan.augmentation].image_by_image:
        yield from original_batches(image_set, order, plan, train=False)
        return
    for indices in order:
        yield to_input(image_set.take(indices), plan), image_set.labels[indices]


def evenly_spread(image_set: ImageSet, plan: Plan, count: int) -> Tensor:
    """At most `count` images that lie evenly in a set, as they are: float32 [B, 3, image_size, image_size].

    A folder has one class after the other, so its first images would show one class.
    """
    places = torch.linspace(0, len(image_set) - 1, min(count, len(image_set))).long()
    return to_input(image_set.take(places), plan)


@singledispatch
def view_batches(image_set: ImageSet, plan: Plan) -> Iterator[list[Tensor]]:
    """The batches of `eval_batches` without labels, each as the list of its `test_views` views."""
    for inputs, _ in eval_batches(image_set, plan):
        yield views_of(inputs, plan.test_views)
