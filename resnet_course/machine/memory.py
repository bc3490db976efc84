"""Memory that stays with the process while it computes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from resnet_course.common.c_library import glibc

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # names of settings in glibc's malloc.h
LARGEST = 2**25  # bytes, on 64-bit systems the highest value that glibc gives M_MMAP_THRESHOLD by itself

_lock = threading.Lock()
_blocks = 0  # blocks of `keeping_memory` that are open, in any thread


@contextlib.contextmanager
def keeping_memory() -> Iterator[None]:
    """Within it, memory that a tensor no longer needs stays with the process, for the next tensor.

    glibc, the C library of most Linux systems, gives each block above 32 MB back to the system at once. For
    the next one the system has to find and clear new pages, at every layer of every step
    (benchmarks/time_to_accuracy.py, "memory", measures what that costs). Elsewhere it does nothing.

    When the last block ends, in whatever thread, glibc is as in any process that has freed a large array:
    blocks of up to 32 MB come from memory that the process holds already, and 64 MB of it may lie idle. That
    must be set: after the first call of mallopt glibc no longer finds these values by itself, and at its
    starting value of 128 KB an array of 8 MB costs 2,000 page faults each time it is made.
    Source: mallopt(3), M_MMAP_MAX, M_MMAP_THRESHOLD and M_TRIM_THRESHOLD.
    """
    global _blocks
    library = glibc()
    if library is None:
        yield
        return
    with _lock:
        _blocks += 1
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, -1)  # never
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if not _blocks:
                library.mallopt(M_MMAP_MAX, 65_536)  # glibc's default
                library.mallopt(M_MMAP_THRESHOLD, LARGEST)
                library.mallopt(M_TRIM_THRESHOLD, 2 * LARGEST)
                library.malloc_trim(2 * LARGEST)
