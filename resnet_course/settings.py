"""What the learner chose: mode, data source, weights source, home folder, seed. Knows no torch model."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import platformdirs

MODES = ("reduced", "laptop", "full")
DATA_SOURCES = ("auto", "cifar10", "shapes")  # or folder:PATH
WEIGHTS_SOURCES = ("auto", "imagenet", "builtin", "none")  # or a path


class SettingsError(ValueError):
    """A setting has a value that the course does not know. The message lists the legal ones."""


@dataclass(frozen=True)
class Settings:
    """The choices that every room reads and none changes.

    mode: "reduced" (seconds, no network; for CI), "laptop" or "full".
    data: "auto", "cifar10", "shapes" or "folder:PATH".
    weights: "auto", "imagenet", "builtin", "none" or the path of a state dict.
    home: the folder for downloads, caches, checkpoints and progress.
    seed: the seed of everything random.
    """

    mode: str = "laptop"
    data: str = "auto"
    weights: str = "auto"
    home: Path = Path(platformdirs.user_cache_dir("resnet_course", appauthor=False))
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SettingsError(f"mode is {self.mode!r}; it must be one of: {', '.join(MODES)}")
        if self.data not in DATA_SOURCES and not self.data.startswith("folder:"):
            raise SettingsError(
                f"data source is {self.data!r}; it must be one of: {', '.join(DATA_SOURCES)}, folder:PATH"
            )
        if self.data == "folder:":
            raise SettingsError("data source is 'folder:' with no path; write folder:PATH")
        if self.weights not in WEIGHTS_SOURCES and not Path(self.weights).expanduser().is_file():
            raise SettingsError(
                f"weights source is {self.weights!r}, which is no file; it must be one of: "
                f"{', '.join(WEIGHTS_SOURCES)}, or the path of a file"
            )

    @classmethod
    def from_env(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the four RESNET_COURSE_ variables; one that is absent or empty takes its default.

        Reduced mode needs nothing of the user's: shapes, built-in weights and a temporary home,
        unless a variable says otherwise.

        environment: the variables, by default those of this process.
        Raises SettingsError for an unknown value.
        """

        def read(name: str, default: str) -> str:
            return environment.get(f"RESNET_COURSE_{name}", "").strip() or default

        mode = read("MODE", cls.mode)
        reduced = mode == "reduced"
        home = read("HOME", "")
        settings = cls(
            mode=mode,
            data=read("DATA", "shapes" if reduced else cls.data),
            weights=read("WEIGHTS", "builtin" if reduced else cls.weights),
        )
        if home:
            return replace(settings, home=Path(home).expanduser().absolute())
        return replace(settings, home=_temporary_home()) if reduced else settings

    @property
    def reduced(self) -> bool:
        """True in the mode that CI runs."""
        return self.mode == "reduced"


@functools.cache
def _temporary_home() -> Path:
    """One temporary folder for this process, removed when it ends."""
    home = Path(tempfile.mkdtemp(prefix="resnet_course_"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return home
