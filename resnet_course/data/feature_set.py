"""`FeatureSet`: what a frozen trunk made of pictures, in a file that is read as it is needed."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from resnet_course.data.images import LabelledSet

RELEASE = 256 * 2**20  # bytes read from a file before its pages are given back to the system


class ArrayFile:
    """A numpy array in a .npy file, of which rows are copied out. The rest stays on the disk.

    Pages of a mapped file that were once read count as memory of the process. They are given back after
    every 256 MB, so that the memory in use does not grow with the file. (Windows has no such call, and
    takes them back when it needs them.)
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            self.mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self.array = np.frombuffer(self.mapped, dtype, offset=file.tell()).reshape(shape)
        self.unreleased = 0

    def rows(self, views: np.ndarray, places: np.ndarray) -> np.ndarray:
        """array[views[i], places[i]] for every i, as a new array."""
        rows = self.array[views, places]
        self.unreleased += rows.nbytes
        if self.unreleased > RELEASE and hasattr(mmap, "MADV_DONTNEED"):
            self.mapped.madvise(mmap.MADV_DONTNEED)
            self.unreleased = 0
        return rows


@dataclass(frozen=True, eq=False)
class FeatureSet(LabelledSet):
    """The output of a frozen trunk for labelled pictures; `features.cache_features` makes it.

    file: the features, float16 or float32 [V, M, h, w, C]: V views of every picture.
    places: int64 [N], where each picture of this set stands among the M.
    labels: int64 [N], indices into `classes`. classes, name: as in `ImageSet`.
    side: pixels a side of the stored pictures.
    train_from: the first part of the network that is not in the trunk.
    trunk: the digest of the trunk's weights.
    """

    file: ArrayFile
    places: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    side: int
    train_from: str
    trunk: str
    kind: ClassVar[str] = "features"

    def __len__(self) -> int:
        return len(self.places)

    @property
    def views(self) -> int:
        """How many views of every picture there are."""
        return len(self.file.array)

    def subset(self, indices: Tensor) -> FeatureSet:
        """The pictures at `indices` (int64 [M]), in that order. The file stays the same."""
        return replace(self, places=self.places[indices], labels=self.labels[indices])

    def read(self, indices: Tensor, views: Tensor | int = 0) -> Tensor:
        """The features of some pictures: float32 [B, C, h, w], channels-last.

        indices: int64 [B]. views: which view of each, int64 [B], or one for all.
        """
        views = torch.as_tensor(views).expand(len(indices))
        rows = self.file.rows(views.numpy(), self.places[indices].numpy())
        return torch.from_numpy(rows.astype(np.float32, copy=False)).permute(0, 3, 1, 2)
