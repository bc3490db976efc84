"""How the images of a set lie in memory or in a file: `Rows`, `Photographs`, and where they came from."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from resnet_course.common.errors import CourseError

Indices = Tensor | slice | int


class DataError(CourseError, ValueError):
    """The data source cannot be used. The message says what was found and what would be right."""


@dataclass(frozen=True, eq=False)
class Origins:
    """Which files images came from.

    paths, digests: of each image its file, and the SHA-256 of that file's bytes: numpy arrays of str [N].
    shorter_side: the pixels of its shorter side to which a larger image was shrunk when it was read.
    groups: of each image what it belongs to, object [N] of str; None where nobody asked for groups.
    """

    paths: np.ndarray
    digests: np.ndarray
    shorter_side: int
    groups: np.ndarray | None = None

    def part(self, indices: Tensor) -> Origins:
        """Those of the images at `indices`."""
        rows = indices.numpy()
        groups = None if self.groups is None else self.groups[rows]
        return Origins(self.paths[rows], self.digests[rows], self.shorter_side, groups)

    def followed_by(self, others: Origins) -> Origins:
        """These, then the others."""
        paths = np.concatenate([self.paths, others.paths])
        digests = np.concatenate([self.digests, others.digests])
        both = self.groups is not None and others.groups is not None
        groups = np.concatenate([self.groups, others.groups]) if both else None
        return Origins(paths, digests, self.shorter_side, groups)


class Rows:
    """Square images of a tensor, all or some in any order, which are copied out only when read.

    base: uint8 [M, 3, S, S]. rows: int64 [N], which of them; None: all, in their order.
    origins: of the N images; None where they came from no files.
    """

    def __init__(self, base: Tensor, rows: Tensor | None = None, origins: Origins | None = None) -> None:
        shape = list(base.shape)
        if base.dtype != torch.uint8 or len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
            raise DataError(f"images are {base.dtype} {shape}; they must be torch.uint8 [N, 3, S, S], square")
        self.base, self.rows, self.origins = base, rows, origins

    def __len__(self) -> int:
        return len(self.base if self.rows is None else self.rows)

    @property
    def size(self) -> int:
        """Pixels a side."""
        return self.base.shape[-1]

    def take(self, indices: Indices) -> Tensor:
        """The images at `indices`."""
        return self.base[indices if self.rows is None else self.rows[indices].to(self.base.device)]

    def whole(self, indices: Tensor) -> Sequence[Tensor]:
        """The whole images at `indices`, uint8 [3, height, width] each."""
        return self.take(indices)

    def part(self, indices: Tensor) -> Self:
        """The same images at `indices`, not copied."""
        rows = indices.clone() if self.rows is None else self.rows[indices]
        return Rows(self.base, rows, self.origins and self.origins.part(indices))

    def followed_by(self, others: Self) -> Self:
        """These images, then the others. Only those of different tensors are copied."""
        origins = None
        if self.origins and others.origins:
            origins = self.origins.followed_by(others.origins)
        if type(others) is not Rows or self.base is not others.base:
            both = torch.cat([each.take(slice(None)) for each in (self, others)])
            return Rows(both, None, origins)
        everything = torch.arange(len(self.base))
        rows = [everything if each.rows is None else each.rows for each in (self, others)]
        return Rows(self.base, torch.cat(rows), origins)

    def tensor(self) -> Tensor:
        """All as one tensor. A part becomes a base of its own: it is copied once, not at every call."""
        if self.rows is not None:
            self.base, self.rows = self.take(slice(None)), None
        return self.base


class PixelFile:
    """A file of decoded images, or their bytes in memory. It is mapped only while they are copied out.

    So what has been read does not stay in this process's memory, however many images there are.
    """

    def __init__(self, source: Path | np.ndarray) -> None:
        self.source = source
        self._file: BinaryIO | None = None
        # Kept open: another process removes the file when the folder has changed, and this one reads on.
        self._open()

    def read(self, places: np.ndarray) -> list[Tensor]:
        """The images at `places` (int64 [B, 3]: first byte, height, width), uint8 [3, height, width] each."""
        if isinstance(self.source, np.ndarray):
            return [_image(self.source, *place) for place in places.tolist()]
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            flat = np.frombuffer(mapped, np.uint8)
            images = [_image(flat, *place) for place in places.tolist()]
            del flat  # nothing may point into the map when it is closed
        return images

    def _open(self) -> None:
        if isinstance(self.source, Path):
            self._file = self.source.open("rb")

    def __getstate__(self) -> Path | np.ndarray:
        return self.source

    def __setstate__(self, source: Path | np.ndarray) -> None:
        self.source, self._file = source, None
        self._open()

    def __del__(self) -> None:
        if getattr(self, "_file", None):
            self._file.close()


def _image(flat: np.ndarray, start: int, height: int, width: int) -> Tensor:
    pixels = flat[start : start + 3 * height * width].copy()
    return torch.from_numpy(pixels.reshape(height, width, 3)).permute(2, 0, 1)


class Photographs:
    """Images of any shape, whole, in files: `take` gives the middle square, `whole` all there is.

    files: where they lie. places: int64 [N, 4]: which file, first byte, height, width.
    size: pixels a side of the squares. origins: of the N images.
    """

    def __init__(
        self, files: tuple[PixelFile, ...], places: np.ndarray, size: int, origins: Origins | None
    ) -> None:
        self.files, self.places, self.size, self.origins = files, places, size, origins

    def __len__(self) -> int:
        return len(self.places)

    def take(self, indices: Indices) -> Tensor:
        """The middle squares of the images at `indices`, uint8 [B, 3, size, size]; of one, without the B."""
        if isinstance(indices, int):
            return self.take(torch.tensor([indices]))[0]
        if isinstance(indices, slice):
            indices = torch.arange(len(self))[indices]
        if indices.dtype == torch.bool:
            indices = indices.nonzero().flatten()
        squares = torch.empty(len(indices), self.size, self.size, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
        # Some at a time: of a thousand large photographs only the squares are in memory together.
        for start in range(0, len(indices), 64):
            for number, image in enumerate(self.whole(indices[start : start + 64]), start):
                squares[number] = middle_square(image, self.size)
        return squares

    def whole(self, indices: Tensor) -> list[Tensor]:
        """The whole images at `indices` (int64 [B]), uint8 [3, height, width] each."""
        places = self.places[indices.numpy()]
        if len(self.files) == 1:
            return self.files[0].read(places[:, 1:])
        return [self.files[place[0]].read(place[None, 1:])[0] for place in places]

    def part(self, indices: Tensor) -> Photographs:
        """The same images at `indices`, not copied."""
        origins = self.origins and self.origins.part(indices)
        return Photographs(self.files, self.places[indices.numpy()], self.size, origins)

    def followed_by(self, others: Photographs | Rows) -> Photographs | Rows:
        """These images, then the others; none is copied where both are photographs."""
        if isinstance(others, Rows):
            return Rows(self.tensor(), None, self.origins).followed_by(others)
        moved = others.places.copy()
        same = self.files == others.files
        moved[:, 0] += 0 if same else len(self.files)
        files = self.files if same else self.files + others.files
        origins = self.origins and others.origins and self.origins.followed_by(others.origins)
        return Photographs(files, np.concatenate([self.places, moved]), self.size, origins)

    def tensor(self) -> Tensor:
        """The middle squares of all as one tensor. It is made at every call, and may be large."""
        return self.take(slice(None))


def middle_square(image: Tensor, size: int) -> Tensor:
    """The middle square of an image, scaled to `size` pixels a side: what a network sees of it.

    image: uint8 [3, height, width]. Returns uint8 [3, size, size]. The shorter side decides, so nothing is
    squashed; what sticks out on the longer side is cut off.
    """
    height, width = image.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resized(image[:, top : top + side, left : left + side], size)


def resized(image: Tensor, size: int) -> Tensor:
    """An image scaled to a square of `size` pixels: uint8 [3, height, width] to uint8 [3, size, size]."""
    if image.shape[1:] == (size, size):
        return image
    shrinks = min(image.shape[1:]) > size or max(image.shape[1:]) > size
    return F.interpolate(image[None], (size, size), mode="bilinear", antialias=shrinks)[0]
