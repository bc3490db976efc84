"""How many times as fast small convolutions are in fewer bits: what is slow there is tried nowhere else."""

from __future__ import annotations

import functools
import math
import platform
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from resnet_course.machine import devices
from resnet_course.machine.engine import Engine
from resnet_course.machine.timing import seconds
from resnet_course.resnet.network import stage
from resnet_course.transfer import fused, quantized

SMALL = (4, 64, 16, 16)  # images of the small convolution that tells whether bf16 is slow
IMAGES = (4, 3, 64, 64)  # that a small trunk takes
X86 = ("x86_64", "AMD64")  # as Linux and Windows name it
AT_MOST = 0.1  # seconds for each measurement
ROUNDS = 3  # in which precisions take turns


def bf16_gain(on: str) -> float:
    """How many times as fast a small convolution is in bf16 as in fp32, forward and backward.

    1 on a GPU, where so small a one tells only how long it takes to start its parts.
    """
    if devices.kind_of(on) != "cpu":
        return 1.0
    times = {}
    for precision in ("fp32", "bf16"):
        engine = Engine(on, precision, "channels_last", 1)  # on a busy machine two threads take 40 ms to meet
        with engine.computing():
            times[precision] = min(seconds(_small_step(engine), times=3, at_most=AT_MOST))
    return times["fp32"] / times["bf16"]


def int8_gain(on: str, precisions: tuple[str, ...]) -> float:
    """How many times as fast a small frozen trunk is in int8 as in the fastest of some precisions.

    Its stem is computed in that of them in which the whole is fastest.
    0 on a GPU, on processors that are not x86, for which these kernels were not tried, and where PyTorch
    lacks them or they compute something else.
    """
    if not may_take_int8(on):
        return 0.0
    # On a busy machine two threads take 40 ms to meet.
    engines = [Engine(on, precision, "channels_last", 1) for precision in precisions]
    trunk, images = engines[0].place(_small_trunk()), torch.randn(IMAGES)
    with torch.inference_mode(), engines[0].computing():
        try:
            in_int8 = quantized(trunk, engines[0].place(images))
        except (RuntimeError, AttributeError, TypeError):  # none of these kernels is public
            return 0.0
        if isinstance(in_int8, nn.Module):  # the trunk itself, because int8 gives something else
            return 0.0
        networks = in_int8, fused(trunk)
        times = [math.inf] * len(networks)
        steps = [
            (which, functools.partial(_forward, network, engine, images))
            for engine in engines
            for which, network in enumerate(networks)
        ]
        for _ in range(ROUNDS):  # in turn, so that a busy moment hits all
            for which, step in steps:
                times[which] = min(times[which], *seconds(step, times=1, at_most=AT_MOST))
    return times[1] / times[0]


def may_take_int8(on: str) -> bool:
    """Whether a device is of the kind for which the kernels of int8 were tried: an x86 processor."""
    return devices.kind_of(on) == "cpu" and platform.machine() in X86


def _small_trunk() -> nn.Sequential:
    """The first parts of a ResNet-18, frozen."""
    parts = OrderedDict(
        conv1=nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        bn1=nn.BatchNorm2d(64),
        relu=nn.ReLU(),
        maxpool=nn.MaxPool2d(3, 2, 1),
        layer1=stage(64, 64, 2, stride=1),
        layer2=stage(64, 128, 2, stride=2),
    )
    return nn.Sequential(parts).eval()


def _forward(network: Callable[[Tensor], Tensor], engine: Engine, images: Tensor) -> None:
    with engine.autocast():
        network(engine.place(images))


def _small_step(engine: Engine) -> Callable[[], None]:
    """A convolution of a few images, forward and backward."""
    channels = SMALL[1]
    convolution = engine.place(nn.Conv2d(channels, channels, 3, padding=1, bias=False))
    images = engine.place(torch.ones(SMALL))

    def step() -> None:
        with engine.autocast():
            output = convolution(images)
        output.float().sum().backward()

    return step
