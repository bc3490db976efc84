"""`FeatureSet`: what a frozen trunk made of pictures, in a file that is read as it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from resnet_course.data.images import LabelledSet
from resnet_course.inputs.batches import eval_batches, train_batches, train_order
from resnet_course.recipes import Recipe


class ArrayFile:
    """A numpy array in a .npy file, of which rows are read as they are asked for. The rest stays on the disk.

    Plain reads, not a mapped file: a mapped page counts as memory of the process, and the system maps the
    pages around it too. A training on features of 1.7 GB stood at 3.1 GB so.

    shape: of the array. dtype: of its numbers.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.open("rb", buffering=0)
        np.lib.format.read_magic(self.file)
        self.shape, _, self.dtype = np.lib.format.read_array_header_1_0(self.file)
        self.begin = self.file.tell()

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()

    def rows(self, views: np.ndarray, places: np.ndarray) -> np.ndarray:
        """array[views[i], places[i]] for every i, as a new array."""
        rows = np.empty((len(places), *self.shape[2:]), self.dtype)
        size = rows[:1].nbytes
        for row, view, place in zip(rows, views.tolist(), places.tolist(), strict=True):
            self.file.seek(self.begin + (view * self.shape[1] + place) * size)
            if self.file.readinto(row.reshape(-1).view(np.uint8).data) != size:
                raise OSError(f"{self.file.name} is shorter than it was: it was changed while it was read")
        return rows


@dataclass(frozen=True, eq=False)
class FeatureSet(LabelledSet):
    """The output of a frozen trunk for labelled pictures; `features.cache_features` makes it.

    file: the features, float16 or float32 [V, M, h, w, C]: V views of every picture.
    places: int64 [N], where each picture of this set stands among the M.
    labels: int64 [N], indices into `classes`. classes, name: as in `ImageSet`.
    stored_size: pixels a side of the stored pictures.
    train_from: the first part of the network that is not in the trunk.
    trunk: the digest of the trunk's weights.
    """

    file: ArrayFile
    places: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    stored_size: int
    train_from: str
    trunk: str
    kind: ClassVar[str] = "features"

    def __len__(self) -> int:
        return len(self.places)

    @property
    def views(self) -> int:
        """How many views of every picture there are."""
        return self.file.shape[0]

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


@train_batches.register
def _(
    feature_set: FeatureSet, recipe: Recipe, generator: torch.Generator, rank: int = 0, world_size: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: of every picture a random one of its views, float32 [B, C, h, w], and its label.

    With a single view only the order is drawn, so that is the same as of pictures without augmentation.
    """
    for indices in train_order(len(feature_set), recipe, generator, world_size):
        shard, views = indices[rank::world_size], 0
        if feature_set.views > 1:
            views = torch.randint(feature_set.views, (len(indices),), generator=generator)[rank::world_size]
        yield feature_set.read(shard, views), feature_set.labels[shard]


@eval_batches.register
def _(feature_set: FeatureSet, recipe: Recipe, view: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    for indices in torch.arange(len(feature_set)).split(recipe.batch_size):
        yield feature_set.read(indices, view), feature_set.labels[indices]
