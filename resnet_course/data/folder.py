"""A folder of images, one folder a class, becomes an `ImageSet`."""

from __future__ import annotations

import os
import re
import statistics
import unicodedata
import warnings
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

import torch

from resnet_course.common.console import say
from resnet_course.data.images import DataError, ImageSet
from resnet_course.data.reading import open_image
from resnet_course.data.store import stored_images

SPLITS = ("train", "val", "test")
LIKE_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}
LAYOUT = "the layout is DIR/train/<class>/<images>, optionally DIR/val/... and DIR/test/..."
# Pillow needs a plugin for HEIC; without it such an image is named as unreadable: better than overlooked.
SUFFIXES = r"avif|bmp|gif|hei[cf]|jfif|jp2|jpe|jpe?g|mpo|a?png|p[bgnp]m|tga|tiff?|webp"
IMAGE_NAME = re.compile(rf"[^.].*\.({SUFFIXES})", re.IGNORECASE)
LARGEST = 160  # the most pixels a side that are stored
SAMPLE = 100  # how many images, or a few more, decide the stored size


def load_split(directory: Path, split: str, home: Path, stored_size: int | None = None) -> ImageSet | None:
    """Read one split of a tree of images; from its array file in `home`, if the tree is still the same.

    The class folders of the first split there is (train, else val, else test) are the classes, sorted
    by name. Images that cannot be read are left out and named in a notice.

    directory: holds train/<class>/**, val/<class>/**, test/<class>/**; or <class>/**, which is all train.
    split: "train", "val" or "test".
    home: the course's folder; the array files lie in its folder "folders".
    stored_size: pixels a side of the stored squares; None: the median shortest side of the images in the
        first split, at most 160.
    Returns the images sorted by path, in a copy-on-write memory map; None if there is no such split.
    Raises DataError if the directory has another layout, an empty class, or only one class to learn.
    """
    try:
        folders = _find_splits(directory)
        if split not in folders:
            return None
        folder, (first, reference) = folders[split], next(iter(folders.items()))
        classes, own_classes = _class_names(reference), _class_names(folder)
        if first == "train" and len(classes) == 1:
            raise DataError(f"{reference} has only one class, {classes[0]}; it needs at least two: {LAYOUT}")
        for name in own_classes:
            if name not in classes:
                raise DataError(f"{folder} has the class {name}, which {reference} does not have")
        files = sorted((path, *_state(entry)) for path, entry in _scan(folder))
        stored_size = stored_size or _median_side(reference)
    except OSError as error:
        raise DataError(f"{error.filename or directory} cannot be read: {error.strerror or error}") from None

    paths = [path for path, *_ in files]
    _refuse_empty(folder, own_classes, paths)
    images, unreadable = stored_images(folder, files, stored_size, home)
    if unreadable:
        named = ", ".join(f"{path} ({reason})" for path, reason in list(unreadable.items())[:5])
        say(
            f"{folder}: {len(unreadable):,} of {len(paths):,} images could not be read and were left out: "
            f"{named}{', …' if len(unreadable) > 5 else ''}"
        )
        paths = [path for path in paths if path not in unreadable]
        _refuse_empty(folder, own_classes, paths)
    index = {name: label for label, name in enumerate(classes)}
    labels = torch.tensor([index[_class_of(path)] for path in paths])
    return ImageSet(images, labels, classes, f"folder {directory.resolve().name}")


def _find_splits(directory: Path) -> dict[str, Path]:
    """The folder of each split, in the order of SPLITS."""
    if not directory.is_dir():
        found = "is a file, not a folder" if directory.exists() else "does not exist"
        raise DataError(f"{directory} {found}; {LAYOUT}")
    found = {split: directory / split for split in SPLITS if (directory / split).is_dir()}
    others = [folder.name for folder in _subfolders(directory) if folder.name.casefold() not in found]
    misnamed = [name for name in others if name.casefold() in LIKE_SPLITS]
    # A class may be called "valid", but "Training" and "Testing" alone are no classes to tell apart.
    if misnamed and (found or misnamed == others):
        raise DataError(f"{directory} has a folder {misnamed[0]}; splits must be named train, val and test")
    return found or {"train": directory}


def _subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, less those that programs leave behind."""
    hidden = (".", "__MACOSX")
    return sorted(inner for inner in folder.iterdir() if inner.is_dir() and not inner.name.startswith(hidden))


def _class_names(folder: Path) -> tuple[str, ...]:
    names = {_normal(inner.name) for inner in _subfolders(folder)}
    if not names:
        loose = sum(bool(IMAGE_NAME.fullmatch(inner.name)) for inner in folder.iterdir())
        found = f"{loose:,} images that belong to no class" if loose else "no images either"
        raise DataError(f"{folder} has no class folders, and {found}; {LAYOUT}")
    return tuple(sorted(names))


def _class_of(path: str) -> str:
    return _normal(path.partition("/")[0])


def _normal(name: str) -> str:
    """One spelling of a class name: in some archives from macOS é is e and an accent."""
    return unicodedata.normalize("NFC", name)


def _scan(folder: Path) -> Iterator[tuple[str, os.DirEntry]]:
    """All images below the class folders: the POSIX path from `folder`, and the directory entry."""
    for inner in _subfolders(folder):
        yield from _scan_class(inner, f"{inner.name}/")


def _scan_class(folder: str | Path, prefix: str) -> Iterator[tuple[str, os.DirEntry]]:
    with os.scandir(folder) as entries:  # several times faster than pathlib
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):  # a link could lead round in a circle
                if not entry.name.startswith("."):
                    yield from _scan_class(entry.path, f"{prefix}{entry.name}/")
            elif IMAGE_NAME.fullmatch(entry.name):
                yield prefix + entry.name, entry


def _state(entry: os.DirEntry) -> tuple[int, int]:
    """Bytes, and nanoseconds of the last change: what tells that a file is still the same."""
    try:
        state = entry.stat()
    except OSError:  # a link to nowhere, which will be reported as unreadable
        return 0, 0
    return state.st_size, state.st_mtime_ns


def _median_side(folder: Path) -> int:
    """The median shortest side, in pixels, of a sample of the images; at most LARGEST."""
    paths = sorted(path for path, _ in _scan(folder))
    sides = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoding comes later, and judges
        for path in paths[:: max(1, len(paths) // SAMPLE)]:
            with suppress(Exception), open_image(folder / path) as image:
                sides.append(min(image.size))
    return min(LARGEST, statistics.median_low(sides or [LARGEST]))


def _refuse_empty(folder: Path, classes: Collection[str], paths: list[str]) -> None:
    filled = {_class_of(path) for path in paths}
    for name in classes:
        if name not in filled:
            raise DataError(
                f"the class {name} in {folder} has no image that can be read; add PNG or JPEG files or "
                "remove its folder"
            )
