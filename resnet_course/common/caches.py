"""The caches in the home folder: how much they may hold, and what goes first.

A cache is what can be made again from images and weights: decoded folders and features. Downloads are none.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resnet_course.common.console import say
from resnet_course.common.files import STRAY_AGE, locked

FOLDERS = ("features", "folders")  # in the home folder
RECENT = 60.0  # seconds after its last use in which another process may be about to open a file
GIGABYTE = 10**9


@dataclass(frozen=True)
class Entry:
    """One thing that is kept.

    files: it and what belongs to it. size: bytes of all. used: when last, in seconds since 1970.
    """

    files: tuple[Path, ...]
    size: int
    used: float

    def remove(self) -> bool:
        """Remove it, unless a process is making it. False if it is still there."""
        path = self.files[0]
        made_as = path.with_suffix(".npy") if path.suffix == ".part" else path
        with locked(made_as, timeout=0.0) as alone:
            # Where the disk knows no locks, nobody makes one file for a day.
            if not alone and time.time() - self.used < STRAY_AGE:
                return False
            for file in self.files:
                with contextlib.suppress(OSError):  # Windows does not remove what is in use
                    file.unlink()
        return not any(map(os.path.lexists, self.files))


def mark_used(path: Path) -> None:
    """Note that a file was used now. Access times will not do: many disks are mounted without them."""
    with contextlib.suppress(OSError):  # a home that can only be read
        os.utime(path)


def entries(home: Path) -> list[Entry]:
    """All that is kept, the longest unused first."""
    return sorted(_entries(home), key=lambda entry: entry.used)


def _entries(home: Path) -> Iterator[Entry]:
    for folder in FOLDERS:
        for path in Path(home, folder).glob("[!.]*.[!j]*"):  # a .json belongs to the .rgb beside it
            files = (path, *path.parent.glob(f"{path.stem}.json"))
            with contextlib.suppress(FileNotFoundError):  # another process removed it
                found = [file.stat() for file in files]
                yield Entry(files, sum(each.st_size for each in found), found[0].st_mtime)


def make_room(home: Path, limit: float, needed: int = 0) -> None:
    """Remove what was not used for longest until the rest and what is needed fit into the limit.

    limit: gigabytes that the caches may hold. needed: bytes that are to be written now.
    What was used in the last minute stays, and what a process is making.
    """
    kept = entries(home)
    over = sum(entry.size for entry in kept) + needed - limit * GIGABYTE
    removed = 0
    for entry in kept:
        if over <= 0:
            break
        if time.time() - entry.used > RECENT and entry.remove():
            over, removed = over - entry.size, removed + entry.size
    if removed:
        say(
            f"The caches in {home} may hold {limit:g} GB (RESNET_COURSE_CACHE_LIMIT): "
            f"{removed / GIGABYTE:.1f} GB that were not used for longest are removed."
        )


def clean(home: Path) -> int:
    """Remove all that is kept, but for what a process is making. Returns how many bytes were freed."""
    freed = sum(entry.size for entry in entries(home) if entry.remove())
    for folder in FOLDERS:
        for stray in Path(home, folder).glob(".*"):  # locks, and what a killed process left
            with contextlib.suppress(OSError):
                if time.time() - stray.stat().st_mtime > STRAY_AGE:
                    stray.unlink()
    return freed
