"""Which cases of a test run every time, and which with the slow ones alone."""

from collections.abc import Collection, Iterable

import pytest


def some_are_slow(cases: Iterable, quick: Collection) -> list:
    """Parameters of which all but the quick ones are marked `slow`: further cases of the same kind.

    cases: of several parameters tuples.
    """
    return [case if case in quick else _slow(case) for case in cases]


def _slow(case: object) -> object:
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
