"""Measures the machine: what computes fastest here, and how many minutes a recipe will take."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_course.data.images import ImageSet
from resnet_course.inputs.batches import eval_batches
from resnet_course.machine import distributed
from resnet_course.recipes import Recipe
from resnet_course.resnet.network import resnet18, stage
from resnet_course.transfer import freeze, fused, split_at, trunk_of

FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
CANDIDATES = tuple((precision, layout) for precision in ("fp32", "bf16") for layout in FORMATS)
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # names of settings in glibc's malloc.h
ROUNDS = 5  # of one step of every candidate in turn, so that a busy moment hits all


@dataclass(frozen=True)
class Engine:
    """How this machine computes: where, in which precision, in which memory layout, on how many threads.

    device: "cpu" or "cuda".
    precision: "fp32", or "bf16": matrix products in bfloat16, weights, loss and BatchNorm in float32.
    memory_format: "channels_last" or "contiguous".
    threads: of the processor; None: as many as PyTorch uses already.
    layer4_format: the layout of layer4, if its small maps are faster in another one; None: memory_format.
    """

    device: str
    precision: str
    memory_format: str
    threads: int | None = None
    layer4_format: str | None = None

    def place(self, module_or_tensor: nn.Module | Tensor) -> nn.Module | Tensor:
        """Move a network or a batch of pictures to the device and the layout, layer4 to its own."""
        if self.device == "cuda" and isinstance(module_or_tensor, Tensor) and not module_or_tensor.is_cuda:
            # From pinned memory the copy runs while the GPU still computes the step before.
            module_or_tensor = module_or_tensor.pin_memory()
        placed = module_or_tensor.to(
            self.device, memory_format=FORMATS[self.memory_format], non_blocking=self.device == "cuda"
        )
        layer4 = getattr(placed, "layer4", None)
        if self.layer4_format and layer4 is not None:
            layer4.to(memory_format=FORMATS[self.layer4_format])
            if _in_the_layout_of_its_weights not in layer4._forward_pre_hooks.values():
                layer4.register_forward_pre_hook(_in_the_layout_of_its_weights)
        return placed

    def autocast(self) -> contextlib.AbstractContextManager:
        """The context in which the forward pass runs."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Within it PyTorch uses the engine's number of threads and keeps its memory."""
        before = torch.get_num_threads()
        torch.set_num_threads((self.threads or before) * distributed.thread_multiplier())
        try:
            with keeping_memory():
                yield
        finally:
            torch.set_num_threads(before)

    def __str__(self) -> str:
        on = f"{self.device}, {self.precision}, {self.memory_format.replace('_', '-')}"
        if self.layer4_format:
            on += f" (layer4 {self.layer4_format.replace('_', '-')})"
        return on if self.threads is None else f"{on}, {self.threads} thread{'s' * (self.threads > 1)}"


def _in_the_layout_of_its_weights(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """The input of a module as its convolutions want it; of two layouts they would compute in the slower."""
    weight = next(module.parameters())
    layout = torch.contiguous_format if weight.is_contiguous() else torch.channels_last
    return (inputs[0].contiguous(memory_format=layout),)


@dataclass(frozen=True)
class Probe:
    """What a few training steps of a part of ResNet-18 told about this machine.

    cores: that this process may use. memory_free: bytes.
    milliseconds: of one step by (precision, memory format), on `cores` threads.
    by_threads: of the fastest of these, by the number of threads.
    operations: floating-point operations in one step.
    layer4: of "pictures" too, milliseconds of a step of layer4 in the fastest precision, by memory format.
    """

    cores: int
    memory_free: int
    milliseconds: dict[tuple[str, str], float]
    by_threads: dict[int, float]
    operations: int
    layer4: dict[str, float]

    @property
    def fastest(self) -> tuple[str, str]:
        """The precision and the memory format that were fastest."""
        return min(self.milliseconds, key=self.milliseconds.get)

    @property
    def threads(self) -> int:
        """The number of threads that was fastest."""
        return min(self.by_threads, key=self.by_threads.get)

    def gigaflops(self, precision: str) -> float:
        """Billions of floating-point operations a second in a precision, in its better memory format."""
        return self.operations / 1e6 / min(ms for (p, _), ms in self.milliseconds.items() if p == precision)

    def channels_last_gain(self, precision: str) -> float:
        """How many times faster a step is in channels-last memory than in contiguous memory."""
        return self.milliseconds[precision, "contiguous"] / self.milliseconds[precision, "channels_last"]

    def __str__(self) -> str:
        speeds = " and ".join(f"{self.gigaflops(p):,.0f} GFLOP/s in {p}" for p in ("fp32", "bf16"))
        fastest = self.fastest
        return (
            f"{self.cores} usable cores, {self.memory_free / 1e9:.1f} GB of memory free; {speeds}; "
            f"channels-last is {self.channels_last_gain(fastest[0]):.2f} times as fast as contiguous in "
            f"{fastest[0]}; fastest: {fastest[0]}, {fastest[1].replace('_', '-')}, threads: {self.threads}"
        )


@functools.cache
@torch.random.fork_rng(devices=[])  # the learner's random numbers stay as they were
@torch.inference_mode(False)  # evaluate may be the first to ask, in inference mode
@torch.enable_grad()
def probe(what: str = "pictures") -> Probe:
    """Time one training step of a part of ResNet-18 in every way. Takes about two seconds, once.

    what: "pictures" or "features", that which will be computed.

    Measured, because flags lie: bf16 without the processor's bf16 instructions is slower than fp32, and a
    second thread on a core that something else keeps busy makes a step ten times slower. The part is the
    real thing, for a single convolution would choose wrongly: layer4's small maps are faster in bf16 in
    contiguous memory, the large maps before it in channels-last memory.
    """
    cores = threads_here()
    engines = [Engine(device(), *way, cores) for way in CANDIDATES]
    times = _milliseconds(engines, what)
    fastest = min(times, key=times.get)
    fewer = [replace(fastest, threads=threads) for threads in {1, cores // 2} - {0, cores}]
    by_threads = {engine.threads: ms for engine, ms in _milliseconds([fastest, *fewer], what).items()}
    small = [replace(fastest, memory_format=layout) for layout in FORMATS if what == "pictures"]
    layer4 = {engine.memory_format: ms for engine, ms in _milliseconds(small, "features").items()}
    with FlopCounterMode(display=False) as counter:
        _step(engines[0], what)()
    milliseconds = {(engine.precision, engine.memory_format): ms for engine, ms in times.items()}
    found = Probe(cores, memory_free(), milliseconds, by_threads, counter.get_total_flops(), layer4)
    return distributed.broadcast(found)  # several processes must compute alike


def _milliseconds(engines: list[Engine], what: str) -> dict[Engine, float]:
    """The fastest of a few steps on each engine."""
    steps = {engine: _step(engine, what) for engine in engines}
    times: dict[Engine, list[float]] = {engine: [] for engine in engines}
    for turn in range(1 + ROUNDS):
        for engine, step in steps.items():
            start = time.perf_counter()
            with engine.computing():
                step()
            if turn:  # the first is a warm-up
                times[engine].append(1000 * (time.perf_counter() - start))
    return {engine: min(measured) for engine, measured in times.items()}


def _step(engine: Engine, what: str) -> Callable[[], None]:
    """A training step: for "pictures" of all up to layer2, for "features" of layer4."""
    if what == "pictures":
        stem = (nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        part = nn.Sequential(*stem, stage(64, 64, 2, stride=1), stage(64, 128, 2, stride=2))
        x = torch.randn(16, 3, 96, 96)
    else:
        part, x = stage(256, 512, 2, stride=2), torch.randn(64, 256, 6, 6)
    part, x = engine.place(part), engine.place(x)

    def step() -> None:
        with engine.autocast():
            loss = part(x).float().mean()
        loss.backward()
        if engine.device == "cuda":
            torch.cuda.synchronize()

    return step


_keepers = 0  # blocks of `keeping_memory` that are open, one in another


@contextlib.contextmanager
def keeping_memory() -> Iterator[None]:
    """Within it, memory that a tensor no longer needs stays with the process, for the next tensor.

    glibc, the C library of most Linux systems, gives each block above 32 MB back to the system at once. For
    the next one the system has to find and clear new pages, at every layer of every step
    (benchmarks/time_to_accuracy.py, "memory", measures what that costs). Elsewhere it does nothing.
    Source: mallopt(3), M_MMAP_MAX and M_TRIM_THRESHOLD.
    """
    global _keepers
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    library = ctypes.CDLL(None)
    _keepers += 1
    library.mallopt(M_MMAP_MAX, 0)
    library.mallopt(M_TRIM_THRESHOLD, -1)  # never
    try:
        yield
    finally:
        _keepers -= 1
        if not _keepers:  # what glibc has by itself after its first large block
            library.mallopt(M_MMAP_MAX, 65_536)
            library.mallopt(M_TRIM_THRESHOLD, 2**26)
            library.malloc_trim(0)


def choose(recipe: Recipe, what: str = "pictures") -> Engine:
    """The engine for a recipe: what it demands, and by measurement where it says "auto".

    what: "pictures" or "features", that which it will compute.
    """
    if "auto" not in (recipe.precision, recipe.memory_format):
        return Engine(device(), recipe.precision, recipe.memory_format)
    probed = probe(what)
    fitting = {
        (precision, memory_format): milliseconds
        for (precision, memory_format), milliseconds in probed.milliseconds.items()
        if recipe.precision in ("auto", precision) and recipe.memory_format in ("auto", memory_format)
    }
    precision, memory_format = min(fitting, key=fitting.get)
    layer4_format = None
    if what == "pictures" and recipe.memory_format == "auto" and precision == probed.fastest[0]:
        fastest = min(probed.layer4, key=probed.layer4.get)
        layer4_format = None if fastest == memory_format else fastest
    return Engine(device(), precision, memory_format, probed.threads, layer4_format)


def threads_here() -> int:
    """The cores for this process: all that it may use, divided among those that torchrun started here."""
    return max(1, usable_cores() // distributed.local_world_size())


def memory_free() -> int:
    """Bytes of memory that this process can still take: the system's, or its container's if that is less."""
    free = psutil.virtual_memory().available
    with contextlib.suppress(OSError, ValueError):  # cgroup v2; "max" means no limit
        limit, used = (
            int(Path(f"/sys/fs/cgroup/memory.{what}").read_text(encoding="ascii"))
            for what in ("max", "current")
        )
        free = min(free, limit - used)
    return free


def usable_cores() -> int:
    """The cores that this process may use: its affinity and its container's quota, not just the count."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # cgroup v2; "max 100000" means no quota
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        count = min(count, max(1, round(int(quota) / int(period))))
    return count


def estimate(recipe: Recipe, pictures: int, validation_pictures: int = 0, width: int = 64) -> float:
    """The seconds that `recipe` will take here on so many pictures, from a few of its own steps.

    pictures, validation_pictures: how many are trained on and validated on, every epoch.
    width: the network's width; the built-in weights have 16.
    """
    return sum(_estimate(phase, pictures, validation_pictures, width) for phase in recipe.phases)


@torch.random.fork_rng(devices=[])
def _estimate(recipe: Recipe, pictures: int, validation_pictures: int, width: int) -> float:
    """The same for one phase."""
    recipe = replace(recipe, batch_size=min(recipe.batch_size, max(2, pictures)))
    model = freeze(resnet18(10, width, dropout=recipe.dropout), recipe.train_from)
    count = recipe.batch_size
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
    image_set = ImageSet(images, torch.zeros(count, dtype=torch.int64), ("any",), "noise")

    def inputs() -> Tensor:
        return next(eval_batches(image_set, recipe))[0]

    def looking(network: nn.Module, engine: Engine, batch: Callable[[], Tensor]) -> float:
        """Seconds to send one picture through, without gradients."""
        engine.place(network).eval()

        @torch.inference_mode()
        def step() -> None:
            with engine.autocast():
                network(engine.place(batch()))

        with engine.computing():
            return statistics.median(seconds(step, times=4, at_most=1.0)) / count

    def learning(network: nn.Module, engine: Engine, batch: Callable[[], Tensor]) -> float:
        """Seconds to learn from one picture, or from its features."""
        engine.place(network).train()
        optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-5)

        def step() -> None:
            with engine.autocast():
                logits = network(engine.place(batch()))
            F.cross_entropy(logits.float(), image_set.labels.to(engine.device)).backward()
            optimizer.step()
            optimizer.zero_grad()

        with engine.computing():
            return statistics.median(seconds(step, times=4, at_most=3.0)) / count

    engine, views = choose(recipe), recipe.validation_views
    if not recipe.cached_views:
        a_picture, looks = learning(model, engine, inputs), views * looking(model, engine, inputs)
        return recipe.epochs * (pictures * a_picture + validation_pictures * looks)
    trunk, head = fused(trunk_of(model, recipe.train_from)), split_at(model, recipe.train_from)[1]
    once = looking(trunk, engine, inputs) * (recipe.cached_views * pictures + views * validation_pictures)
    with torch.no_grad():
        features = engine.place(trunk)(engine.place(inputs()))
    engine = choose(recipe, "features")
    a_picture, looks = learning(head, engine, lambda: features), looking(head, engine, lambda: features)
    return once + recipe.epochs * (pictures * a_picture + validation_pictures * views * looks)


def device() -> str:
    """ "cuda" if there is a GPU that PyTorch can use, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def seconds(step: Callable[[], object], times: int, at_most: float) -> list[float]:
    """Seconds of each of up to `times` steps after a warm-up, stopping once `at_most` seconds have passed."""
    step()
    measured: list[float] = []
    while not measured or (len(measured) < times and sum(measured) < at_most):
        start = time.perf_counter()
        step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        measured.append(time.perf_counter() - start)
    return measured
