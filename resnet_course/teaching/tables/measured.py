"""What the benchmarks wrote for the notebooks."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any


def degradation_table() -> dict[str, Any]:
    """Errors after every epoch of stacks of 8 and 38 layers, from benchmarks/degradation.py with --epochs.

    Returns data (in words), pictures, width, image_size, seeds, epochs, and error_percent: by split ("train",
    "val") and by network ("plain_8", "plain_38", "skip_8", "skip_38"), for each seed a list over the epochs.
    """
    return _read("degradation_table.json")


def _read(name: str) -> dict[str, Any]:
    return json.loads((resources.files(__package__) / name).read_text(encoding="utf-8"))
