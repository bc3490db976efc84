"""Measures the original's own loop, `original_loop.py`, in a process that the course has not touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from resnet_course.common.errors import CourseError
from resnet_course.data import ImageSet

SCRIPT = Path(__file__).with_name("original_loop.py")
# What `machine.keeping_memory` asks of glibc, as any script can have it: read when a process starts.
# Source: mallopt(3), "Environment variables". Elsewhere than on Linux they do nothing.
KEEPING_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**62)}


def measure_original(
    image_set: ImageSet,
    *,
    steps: int = 20,
    evaluate: int = 0,
    weights: str | os.PathLike | None = None,
    image_size: int = 224,
    device: str = "cpu",
    keep_memory: bool = False,
) -> dict[str, list[float]]:
    """Milliseconds of the original's steps of 32 images, in a new process without this package.

    The time "before" of every comparison: neither the probe nor `machine.keeping_memory` has run there.

    image_set: what it trains on, and what it evaluates; give a part of a large one, for it is copied.
    steps, evaluate: how many training steps and evaluation batches to time, after a warm-up of 2 each.
    weights: the file of torchvision's ImageNet weights; None: random ones, which take the same time.
    image_size: pixels a side of the network's input; the original's are 224.
    device: "cpu", "cuda" or "mps".
    keep_memory: start the process with KEEPING_MEMORY in its environment, and nothing else changed.
    Returns {"step_milliseconds": [...], "losses": [...], "evaluation_milliseconds": [...]}.
    Raises CourseError with what the process said if it failed.
    """
    words = ["--steps", steps, "--evaluate", evaluate, "--image-size", image_size, "--device", device]
    if weights is not None:
        words += ["--weights", weights]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # a virus scanner may hold a file
        images = Path(folder) / "images.npz"
        np.savez(images, images=image_set.images.permute(0, 2, 3, 1).numpy(), labels=image_set.labels.numpy())
        # -P: the script's own folder is no place to import from.
        command = [sys.executable, "-P", str(SCRIPT), "--images", str(images), *map(str, words)]
        environment = os.environ | (KEEPING_MEMORY if keep_memory else {})
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise CourseError(
            f"the original's loop ended with status {done.returncode}; it said: {done.stderr[-1000:].strip()}"
        )
    return json.loads(done.stdout)
