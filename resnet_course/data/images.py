"""Images in memory: `ImageSet`, its parts, and `Splits`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.utils.data import Dataset

from resnet_course.common.errors import CourseError


class DataError(CourseError, ValueError):
    """The data source cannot be used. The message says what was found and what would be right."""


class LabelledSet(Dataset):
    """What `ImageSet` and `FeatureSet` share: labels, and ways to draw a part.

    labels: int64 [N], indices into `classes`. classes: the class names. name: what the images are.
    """

    labels: Tensor
    classes: tuple[str, ...]
    name: str
    kind: ClassVar[str]  # "images" or "features"

    def __post_init__(self) -> None:
        if self.labels.dtype != torch.int64 or self.labels.shape != (len(self),):
            found = f"{self.labels.dtype} {list(self.labels.shape)}"
            raise DataError(f"labels are {found}; they must be torch.int64 [{len(self)}]")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            raise DataError(f"a label is outside 0..{len(self.classes) - 1}, the {len(self.classes)} classes")

    def subset(self, indices: Tensor) -> Self:
        """The images at `indices` (int64 [M]), in that order."""
        raise NotImplementedError

    def per_class(self, count: int, seed: int = 0) -> Self:
        """At most `count` images of each class, drawn with `seed`, in their original order."""
        return self.subset(draw_per_class(self.labels, [count] * len(self.classes), seed))

    def limit(self, count: int, seed: int = 0) -> Self:
        """`count` images in all, the classes in the proportions of the whole set; all if it has fewer."""
        if count >= len(self):
            return self
        return self.subset(draw_stratified(self.labels, len(self.classes), count, seed))


class Rows:
    """Images of a tensor, all or some in any order, which are copied out of it only when they are read."""

    def __init__(self, base: Tensor, rows: Tensor | None = None) -> None:
        self.base, self.rows = base, rows  # rows: int64 [N], which of the base's; None: all, in their order

    def __len__(self) -> int:
        return len(self.base if self.rows is None else self.rows)

    def take(self, indices: Tensor | slice | int) -> Tensor:
        """The images at `indices`."""
        return self.base[indices if self.rows is None else self.rows[indices].to(self.base.device)]

    def part(self, indices: Tensor) -> Rows:
        """The same images at `indices`, not copied."""
        return Rows(self.base, indices.clone() if self.rows is None else self.rows[indices])

    def followed_by(self, others: Rows) -> Rows:
        """These images, then the others. Only those of different tensors are copied."""
        if self.base is not others.base:
            return Rows(torch.cat([each.take(slice(None)) for each in (self, others)]))
        everything = torch.arange(len(self.base))
        rows = [everything if each.rows is None else each.rows for each in (self, others)]
        return Rows(self.base, torch.cat(rows))

    def tensor(self) -> Tensor:
        """All as one tensor. A part becomes a base of its own: it is copied once, not at every call."""
        if self.rows is not None:
            self.base, self.rows = self.take(slice(None)), None
        return self.base


@dataclass(frozen=True, eq=False, init=False, repr=False)
class ImageSet(LabelledSet):
    """Labelled images of one size, all in memory (or in a memory-mapped file).

    A part of a set (`subset`, `limit`, `per_class`, `split_off`) shares the memory of the whole. `take` and
    `chunks` copy only what they return; `images` makes one tensor of all the part's images, which it keeps.

    images: uint8 [N, 3, S, S], RGB.
    labels: int64 [N], indices into `classes`.
    classes: the class names.
    name: what the images are, for captions and banners ("CIFAR-10", "shapes", "folder pets").
    Raises DataError if these do not fit together.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    kind: ClassVar[str] = "images"

    def __init__(self, images: Tensor | Rows, labels: Tensor, classes: tuple[str, ...], name: str) -> None:
        rows = images if isinstance(images, Rows) else Rows(images)
        vars(self).update(rows=rows, labels=labels, classes=classes, name=name)
        shape = list(rows.base.shape)
        if rows.base.dtype != torch.uint8 or len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
            raise DataError(
                f"images are {rows.base.dtype} {shape}; they must be torch.uint8 [N, 3, S, S], square"
            )
        self.__post_init__()

    @property
    def images(self) -> Tensor:
        """All images as one tensor, uint8 [N, 3, S, S]."""
        return self.rows.tensor()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One image, uint8 [3, S, S], and its label."""
        return self.rows.take(index), int(self.labels[index])

    def __repr__(self) -> str:
        size = self.stored_size
        return f"<{self.name}: {len(self):,} images of {size}×{size} pixels, {len(self.classes)} classes>"

    @property
    def stored_size(self) -> int:
        """Pixels a side of the stored images."""
        return self.rows.base.shape[-1]

    def take(self, indices: Tensor | slice) -> Tensor:
        """The images at `indices` (int64 [B], bool [N], or a slice) as a tensor, uint8 [B, 3, S, S]."""
        return self.rows.take(indices)

    def chunks(self, size: int) -> Iterator[Tensor]:
        """All images in their order, `size` at a time, as `Tensor.split` cuts them: uint8 [size, 3, S, S]."""
        return (self.take(slice(start, start + size)) for start in range(0, max(1, len(self)), size))

    def subset(self, indices: Tensor) -> ImageSet:
        """The images at `indices` (int64 [M], or bool [N]), in that order, not copied."""
        indices = torch.as_tensor(indices)
        if indices.dtype == torch.bool:
            indices = indices.nonzero().flatten()
        return ImageSet(self.rows.part(indices), self.labels[indices], self.classes, self.name)

    def in_classes(self, classes: tuple[str, ...]) -> ImageSet:
        """The same images with labels that index `classes`, matched by name.

        Raises DataError if a class of this set is not among `classes`.
        """
        if classes == self.classes:
            return self
        unknown = [name for name in self.classes if name not in classes]
        if unknown:
            raise DataError(
                f"{self.name} has the classes {', '.join(unknown)}, which the model was not trained on; "
                f"it knows: {', '.join(classes)}"
            )
        index = torch.tensor([classes.index(name) for name in self.classes])
        return ImageSet(self.rows, index[self.labels], classes, self.name)


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set: learn from `train`, choose by `val`, judge once by `test`."""

    train: ImageSet
    val: ImageSet
    test: ImageSet


def draw_per_class(labels: Tensor, counts: list[int], seed: int) -> Tensor:
    """Sorted indices of `counts[c]` randomly drawn images of each class c (all, where there are fewer)."""
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for label, count in enumerate(counts):
        members = (labels == label).nonzero().flatten()
        chosen.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return torch.cat(chosen).sort().values


def draw_stratified(labels: Tensor, num_classes: int, count: int, seed: int) -> Tensor:
    """Sorted indices of `count` images, the classes in their proportions (largest remainder first)."""
    exact = torch.bincount(labels, minlength=num_classes) * count  # in units of 1 / len(labels) images
    counts = exact // len(labels)
    by_remainder = (exact % len(labels)).argsort(descending=True, stable=True)
    counts[by_remainder[: count - int(counts.sum())]] += 1
    return draw_per_class(labels, counts.tolist(), seed)


def split_off(image_set: ImageSet, fraction: float, seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """Split off a stratified `fraction` (0 to 1): returns (the rest, the part split off).

    Every class keeps at least one image on each side.
    Raises DataError if a class has fewer than two images.
    """
    sizes = torch.bincount(image_set.labels, minlength=len(image_set.classes)).tolist()
    if min(sizes) < 2:
        smallest = image_set.classes[sizes.index(min(sizes))]
        raise DataError(
            f"{image_set.name}: the class {smallest} has {min(sizes)} image(s); every class needs at least "
            "2, one to learn from and one to check with"
        )
    counts = [min(size - 1, max(1, round(size * fraction))) for size in sizes]
    part = draw_per_class(image_set.labels, counts, seed)
    rest = torch.ones(len(image_set), dtype=torch.bool)
    rest[part] = False
    return image_set.subset(rest.nonzero().flatten()), image_set.subset(part)


def concatenate(first: ImageSet, second: ImageSet) -> ImageSet:
    """The images of both sets. Raises DataError if their classes or sizes differ."""
    if (first.classes, first.stored_size) != (second.classes, second.stored_size):
        raise DataError(f"{first} and {second} cannot be joined; their classes and sizes must be the same")
    labels = torch.cat([first.labels, second.labels])
    return ImageSet(first.rows.followed_by(second.rows), labels, first.classes, first.name)
