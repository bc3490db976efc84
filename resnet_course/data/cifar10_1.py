"""CIFAR-10.1: 2,000 images for CIFAR-10's classes, collected years later in the same way (Recht et al. 2018).

Source: "Do CIFAR-10 Classifiers Generalize to CIFAR-10?", https://arxiv.org/abs/1806.00451, and
https://github.com/modestyachts/CIFAR-10.1, version 6, which holds 200 images of each class.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from resnet_course.common.download import download
from resnet_course.common.mirrors import answering
from resnet_course.data.images import ImageSet

ADDRESS = "https://github.com/modestyachts/CIFAR-10.1/raw/master/datasets/cifar10.1_v6_"
FILES = {  # images and labels: bytes and SHA-256, as tensorflow_datasets records them
    f"{ADDRESS}data.npy": (6_144_128, "2997188e5816f5bd545dc77771b6227828c28146049fcecf3fa10775474cacc6"),
    f"{ADDRESS}labels.npy": (8_128, "ae40beda001693674edc94d925ee8268cfe68905f8f9aff800c8dcdfcd6c9448"),
}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def is_present(home: Path) -> bool:
    """Whether `load(home)` can do without a network. Looks at names only."""
    return all(_path(home, address).is_file() for address in FILES)


def load(home: Path, *, patience: float) -> ImageSet:
    """Load CIFAR-10.1, downloading it into `home` / "data" if need be: 6 MB.

    patience: seconds within which the server has to answer.
    Returns images uint8 [2000, 3, 32, 32] and labels int64 [2000]. Raises DownloadError if it cannot be had.
    """
    if not is_present(home):
        answering([next(iter(FILES))], patience, home)  # the first is large enough to tell how fast it comes
    arrays = []
    for address, (size, checksum) in FILES.items():
        path = _path(home, address)
        by_hand = f"By hand: fetch {address} with a browser and put it into {path.parent}."
        download([address], path, size=size, checksum=f"sha256:{checksum}", by_hand=by_hand, patient=False)
        arrays.append(np.load(path, allow_pickle=False))
    images, labels = arrays
    images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return ImageSet(images, torch.from_numpy(labels.astype(np.int64)), CLASSES, "CIFAR-10.1")


def _path(home: Path, address: str) -> Path:
    return home / "data" / address.rpartition("/")[2]
