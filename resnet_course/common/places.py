"""Which folder is no place for a training's files, and which files a pattern names."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath, PureWindowsPath

from resnet_course.common.errors import ArgumentError
from resnet_course.common.files import in_words, why_not_writable

# With all that lies in them, but for OTHERS; and those that are the system's, but not what lies in them.
TREES = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/sbin", "/sys", "/usr")
TREES += ("/private/etc", "/System", "/Library", "/Applications")
OTHERS = ("/dev/shm", "/usr/local", "/usr/home")
ALONE = ("/", "/home", "/media", "/mnt", "/opt", "/private", "/private/var", "/run", "/srv", "/var", "/Users")
WINDOWS_TREES = ("windows", "program files", "program files (x86)", "programdata", "$recycle.bin", "recovery")
WINDOWS_DRIVE = "c:"


def check_out(out: Path, data: Path | None) -> None:
    """Refuse a folder that a training should not or cannot write into. Nothing is made.

    out: as `--out` gives it. data: the folder of images that is learned from, if it is one.
    Raises ArgumentError, with one line that says why.
    """
    real = Path(os.path.realpath(out))  # where it will be, whatever links and ".." lead there
    if os.path.lexists(out) and not out.is_dir():
        what = "a file" if out.exists() else "a link to nowhere"
        raise ArgumentError(f"--out {out} is {what}; it must be a folder, or not exist yet")
    if belongs_to_system(real):
        where = "" if str(real) == str(out) else f" ({real})"
        raise ArgumentError(
            f"--out {out}{where} belongs to the system; choose a folder of your own, such as runs/first"
        )
    if data is not None and any(_same(folder, data) for folder in (real, *real.parents)):
        raise ArgumentError(
            f"--out {out} lies in the folder of images {data}, which would change the data; choose a folder "
            "outside it"
        )
    if reason := why_not_writable(real):
        raise ArgumentError(f"--out {out} cannot be written: {reason}; choose a folder that you may write")


def belongs_to_system(path: PurePath) -> bool:
    """Whether a folder is one of the system's: nothing of the user's should lie there.

    path: absolute and without links.
    """
    if isinstance(path, PureWindowsPath):
        inner = [part.casefold() for part in path.parts[1:]]
        return inner[0] in WINDOWS_TREES if inner else path.drive.casefold() == WINDOWS_DRIVE
    within = {str(folder) for folder in (path, *path.parents)}
    return str(path) in ALONE or (not within.isdisjoint(TREES) and within.isdisjoint(OTHERS))


def expanded(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Paths in which patterns such as `*.png` are replaced by the files that they name, sorted.

    Most shells do that themselves, those of Windows do not. What is there under its own name is no pattern.
    Returns the paths, and the patterns that name no file.
    """
    found, unmatched = [], []
    for path in paths:
        if os.path.lexists(path) or not glob.has_magic(str(path)):
            found.append(path)
        elif matches := sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207 (a Path has no absolute patterns)
            found += map(Path, matches)
        else:
            unmatched.append(path)
    return found, unmatched


def free_disk(folder: Path) -> str:
    """What is free on the disk where a folder is or will be, or why nothing can be written there."""
    if reason := why_not_writable(folder):
        return f"CANNOT BE WRITTEN: {reason}"
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    return f"free disk there: {shutil.disk_usage(there).free / 1e9:.0f} GB"


def on_disk(state: Callable[[], str]) -> str:
    """Whether a download is there, and what to do where it is not as it should be.

    state: says "whole", "missing", or what is wrong and where, as in "damaged: FILE"; may raise OSError.
    """
    try:
        found = state()
    except OSError as error:
        return f"CANNOT BE READ: {error.filename}: {in_words(error)}"
    wrong, _, where = found.partition(": ")
    advice = f"{wrong.upper()}: {where}; the next use downloads it again, or put the right file there"
    return {"whole": "yes, verified", "missing": "no"}.get(found, advice)


def _same(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same folder, also where upper and lower case are the same."""
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there
        return False
