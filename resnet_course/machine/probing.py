"""Measures in two seconds what computes fastest here, and again when the pace says that this was wrong."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from resnet_course.common.console import say
from resnet_course.common.seeding import seeded
from resnet_course.machine import devices, distributed, gains, tuning
from resnet_course.machine.engine import FORMATS, Engine
from resnet_course.machine.limits import memory_free, threads_here
from resnet_course.machine.memory import keeping_memory
from resnet_course.machine.timing import OPERATIONS, SECONDS, StepTimer, Way, batch_size
from resnet_course.settings import Settings

KINDS = ("images", "features")  # what is timed; a frozen trunk is small steps of its own
ROUNDS, THREAD_ROUNDS = 4, 2  # of one step of every candidate in turn, so that a busy moment hits all
SLOW = 1.5  # times as long as in fp32: 4 and more if bf16 is emulated, 1.6 on a Xeon with AVX-512 but no AMX
# Times as fast as in bf16 that fp32 has to be, where bf16 is not slow. The probe's small steps show less of
# the gain than large ones, so noise could hide it: on AMX 1.3 to 1.7 times, for 2.1 of a trunk pass.
AHEAD = 1.25
# Times as fast as the other precisions, from which a frozen trunk computes in int8. The small one shows less
# of the gain: 2.1 for 2.7 with AVX-512 and VNNI, 1.6 for 2.0 with AVX2, 1.3 for 1.4 with AVX-512 alone,
# and as much, 1.5 to 1.8, with AMX.
INT8_AHEAD = 1.15
LOOKS = 1_000  # images, of all views, from which int8 saves more than finding its scales takes
SLOWER = 1.25  # times as long as its best epoch: an epoch in which something was wrong
LONG_ENOUGH = 20 * SECONDS  # an epoch for which measuring again, the convolutions too, is a tenth at most


class Demands(Protocol):
    """The fields of a recipe that decide how it is computed; "auto" leaves one to the probe."""

    @property
    def precision(self) -> str:
        """ "auto", "fp32" or "bf16"."""

    @property
    def memory_format(self) -> str:
        """ "auto", "channels_last" or "contiguous"."""


@dataclass(frozen=True)
class Probe:
    """What a few training steps of parts of ResNet-18 told about this machine.

    Of a slow or busy machine some measurements may be missing, never the first of `milliseconds`.

    cores: that this process may use. memory_free: bytes.
    milliseconds: of one step on images by (precision, memory format), on `threads` threads.
    by_threads: of the first of these, by the number of threads.
    operations: floating-point operations in one step.
    features: milliseconds of one step on features, by (precision, memory format).
    bf16_gain: how many times as fast as in fp32 a small convolution is in bf16, forward and backward. Where
        that says that bf16 is slow here, nothing else was tried in it.
    int8_gain: how many times as fast as in the best other precision a small frozen trunk is in int8; 0 where
        it cannot be computed so.
    """

    cores: int
    memory_free: int
    milliseconds: dict[tuple[str, str], float]
    by_threads: dict[int, float]
    operations: int
    features: dict[tuple[str, str], float]
    bf16_gain: float = 1.0
    int8_gain: float = 0.0

    @property
    def fastest(self) -> tuple[str, str]:
        """The precision and the memory format that were fastest."""
        return _fastest(self.milliseconds, [*self.milliseconds])

    @property
    def threads(self) -> int:
        """The number of threads that was fastest."""
        return min(self.by_threads, key=self.by_threads.get)

    @property
    def bf16_is_slow(self) -> bool:
        """Whether the processor has no instructions for bf16, or slow ones."""
        return self.bf16_gain < 1 / SLOW

    def gigaflops(self, precision: str) -> float | None:
        """Billions of floating-point operations a second in a precision, in its better memory format.

        None if the precision was not tried.
        """
        times = [ms for (p, _), ms in self.milliseconds.items() if p == precision]
        return self.operations / 1e6 / min(times) if times else None

    def channels_last_gain(self, precision: str) -> float | None:
        """How many times as fast a step is in channels-last memory as in contiguous memory, if known."""
        times = [self.milliseconds.get((precision, layout)) for layout in ("contiguous", "channels_last")]
        return times[0] / times[1] if all(times) else None

    def __str__(self) -> str:
        known = {precision: self.gigaflops(precision) for precision in ("fp32", "bf16")}
        speeds = " and ".join(f"{speed:,.2g} GFLOP/s in {name}" for name, speed in known.items() if speed)
        if known["bf16"] is None:
            slow = f"a convolution took {1 / self.bf16_gain:.1f} times as long in it"
            why = slow if self.bf16_is_slow else "there was no time"
            speeds += f" (bf16 was not tried: {why})"
        fastest, gain = self.fastest, self.channels_last_gain(self.fastest[0])
        frozen = f"; a frozen trunk in int8: {self.int8_gain:.1f} times as fast" if self.int8_gain else ""
        layouts = f"channels-last is {gain:.2f} times as fast as contiguous in {fastest[0]}; " if gain else ""
        return (
            f"{self.cores} usable cores, {self.memory_free / 1e9:.1f} GB of memory free; {speeds}; {layouts}"
            f"fastest: {fastest[0]}, {fastest[1].replace('_', '-')}, threads: {self.threads}{frozen}"
        )


def probe() -> Probe:
    """Time training steps of parts of ResNet-18 in every way: once a process, two seconds and one last step.

    Measured, because flags lie: bf16 without the processor's bf16 instructions is slower than fp32, and a
    second thread on a core that something else keeps busy makes a step ten times slower. The parts are the
    real thing, for a single convolution would choose wrongly: layer4's small maps are faster in bf16 in
    contiguous memory, the large maps before it in channels-last memory.
    Processes that train together use what the first of them measured; all must ask at the same point.
    """
    return _of_all(distributed.world_size())


@functools.cache
def _of_all(world_size: int) -> Probe:
    """One probe for each size of the process group: a process may have asked before it joined one."""
    return distributed.broadcast(_measure())


@functools.cache
def _measure() -> Probe:
    """What this process measures for itself."""
    say("Measuring this machine for two seconds …")
    with _undisturbed():
        timer, on = StepTimer(), devices.device()
        gain = gains.bf16_gain(on)
        timer.time(
            [("images", Engine(on, "fp32", "channels_last", n)) for n in _thread_counts(on)], THREAD_ROUNDS
        )
        by_threads = timer.by_threads()
        threads = min(by_threads, key=by_threads.get)
        precisions = ("fp32", "bf16") if gain > 1 / SLOW else ("fp32",)
        engines = [Engine(on, precision, layout, threads) for precision in precisions for layout in FORMATS]
        timer.time([(kind, engine) for kind in KINDS for engine in engines], ROUNDS)
        in_int8 = gains.int8_gain(on, precisions)
    return Probe(
        cores=threads_here(),
        memory_free=memory_free(),
        milliseconds=timer.by_way("images", threads),
        by_threads=by_threads,
        operations=OPERATIONS * batch_size(on),
        features=timer.by_way("features", threads),
        bf16_gain=gain,
        int8_gain=in_int8,
    )


def forget() -> None:
    """Measure anew when asked again, convolutions too: what was measured in a busy moment may be wrong."""
    _of_all.cache_clear()
    _measure.cache_clear()
    tuning.forget()


def choose(demands: Demands, kind: str = "images", looks: int = LOOKS) -> Engine:
    """The engine for a recipe: what it demands, and by measurement where it says "auto".

    kind: what it will compute: "images" or "features", or "trunk", the features of a frozen trunk, if it is
        `transfer.is_quantizable`. That is done in int8 where it is fastest and the recipe leaves precision
        and memory format open.
    looks: how many images a trunk looks at, all views counted.
    """
    if kind == "trunk":
        engine, free = choose(demands), demands.precision == demands.memory_format == "auto"
        in_int8 = free and looks >= LOOKS and gains.may_take_int8(engine.device)
        in_int8 = in_int8 and probe().int8_gain > INT8_AHEAD
        int8 = {"frozen": "int8", "memory_format": "channels_last", "layer4_format": None}
        return replace(engine, **int8) if in_int8 else engine
    on, precision, memory_format = devices.device(), demands.precision, demands.memory_format
    if "auto" not in (precision, memory_format):
        return Engine(on, precision, memory_format, threads_here())
    probed = probe()
    ways = probed.features if kind == "features" else probed.milliseconds
    fitting = [way for way in ways if precision in ("auto", way[0]) and memory_format in ("auto", way[1])]
    if fitting:
        precision, memory_format = _fastest(ways, fitting)
    elif precision == "auto":  # there was no time to measure it, or bf16 is demanded though it is slow
        precision = "bf16" if probed.bf16_gain > 1 else "fp32"
    if memory_format == "auto":
        memory_format = "channels_last"
    engine = Engine(on, precision, memory_format, probed.threads)
    if kind == "images" and demands.memory_format == "auto":
        return _with_layer4(engine, _fastest_layout(probed.features, precision, memory_format))
    return engine


def precisions_to_try(demands: Demands, kind: str, engine: Engine) -> tuple[str, ...]:
    """The precisions among which `tuned_in_any_precision` may choose; the engine's own comes first.

    Both where the recipe leaves it open and all that is computed learns, so that all of it is measured, on a
    processor that is not slow in bf16. kind: "images" or "features".
    """
    both = demands.precision == demands.memory_format == "auto" and kind == "features"
    if not both or devices.kind_of(engine.device) != "cpu" or probe().bf16_is_slow:
        return (engine.precision,)
    return (engine.precision, "fp32" if engine.precision == "bf16" else "bf16")


def needs_retuning(engine: Engine, seconds_per_image: Sequence[float], epoch_seconds: float) -> bool:
    """Whether `retune` is due before the next epoch: the pace says that the engine may be wrong by now.

    seconds_per_image: of the epochs that the engine computed, in their order, of one phase.
    epoch_seconds: of the last of them; one that is shorter than 20 probes is not worth one.

    It is due if the last epoch was 1.25 times as slow as the best (something else keeps the machine busy) or
    as fast as the one before (something has ended), or if the engine leaves cores idle, which mostly means
    that the machine was busy when it was chosen.
    """
    if not seconds_per_image or epoch_seconds < LONG_ENOUGH:
        return False
    last, before = seconds_per_image[-1], seconds_per_image[-2:][0]
    idle = engine.threads is not None and engine.threads < threads_here()
    return idle or last > SLOWER * min(seconds_per_image) or before > SLOWER * last


def retune(engine: Engine, demands: Demands, kind: str = "images") -> Engine:
    """The engine with threads and layout measured again, on the same device and in the same precision.

    demands: the recipe; a layout that it demands stays. kind: "images" or "features", what it computes.
    It takes as long as a probe. Processes that train together get the same engine; all must call it.
    """
    say("Measuring this machine again for two seconds …")
    with _undisturbed():
        timer, plain = StepTimer(), replace(engine, layer4_format=None)
        counts = _thread_counts(engine.device)
        timer.time([(kind, replace(plain, threads=count)) for count in counts], THREAD_ROUNDS)
        by_threads = timer.by_threads()
        if len(by_threads) == len(counts):  # where there was no time to try them all, nothing changes
            plain = replace(plain, threads=min(by_threads, key=by_threads.get))
        tuned = replace(engine, threads=plain.threads)
        if demands.memory_format == "auto" and not engine.convolutions:  # those have a layout each
            kinds = KINDS if kind == "images" else (kind,)
            layouts = [replace(plain, memory_format=layout) for layout in FORMATS]
            timer.time([(k, one) for k in kinds for one in layouts], ROUNDS)
            images, features = (timer.by_way(k, plain.threads) for k in (kind, "features"))
            tuned = _with_layer4(
                replace(tuned, memory_format=_fastest_layout(images, engine.precision, engine.memory_format)),
                _fastest_layout(features, engine.precision, engine.layer4_format or engine.memory_format),
            )
    return distributed.broadcast(tuned)


def _fastest(times: dict[Way, float], among: list[Way]) -> Way:
    """The fastest way; one in fp32 only where it is AHEAD of all in bf16."""
    return min(among, key=lambda way: times[way] * (AHEAD if way[0] == "fp32" else 1.0))


def _fastest_layout(times: dict[Way, float], precision: str, otherwise: str) -> str:
    """The fastest memory format in a precision, or the other one where not all have been measured."""
    known = {layout: ms for (p, layout), ms in times.items() if p == precision}
    return min(known, key=known.get) if len(known) == len(FORMATS) else otherwise


def _with_layer4(engine: Engine, memory_format: str) -> Engine:
    return replace(engine, layer4_format=None if memory_format == engine.memory_format else memory_format)


def _thread_counts(on: str) -> list[int]:
    """The numbers of threads to try, ascending: on a busy machine the first are the quickest to try."""
    most = threads_here()
    fixed = Settings.from_env().threads is not None or devices.kind_of(on) != "cpu"
    return [most] if fixed else sorted({1, max(1, most // 2), most})


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Within it steps can be timed: with gradients wherever it is called, the caller's random numbers kept.

    Memory is kept around all steps, so that no step's time holds what giving it back and finding it costs.
    """
    with seeded(), torch.inference_mode(False), torch.enable_grad(), keeping_memory():
        yield
