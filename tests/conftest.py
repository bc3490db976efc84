"""Fixtures that several test modules use."""

from exercise_harness import exercise_home, said

__all__ = ["exercise_home", "said"]
