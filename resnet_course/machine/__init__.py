"""What this machine does well: measured in seconds, not looked up."""

from resnet_course.machine.convolutions import Convolutions
from resnet_course.machine.devices import DeviceError, device
from resnet_course.machine.engine import Engine
from resnet_course.machine.estimates import Cost, costs, estimate, frozen_in_int8, scaled
from resnet_course.machine.limits import memory_free, processor, threads_here, usable_cores
from resnet_course.machine.memory import keeping_memory
from resnet_course.machine.probing import (
    Probe,
    choose,
    forget,
    needs_retuning,
    precisions_to_try,
    probe,
    retune,
)
from resnet_course.machine.report import advice, environment, report
from resnet_course.machine.roofline import Limits, measure_limits, prediction_share, shares
from resnet_course.machine.timing import seconds
from resnet_course.machine.tuning import signature, tuned, tuned_in_any_precision

__all__ = [
    "Convolutions",
    "Cost",
    "DeviceError",
    "Engine",
    "Limits",
    "Probe",
    "advice",
    "choose",
    "costs",
    "device",
    "environment",
    "estimate",
    "forget",
    "frozen_in_int8",
    "keeping_memory",
    "measure_limits",
    "memory_free",
    "needs_retuning",
    "precisions_to_try",
    "prediction_share",
    "probe",
    "processor",
    "report",
    "retune",
    "scaled",
    "seconds",
    "shares",
    "signature",
    "threads_here",
    "tuned",
    "tuned_in_any_precision",
    "usable_cores",
]
