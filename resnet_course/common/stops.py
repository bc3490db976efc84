"""A stop by hand, Ctrl-C or the stop button, is not lost."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
_lost = False


@contextmanager
def keeping_stops() -> Iterator[None]:
    """Within it a stop that Python drops is raised a moment later: by `stoppable`, or when the block ends.

    Python cannot raise out of a destructor or the callback of a weak reference, and PyTorch has many of both.
    A KeyboardInterrupt that arrives there is printed as "Exception ignored in …", and the work goes on.
    Raises KeyboardInterrupt at the end of the block for a stop that no `stoppable` has raised before.
    """
    global _lost
    outermost = sys.unraisablehook is not _keep
    if outermost:
        _keep.otherwise, sys.unraisablehook, _lost = sys.unraisablehook, _keep, False
    try:
        yield
        raise_lost_stop()
    finally:
        if outermost:
            sys.unraisablehook = _keep.otherwise


class _Keep:
    """In the place of `sys.unraisablehook`: keeps a stop in mind, and tells `otherwise` of all else."""

    otherwise = staticmethod(sys.__unraisablehook__)

    def __call__(self, unraisable: sys.UnraisableHookArgs) -> None:
        global _lost
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            _lost = True
        else:
            self.otherwise(unraisable)


_keep = _Keep()


def raise_lost_stop() -> None:
    """Raise KeyboardInterrupt if a stop was dropped since the block of `keeping_stops` began."""
    global _lost
    if _lost:
        _lost = False
        raise KeyboardInterrupt


def stoppable(items: Iterable[T]) -> Iterator[T]:
    """The items, with `raise_lost_stop` before each."""
    for item in items:
        raise_lost_stop()
        yield item
