"""How threads that decode images at the same time stay within a limit of memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from resnet_course.common.c_library import glibc

MOST = 250_000_000  # bytes that decoding takes in all threads together; an image of more is decoded alone
LARGE = 16_000_000  # bytes of which a thread's allocator must not keep a store


class Turns:
    """Lets threads decode at the same time as long as what they need together stays below `most` bytes.

    One that needs more than that decodes alone. They are served in the order in which they come.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most, self.used = most, 0
        self.queue, self.changed = threading.Lock(), threading.Condition()

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Wait until `size` bytes are free, and hold them meanwhile."""
        with self.queue, self.changed:
            self.changed.wait_for(lambda: self.used == 0 or self.used + size <= self.most)
            self.used += size
        if size > self.most:
            _give_back()  # what other threads left
        try:
            yield
        finally:
            if size > LARGE:
                _give_back()
            with self.changed:
                self.used -= size
                self.changed.notify_all()


def _give_back() -> None:
    """Return freed memory to the system: glibc keeps it apart for each thread, and Pillow's blocks are large.

    Source: malloc_trim(3). Other systems do without.
    """
    library = glibc()
    if library is not None:
        library.malloc_trim(0)
