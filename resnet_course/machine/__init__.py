"""What this machine does well: measured in seconds, not looked up."""

from resnet_course.machine.devices import DeviceError, device
from resnet_course.machine.engine import Engine
from resnet_course.machine.estimates import estimate
from resnet_course.machine.limits import memory_free, threads_here, usable_cores
from resnet_course.machine.memory import keeping_memory
from resnet_course.machine.probing import Probe, choose, needs_retuning, probe, retune
from resnet_course.machine.timing import seconds

__all__ = [
    "DeviceError",
    "Engine",
    "Probe",
    "choose",
    "device",
    "estimate",
    "keeping_memory",
    "memory_free",
    "needs_retuning",
    "probe",
    "retune",
    "seconds",
    "threads_here",
    "usable_cores",
]
