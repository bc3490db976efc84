"""Says things to the learner: notices and progress, never results. Results belong on stdout.

No console can stop the work: what it cannot write is escaped, and a notice that nobody can read is dropped.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TextIO

from tqdm.auto import tqdm

from resnet_course.common.stops import stoppable

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
        _tell(text, sys.stdout if in_notebook() else sys.stderr)


def complain(text: str) -> None:
    """Print one line about what went wrong on stderr, however quiet it is to be."""
    _tell(text, sys.stderr)


def print_escaped(text: str) -> None:
    """Print what was asked for, on stdout: as `print`, but what it cannot write is escaped."""
    print(printable(text, sys.stdout))


def _tell(text: str, stream: TextIO | None) -> None:
    if stream is None:  # `print` would take stdout, which is for results
        return
    with contextlib.suppress(OSError, ValueError):  # its reader is gone, its disk full, or it is closed
        print(printable(text, stream), file=stream, flush=True)


def printable(text: str, stream: TextIO | None = None) -> str:
    r"""The text with what a stream cannot write escaped, as in `na\xefve.png`.

    stream: a text file; None: one in UTF-8, which can write all but the lone surrogates that stand for bytes
        of file names that are no text.
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except (
        LookupError
    ):  # a stream of the caller's own, with a name for its encoding that Python does not know
        return text.encode("ascii", "backslashreplace").decode()


def escape_what_cannot_be_written() -> None:
    """From now on `print` too escapes on stdout and stderr what they cannot write, in place of an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not in a notebook, whose streams write everything
            with contextlib.suppress(OSError):  # it flushes, which may find the pipe closed
                stream.reconfigure(errors="backslashreplace")


def is_closed_pipe(error: OSError) -> bool:
    """Whether it says that the reader of an output has gone, as `head` does: Windows calls it invalid."""
    return error.filename is None and error.errno in (
        errno.EPIPE,
        *([errno.EINVAL] if os.name == "nt" else []),
    )


def flush_results() -> None:
    """Write what `print` has kept back. Raises OSError, of a full disk or a closed pipe for example."""
    if sys.stdout is not None:
        sys.stdout.flush()


def drop_output() -> None:
    """Where stdout or stderr cannot be written any more, send to nowhere what they still hold.

    Otherwise Python tries it once more as it ends, fails again, and says so with a traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
        except AttributeError:  # there is none
            continue


def progress(
    iterable: Iterable | None = None, *, total: float | None = None, description: str = "", unit: str = "it"
) -> tqdm:
    """A tqdm bar over `iterable`, or one to `update()` by hand up to `total`.

    It clears itself when done, and stays silent where nobody watches (a pipe, a log, reduced mode).
    Within `keeping_stops` a stop that Python dropped is raised before the next item.
    """
    total = len(iterable) if total is None and isinstance(iterable, Sized) else total
    at_a_terminal = sys.stderr is not None and sys.stderr.isatty()
    watched = (in_notebook() or at_a_terminal) and os.environ.get("RESNET_COURSE_MODE") != "reduced"
    return tqdm(
        None if iterable is None else stoppable(iterable),
        total=total,
        desc=printable(description, sys.stderr),
        unit=unit,
        unit_scale=unit == "B",
        leave=False,
        disable=not watched or _quiet,
        mininterval=0.5,
        delay=1,  # seconds; JupyterLab folds the output of a cell that makes fifty bars, however short
    )
