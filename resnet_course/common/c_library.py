"""The C library, for what Python itself does not offer: when memory goes back to the system."""

from __future__ import annotations

import ctypes
import functools
import platform
import sys


@functools.cache
def glibc() -> ctypes.CDLL | None:
    """The C library, if it is glibc. To find out takes up to a tenth of a second, so it is done once."""
    # Elsewhere libc_ver reads Python's own file, which a Python from Microsoft's store does not allow.
    return ctypes.CDLL(None) if sys.platform == "linux" and platform.libc_ver()[0] == "glibc" else None
