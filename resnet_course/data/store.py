"""Decoded images, kept in the course's folder: each file is decoded once, by all cores."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from resnet_course.common import console
from resnet_course.common.caches import mark_used
from resnet_course.common.files import STRAY_AGE, locked, write_atomically
from resnet_course.data.reading import ImageError, ImageSource, quiet, read_image, read_quietly, shrink
from resnet_course.data.rows import PixelFile, middle_square

DECODER = 2  # to be raised when the same files come to be stored as other bytes than before
TRIED = 200  # files that tell how long the others take
AHEAD = 4  # images for each core that may be decoded before they are written


class File(NamedTuple):
    """A file of an image: its path from the folder, and by what it is known again.

    size: in bytes. changed: in nanoseconds. number: of the file on its disk, which tells files of one size
        and one time apart when their folders are renamed; 0 on Windows, which does not say it in passing.
    """

    path: str
    size: int
    changed: int
    number: int = 0


@dataclass(frozen=True)
class Stored:
    """Decoded images, one after the other, and what could not be decoded.

    pixels: uint8 [height, width, 3] of each image. shapes: (height, width) of each. files, digests: of each.
    unreadable: for each path that cannot be read the reason.
    """

    pixels: PixelFile
    shapes: list[tuple[int, int]]
    files: list[File]
    digests: list[str]
    unreadable: dict[str, str]

    @property
    def places(self) -> np.ndarray:
        """First byte, height and width of each image: int64 [M, 3]."""
        shapes = np.array(self.shapes, np.int64).reshape(-1, 2)
        ends = (3 * shapes.prod(1)).cumsum()
        return np.column_stack([ends - 3 * shapes.prod(1), shapes])


class Decoded(NamedTuple):
    """One file, decoded: its digest and its pixels uint8 [height, width, 3]; or why it cannot be."""

    digest: str = ""
    pixels: np.ndarray | None = None
    reason: str = ""


def stored_images(folder: Path, part: str, files: Sequence[File], shorter_side: int, home: Path) -> Stored:
    """The images that can be read, whole; from their array file where it is up to date.

    Of several processes that need the same images one decodes them, and the others wait for it. Files that an
    earlier array file of the same folder holds are not decoded again.

    folder, part: where the images lie, and which of those there these are: the split.
    shorter_side: pixels to which the shorter side of a larger image is shrunk.
    home: the course's folder; the array files lie in its folder "folders".
    """
    kept = home / "folders"
    tree, state = _names(folder, part, files)
    array_file = kept / f"{tree}-{state}-{shorter_side}.rgb"
    with suppress(OSError, ValueError):  # not there, or damaged
        return _read(array_file)
    try:
        with locked(array_file):
            with suppress(OSError, ValueError):  # another process was quicker
                return _read(array_file)
            _write(array_file, folder, files, shorter_side, _earlier(kept, tree, shorter_side))
            found = _read(array_file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        _say_once(
            f"Decoded images cannot be kept in {kept} ({reason}); they are decoded again at every start."
        )
        memory = io.BytesIO()
        note = _decode_all(folder, files, shorter_side, memory, None)
        return Stored(PixelFile(np.frombuffer(memory.getvalue(), np.uint8)), **note)
    _remove_stale(kept, tree, state)
    return found


def count_in_time(
    folder: Path, part: str, files: Sequence[File], shorter_side: int, home: Path, until: float
) -> int:
    """How many of the files can be had until then, TRIED at least; all if they are decoded already."""
    if until == math.inf or len(files) <= TRIED:
        return len(files)
    with suppress(OSError, ValueError):
        _read(home / "folders" / "{}-{}-{}.rgb".format(*_names(folder, part, files), shorter_side))
        return len(files)
    began = time.perf_counter()
    with quiet():
        tried = files[:: len(files) // TRIED]
        deque(_by_all_cores(lambda file: _decode(folder / file.path, shorter_side), tried), maxlen=0)
    now = time.perf_counter()
    return min(len(files), max(TRIED, int(len(tried) * (until - now) / (now - began))))


def _write(
    array_file: Path, folder: Path, files: Sequence[File], shorter_side: int, earlier: Stored | None
) -> None:
    """Write the array file, and beside it the note that says what it holds."""
    note: dict[str, Any] = {}

    def decode(file: BinaryIO) -> None:
        note.update(_decode_all(folder, files, shorter_side, file, earlier))

    def is_whole(path: Path) -> bool:
        return path.stat().st_size == sum(3 * height * width for height, width in note["shapes"])

    write_atomically(array_file, decode, is_whole)
    # The names tell the state and the note is written last, so what has both is complete and up to date.
    text = json.dumps({"folder": str(folder.resolve()), **note})
    write_atomically(array_file.with_suffix(".json"), lambda file: file.write(text.encode()))


def _read(array_file: Path) -> Stored:
    """What `stored_images` returns, from its files. Raises OSError or ValueError if they are not complete."""
    note = json.loads(array_file.with_suffix(".json").read_text(encoding="utf-8"))
    try:
        shapes = [(height, width) for height, width in note["shapes"]]
        files = [File(*file) for file in note["files"]]
        digests, unreadable = note["digests"], note["unreadable"]
    except (LookupError, TypeError) as error:  # a later version of the course may note more or less
        raise ValueError(f"{array_file} has a note of another version") from error
    if array_file.stat().st_size != sum(3 * height * width for height, width in shapes):
        raise ValueError(f"{array_file} is cut short")
    mark_used(array_file)
    return Stored(PixelFile(array_file), shapes, files, digests, unreadable)


def _earlier(kept: Path, tree: str, shorter_side: int) -> Stored | None:
    """The newest array file of an earlier state of the same folder; None if there is none."""
    with suppress(OSError, ValueError):
        notes = kept.glob(f"{tree}-*-{shorter_side}.json")
        newest = max(notes, key=lambda path: path.stat().st_mtime_ns)
        return _read(newest.with_suffix(".rgb"))
    return None


def _decode_all(
    folder: Path, files: Sequence[File], shorter_side: int, into: BinaryIO, earlier: Stored | None
) -> dict[str, Any]:
    """Append every image, as bytes [height, width, 3], to `into`; returns the other fields of `Stored`."""
    known = {}
    if earlier:
        known = dict(zip(earlier.files, zip(earlier.places, earlier.digests, strict=True), strict=True))

    def decode(file: File) -> Decoded:
        if file in known:
            place, digest = known[file]
            return Decoded(digest, earlier.pixels.read(place[None])[0].permute(1, 2, 0).numpy())
        return _decode(folder / file.path, shorter_side)

    note: dict[str, Any] = {"shapes": [], "files": [], "digests": [], "unreadable": {}}
    with quiet():
        decoded = _by_all_cores(decode, files)
        bar = console.progress(
            decoded, total=len(files), description=f"Reading {folder.name}", unit=" images"
        )
        for file, image in zip(files, bar, strict=True):
            if image.pixels is None:
                note["unreadable"][file.path] = image.reason
                continue
            into.write(image.pixels.data)
            note["shapes"].append(image.pixels.shape[:2])
            note["files"].append(file)
            note["digests"].append(image.digest)
    return note


def _decode(path: Path, shorter_side: int) -> Decoded:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        pixels = np.asarray(shrink(read_quietly(path, at_least=shorter_side), shorter_side))
    except ImageError as error:
        return Decoded(reason=str(error).removeprefix(f"{path}: "))
    except FileNotFoundError:
        return Decoded(reason="there is no such file")
    except OSError as error:
        return Decoded(reason=error.strerror or str(error))
    return Decoded(digest, np.ascontiguousarray(pixels))


def read_square(image: ImageSource, size: int, shorter_side: int) -> Tensor:
    """The middle square of one image, which is read as those of a folder are: uint8 [3, size, size].

    Raises ImageError.
    """
    pixels = np.array(shrink(read_image(image, at_least=shorter_side), shorter_side))
    return middle_square(torch.from_numpy(pixels).permute(2, 0, 1), size)


def _by_all_cores(function: Callable[[File], Decoded], files: Iterable[File]) -> Iterator[Decoded]:
    """`function` of each file, in their order. Threads will do: Pillow decodes outside Python's lock."""
    affinity = getattr(os, "sched_getaffinity", None)
    workers = len(affinity(0)) if affinity else os.cpu_count() or 1
    waiting: deque[Future[Decoded]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for file in files:
            waiting.append(pool.submit(function, file))
            if len(waiting) > AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _names(folder: Path, part: str, files: Sequence[File]) -> tuple[str, str]:
    """What stands in the name of an array file for where the images are, and for which they are."""
    return _digest([str(folder.resolve()), part, DECODER]), _digest(list(map(tuple, files)))


def _remove_stale(kept: Path, tree: str, state: str) -> None:
    """Remove what an earlier state of the tree left: its files, and after a day what a killed process did."""
    for other in [*kept.glob(f"{tree}-*"), *kept.glob(f".{tree}-*")]:
        with suppress(OSError):  # Windows does not remove what is in use
            # A hidden one is a lock or a temporary file, whose process may be alive.
            hidden = other.name.startswith(".")
            old = time.time() - other.stat().st_mtime > STRAY_AGE
            if not other.name.lstrip(".").startswith(f"{tree}-{state}") and (old or not hidden):
                other.unlink()


@functools.cache
def _say_once(text: str) -> None:
    console.say(text)
