"""What this machine does well: measured in seconds, not looked up."""

from resnet_course.machine.cpu import (
    Engine,
    Probe,
    choose,
    device,
    estimate,
    keeping_memory,
    memory_free,
    probe,
    seconds,
    threads_here,
    usable_cores,
)

__all__ = [
    "Engine",
    "Probe",
    "choose",
    "device",
    "estimate",
    "keeping_memory",
    "memory_free",
    "probe",
    "seconds",
    "threads_here",
    "usable_cores",
]
