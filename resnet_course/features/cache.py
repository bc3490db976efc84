"""One pass of pictures through a frozen trunk, kept on disk, keyed by everything that it depends on."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from resnet_course import machine
from resnet_course.common.console import progress, say
from resnet_course.data.images import DataError, ImageSet
from resnet_course.features.feature_set import ArrayFile, FeatureSet
from resnet_course.inputs.augment import AUGMENTATIONS
from resnet_course.inputs.transforms import to_input
from resnet_course.recipes import Recipe
from resnet_course.resnet.network import ResNet
from resnet_course.transfer import fused, is_frozen, split_at, trunk_of

FORMAT = 2  # a higher number makes every older file a stranger
CHUNK = 128  # pictures that go through the trunk together
DESCRIPTIONS = {"fp16": "<f2", "fp32": "<f4"}
TYPES = {"fp16": torch.float16, "fp32": torch.float32}
RESERVE = 2**28  # bytes that stay free on the disk


class FeaturesError(RuntimeError):
    """Features cannot be kept, or do not belong to a model. The message says why, and what would help."""


def cache_features(
    model: ResNet,
    image_set: ImageSet,
    recipe: Recipe,
    home: str | os.PathLike,
    *,
    views: int | None = None,
    dtype: str = "fp16",
) -> FeatureSet:
    """Send pictures through the frozen trunk once, and keep what comes out in a file under `home`.

    The same call finds the file again. It is looked up by a digest of all that its content depends on: the
    trunk's weights, the pictures, input size, normalisation, augmentation, views, seed, precision, number
    type. Size and time are said before it starts; a stop keeps what is done, and the next call goes on.

    model: frozen up to the recipe's `train_from`.
    views: how many augmented views of every picture, to train on; None: the pictures as they are, and with
        them their mirror images if the recipe's `test_views` is 2 or more, to validate on.
    dtype: "fp16" or "fp32". Half precision halves the file; it has 11 bits for a number's digits, bfloat16
        only 8, and features need no larger range.
    Raises FeaturesError if the disk is too small or a feature too large for the type; ValueError if nothing
    is frozen, or for an augmentation that cannot be kept; DataError for an empty set.
    """
    _check(model, image_set, recipe, views, dtype)
    engine = machine.choose(recipe)
    engine.place(model)
    trunk = fused(trunk_of(model, recipe.train_from))
    digest = trunk_digest(model, recipe.train_from)

    @torch.inference_mode()
    def chunk(view: int, start: int) -> Tensor:
        """What the trunk makes of pictures start, start + 1, …: [pictures, h, w, C]."""
        inputs = _inputs(image_set.images[start : start + CHUNK], recipe, views, view, start)
        with engine.autocast():
            return trunk(engine.place(inputs)).permute(0, 2, 3, 1).to("cpu", TYPES[dtype])

    path = Path(home) / "features" / f"{_key(image_set, recipe, views, dtype, digest, engine)}.npy"
    count = recipe.validation_views if views is None else views
    with engine.computing():
        shape = (count, len(image_set), *chunk(0, 0).shape[1:])
        if not _is_whole(path, shape, dtype):
            _write(path, chunk, shape, dtype)
    return FeatureSet(
        file=ArrayFile(path),
        places=torch.arange(len(image_set)),
        labels=image_set.labels,
        classes=image_set.classes,
        name=image_set.name,
        stored_size=image_set.stored_size,
        train_from=recipe.train_from,
        trunk=digest,
    )


def trunk_digest(model: ResNet, train_from: str) -> str:
    """A fingerprint of the trunk's weights and BatchNorm statistics."""
    found = hashlib.sha256(train_from.encode())
    for name, tensor in split_at(model, train_from)[0].state_dict().items():
        if not name.endswith("num_batches_tracked"):  # a counter that no output depends on
            found.update(name.encode())
            found.update(tensor.detach().cpu().contiguous().numpy().data)
    return found.hexdigest()


def network_for(model: ResNet, image_set: ImageSet | FeatureSet) -> nn.Module:
    """The part of a network that takes a set's batches: all of it for pictures, the head for features.

    Raises FeaturesError if the features come from another trunk, or the trunk is not frozen.
    """
    if isinstance(image_set, ImageSet):
        return model
    train_from = image_set.train_from
    if trunk_digest(model, train_from) != image_set.trunk:
        raise FeaturesError(
            f"the features of {image_set.name} were made by another trunk than this model's (all before "
            f"{train_from}); make them anew: cache_features(model, …)"
        )
    if not is_frozen(model, train_from):
        raise FeaturesError(
            f"features take the place of all before {train_from}, but in this model not all of that is "
            f"frozen: call freeze(model, {train_from!r}), or train on pictures"
        )
    return split_at(model, train_from)[1]


def _check(model: ResNet, image_set: ImageSet, recipe: Recipe, views: int | None, dtype: str) -> None:
    if not len(image_set):
        raise DataError(f"{image_set.name} has no pictures to compute features of")
    if recipe.train_from == "all":
        raise ValueError("train_from is 'all': nothing is frozen, so there is no trunk to compute once")
    if dtype not in TYPES:
        raise ValueError(f"dtype is {dtype!r}; it must be one of: {', '.join(TYPES)}")
    if not is_frozen(model, recipe.train_from):
        raise FeaturesError(
            f"the model is not frozen up to {recipe.train_from}: its features would change while it learns; "
            f"call freeze(model, {recipe.train_from!r}) first"
        )
    if views is None:
        return
    if not isinstance(views, int) or views < 1:
        raise ValueError(f"views is {views!r}; it must be a whole number from 1 on, or None")
    if recipe.augmentation == "original":
        raise ValueError("the augmentation 'original' draws picture by picture; take another")
    most = AUGMENTATIONS[recipe.augmentation].distinct_views or views
    if views > most:
        raise ValueError(
            f"views is {views}, but the augmentation {recipe.augmentation!r} has no more than {most}: "
            "the others would be copies"
        )


def _inputs(images: Tensor, recipe: Recipe, views: int | None, view: int, start: int) -> Tensor:
    """What the trunk is to see of pictures start, start + 1, …; the same at every call."""
    if views is None:
        inputs = to_input(images, recipe)
        return inputs.flip(-1) if view else inputs
    # A seed of its own for every chunk: the draws do not depend on where an earlier call was stopped.
    seed = hashlib.sha256(f"{recipe.seed} {view} {start}".encode()).digest()[:7]
    generator = torch.Generator().manual_seed(int.from_bytes(seed))
    return to_input(AUGMENTATIONS[recipe.augmentation].draw_view(images, view, generator), recipe)


def _key(
    image_set: ImageSet, recipe: Recipe, views: int | None, dtype: str, trunk: str, engine: machine.Engine
) -> str:
    seed = None if AUGMENTATIONS[recipe.augmentation].distinct_views else recipe.seed
    depends_on = {
        "format": [FORMAT, CHUNK],
        "trunk": trunk,
        "train_from": recipe.train_from,
        "images": hashlib.sha256(np.ascontiguousarray(image_set.images.numpy()).data).hexdigest(),
        "shape": list(image_set.images.shape),
        "input": [recipe.image_size, list(recipe.mean), list(recipe.std)],
        "views": recipe.validation_views if views is None else [recipe.augmentation, views, seed],
        "numbers": [dtype, engine.precision],
    }
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:32]


def _header(shape: tuple[int, ...], dtype: str) -> bytes:
    """The beginning of a .npy file of such an array."""
    file = io.BytesIO()
    description = {"descr": DESCRIPTIONS[dtype], "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, description)
    return file.getvalue()


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    return math.prod(shape) * TYPES[dtype].itemsize


def _is_whole(path: Path, shape: tuple[int, ...], dtype: str) -> bool:
    """True if `path` is a file of that array, by its header and length; a damaged file is removed."""
    if not path.is_file():
        return False
    header = _header(shape, dtype)
    with path.open("rb") as file:
        same = file.read(len(header)) == header
    if same and path.stat().st_size == len(header) + _bytes(shape, dtype):
        return True
    say(f"{path} is damaged; it is made anew.")
    path.unlink()
    return False


def _write(path: Path, chunk: Callable[[int, int], Tensor], shape: tuple[int, ...], dtype: str) -> None:
    """Fill a file beside `path` chunk by chunk, from where an earlier call stopped, and give it its name.

    Raises FeaturesError if the disk is full, or a number is not finite.
    """
    views, pictures = shape[:2]
    header, picture_bytes = _header(shape, dtype), _bytes(shape[2:], dtype)
    partial = path.with_suffix(".part")
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.touch()
    done = partial.stat().st_size
    _check_room(partial, len(header) + _bytes(shape, dtype) - done)
    # Every chunk has its place in the file, so a chunk that is written twice does no harm.
    places = {
        (view, start): len(header) + (view * pictures + start) * picture_bytes
        for view in range(views)
        for start in range(0, pictures, CHUNK)
    }
    ends = {key: place + min(CHUNK, pictures - key[1]) * picture_bytes for key, place in places.items()}
    left = [key for key in places if ends[key] > done]
    _announce(path, chunk, shape, dtype, len(left) / len(places))
    try:
        with partial.open("r+b") as file:
            file.write(header)
            for key in progress(left, description="features"):
                numbers = chunk(*key)
                if not numbers.isfinite().all():
                    raise FeaturesError(
                        f"a feature is not a finite number in {dtype}; "
                        + ("take dtype 'fp32'" if dtype == "fp16" else "the trunk's weights are damaged")
                    )
                file.seek(places[key])
                file.write(numbers.contiguous().numpy().data)
            file.flush()
            os.fsync(file.fileno())  # the bytes are on the disk before the name points to them
    except KeyboardInterrupt:
        say("Stopped. What is done is kept; the same call goes on from here.")
        raise
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _no_room(partial, len(header) + _bytes(shape, dtype) - partial.stat().st_size) from None
    partial.replace(path)


def _announce(
    path: Path, chunk: Callable[[int, int], Tensor], shape: tuple[int, ...], dtype: str, part: float
) -> None:
    """Say what will be written and how long it will take. part: of the work that is left, 0 to 1."""
    views, pictures = shape[:2]
    chunks = part * views * pictures / min(CHUNK, pictures)
    time = "a moment"
    if chunks > 8:  # fewer take no longer than finding out how long they take
        time = f"about {chunks * min(machine.seconds(lambda: chunk(0, 0), times=3, at_most=0.5)):.0f} s"
    what = f"{pictures:,} pictures" + (f" in {views} views" if views > 1 else "")
    begun = "" if part == 1 else f", {part:.0%} of it still to do"
    size, folder = _bytes(shape, dtype) / 1e6, path.parent
    say(f"Frozen trunk: {what}, {size:,.0f} MB in {folder}{begun}; {time}.")


def _check_room(path: Path, needed: int) -> None:
    if shutil.disk_usage(path.parent).free < needed + RESERVE:
        raise _no_room(path, needed)


def _no_room(path: Path, needed: int) -> FeaturesError:
    free = shutil.disk_usage(path.parent).free
    return FeaturesError(
        f"the features still need {needed / 1e9:.1f} GB, and {path.parent} has {free / 1e9:.1f} GB free "
        f"({RESERVE / 1e9:.1f} GB stay free); make room there (older features can be deleted), take fewer "
        "views, a smaller image_size, a later train_from, or set RESNET_COURSE_HOME to a folder on another "
        "disk. What is done is kept."
    )
