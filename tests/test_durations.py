"""Durations as a person says them."""

import math

import pytest

from resnet_course.common.durations import format_duration
from resnet_course.common.errors import ArgumentError


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.0002, "under 1 ms"),
        (0.04, "40 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (2.5, "2.5 s"),
        (9.96, "10 s"),
        (12, "12 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (270, "4 min 30 s"),
        (3599.6, "1 h"),
        (4800, "1 h 20 min"),
        (95 * 3600, "95 h"),
    ],
)
def test_durations_are_said_in_words_and_never_rounded_to_nothing(seconds, words):
    assert format_duration(seconds) == words


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan])
def test_what_is_no_duration_is_refused(seconds):
    with pytest.raises(ArgumentError, match="it must be finite and not negative"):
        format_duration(seconds)
