"""The one place where files are written: whole or not at all, however many processes share the folder."""

from __future__ import annotations

import contextlib
import errno
import glob
import io
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from resnet_course.common.console import say
from resnet_course.common.errors import CourseError

STRAY_AGE = 24 * 3600  # seconds after which a temporary file belongs to no living writer
REPLACE_TRIES, REPLACE_PAUSE = 20, 0.1  # on Windows, where a file that is open cannot be replaced
NOTICE_AFTER = 1.0  # seconds of waiting for a lock before it is said
FULL = {
    errno.ENOSPC: "no space left on this disk",
    getattr(errno, "EDQUOT", errno.ENOSPC): "your share of this disk (its quota) is used up",
    errno.EFBIG: "the file would be larger than is allowed here",
}  # what the system says when a disk is full, in words; ENOSPC last where there is no EDQUOT


def write_atomically(
    path: str | os.PathLike,
    write: Callable[[BinaryIO], object],
    is_whole: Callable[[Path], bool] | None = None,
) -> Path:
    """Let `write(binary file)` fill a temporary file beside `path`, then put it in `path`'s place.

    A power cut or a kill leaves the old file or the new one. Any number of writers may write the same path:
    the last one wins, and every reader finds one file or another, whole.

    path: where the file goes; its folder is made. Of a link what it leads to is replaced, and the link stays.
    write: fills the file, which is open for writing and can be read and sought in.
    is_whole: only for files that all writers write alike, such as a cache; see `put_in_place`.
    Returns `path`. Raises OSError, of a full disk for example, and what `write` raises; then nothing is left.
    """
    path = Path(os.path.realpath(path) if Path(path).is_symlink() else path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_strays(path)
    temporary, file = temporary_beside(path), None
    try:
        with _File(io.FileIO(temporary, "x+")) as file:
            write(file)
            if file.error:
                raise file.error
            file.flush()
            os.fsync(file.fileno())  # the bytes are on the disk before the name points to them
        put_in_place(temporary, path, is_whole)
    except Exception as error:
        # torch.save hides the disk's error, and a Ctrl-C, behind errors of its own, of one kind or another.
        cause = _cause(error, file)
        if isinstance(cause, KeyboardInterrupt):
            raise cause from None
        ours = isinstance(cause, OSError) and cause.filename in (None, str(temporary))
        if isinstance(error, CourseError) or not ours:
            raise
        raise OSError(cause.errno, cause.strerror or str(cause), str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)  # it is gone already when all went well
    return path


class _File(io.BufferedRandom):
    """A file that remembers why it could not be written, however the writer hides it."""

    error: OSError | None = None

    def write(self, content: bytes) -> int:
        """As of every file."""
        try:
            return super().write(content)
        except OSError as error:
            self.error = self.error or error
            raise


def _cause(error: BaseException, file: _File | None) -> BaseException | None:
    """The disk's error or the Ctrl-C behind an error; None if it is another."""
    known: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in known:
        if isinstance(link, OSError | KeyboardInterrupt):
            return link
        known.append(link)
        link = link.__cause__ or link.__context__
    return file and file.error


def why_not_writable(folder: str | os.PathLike) -> str | None:
    """Why no file can be written into a folder, in words; None if one can. Nothing is left behind.

    folder: of one that is not there yet, the next one above it is looked at.
    """
    folder = Path(os.path.realpath(folder))
    there = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), None)
    if there is None:  # a drive of Windows
        return f"{folder.anchor} is not there"
    trial = temporary_beside(there / "trial")
    try:
        if not there.is_dir():
            return f"{there} is no folder"
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        return in_words(error)
    return None


def why_not_replaceable(path: Path) -> str | None:
    """Why a file that is there cannot be replaced, in words; None if it can.

    Windows asks for a right to the file, and for nobody to have it open; other systems ask the folder alone.
    """
    if os.name != "nt":
        return None
    try:
        with path.open("r+b"):
            return None
    except OSError as error:
        return in_words(error)


def in_words(error: OSError) -> str:
    """What went wrong, without the file's name and a number."""
    return FULL.get(error.errno) or error.strerror or str(error)


def temporary_beside(path: Path) -> Path:
    """A hidden name in the same folder that no other writer uses, of a file that is not there yet."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def put_in_place(temporary: Path, path: Path, is_whole: Callable[[Path], bool] | None = None) -> None:
    """Rename `temporary` to `path`, which it replaces.

    On Windows a file that is open elsewhere, as by a reader or a virus scanner, cannot be replaced: it is
    tried again for two seconds, unless `is_whole(path)` says that the file there is as good, because another
    writer was quicker. Raises PermissionError.
    """
    for tries_left in reversed(range(REPLACE_TRIES)):
        try:
            temporary.replace(path)
            return
        except PermissionError:
            if is_whole and path.exists() and is_whole(path):
                temporary.unlink(missing_ok=True)
                return
            if not tries_left:
                raise
            time.sleep(REPLACE_PAUSE)


@contextlib.contextmanager
def locked(path: str | os.PathLike, timeout: float | None = None) -> Iterator[bool]:
    """Within it no other thread and no other process, on this machine or another, is within `locked(path)`.

    It saves work that two would do alike. Whole files do not depend on it, for `write_atomically` is enough
    there: so where the file system knows no locks, there is none. The lock of a process that dies ends with
    it. A hidden file beside `path` carries the lock and may stay. Not to be nested for the same path.

    timeout: seconds to wait at most; None waits as long as it takes, and says so.
    Yields whether the lock is held: False after the timeout and where there are no locks.
    """
    path = Path(path)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    with contextlib.suppress(OSError, NotImplementedError):  # Timeout is an OSError as well
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=NOTICE_AFTER if timeout is None else min(NOTICE_AFTER, timeout))
        except Timeout:
            if timeout == 0:
                raise
            say(f"Another process is making {path}; waiting for it.")
            lock.acquire(timeout=-1 if timeout is None else max(0.0, timeout - NOTICE_AFTER))
    try:
        yield lock.is_locked
    finally:
        lock.release()


@contextlib.contextmanager
def only_one(path: str | os.PathLike) -> Iterator[bool]:
    """Yields whether no other thread and no other process is within `only_one(path)`: it does not wait.

    Where the file system knows no locks nobody can tell, and it is True. The lock is a hidden file beside
    `path`, which may stay; that of a process that dies ends with it.
    """
    path, free = Path(path), True
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        free = False
    except (OSError, NotImplementedError):
        pass
    try:
        yield free
    finally:
        lock.release()


def _remove_strays(path: Path) -> None:
    """Remove what writers of `path` that were killed left behind, but nothing of one that may still live."""
    for stray in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):  # another process was quicker, or Windows has it open
            if time.time() - stray.stat().st_mtime > STRAY_AGE:
                stray.unlink()
