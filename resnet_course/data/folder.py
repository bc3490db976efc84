"""A folder of images, one folder a class, becomes an `ImageSet`."""

from __future__ import annotations

import math
import os
import statistics
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from resnet_course.common.console import say
from resnet_course.data.formats import DAMAGED, NOT_READ
from resnet_course.data.images import ImageSet, draw_stratified
from resnet_course.data.layout import LAYOUT, Classes, class_name, find_images, find_splits, passed_over
from resnet_course.data.mistaken import explain
from resnet_course.data.reading import open_image, quiet
from resnet_course.data.rows import DataError, Origins, Photographs, Rows
from resnet_course.data.store import File, Stored, count_in_time, stored_images

SHORTER_SIDE = 256  # pixels of a photograph's shorter side that are kept
LARGEST_SQUARE = 64  # pixels a side up to which squares of one size are no photographs
ENOUGH = 3  # images of a class without which it cannot be learned, chosen by and tested
LEAST = 10  # images of a class that are read where the time is too short for all
SAMPLE = 100  # how many images, or a few more, decide the size of the squares


def load_split(
    directory: Path,
    split: str,
    home: Path,
    stored_size: int | None = None,
    shorter_side: int = SHORTER_SIDE,
    until: float = math.inf,
    to_learn: bool = True,
) -> ImageSet | None:
    """Read one split of a tree of images; from its array file in `home`, if the tree is still the same.

    The class folders of the first split there is (train, else val, else test) are the classes, sorted
    by name. Images that cannot be read are left out and named in a notice.

    directory: laid out as `layout.find_splits` knows it.
    split: "train", "val" or "test".
    home: the course's folder; the array files lie in its folder "folders".
    stored_size: pixels a side of the squares that `ImageSet.take` gives; None: the median shorter side of the
        images in the first split, at most `shorter_side`.
    shorter_side: pixels to which the shorter side of a larger image is shrunk.
    until: when all has to be read, in seconds of `time.perf_counter`; if the time is too short, so many
        of every class are read as it allows.
    to_learn: False: the images are only judged, for which one class is enough.
    Returns the images sorted by path, whole; None if there is no such split. Squares of one size, of at most
    64 pixels, lie in a copy-on-write memory map, all others in a file that is read when they are asked for.
    Raises DataError if the directory has another layout, an empty class, or only one class to learn.
    """
    try:
        splits = _find_splits(directory)
        if split not in splits:
            return None
        classes = _checked_classes(directory, splits, split, to_learn)
        files, labels, not_read = _scan(directory, splits[split], classes)
        _refuse_empty(directory, splits[split], [classes[label] for label in labels])
        stored_size = stored_size or _median_side(directory, next(iter(splits.values())), shorter_side)
    except OSError as error:
        raise DataError(f"{error.filename or directory} cannot be read: {error.strerror or error}") from None
    if split == next(iter(splits)) and (others := passed_over(directory, splits)):
        say(f"{directory}: images in {', '.join(others)} belong to no class of a split and are passed over.")
    _name_those_not_read(directory, not_read)

    known = dict(zip(files, labels, strict=True))
    count = count_in_time(directory, split, files, shorter_side, home, until)
    count = max(count, sum(min(size, ENOUGH) for size in Counter(labels).values()))
    if count < len(files):
        say(f"{directory}: {count:,} of {len(files):,} images are read; for all the time is too short.")
        drawn = draw_stratified(torch.tensor(labels), len(classes), count, seed=0, least=LEAST)
        files = [files[place] for place in drawn.tolist()]
    stored = stored_images(directory, split, files, shorter_side, home)
    if stored.unreadable:
        named = ", ".join(f"{path} ({reason})" for path, reason in list(stored.unreadable.items())[:5])
        say(
            f"{directory}: {len(stored.unreadable):,} of {len(files):,} images could not be read and were "
            f"left out: {named}{', …' if len(stored.unreadable) > 5 else ''}"
        )
    labels = [known[file] for file in stored.files]
    _refuse_empty(directory, splits[split], [classes[label] for label in labels])
    rows = _rows(directory, stored, stored_size, shorter_side)
    return ImageSet(rows, torch.tensor(labels), classes, f"folder {class_name(directory.resolve().name)}")


def split_names(directory: Path) -> tuple[str, ...]:
    """Which of train, val and test a directory has. Raises DataError if it has another layout."""
    try:
        return tuple(_find_splits(directory))
    except OSError as error:
        raise DataError(f"{error.filename or directory} cannot be read: {error.strerror or error}") from None


def _find_splits(directory: Path) -> dict[str, Classes]:
    if mistaken := explain(directory):
        raise DataError(mistaken)
    if not directory.is_dir():
        raise DataError(f"{directory} does not exist; {LAYOUT}")
    return find_splits(directory)


def _checked_classes(
    directory: Path, splits: dict[str, Classes], split: str, to_learn: bool
) -> tuple[str, ...]:
    """The class names. Raises DataError if there is only one to learn, or another one in this split."""
    first, classes = next(iter(splits.items()))
    if to_learn and first == "train" and len(classes) == 1:
        where = directory / first if len(splits) > 1 or (directory / first).is_dir() else directory
        raise DataError(f"{where} has only one class, {next(iter(classes))}; it needs at least two: {LAYOUT}")
    for name, folders in splits[split].items():
        if name not in classes:
            raise DataError(
                f"{folders[0].parent} has the class {name}, which the split {first} does not have"
            )
    return tuple(sorted(classes))


def _scan(
    directory: Path, split: Classes, classes: tuple[str, ...]
) -> tuple[list[File], list[int], dict[str, str]]:
    """The images of a split sorted by path, their labels, and the format of each file that is not read."""
    found, not_read = {}, {}
    for name, folders in split.items():
        label = classes.index(name)
        for folder in folders:
            for path, entry, kind in find_images(folder):
                relative = path.relative_to(directory).as_posix()
                if kind in NOT_READ and kind != DAMAGED:
                    not_read[relative] = kind
                else:
                    found[File(relative, *_state(entry))] = label
    files = sorted(found)
    return files, [found[file] for file in files], not_read


def _state(entry: os.DirEntry) -> tuple[int, int, int]:
    """What tells that a file is still the same; see `File`."""
    try:
        state = entry.stat()
    except OSError:  # a link to nowhere, which will be reported as unreadable
        return 0, 0, 0
    return state.st_size, state.st_mtime_ns, state.st_ino


def _name_those_not_read(directory: Path, not_read: dict[str, str]) -> None:
    if not not_read:
        return
    counts = Counter(not_read.values()).most_common()
    kinds = ", ".join(f"{count:,} {kind} ({NOT_READ[kind]})" for kind, count in counts)
    named = ", ".join(sorted(not_read)[:5]) + (", …" if len(not_read) > 5 else "")
    say(f"{directory}: {len(not_read):,} files look like images and are not read: {kinds}: {named}")


def _median_side(directory: Path, split: Classes, at_most: int) -> int:
    """The median shorter side, in pixels, of a sample of the images."""
    files = _scan(directory, split, tuple(split))[0]
    sides = []
    with quiet():  # decoding comes later, and judges
        for file in files[:: max(1, len(files) // SAMPLE)]:
            with suppress(Exception), open_image(directory / file.path) as image:
                sides.append(min(image.size))
    return min(at_most, statistics.median_low(sides or [at_most]))


def _refuse_empty(directory: Path, split: Classes, filled: Collection[str]) -> None:
    filled = set(filled)
    for name, folders in split.items():
        if name not in filled:
            raise DataError(
                f"the class {name} in {folders[0].parent} has no image that can be read; add PNG or JPEG "
                "files or remove its folder"
            )


def _rows(directory: Path, stored: Stored, stored_size: int, shorter_side: int) -> Rows | Photographs:
    """Where the images lie: as squares in a memory map, or as photographs in a file."""
    paths = [str(directory / file.path) for file in stored.files]
    origins = Origins(_strings(paths), _strings(stored.digests), shorter_side)
    square = (stored_size, stored_size)
    if stored_size > LARGEST_SQUARE or any(shape != square for shape in stored.shapes):
        places = np.insert(stored.places, 0, 0, axis=1)
        return Photographs((stored.pixels,), places, stored_size, origins)
    return Rows(_squares(stored.pixels.source, stored_size), None, origins)


def _squares(source: Path | np.ndarray, size: int) -> Tensor:
    """All images of a file as one tensor, uint8 [N, 3, size, size], which may be written to without harm."""
    flat = np.memmap(source, np.uint8, "c") if isinstance(source, Path) else source.copy()
    return torch.from_numpy(flat.reshape(-1, size, size, 3)).permute(0, 3, 1, 2)


def _strings(values: Sequence[str]) -> np.ndarray:
    return np.array(values, dtype=object)
