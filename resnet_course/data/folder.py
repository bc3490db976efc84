"""A folder of pictures, one folder a class: decoded once, then mapped into memory from one array file."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import re
import statistics
import time
import unicodedata
import warnings
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from resnet_course.common import console
from resnet_course.data.images import DataError, ImageSet
from resnet_course.data.reading import ImageError, read_image, square

SPLITS = ("train", "val", "test")
LIKE_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}
LAYOUT = "the layout is DIR/train/<class>/<pictures>, optionally DIR/val/... and DIR/test/..."
# Pillow needs a plugin for HEIC; without it such a picture is named as unreadable: better than overlooked.
SUFFIXES = r"avif|bmp|gif|hei[cf]|jfif|jp2|jpe|jpe?g|mpo|a?png|p[bgnp]m|tga|tiff?|webp"
PICTURE = re.compile(rf"[^.].*\.({SUFFIXES})", re.IGNORECASE)
LARGEST = 160  # the most pixels a side that are stored
SAMPLE = 100  # how many pictures, or a few more, decide the stored size
DECODER = 1  # to be raised when the same files come to be stored as other bytes than before


def load_split(directory: Path, split: str, home: Path, size: int | None = None) -> ImageSet | None:
    """Read one split of a tree of pictures; from its array file in `home`, if the tree is still the same.

    The class folders of the first split there is (train, else val, else test) are the classes, sorted
    by name. Pictures that cannot be read are left out and named in a notice.

    directory: holds train/<class>/**, val/<class>/**, test/<class>/**; or <class>/**, which is all train.
    split: "train", "val" or "test".
    home: the course's folder; the array files lie in its folder "folders".
    size: the side of the stored squares, in pixels; None: the median shortest side of the pictures
        in the first split, at most 160.
    Returns the pictures sorted by path, uint8 [N, 3, size, size] in a copy-on-write memory map; None if
        there is no such split.
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
        size = size or _median_side(reference)
    except OSError as error:
        raise DataError(f"{error.filename or directory} cannot be read: {error.strerror or error}") from None

    paths = [path for path, *_ in files]
    _refuse_empty(folder, own_classes, paths)
    images, unreadable = _pictures(folder, files, size, home)
    if unreadable:
        named = ", ".join(f"{path} ({reason})" for path, reason in list(unreadable.items())[:5])
        console.say(
            f"{folder}: {len(unreadable):,} of {len(paths):,} pictures could not be read and were left out: "
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
        loose = sum(bool(PICTURE.fullmatch(inner.name)) for inner in folder.iterdir())
        found = f"{loose:,} pictures that belong to no class" if loose else "no pictures either"
        raise DataError(f"{folder} has no class folders, and {found}; {LAYOUT}")
    return tuple(sorted(names))


def _class_of(path: str) -> str:
    return _normal(path.partition("/")[0])


def _normal(name: str) -> str:
    """One spelling of a class name: in some archives from macOS é is e and an accent."""
    return unicodedata.normalize("NFC", name)


def _scan(folder: Path) -> Iterator[tuple[str, os.DirEntry]]:
    """All pictures below the class folders: the POSIX path from `folder`, and the directory entry."""
    for inner in _subfolders(folder):
        yield from _scan_class(inner, f"{inner.name}/")


def _scan_class(folder: str | Path, prefix: str) -> Iterator[tuple[str, os.DirEntry]]:
    with os.scandir(folder) as entries:  # several times faster than pathlib
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):  # a link could lead round in a circle
                if not entry.name.startswith("."):
                    yield from _scan_class(entry.path, f"{prefix}{entry.name}/")
            elif PICTURE.fullmatch(entry.name):
                yield prefix + entry.name, entry


def _state(entry: os.DirEntry) -> tuple[int, int]:
    """Bytes, and nanoseconds of the last change: what tells that a file is still the same."""
    try:
        state = entry.stat()
    except OSError:  # a link to nowhere, which will be reported as unreadable
        return 0, 0
    return state.st_size, state.st_mtime_ns


def _median_side(folder: Path) -> int:
    """The median shortest side, in pixels, of a sample of the pictures; at most LARGEST."""
    paths = sorted(path for path, _ in _scan(folder))
    sides = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoding comes later, and judges
        for path in paths[:: max(1, len(paths) // SAMPLE)]:
            with suppress(Exception), Image.open(folder / path) as picture:
                sides.append(min(picture.size))
    return min(LARGEST, statistics.median_low(sides or [LARGEST]))


def _refuse_empty(folder: Path, classes: Collection[str], paths: list[str]) -> None:
    filled = {_class_of(path) for path in paths}
    for name in classes:
        if name not in filled:
            raise DataError(
                f"the class {name} in {folder} has no picture that can be read; add PNG or JPEG files or "
                "remove its folder"
            )


def _pictures(
    folder: Path, files: list[tuple[str, int, int]], size: int, home: Path
) -> tuple[Tensor, dict[str, str]]:
    """The pictures that can be read, uint8 [M, 3, size, size], and the reason for each that cannot."""
    kept, paths = home / "folders", [path for path, *_ in files]
    tree, state = _digest(str(folder.resolve())), _digest([DECODER, files])
    array_file = kept / f"{tree}-{state}-{size}.rgb"
    with suppress(OSError, ValueError):  # not there, or damaged
        return _map(array_file, len(paths), size)
    try:
        kept.mkdir(parents=True, exist_ok=True)
        temporary = array_file.with_suffix(f".{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                unreadable = _decode(folder, paths, size, file)
            temporary.replace(array_file)
        finally:
            temporary.unlink(missing_ok=True)
        # The names tell the state and the note is written last, so what has both is complete and up to date.
        note = json.dumps({"folder": str(folder.resolve()), "unreadable": unreadable})
        array_file.with_suffix(".json").write_text(note, encoding="utf-8")
        _remove_stale(kept, tree, state)
        return _map(array_file, len(paths), size)
    except OSError as error:
        reason = error.strerror or error
        _say_once(
            f"Decoded pictures cannot be kept in {kept} ({reason}); they are decoded anew at every start."
        )
        memory = io.BytesIO()
        unreadable = _decode(folder, paths, size, memory)
        flat = np.frombuffer(memory.getbuffer(), np.uint8)
        return torch.from_numpy(flat.reshape(-1, 3, size, size)), unreadable


def _map(array_file: Path, total: int, size: int) -> tuple[Tensor, dict[str, str]]:
    """What `_pictures` returns, from its files. Raises OSError or ValueError if they are not complete."""
    unreadable = json.loads(array_file.with_suffix(".json").read_text(encoding="utf-8"))["unreadable"]
    count = total - len(unreadable)
    flat = np.memmap(array_file, np.uint8, "c") if count else np.empty(0, np.uint8)
    return torch.from_numpy(flat.reshape(count, 3, size, size)), unreadable


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:24]


def _decode(folder: Path, paths: list[str], size: int, file: BinaryIO) -> dict[str, str]:
    """Append every picture, as bytes [3, size, size], to `file`; returns the paths that fail, and why."""
    unreadable = {}
    for path in console.progress(paths, description=f"Reading {folder.name}", unit=" pictures"):
        try:
            picture = read_image(folder / path, at_least=size)
        except ImageError as error:
            unreadable[path] = str(error).removeprefix(f"{folder / path}: ")
        else:
            file.write(square(picture, size).transpose(2, 0, 1).tobytes())
    return unreadable


def _remove_stale(kept: Path, tree: str, state: str) -> None:
    """Remove what an earlier state of the tree left, and what a killed process did."""
    for other in kept.glob(f"{tree}-*"):
        with suppress(OSError):  # Windows does not remove what is in use
            abandoned = other.suffix == ".tmp" and other.stat().st_mtime < time.time() - 3600
            if abandoned or not other.name.startswith(f"{tree}-{state}"):
                other.unlink()


@functools.cache
def _say_once(text: str) -> None:
    console.say(text)
