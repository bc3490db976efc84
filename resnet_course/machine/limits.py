"""What this process may use of the machine: cores and memory, in a container too."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
from pathlib import Path

import psutil

from resnet_course.machine import distributed
from resnet_course.settings import Settings

CPUINFO = Path("/proc/cpuinfo")
CGROUP = Path("/sys/fs/cgroup")  # where a Linux container finds its limits (cgroup v2)


@functools.cache
def processor() -> str:
    """The processor's name, where the system tells it, and whether it has matrix units (AMX)."""
    name, flags = platform.processor() or platform.machine(), ""
    with contextlib.suppress(OSError):
        for line in CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() == "flags":
                flags = value
    return f"{name} with AMX" if "amx_tile" in flags.split() else name


def usable_cores() -> int:
    """The cores that this process may use: its affinity and its container's quota, not just the count."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # "max 100000" means no quota
        quota, period = (CGROUP / "cpu.max").read_text(encoding="ascii").split()
        count = min(count, max(1, round(int(quota) / int(period))))
    return count


def threads_here() -> int:
    """The most threads that this process may compute with, at least 1.

    RESNET_COURSE_THREADS says how many. Otherwise they are the usable cores, divided among the processes
    that torchrun started here and that do not wait for this one, and never more than OMP_NUM_THREADS.
    """
    threads = Settings.from_env().threads
    if threads is not None:
        return threads
    cores = usable_cores() * distributed.thread_multiplier() // distributed.local_world_size()
    return max(1, min(cores, _omp_num_threads() or cores))


def _omp_num_threads() -> int | None:
    """The environment's OMP_NUM_THREADS; None where there is none, or none that a person has set.

    torchrun sets it to 1 by itself for more than one process, whatever the number of cores.
    """
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # "4,2": of nested loops
    if not first.isdecimal() or (first == "1" and distributed.local_world_size() > 1):
        return None
    return int(first) or None


def memory_free() -> int:
    """Bytes of memory that this process can still take: the system's, or its container's if that is less."""
    free = psutil.virtual_memory().available
    with contextlib.suppress(OSError, ValueError):  # "max" means no limit
        limit, used = (int((CGROUP / name).read_text("ascii")) for name in ("memory.max", "memory.current"))
        lines = (CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
        # Files that were read and that nobody looks at: Linux drops them as soon as memory is asked for.
        cached = next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
        free = max(0, min(free, limit - (used - cached)))
    return free
