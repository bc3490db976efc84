"""Which cases of a test run every time, and which with the slow ones alone."""

from collections.abc import Collection, Iterable

import pytest


def some_are_slow(cases: Iterable, quick: Collection) -> list:
    """Parameters of which all but the quick ones are marked `slow`: further cases of the same kind."""
    return [case if case in quick else pytest.param(case, marks=pytest.mark.slow) for case in cases]
