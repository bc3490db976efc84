"""Turns any source of pictures into `Splits` of `ImageSet`.

splits = load(Settings.from_env())
"""

from __future__ import annotations

from pathlib import Path

import torch

from resnet_course.common.console import say
from resnet_course.common.download import DownloadError
from resnet_course.data import cifar10, folder, shapes
from resnet_course.data.images import DataError, ImageSet, Splits, concatenate, split_off
from resnet_course.data.reading import ImageError
from resnet_course.settings import Settings

__all__ = ["DataError", "ImageError", "ImageSet", "Splits", "concatenate", "load", "load_split"]

VALIDATION = 0.1  # of train, where the data set has no validation split of its own
TEST = 0.2  # of train, where it has no test split either

SHAPES_COUNTS = {
    "reduced": (1_000, 500),
    "laptop": (10_000, 2_000),
    "full": (10_000, 2_000),
}  # train + val, test


def load(settings: Settings) -> Splits:
    """The three splits of the data source that `settings` names, said in one line.

    The validation split is carved out of train, stratified, unless the data set brings its own.
    Raises DataError for a folder that cannot be used, and DownloadError if CIFAR-10 was asked for and
    cannot be had.
    """
    if settings.data.startswith("folder:"):
        splits = _load_folder(settings)
        reason = "as you asked"
    elif settings.data == "shapes":
        splits, reason = _load_shapes(settings), "they need no download"
    else:
        splits, reason = _load_cifar10(settings)
    sizes = f"{len(splits.train):,} train, {len(splits.val):,} validation, {len(splits.test):,} test pictures"
    say(f"Data: {splits.train.name} ({reason}); {len(splits.train.classes)} classes, {sizes}.")
    return splits


def load_split(settings: Settings, split: str, side: int | None = None) -> ImageSet:
    """One split, "train", "val" or "test"; of a folder, only that one is read where it stands alone.

    side: pixels a side at which a folder's pictures are stored; None: as the folder suggests.
    Raises what `load` raises.
    """
    if split not in ("train", "val", "test"):
        raise DataError(f"split is {split!r}; it must be one of: train, val, test")
    if settings.data.startswith("folder:"):
        directory = _directory(settings)
        if split != "train" and (directory / split).is_dir():
            return folder.load_split(directory, split, settings.home, side)
        return getattr(_load_folder(settings, side), split)
    return getattr(load(settings), split)


def _directory(settings: Settings) -> Path:
    return Path(settings.data.removeprefix("folder:")).expanduser()


def _load_folder(settings: Settings, side: int | None = None) -> Splits:
    directory = _directory(settings)
    train, val, test = (
        folder.load_split(directory, name, settings.home, side) for name in ("train", "val", "test")
    )
    if train is None:
        raise DataError(f"{directory} has no train folder; it must be DIR/train/<class>/<pictures>")
    if test is None:
        say(f"{train.name} has no test folder: {TEST:.0%} of train are set aside as the test split.")
        train, test = split_off(train, TEST, settings.seed)
    # A folder comes sorted by class; learners look at the first test pictures, and should see all classes.
    test = test.subset(torch.randperm(len(test), generator=torch.Generator().manual_seed(settings.seed)))
    if val is None:
        train, val = split_off(train, VALIDATION, settings.seed)
    return Splits(train, val, test)


def _load_shapes(settings: Settings) -> Splits:
    train_count, test_count = SHAPES_COUNTS[settings.mode]
    drawn, test = (
        shapes.draw(train_count, seed=settings.seed),
        shapes.draw(test_count, seed=settings.seed + 1_000_000),
    )
    train, val = split_off(drawn, VALIDATION, settings.seed)
    return Splits(train, val, test)


def _load_cifar10(settings: Settings) -> tuple[Splits, str]:
    """CIFAR-10 and why; with "auto" the shapes if it cannot be had."""
    patient = settings.data == "cifar10"
    try:
        reason = "it is on this disk" if cifar10.is_present(settings.home) else "downloaded just now"
        official, test = cifar10.load(settings.home, patient=patient)
    except (DownloadError, OSError) as error:
        if patient:
            raise
        return _load_shapes(settings), f"because CIFAR-10 cannot be had now: {str(error).splitlines()[0]}"
    train, val = split_off(official, VALIDATION, settings.seed)
    return Splits(train, val, test), reason
