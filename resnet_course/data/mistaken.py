"""What a folder of images is mistaken for most often: an archive, a file, CIFAR-10's own files."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from resnet_course.data.layout import LAYOUT
from resnet_course.settings import Settings

ARCHIVE_NAME = re.compile(
    r".+\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz|zst|lz4?)|gz|bz2|xz|zst|7z|rar|cab|iso|dmg)", re.IGNORECASE
)
ARCHIVE_BEGINNINGS = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!")
ARCHIVE_BEGINNINGS += (b"\x28\xb5\x2f\xfd",)
BATCH = re.compile(r"(data_batch_\d|test_batch)(\.bin|\.mat)?", re.IGNORECASE)
BATCHES, CIFAR10_ARCHIVE = "cifar-10-batches-py", re.compile(r"cifar-?10.*", re.IGNORECASE)
# The names of other data sets' own files, none of which is a folder of images.
OTHERS = (
    (r"(train|t10k|emnist.*)-(images|labels)[-.]idx[13]-ubyte(\.gz)?", "MNIST's own files"),
    (r"(train|test|extra)_32x32\.mat", "SVHN's own files"),
    (r".+\.tfrecords?(-\d+-of-\d+)?", "TFRecords"),
    (r".+\.parquet", "Parquet tables"),
    (r".+\.arrow", "Arrow tables"),
    (r".+\.(h5|hdf5|npz|npy)", "arrays"),
)


def explain(directory: Path) -> str | None:
    """What a path given as a folder of images is instead, and what would be right; None if it may be one.

    directory: as the user gave it. Looks at names and the first bytes of a file, and raises nothing.
    """
    try:
        if directory.is_dir():
            return _explain_folder(directory)
        return _explain_file(directory) if directory.exists() else None
    except OSError:  # it may not be looked at; who reads it says so
        return None


def _explain_file(path: Path) -> str:
    if _is_archive(path):
        if CIFAR10_ARCHIVE.fullmatch(path.name):
            return (
                f"{path} is the archive of CIFAR-10; to use it, move it to "
                f"{Settings.from_env().home / 'data' / 'cifar-10-python.tar.gz'} and take --data cifar10"
            )
        return f"{path} is an archive; unpack it first and give the folder that comes out; {LAYOUT}"
    return f"{path} is a file, not a folder; {LAYOUT}"


def _explain_folder(folder: Path) -> str | None:
    """Only a folder without class folders, but for hidden ones, is mistaken."""
    names = [inner.name for inner in folder.iterdir() if not inner.name.startswith(".")]
    batches = sorted(name for name in names if BATCH.fullmatch(name) and (folder / name).is_file())
    if batches:
        return _explain_batches(folder, batches[0])
    folders = [name for name in names if (folder / name).is_dir() and name != "__MACOSX"]
    if folders == [BATCHES]:
        return _explain_batches(folder / BATCHES, "data_batch_1")
    if folders:
        return None
    for pattern, what in OTHERS:
        if found := sorted(name for name in names if re.fullmatch(pattern, name, re.IGNORECASE)):
            return f"{folder} holds {what} ({found[0]}), not images; write them as images first; {LAYOUT}"
    if archives := sorted(name for name in names if ARCHIVE_NAME.fullmatch(name)):
        return f"{folder} holds {archives[0]}, an archive; unpack it first; {LAYOUT}"
    return None


def _explain_batches(folder: Path, batch: str) -> str:
    """CIFAR-10 as its home page offers it: for Python, which the course reads, as bytes and for Matlab."""
    begin = f"{folder} holds CIFAR-10's own files ({batch}), not a folder of images"
    if batch.endswith((".bin", ".mat")):
        return f"{begin}; take --data cifar10, which downloads the version for Python"
    if folder.name == BATCHES and folder.parent.name == "data":
        home = folder.absolute().parent.parent
        return f"{begin}; to use them, take --data cifar10 with RESNET_COURSE_HOME={home}"
    home = Settings.from_env().home
    return f"{begin}; to use them, move them to {home / 'data' / BATCHES} and take --data cifar10"


def _is_archive(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        begin = file.read(262)
        return begin.startswith(ARCHIVE_BEGINNINGS) or begin[257:262] == b"ustar"
    return bool(ARCHIVE_NAME.fullmatch(path.name))
