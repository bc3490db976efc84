"""Reads what `torch.save` wrote, without trusting it."""

from __future__ import annotations

import argparse
import datetime
import functools
import os
import pickle
import re
import types
import warnings
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch

from resnet_course.common.errors import CourseError
from resnet_course.common.file_kinds import foreign_kind, holds_text


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
        if kind := foreign_kind(path):
            raise CheckpointError(f"{path} was not written by torch.save: it is {kind}")
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:  # torch.load itself does not look at the checksums
                broken = archive.testzip()
            if broken:
                raise CheckpointError(f"{path} is damaged: the checksum of its part {broken!r} is wrong")
        with torch.serialization.safe_globals(harmless()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's, for those who write files
            return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except PermissionError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # zipfile and the unpickler raise nearly anything on hostile bytes
        if isinstance(error, pickle.UnpicklingError) and "Unsupported global" in str(error):
            raise CheckpointError(f"{path} is refused: {_what_could_run(path, str(error))}") from None
        raise CheckpointError(f"{path} was not written by torch.save, or is cut short or damaged") from None


def _what_could_run(path: Path, error: str) -> str:
    """Why the unpickler refused a file. error: its message, which names what it met first."""
    if holds_text(path, b"torch.nn.modules."):
        return (
            "it holds a whole pickled network, as torch.save(model) writes, and loading that could run code; "
            "save model.state_dict() instead"
        )
    named = re.search(r"Unsupported global: GLOBAL (\S+)", error)
    return (
        f"it holds more than tensors and plain values{f' ({named[1]})' if named else ''}; loading it could "
        "run code; save model.state_dict() alone"
    )


@functools.cache
def harmless() -> list[Any]:
    """What training scripts save beside the weights, and what can only hold values: options, paths, numbers.

    With the names under which pickles of any version of numpy and of Python know them.
    """
    scalar, rebuild = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    kinds = [type(np.dtype(code)) for code in "?bBhHiIlLqQefdgFDSU"]
    named = [
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for function, name in ((scalar, "scalar"), (rebuild, "_reconstruct"))
    ]
    named += [
        (pure, f"{module}.{name}")
        for module in ("pathlib", "pathlib._local")
        for pure in (PurePosixPath, PureWindowsPath)
        for name in (pure.__name__, pure.__name__.removeprefix("Pure"))
    ]
    plain = [argparse.Namespace, types.SimpleNamespace]
    times = [datetime.datetime, datetime.date, datetime.timedelta]
    return [*plain, *times, np.dtype, np.ndarray, *dict.fromkeys(kinds), *named]
