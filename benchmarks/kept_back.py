"""Photographs in a folder of classes, three of ten of them kept back to judge by: others with every seed."""

from __future__ import annotations

import random
import shutil
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resnet_course.data import Splits, load
from resnet_course.settings import Settings

KEPT_BACK = 0.3  # of the photographs


@contextmanager
def kept_back(options: Namespace, seed: int) -> Iterator[tuple[Path, Splits]]:
    """A folder for the while, and of the photographs three of ten as test split, which are copied there."""
    with tempfile.TemporaryDirectory() as scratch:
        for part, files in _parts(Path(options.data.removeprefix("folder:")), seed):
            for file in files:
                into = Path(scratch, "photographs", part, file.parent.name)
                into.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, into)
        folder = f"folder:{Path(scratch, 'photographs')}"
        yield Path(scratch), load(Settings(data=folder, home=Path(scratch), weights=options.weights))


def _parts(folder: Path, seed: int) -> Iterator[tuple[str, list[Path]]]:
    """Three of ten photographs of each class for "test", the others for "train"."""
    generator = random.Random(seed)
    folder = folder / "train" if (folder / "train").is_dir() else folder
    for directory in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(path for path in directory.iterdir() if path.is_file())
        generator.shuffle(files)
        kept = round(KEPT_BACK * len(files))
        yield "test", files[:kept]
        yield "train", files[kept:]
