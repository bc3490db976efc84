"""Images in memory: `ImageSet`, its parts, and `Splits`."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from resnet_course.data.rows import DataError, Origins, Photographs, Rows


class LabelledSet(Dataset):
    """What `ImageSet` and `FeatureSet` share: labels, and ways to draw a part.

    labels: int64 [N], indices into `classes`. classes: the class names. name: what the images are.
    origins: the files of the images; None where they came from none.
    """

    labels: Tensor
    classes: tuple[str, ...]
    name: str
    origins: Origins | None
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

    def content(self) -> str:
        """A digest of the images, whatever their labels are: of their files, or else of their pixels."""
        raise NotImplementedError

    @property
    def digests(self) -> tuple[str, ...]:
        """The digest of each image's file; none where the images came from no files."""
        return tuple(self.origins.digests.tolist()) if self.origins else ()

    @property
    def paths(self) -> tuple[str, ...]:
        """The path of each image's file; none where the images came from no files."""
        return tuple(self.origins.paths.tolist()) if self.origins else ()

    @property
    def groups(self) -> tuple[str, ...]:
        """What each image belongs to: its group if the loader was asked for groups, else its file."""
        if not self.origins:
            return tuple(map(str, range(len(self))))
        return tuple(self.digests if self.origins.groups is None else self.origins.groups.tolist())

    def identity(self) -> str:
        """A digest of all there is to learn from: images, labels and class names, in their order."""
        found = hashlib.sha256(self.content().encode())
        found.update("\n".join(self.classes).encode("utf-8", "surrogatepass"))
        found.update(self.labels.numpy().data)
        return found.hexdigest()

    def without(self, digests: Collection[str]) -> Self:
        """The images whose files are none of `digests`; all where they came from no files."""
        if not digests or not self.origins:
            return self
        known = frozenset(digests)
        kept = [place for place, digest in enumerate(self.digests) if digest not in known]
        return self if len(kept) == len(self) else self.subset(torch.tensor(kept, dtype=torch.int64))

    def per_class(self, count: int, seed: int = 0) -> Self:
        """At most `count` images of each class, drawn with `seed`, in their original order."""
        return self.subset(draw_per_class(self.labels, [count] * len(self.classes), seed))

    def limit(self, count: int, seed: int = 0) -> Self:
        """`count` images in all, the classes in the proportions of the whole set; all if it has fewer."""
        if count >= len(self):
            return self
        return self.subset(draw_stratified(self.labels, len(self.classes), count, seed))


@dataclass(frozen=True, eq=False, init=False, repr=False)
class ImageSet(LabelledSet):
    """Labelled images, all in memory or in a file.

    A part of a set (`subset`, `limit`, `per_class`, `split_off`) shares the memory of the whole. `take` and
    `chunks` copy only what they return; `images` makes one tensor of all the set's images.

    Images of any shape, as photographs are, are kept whole: `take`, `chunks` and `images` give their middle
    squares, `whole` gives all there is.

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

    def __init__(
        self, images: Tensor | Rows | Photographs, labels: Tensor, classes: tuple[str, ...], name: str
    ) -> None:
        rows = Rows(images) if isinstance(images, Tensor) else images
        vars(self).update(rows=rows, labels=labels, classes=classes, name=name)
        self.__post_init__()

    @property
    def images(self) -> Tensor:
        """All images as one tensor, uint8 [N, 3, S, S]. Of photographs it is made at every call."""
        return self.rows.tensor()

    @property
    def origins(self) -> Origins | None:
        """The files of the images; None where they came from none."""
        return self.rows.origins

    @property
    def photographs(self) -> bool:
        """Whether the images are kept whole, in any shape."""
        return isinstance(self.rows, Photographs)

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
        return self.rows.size

    def take(self, indices: Tensor | slice) -> Tensor:
        """The images at `indices` (int64 [B], bool [N], or a slice) as a tensor, uint8 [B, 3, S, S]."""
        return self.rows.take(indices)

    def whole(self, indices: Tensor) -> Sequence[Tensor]:
        """The whole images at `indices` (int64 [B]): B of uint8 [3, height, width]."""
        return self.rows.whole(indices)

    def content(self) -> str:
        """A digest of the images, whatever their labels are: of their files, or else of their pixels."""
        found = hashlib.sha256(f"{self.stored_size} {self.photographs}".encode())
        if self.origins:
            found.update(f"{self.origins.shorter_side} {' '.join(self.digests)}".encode())
        else:
            for some in self.chunks(4096):
                found.update(np.ascontiguousarray(some.numpy()).data)
        return found.hexdigest()

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
        return self.relabelled(index[self.labels], classes)

    def grouped(self, groups: Sequence[str]) -> ImageSet:
        """The same images, of files, with what each belongs to, such as an object, a session or a day."""
        rows = self.rows.part(torch.arange(len(self)))
        rows.origins = replace(rows.origins, groups=np.array(groups, dtype=object))
        return ImageSet(rows, self.labels, self.classes, self.name)

    def relabelled(self, labels: Tensor, classes: tuple[str, ...]) -> ImageSet:
        """The same images with other labels (int64 [N]) and class names."""
        return ImageSet(self.rows, labels, classes, self.name)


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set: learn from `train`, choose by `val`, judge once by `test`.

    set_aside: which of them, "val" or "test", the loader drew from train, because the data set has none.
    """

    train: ImageSet
    val: ImageSet
    test: ImageSet
    set_aside: tuple[str, ...] = ()


def draw_per_class(labels: Tensor, counts: list[int], seed: int) -> Tensor:
    """Sorted indices of `counts[c]` randomly drawn images of each class c (all, where there are fewer)."""
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for label, count in enumerate(counts):
        members = (labels == label).nonzero().flatten()
        chosen.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return torch.cat(chosen).sort().values


def draw_stratified(labels: Tensor, num_classes: int, count: int, seed: int, least: int = 1) -> Tensor:
    """Sorted indices of `count` images, the classes in their proportions (largest remainder first).

    least: of every class at least so many, or all that it has, at the cost of the largest classes; fewer,
        where `count` is too small for that.
    """
    exact = torch.bincount(labels, minlength=num_classes) * count  # in units of 1 / len(labels) images
    counts = exact // len(labels)
    by_remainder = (exact % len(labels)).argsort(descending=True, stable=True)
    counts[by_remainder[: count - int(counts.sum())]] += 1
    sizes = torch.bincount(labels, minlength=num_classes)
    while int((floor := sizes.clamp(max=least)).sum()) > count:
        least -= 1
    counts = torch.maximum(counts, floor)
    for _ in range(int(counts.sum()) - count):
        counts[(counts - floor).argmax()] -= 1
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
