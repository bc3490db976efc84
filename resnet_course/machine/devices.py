"""Which device computes."""

from __future__ import annotations

import functools
import os

import torch

from resnet_course.common.console import say
from resnet_course.common.errors import CourseError
from resnet_course.settings import Settings


class DeviceError(CourseError, ValueError):
    """The device that was asked for is not there. The message lists those that are."""


def available() -> tuple[str, ...]:
    """The kinds of devices that PyTorch can use here: "cpu" and perhaps "cuda", "mps"."""
    found = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return tuple(kind for kind, there in found.items() if there)


def device() -> str:
    """The device that computes: RESNET_COURSE_DEVICE, or with "auto" a CUDA card if there is one, else "cpu".

    Of several processes on one machine each takes the next card, and more processes than cards share them.
    Raises DeviceError.
    """
    wanted, there = Settings.from_env().device, available()
    if wanted == "auto":
        wanted = "cuda" if "cuda" in there else "cpu"
    if wanted not in there:
        raise DeviceError(
            f"device is {wanted!r} (RESNET_COURSE_DEVICE), and PyTorch finds none here; "
            f"it can be auto or one of: {', '.join(there)}"
        )
    if wanted == "mps":
        _say_untried()
    if wanted == "cuda" and "LOCAL_RANK" in os.environ:  # torchrun's
        return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
    return wanted


def kind_of(name: str) -> str:
    """ "cuda" of "cuda:1"."""
    return torch.device(name).type


def synchronize() -> None:
    """Wait until the device has done all that it was given; the processor does its work at once anyway."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


@functools.cache
def _say_untried() -> None:
    say("The device mps is untried: the course has never been run on one. RESNET_COURSE_DEVICE=cpu is sure.")
