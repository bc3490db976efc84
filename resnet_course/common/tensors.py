"""Reads what `torch.save` wrote, without trusting it."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from resnet_course.common.errors import CourseError


class CheckpointError(CourseError, ValueError):
    """A file is not a checkpoint that can be used. The message says why."""


def read_tensors(path: str | os.PathLike) -> Any:
    """What `torch.save` wrote into a file: tensors and plain values, verified as far as the file allows.

    Raises CheckpointError for a file that is missing, cut short, damaged, foreign, or holds anything
    that could run code.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; give the path of a file in it")
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:  # torch.load itself does not look at the checksums
                broken = archive.testzip()
            if broken:
                raise CheckpointError(f"{path} is damaged: the checksum of its part {broken!r} is wrong")
        return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # zipfile and the unpickler raise nearly anything on hostile bytes
        if isinstance(error, pickle.UnpicklingError) and "Unsupported global" in str(error):
            raise CheckpointError(
                f"{path} is refused: it holds more than tensors and plain values; loading it could run code"
            ) from None
        raise CheckpointError(f"{path} was not written by torch.save, or is cut short or damaged") from None
