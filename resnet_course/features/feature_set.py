"""`FeatureSet`: what a frozen trunk made of images, and how it takes their place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import singledispatch
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from resnet_course.data.images import LabelledSet
from resnet_course.data.rows import Origins
from resnet_course.features.store import ArrayFile, FeaturesError
from resnet_course.inputs.batches import Plan, eval_batches, train_batches, train_order, view_batches
from resnet_course.transfer import is_frozen, split_at


@dataclass(frozen=True, eq=False)
class FeatureSet(LabelledSet):
    """The output of a frozen trunk for labelled images; `features.cache_features` makes it.

    file: the features, float16 or float32 [V, M, h, w, C]: V views of every image.
    places: int64 [N], where each image of this set stands among the M.
    labels: int64 [N], indices into `classes`. classes, name: as in `ImageSet`.
    stored_size: pixels a side of the stored images. origins: the files of the images, where there are any.
    train_from: the first part of the network that is not in the trunk.
    trunk: the digest of the trunk's weights.
    """

    file: ArrayFile
    places: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    stored_size: int
    origins: Origins | None
    train_from: str
    trunk: str
    kind: ClassVar[str] = "features"

    def __len__(self) -> int:
        return len(self.places)

    @property
    def views(self) -> int:
        """How many views of every image there are."""
        return self.file.shape[0]

    def subset(self, indices: Tensor) -> FeatureSet:
        """The images at `indices` (int64 [M], or bool [N]), in that order. The file stays the same."""
        indices = torch.as_tensor(indices)
        if indices.dtype == torch.bool:
            indices = indices.nonzero().flatten()
        origins = self.origins and self.origins.part(indices)
        return replace(self, places=self.places[indices], labels=self.labels[indices], origins=origins)

    def content(self) -> str:
        """A digest of the features; their file's name tells what they were made of."""
        return hashlib.sha256(
            Path(self.file.file.name).name.encode() + self.places.numpy().tobytes()
        ).hexdigest()

    def read(self, indices: Tensor, views: Tensor | int = 0) -> Tensor:
        """The features of some images: float32 [B, C, h, w], channels-last.

        indices: int64 [B]. views: which view of each, int64 [B], or one for all.
        """
        views = torch.as_tensor(views).expand(len(indices))
        rows = self.file.rows(views.numpy(), self.places[indices].numpy())
        # By PyTorch, which converts on all threads; numpy does on one.
        return torch.from_numpy(rows).float().permute(0, 3, 1, 2)


@train_batches.register(FeatureSet)
def _(
    feature_set: FeatureSet, plan: Plan, generator: torch.Generator, rank: int = 0, world_size: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: of every image a random one of its views, float32 [B, C, h, w], and its label.

    With a single view only the order is drawn, so it is the same as of images without augmentation.
    """
    for indices in train_order(len(feature_set), plan, generator, world_size):
        shard, views = indices[rank::world_size], 0
        if feature_set.views > 1:
            views = torch.randint(feature_set.views, (len(indices),), generator=generator)[rank::world_size]
        yield feature_set.read(shard, views), feature_set.labels[shard]


@eval_batches.register(FeatureSet)
def _(feature_set: FeatureSet, plan: Plan) -> Iterator[tuple[Tensor, Tensor]]:
    """The first view of every image, in order."""
    for indices in torch.arange(len(feature_set)).split(plan.batch_size):
        yield feature_set.read(indices), feature_set.labels[indices]


@view_batches.register(FeatureSet)
def _(feature_set: FeatureSet, plan: Plan) -> Iterator[list[Tensor]]:
    if feature_set.views < plan.test_views:
        raise FeaturesError(
            f"the recipe looks at {plan.test_views} views of an image, and the features have "
            f"{feature_set.views}; make them with cache_features(model, image_set, recipe, home)"
        )
    for indices in torch.arange(len(feature_set)).split(plan.batch_size):
        yield [feature_set.read(indices, view) for view in range(plan.test_views)]


def network_for(model: nn.Module, labelled_set: LabelledSet) -> nn.Module:
    """The part of a network that takes a set's batches: all of it for images, the head for features.

    Raises FeaturesError if the features come from another trunk, or the trunk is not frozen.
    """
    return _network_for(labelled_set, model)


@singledispatch
def _network_for(labelled_set: LabelledSet, model: nn.Module) -> nn.Module:
    return model


@_network_for.register(FeatureSet)
def _(feature_set: FeatureSet, model: nn.Module) -> nn.Module:
    train_from = feature_set.train_from
    if trunk_digest(model, train_from) != feature_set.trunk:
        raise FeaturesError(
            f"the features of {feature_set.name} were made by another trunk than this model's (all before "
            f"{train_from}); make them again: cache_features(model, …)"
        )
    if not is_frozen(model, train_from):
        raise FeaturesError(
            f"features take the place of all before {train_from}, but in this model not all of that is "
            f"frozen: call freeze(model, {train_from!r}), or train on images"
        )
    return split_at(model, train_from)[1]


def trunk_digest(model: nn.Module, train_from: str) -> str:
    """A fingerprint of the trunk's weights and BatchNorm statistics."""
    found = hashlib.sha256(train_from.encode())
    for name, tensor in split_at(model, train_from)[0].state_dict().items():
        if not name.endswith("num_batches_tracked"):  # a counter that no output depends on
            found.update(name.encode())
            found.update(tensor.detach().cpu().contiguous().numpy().data)
    return found.hexdigest()
