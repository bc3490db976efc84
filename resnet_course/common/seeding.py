"""Random numbers that are drawn from a seed and leave the caller's own as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int | None = None) -> Iterator[None]:
    """Within it torch's global random numbers follow from `seed`, on every device; then they go on as before.

    seed: a whole number from 0; None: they go on from where they are.
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices=devices):
        if seed is not None:
            torch.manual_seed(seed)
        yield
