"""Times steps: any, and training steps of parts of ResNet-18 on several engines in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

import torch
from torch import Tensor, nn

from resnet_course.machine import devices
from resnet_course.machine.engine import Engine
from resnet_course.resnet.network import stage

SECONDS = 2.0  # after which a probe starts no measurement
BATCH, GPU_BATCH = 4, 128  # images in a step; features are twice as many
OPERATIONS = 1_049_296_896  # floating-point operations of a step for each image, forward and backward

Way = tuple[str, str]  # precision and memory format
Candidate = tuple[str, Engine]  # "images" or "features", and how they are computed


def seconds(step: Callable[[], object], times: int, at_most: float) -> list[float]:
    """Seconds of each of up to `times` steps after a warm-up, stopping once `at_most` seconds have passed.

    One is always measured, because a warm-up also makes kernels and finds memory: it can take longer than the
    steps that follow. On a GPU a step ends when its work does.
    Raises ValueError if `times` is less than 1.
    """
    if times < 1:
        raise ValueError(f"times must be at least 1, the step that is always measured, but it is {times}")
    measured: list[float] = []
    began = perf_counter()
    for _ in range(1 + times):
        start = perf_counter()
        step()
        devices.synchronize()
        measured.append(perf_counter() - start)
        if len(measured) > 1 and perf_counter() - began > at_most:
            break
    return measured[1:]


class StepTimer:
    """Times training steps of parts of ResNet-18; none but the first starts after SECONDS."""

    def __init__(self) -> None:
        self.until = perf_counter() + SECONDS
        self.parts: dict[tuple[str, str], tuple[nn.Module, Tensor]] = {}
        self.times: dict[Candidate, list[float]] = {}

    def time(self, candidates: Sequence[Candidate], rounds: int) -> None:
        """Time a warm-up and so many steps of each, in turn."""
        for _ in range(1 + rounds):
            for kind, engine in candidates:
                if self.times and perf_counter() >= self.until:
                    return
                step = self.step(kind, engine)
                with engine.computing():
                    start = perf_counter()
                    step()
                    self.times.setdefault((kind, engine), []).append(1000 * (perf_counter() - start))

    def step(self, kind: str, engine: Engine) -> Callable[[], None]:
        """A training step: for "images" of all up to layer2, for "features" of layer4."""
        key = kind, engine.memory_format
        if key not in self.parts:
            self.parts[key] = tuple(engine.place(one) for one in _part_and_batch(kind, engine.device))
        part, x = self.parts[key]

        def step() -> None:
            with engine.autocast():
                loss = part(x).float().mean()
            loss.backward()
            devices.synchronize()

        return step

    def milliseconds(self) -> dict[Candidate, float]:
        """The fastest step of each; a warm-up counts only where there was time for no other."""
        return {candidate: min(times[1:] or times) for candidate, times in self.times.items()}

    def by_threads(self) -> dict[int, float]:
        """The same by the number of threads, where the candidates differ in nothing else."""
        return {engine.threads: ms for (_, engine), ms in self.milliseconds().items()}

    def by_way(self, kind: str, threads: int) -> dict[Way, float]:
        """The same for one kind and number of threads, by precision and memory format."""
        return {
            (engine.precision, engine.memory_format): ms
            for (k, engine), ms in self.milliseconds().items()
            if (k, engine.threads) == (kind, threads)
        }


def batch_size(on: str) -> int:
    """The images in a step: enough to keep a GPU busy, few on a processor."""
    return BATCH if devices.kind_of(on) == "cpu" else GPU_BATCH


def _part_and_batch(kind: str, on: str) -> tuple[nn.Module, Tensor]:
    """What a step trains: all up to layer2 on images, or layer4 on features."""
    count = batch_size(on)
    if kind == "features":
        return stage(256, 512, 2, stride=2), torch.randn(2 * count, 256, 6, 6)
    stem = (nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    part = nn.Sequential(*stem, stage(64, 64, 2, stride=1), stage(64, 128, 2, stride=2))
    return part, torch.randn(count, 3, 96, 96)
