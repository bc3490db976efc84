"""Decoded images, kept in the course's folder: made once, then mapped into memory from one array file."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from resnet_course.common import console
from resnet_course.common.files import STRAY_AGE, locked, write_atomically
from resnet_course.data.reading import ImageError, read_image, square

DECODER = 1  # to be raised when the same files come to be stored as other bytes than before


def stored_images(
    folder: Path, files: Sequence[tuple[str, int, int]], size: int, home: Path
) -> tuple[Tensor, dict[str, str]]:
    """The images that can be read, each the middle square; from their array file where it is up to date.

    Of several processes that need the same images one decodes them, and the others wait for it.

    folder: where the images lie.
    files: of each image its path from `folder`, its bytes and its time of change, by which it is known again.
    size: pixels a side of the squares.
    home: the course's folder; the array files lie in its folder "folders".
    Returns (uint8 [M, 3, size, size], for each path that cannot be read the reason).
    """
    kept, paths = home / "folders", [path for path, *_ in files]
    tree, state = _digest(str(folder.resolve())), _digest([DECODER, files])
    array_file = kept / f"{tree}-{state}-{size}.rgb"
    with suppress(OSError, ValueError):  # not there, or damaged
        return _map(array_file, len(paths), size)
    try:
        with locked(array_file):
            with suppress(OSError, ValueError):  # another process was quicker
                return _map(array_file, len(paths), size)
            _write(array_file, folder, paths, size)
            found = _map(array_file, len(paths), size)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        _say_once(
            f"Decoded images cannot be kept in {kept} ({reason}); they are decoded again at every start."
        )
        memory = io.BytesIO()
        unreadable = _decode(folder, paths, size, memory)
        flat = np.frombuffer(memory.getbuffer(), np.uint8)
        return torch.from_numpy(flat.reshape(-1, 3, size, size)), unreadable
    _remove_stale(kept, tree, state)
    return found


def _write(array_file: Path, folder: Path, paths: Sequence[str], size: int) -> None:
    """Write the array file, and beside it the note that says what it lacks."""
    unreadable: dict[str, str] = {}

    def decode(file: BinaryIO) -> None:
        unreadable.update(_decode(folder, paths, size, file))

    def is_whole(path: Path) -> bool:
        return path.stat().st_size == (len(paths) - len(unreadable)) * 3 * size * size

    write_atomically(array_file, decode, is_whole)
    # The names tell the state and the note is written last, so what has both is complete and up to date.
    note = json.dumps({"folder": str(folder.resolve()), "unreadable": unreadable})
    write_atomically(array_file.with_suffix(".json"), lambda file: file.write(note.encode()))


def _map(array_file: Path, total: int, size: int) -> tuple[Tensor, dict[str, str]]:
    """What `stored_images` returns, from its files. Raises OSError or ValueError if they are not complete."""
    unreadable = json.loads(array_file.with_suffix(".json").read_text(encoding="utf-8"))["unreadable"]
    count = total - len(unreadable)
    flat = np.memmap(array_file, np.uint8, "c") if count else np.empty(0, np.uint8)
    return torch.from_numpy(flat.reshape(count, 3, size, size)), unreadable


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:24]


def _decode(folder: Path, paths: Sequence[str], size: int, file: BinaryIO) -> dict[str, str]:
    """Append every image, as bytes [3, size, size], to `file`; returns the paths that fail, and why."""
    unreadable = {}
    for path in console.progress(paths, description=f"Reading {folder.name}", unit=" images"):
        try:
            image = read_image(folder / path, at_least=size)
        except ImageError as error:
            unreadable[path] = str(error).removeprefix(f"{folder / path}: ")
        else:
            file.write(square(image, size).transpose(2, 0, 1).tobytes())
    return unreadable


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
