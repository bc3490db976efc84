"""What the learner chose: mode, data, weights, home folder, seed, device, threads. Imports no torch."""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import platformdirs

from resnet_course.common.console import say
from resnet_course.common.errors import CourseError
from resnet_course.common.files import why_not_writable

MODES = ("reduced", "laptop", "full")
DATA_SOURCES = ("auto", "cifar10", "shapes")  # or folder:PATH; the room data has a function for each
WEIGHTS_SOURCES = ("auto", "imagenet", "builtin", "none")  # or a path; transfer has a function for each
DEVICES = ("auto", "cpu", "cuda", "mps")
MOST_THREADS = 4096  # more than any computer has, and few enough for PyTorch to count
HIGHEST_SEED = 2**32 - 1  # what every library that takes seeds accepts


class SettingsError(CourseError, ValueError):
    """A setting has a value that the course does not know. The message lists the legal ones."""


@dataclass(frozen=True)
class Settings:
    """The choices that every room reads and none changes.

    mode: "reduced" (seconds, no network; for CI), "laptop" or "full".
    data: "auto", "cifar10", "shapes" or "folder:PATH".
    weights: "auto", "imagenet", "builtin", "none" or the path of a state dict.
    home: the folder for downloads, caches, checkpoints and progress.
    seed: of everything random, a whole number from 0 to 2**32 - 1.
    device: "auto" (a CUDA card if there is one, else the CPU), "cpu", "cuda" or "mps".
    threads: of the processor, from 1; None: as many as the probe finds fastest.
    shorter_side: pixels of a photograph's shorter side that are kept; a larger one is shrunk.
    group: which photographs of a folder belong together, for its splits; see `data.groups`. "": none do.
    test_share: of a folder's train images that are set aside as test where there is no test folder, 0 to 0.9.
    patience: seconds within which a server has to answer where the course can do without what it offers.
    cache_limit: gigabytes that decoded images and features may take in the home folder.
    """

    mode: str = "laptop"
    data: str = "auto"
    weights: str = "auto"
    home: Path = Path(platformdirs.user_cache_dir("resnet_course", appauthor=False))
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    shorter_side: int = 256
    group: str = ""
    test_share: float = 0.2
    patience: int = 10
    cache_limit: int = 10

    def __post_init__(self) -> None:
        for name, legal in (("mode", MODES), ("device", DEVICES)):
            value = getattr(self, name)
            if value not in legal:
                raise SettingsError(f"{name} is {value!r}; it must be one of: {', '.join(legal)}")
        if self.data not in DATA_SOURCES and not self.data.startswith("folder:"):
            is_folder = os.path.isdir(self.data)  # noqa: PTH112 (of any text, where Path.is_dir may raise)
            meant = f"; for that folder write folder:{self.data}" if is_folder else ""
            legal = ", ".join((*DATA_SOURCES, "folder:PATH"))
            raise SettingsError(f"data source is {self.data!r}; it must be one of: {legal}{meant}")
        if self.data == "folder:":
            raise SettingsError("data source is 'folder:' with no path; write folder:PATH")
        if self.data.startswith("folder:"):
            _expanded("data folder", self.data.removeprefix("folder:"))  # refuses one that cannot be
        if self.weights not in WEIGHTS_SOURCES and not _expanded("weights source", self.weights).is_file():
            raise SettingsError(
                f"weights source is {self.weights!r}, which is no file; it must be one of: "
                f"{', '.join(WEIGHTS_SOURCES)}, or the path of a file"
            )
        if not isinstance(self.seed, int) or not 0 <= self.seed <= HIGHEST_SEED:
            raise SettingsError(
                f"seed is {_shown(self.seed)}; it must be a whole number from 0 to {HIGHEST_SEED}"
            )
        if self.threads is not None and (not isinstance(self.threads, int) or self.threads < 1):
            raise SettingsError(f"threads is {_shown(self.threads)}; it must be a whole number from 1 on")
        if self.threads is not None and self.threads > MOST_THREADS:
            raise SettingsError(f"threads is {_shown(self.threads)}; it must be at most {MOST_THREADS}")
        if not isinstance(self.shorter_side, int) or not 16 <= self.shorter_side <= 4096:
            raise SettingsError(
                f"shorter_side is {_shown(self.shorter_side)}; it must be a whole number from 16 to 4096"
            )

        if not 0 <= self.test_share <= 0.9:
            raise SettingsError(f"test_share is {self.test_share!r}; it must be a share, 0 to 0.9")
        if not isinstance(self.patience, int) or not 1 <= self.patience <= 600:
            raise SettingsError(
                f"patience is {_shown(self.patience)}; it must be a whole number of seconds from 1 to 600"
            )
        if not isinstance(self.cache_limit, int) or self.cache_limit < 1:
            raise SettingsError(
                f"cache_limit is {_shown(self.cache_limit)}; it must be a whole number of gigabytes from 1 on"
            )

    @classmethod
    def from_env(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the RESNET_COURSE_ variables; one that is absent or empty takes its default.

        Reduced mode needs nothing of the user's: shapes, built-in weights and a temporary home,
        unless a variable says otherwise.

        environment: the variables, by default those of this process.
        Raises SettingsError for an unknown value.
        """

        def read(name: str, default: str) -> str:
            return environment.get(f"RESNET_COURSE_{name}", "").strip() or default

        def read_number(name: str, default: int | None) -> int | str | None:
            text = read(name, "")
            short = len(text) <= 30  # Python refuses to read a number of some thousand digits
            return int(text) if short and text.isascii() and text.isdigit() else text or default

        mode = read("MODE", cls.mode)
        reduced = mode == "reduced"
        home = read("HOME", "")
        settings = cls(
            mode=mode,
            data=read("DATA", "shapes" if reduced else cls.data),
            weights=read("WEIGHTS", "builtin" if reduced else cls.weights),
            seed=read_number("SEED", cls.seed),
            device=read("DEVICE", cls.device),
            threads=read_number("THREADS", cls.threads),
            shorter_side=read_number("SHORTER_SIDE", cls.shorter_side),
            group=read("GROUP", cls.group),
            patience=read_number("PATIENCE", cls.patience),
            cache_limit=read_number("CACHE_LIMIT", cls.cache_limit),
        )
        if home:
            return replace(settings, home=_expanded("home folder", home).absolute())
        return replace(settings, home=_temporary_home()) if reduced else settings

    @property
    def reduced(self) -> bool:
        """True in the mode that CI runs."""
        return self.mode == "reduced"

    @property
    def folder(self) -> Path | None:
        """The folder of images that `data` names; None where it names another source."""
        name = self.data.removeprefix("folder:")
        return None if name == self.data else _expanded("data folder", name)

    def working_home(self) -> Path:
        """The home folder, or, where it cannot be written, a temporary one in its place, which is said."""
        if not (reason := why_not_writable(self.home)):
            return self.home
        _say_once(
            f"The home folder {self.home} cannot be written: {reason}. What is computed is kept in a "
            "temporary folder until this program ends; RESNET_COURSE_HOME names another home."
        )
        return _temporary_home()


def read_seed(text: str) -> int:
    """A seed as it is typed. Raises SettingsError with the legal ones."""
    number = re.fullmatch(r"[+-]?[0-9]{1,30}", text.strip())
    return Settings(seed=int(text) if number else text).seed


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]} …"


def _expanded(name: str, path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # there is no such user
        raise SettingsError(
            f"{name} is {path!r}, but no home directory of that user is known; write the path out"
        ) from None


@functools.cache
def _say_once(text: str) -> None:
    say(text)


@functools.cache
def _temporary_home() -> Path:
    """One temporary folder for this process, removed when it ends."""
    home = Path(tempfile.mkdtemp(prefix="resnet_course_"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return home
