"""The files of features: one numpy array each, filled piece by piece, read row by row."""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from resnet_course.common.caches import mark_used
from resnet_course.common.console import progress, say
from resnet_course.common.errors import CourseError
from resnet_course.common.files import locked, put_in_place, write_atomically
from resnet_course.common.stops import keeping_stops

CHUNK = 128  # images whose features are made and written together
TYPES = {"fp16": torch.float16, "fp32": torch.float32}
DESCRIPTIONS = {"fp16": "<f2", "fp32": "<f4"}  # in numpy's words
RESERVE = 2**28  # bytes that stay free on the disk

MakeChunk = Callable[[int, int], Tensor]  # (view, first image) -> the features [images, h, w, C]
Announce = Callable[[float, Callable[[], object]], object]


class FeaturesError(CourseError, RuntimeError):
    """Features cannot be kept, or do not belong to a model. The message says why, and what would help."""


class ArrayFile:
    """A numpy array in a .npy file, of which rows are read as they are asked for. The rest stays on the disk.

    Plain reads, not a mapped file: a mapped page counts as memory of the process, and the system maps the
    pages around it too. A training on features of 1.7 GB stood at 3.1 GB so. Any number of threads and forked
    processes may read at once.

    shape: of the array. dtype: of its numbers.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.open("rb", buffering=0)
        np.lib.format.read_magic(self.file)
        self.shape, _, self.dtype = np.lib.format.read_array_header_1_0(self.file)
        self.begin = self.file.tell()
        self.lock = threading.Lock()

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()

    def rows(self, views: np.ndarray, places: np.ndarray) -> np.ndarray:
        """array[views[i], places[i]] for every i, as a new array. Raises OSError if the file ends before."""
        rows = np.empty((len(places), *self.shape[2:]), self.dtype)
        size = rows[:1].nbytes
        for row, view, place in zip(rows, views.tolist(), places.tolist(), strict=True):
            offset = self.begin + (view * self.shape[1] + place) * size
            self._fill(row.reshape(-1).view(np.uint8).data, offset)
        return rows

    def _fill(self, buffer: memoryview, offset: int) -> None:
        """Read bytes from `offset` on until `buffer` is full: one read may bring fewer than asked for."""
        while buffer:
            count = self._read(buffer, offset)
            if not count:
                name = self.file.name
                raise OSError(f"{name} ends before byte {offset}: it was cut short after it was opened")
            buffer, offset = buffer[count:], offset + count

    def _read(self, buffer: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):  # not on Windows
            return os.preadv(self.file.fileno(), [buffer], offset)
        with self.lock:  # seek position and read belong together
            self.file.seek(offset)
            return self.file.readinto(buffer)


@dataclass(frozen=True)
class FeatureFile:
    """A file of features: float16 or float32 [views, images, h, w, C], at `path` when it is whole."""

    path: Path
    shape: tuple[int, ...]
    dtype: str

    @property
    def header(self) -> bytes:
        """The beginning of a .npy file of such an array."""
        file = io.BytesIO()
        description = {"descr": DESCRIPTIONS[self.dtype], "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(file, description)
        return file.getvalue()

    @property
    def row_size(self) -> int:
        """The bytes of one image in one view."""
        return math.prod(self.shape[2:]) * TYPES[self.dtype].itemsize

    @property
    def size(self) -> int:
        """The bytes of the whole file."""
        return len(self.header) + math.prod(self.shape[:2]) * self.row_size

    def is_whole(self, path: Path | None = None) -> bool:
        """True if there is a file of that array, by its header and length."""
        path = path or self.path
        try:
            with path.open("rb") as file:
                same = file.read(len(self.header)) == self.header
            return same and path.stat().st_size == self.size
        except FileNotFoundError:
            return False

    def make(self, chunk: MakeChunk, announce: Announce) -> None:
        """Fill the file, unless it is whole; where an earlier call was stopped, go on from there.

        Of several processes that want the same file one makes it, and the others wait. If that one is killed,
        the next goes on from what it has done.

        announce: is told which part of the work, 0 to 1, is left, before it begins, and gets a function to
            time, which does the first chunk of it.
        Raises FeaturesError if the disk is full, or a number is not finite.
        """
        if self.is_whole():
            mark_used(self.path)
            return
        with locked(self.path) as alone:
            if self.is_whole():  # another process made it meanwhile
                return
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
                say(f"{self.path} is damaged; it is made again.")
            try:
                if alone:
                    self._make_part(chunk, announce)
                else:  # this disk knows no locks, so others may be making the same beside this process
                    write_atomically(self.path, lambda file: self._fill(file, chunk, announce), self.is_whole)
            except KeyboardInterrupt:
                if alone:
                    say("Stopped. What is done is kept; the same call goes on from here.")
                raise

    def _make_part(self, chunk: MakeChunk, announce: Announce) -> None:
        part = self.path.with_suffix(".part")
        part.touch()
        with part.open("r+b") as file:
            self._fill(file, chunk, announce)
            file.flush()
            os.fsync(file.fileno())  # the bytes are on the disk before the name points to them
        put_in_place(part, self.path, self.is_whole)

    @keeping_stops()
    def _fill(self, file: BinaryIO, chunk: MakeChunk, announce: Announce) -> None:
        """Write what is missing into an open file."""
        done = os.fstat(file.fileno()).st_size
        if shutil.disk_usage(self.path.parent).free < self.size - done + RESERVE:
            raise self._no_room(done)
        chunks = list(self._chunks())
        left = [(view, start, begin) for view, start, begin, end in chunks if end > done]
        timed: dict[tuple[int, int], Tensor] = {}  # not computed again after it

        def first() -> None:
            view, start, _ = left[0]
            timed[view, start] = chunk(view, start)

        announce(len(left) / len(chunks), first)
        try:
            file.write(self.header)
            for view, start, begin in progress(left, description="features"):
                numbers = timed.pop((view, start), None)
                numbers = chunk(view, start) if numbers is None else numbers
                if not numbers.isfinite().all():
                    raise FeaturesError(
                        f"a feature is not a finite number in {self.dtype}; "
                        + ("take dtype 'fp32'" if self.dtype == "fp16" else "the trunk's weights are damaged")
                    )
                file.seek(begin)
                file.write(numbers.contiguous().numpy().data)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise self._no_room(os.fstat(file.fileno()).st_size) from None

    def _chunks(self) -> Iterator[tuple[int, int, int, int]]:
        """(view, first image, first byte, byte after the last) of every chunk, in the order of the file."""
        views, images = self.shape[:2]
        for view in range(views):
            for start in range(0, images, CHUNK):
                begin = len(self.header) + (view * images + start) * self.row_size
                yield view, start, begin, begin + min(CHUNK, images - start) * self.row_size

    def _no_room(self, done: int) -> FeaturesError:
        folder = self.path.parent
        free = shutil.disk_usage(folder).free
        return FeaturesError(
            f"the features still need {(self.size - done) / 1e6:,.1f} MB, and {folder} has "
            f"{free / 1e6:,.1f} MB free ({RESERVE / 1e6:,.0f} MB stay free); make room there (resnet-course "
            "clean empties the caches), take fewer views, a smaller image_size, a later train_from, or set "
            "RESNET_COURSE_HOME to a folder on another disk. What is done is kept."
        )
