"""What is often advised for training on a CPU, beside the course as it is; part of time_to_accuracy.py."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from unittest.mock import patch

from measuring import in_new_process, in_turn
from step_times import EQUAL, steps_and_engine

# What a process is started with; that a library is there is up to the machine.
ALLOCATORS = {"jemalloc": "libjemalloc.so.2", "tcmalloc": "libtcmalloc_minimal.so.4"}
FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64")
VARIABLES = {
    "as_it_is": {},
    "huge_pages": {"THP_MEM_ALLOC_ENABLE": "1"},
    "bound_threads": {"OMP_PROC_BIND": "close", "OMP_PLACES": "cores"},
}


def measure_advised(options: Namespace) -> dict[str, object]:
    """A step of 32 pictures of 224 pixels, layer4 and head, under each; ratios to the course as it is."""
    ways = dict(VARIABLES)
    for name, library in ALLOCATORS.items():
        found = [str(Path(folder, library)) for folder in FOLDERS if Path(folder, library).exists()]
        if found:
            ways[name] = {"LD_PRELOAD": found[0]}
    median = in_turn(
        {name: lambda variables=each: _steps(options, variables) for name, each in ways.items()},
        options.rounds,
    )
    plain = median["as_it_is"]
    return {
        "steps_each": options.steps * options.rounds,
        "milliseconds": {name: round(each, 1) for name, each in median.items()},
        "times_as_long": {
            name: round(each / plain, 2) for name, each in median.items() if name != "as_it_is"
        },
    }


def _steps(options: Namespace, variables: dict[str, str]) -> list[float]:
    """Milliseconds of steps in a new process that was started with these variables."""
    with patch.dict(os.environ, variables):
        return in_new_process(steps_and_engine, options, EQUAL)[0]
