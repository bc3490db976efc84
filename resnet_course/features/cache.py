"""`cache_features`: one pass of images through a frozen trunk, kept under a name for all it depends on."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from resnet_course import machine
from resnet_course.common.caches import make_room, mark_used
from resnet_course.common.console import say
from resnet_course.common.durations import format_duration
from resnet_course.common.errors import ArgumentError
from resnet_course.data.images import DataError, ImageSet
from resnet_course.features.feature_set import FeatureSet, trunk_digest
from resnet_course.features.store import CHUNK, TYPES, ArrayFile, FeatureFile, FeaturesError
from resnet_course.inputs.augmentations import AUGMENTATIONS
from resnet_course.inputs.batches import augmented, evenly_spread
from resnet_course.inputs.transforms import to_input
from resnet_course.inputs.views import views_of
from resnet_course.machine import Engine
from resnet_course.recipes import Recipe
from resnet_course.settings import Settings
from resnet_course.transfer import fused, images_to_scale_on, is_frozen, is_quantizable, quantized, trunk_of

FORMAT = 4  # a higher number makes every older file a stranger
# Images in the trunk at once. The first layers' maps of 128 of them take twice the memory and are no faster:
# with `laptop`, two cores, 543 ms for 541 (AVX-512, fp32), 764 for 750 (the same, bf16), 899 for 895 (AVX2).
TOGETHER = 64


def cache_features(
    model: nn.Module,
    image_set: ImageSet,
    recipe: Recipe,
    home: str | os.PathLike,
    *,
    views: int | None = None,
    dtype: str = "fp16",
) -> FeatureSet:
    """Send images through the frozen trunk once, and keep what comes out in a file under `home`.

    The same call finds the file again. It is looked up by a digest of all that its content depends on: the
    trunk's weights, the images, input size, normalisation, augmentation, views, seed, precision, number
    type. Size and time are said before it starts; a stop keeps what is done, and the next call goes on. Of
    several processes that ask for the same, one computes and the others wait for its file.

    Where the recipe leaves precision and memory format open and int8 is fastest, many images are computed so
    (see `transfer.quantized`). The features differ by about a twentieth of their norm; neither a linear probe
    nor the networks of `recipes.LAPTOP` were told apart by it (benchmarks/int8.py, AVX-512 with VNNI).

    model: frozen up to the recipe's `train_from`. It computes on the recipe's engine, and is left as it was.
    views: how many augmented views of every image, to train on; None: the images as they are, and with
        them their mirror images if the recipe's `test_views` is 2 or more, to validate on.
    dtype: "fp16" or "fp32". Half precision halves the file; it has 11 bits for a number's digits, bfloat16
        only 8, and features need no larger range.
    Raises FeaturesError if the disk is too small or a feature too large for the type; ArgumentError if
    nothing is frozen, or for an augmentation that cannot be kept; DataError for an empty set.
    """
    _check(model, image_set, recipe, views, dtype)
    trunk = trunk_of(model, recipe.train_from)
    looks = len(image_set) * (recipe.validation_views if views is None else views)
    engine = machine.choose(recipe, "trunk" if is_quantizable(trunk) else "images", looks)
    digest = trunk_digest(model, recipe.train_from)
    key = _key(image_set, recipe, views, dtype, digest, engine)
    with engine.hosting(model), engine.computing():
        work = _Pass(trunk, engine, image_set, recipe, views, dtype)
        file = FeatureFile(Path(home) / "features" / f"{key}.npy", work.shape(), dtype)
        if whole := file.is_whole():
            mark_used(file.path)  # or it might be what is not used for longest
        make_room(Path(home), Settings.from_env().cache_limit, 0 if whole else file.size)
        file.make(work.chunk, functools.partial(work.announce, file))
    return FeatureSet(
        file=ArrayFile(file.path),
        places=torch.arange(len(image_set)),
        labels=image_set.labels,
        classes=image_set.classes,
        name=image_set.name,
        stored_size=image_set.stored_size,
        origins=image_set.origins,
        train_from=recipe.train_from,
        trunk=digest,
    )


@dataclass(frozen=True)
class _Pass:
    """One pass of a set of images through a frozen trunk; the fields are those of `cache_features`."""

    trunk: nn.Sequential
    engine: Engine
    image_set: ImageSet
    recipe: Recipe
    views: int | None
    dtype: str

    @functools.cached_property
    def computed(self) -> Callable[[Tensor], Tensor]:
        """The trunk as the engine computes it; in int8 with scales from images that lie evenly in the set."""
        if not self.engine.frozen:
            return fused(self.trunk)
        some = evenly_spread(self.image_set, self.recipe, images_to_scale_on(self.recipe.image_size))
        return quantized(self.trunk, self.engine.place(some))

    @torch.inference_mode()
    def shape(self) -> tuple[int, ...]:
        """Of all features: views, images, height, width, channels."""
        one = self.engine.place(to_input(self.image_set.take(slice(0, 1)), self.recipe))
        channels, height, width = fused(self.trunk)(one)[0].shape
        count = self.recipe.validation_views if self.views is None else self.views
        return count, len(self.image_set), height, width, channels

    @torch.inference_mode()
    def chunk(self, view: int, start: int) -> Tensor:
        """The features of images start, start + 1, … in a view: [images, height, width, channels]."""
        inputs = self.engine.place(_inputs(self.image_set, self.recipe, self.views, view, start))
        with self.engine.autocast():
            features = torch.cat([self.computed(part) for part in inputs.split(TOGETHER)])
        return features.permute(0, 2, 3, 1).to("cpu", TYPES[self.dtype])

    def announce(self, file: FeatureFile, part: float, first: Callable[[], object]) -> None:
        """Say what will be written and how long it will take.

        part: of the work that is left, 0 to 1. first: does a chunk of it.
        """
        views, images = file.shape[:2]
        chunks = part * views * images / min(CHUNK, images)
        time = "a moment"
        if chunks > 8:  # fewer take no longer than finding out how long they take
            _ = self.computed  # before the clock starts: it may have to find the scales of int8
            seconds = min(machine.seconds(first, times=3, at_most=0.5))
            time = f"about {format_duration(chunks * seconds)}"
        what = f"{images:,} image{'s' * (images != 1)}" + (f" in {views} views" if views > 1 else "")
        begun = "" if part == 1 else f", {part:.0%} of it still to do"
        in_int8 = self.engine.frozen and not isinstance(self.computed, nn.Module)
        name = "Frozen trunk in int8" if in_int8 else "Frozen trunk"
        say(f"{name}: {what}, {max(1, file.size / 1e6):,.0f} MB in {file.path.parent}{begun}; {time}.")


def _check(model: nn.Module, image_set: ImageSet, recipe: Recipe, views: int | None, dtype: str) -> None:
    if not len(image_set):
        raise DataError(f"{image_set.name} has no images to compute features of")
    if recipe.train_from == "all":
        raise ArgumentError("train_from is 'all': nothing is frozen, so there is no trunk to compute once")
    if dtype not in TYPES:
        raise ArgumentError(f"dtype is {dtype!r}; it must be one of: {', '.join(TYPES)}")
    if not is_frozen(model, recipe.train_from):
        raise FeaturesError(
            f"the model is not frozen up to {recipe.train_from}: its features would change while it learns; "
            f"call freeze(model, {recipe.train_from!r}) first"
        )
    if views is None:
        return
    if not isinstance(views, int) or views < 1:
        raise ArgumentError(f"views is {views!r}; it must be a whole number from 1 on, or None")
    augmentation = AUGMENTATIONS[recipe.augmentation]
    if augmentation.image_by_image:
        raise ArgumentError(
            f"the augmentation {recipe.augmentation!r} changes images one by one; take another"
        )
    if views > (most := augmentation.distinct_views or views):
        raise ArgumentError(
            f"views is {views}, but the augmentation {recipe.augmentation!r} has no more than {most}: "
            "the others would be copies"
        )


def _inputs(image_set: ImageSet, recipe: Recipe, views: int | None, view: int, start: int) -> Tensor:
    """What the trunk is to see of images start, start + 1, …; the same at every call."""
    if views is None:
        images = image_set.take(slice(start, start + CHUNK))
        return views_of(to_input(images, recipe), recipe.validation_views)[view]
    # A seed of its own for every chunk: the draws do not depend on where an earlier call was stopped.
    seed = hashlib.sha256(f"{recipe.seed} {view} {start}".encode()).digest()[:7]
    generator = torch.Generator().manual_seed(int.from_bytes(seed))
    indices = torch.arange(start, min(start + CHUNK, len(image_set)))
    return to_input(augmented(image_set, indices, recipe, generator, view), recipe)


def _key(
    image_set: ImageSet, recipe: Recipe, views: int | None, dtype: str, trunk: str, engine: Engine
) -> str:
    size = image_set.stored_size
    # Views in which nothing but the mirroring is random do not depend on the seed.
    seed = None if AUGMENTATIONS[recipe.augmentation].distinct_views else recipe.seed
    drawn = [recipe.augmentation, list(recipe.crop_scale), views, seed]
    depends_on = {
        "format": [FORMAT, CHUNK],
        "trunk": trunk,
        "train_from": recipe.train_from,
        "images": image_set.content(),
        "shape": [len(image_set), 3, size, size],
        "input": [recipe.image_size, list(recipe.mean), list(recipe.std)],
        "views": recipe.validation_views if views is None else drawn,
        "numbers": [dtype, engine.precision],
        # Rounded and added up elsewhere, or by another PyTorch, int8 may give other numbers.
        **({"in_int8": machine.signature("cpu")} if engine.frozen else {}),
    }
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:32]
