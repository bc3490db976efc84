"""Says things to the learner: notices and progress, never results. Results belong on stdout."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator

from tqdm.auto import tqdm

_quiet = False


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within it no notice is printed and no bar shown: for many short trainings, with one bar around them."""
    global _quiet
    before, _quiet = _quiet, True
    try:
        yield
    finally:
        _quiet = before


def in_notebook() -> bool:
    """True inside a Jupyter, Colab or Kaggle kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def say(text: str) -> None:
    """Print one notice: below the cell in a notebook, on stderr elsewhere."""
    if not _quiet:
        print(text, file=sys.stdout if in_notebook() else sys.stderr, flush=True)


def progress(
    iterable: Iterable | None = None, *, total: float | None = None, description: str = "", unit: str = "it"
) -> tqdm:
    """A tqdm bar over `iterable`, or one to `update()` by hand up to `total`.

    It clears itself when done, and stays silent where nobody watches (a pipe, a log, reduced mode).
    """
    watched = (in_notebook() or sys.stderr.isatty()) and os.environ.get("RESNET_COURSE_MODE") != "reduced"
    return tqdm(
        iterable,
        total=total,
        desc=description,
        unit=unit,
        unit_scale=unit == "B",
        leave=False,
        disable=not watched or _quiet,
        mininterval=0.5,
        delay=1,  # seconds; JupyterLab folds the output of a cell that makes fifty bars, however short
    )
