"""Durations in words."""

from __future__ import annotations

import math

from resnet_course.common.errors import ArgumentError


def format_duration(seconds: float) -> str:
    """A duration as a person says it: "40 ms", "2.5 s", "12 s", "4 min 30 s", "1 h 20 min".

    seconds: finite, from 0. Never rounded to nothing: what is shorter than a millisecond is "under 1 ms".
    Raises ArgumentError.
    """
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ArgumentError(f"a duration is {seconds} seconds; it must be finite and not negative")
    if seconds == 0:
        return "0 s"
    if seconds < 0.001:
        return "under 1 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if seconds < 3599.5:
        large, small, units = *divmod(round(seconds), 60), ("min", "s")
    else:
        large, small, units = *divmod(round(seconds / 60), 60), ("h", "min")
    return f"{large} {units[0]} {small} {units[1]}" if small else f"{large} {units[0]}"
