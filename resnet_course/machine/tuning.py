"""Finds the fastest way for each convolution of a network that is to be trained, in a few seconds."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
from dataclasses import replace
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from resnet_course.common.console import say
from resnet_course.common.seeding import seeded
from resnet_course.machine import devices, distributed
from resnet_course.machine.convolutions import NEVER, PASSES, Convolution, Convolutions, Ways, compute, plain
from resnet_course.machine.engine import Engine
from resnet_course.machine.limits import processor
from resnet_course.resnet.network import eval_mode

SECONDS = 2.0  # that measuring may take
EACH = 1.5  # the same for each of two precisions
PACE = 2e12  # operations of a training for each second of measuring: a twentieth of its time at 100 GFLOP/s
LEAST = 0.3  # seconds below which measuring tells nothing
# Of one call that is measured, at most: of large maps a part of the batch is enough. Fewer where CALLS calls
# do not fit into a pass's share of the time, as with AVX2 alone and the 16 passes of layer3 and layer4.
OPERATIONS, CALLS = 4e9, 8
ROUNDS = 2, 6  # of every way: at least, the first of them its warm-up too, and at most, while there is time
# Times as long as the best so far, from which a way is not tried again: after the first round, in which it
# makes its kernels (slow in bf16) and finds its memory, and later.
HOPELESS_AT_FIRST, HOPELESS = {"fp32": 2.0, "bf16": 4.0}, 1.5
GAIN = 0.95  # of PyTorch's own time, from which another way is taken
BEFORE = "before"  # PyTorch's way in the layout of an engine that is not channels-last, without going there
CAPS = ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY")

_known: dict[tuple[Any, ...], Convolutions] = {}  # what this process has measured


class Recording(TorchFunctionMode):
    """Notes the convolutions that learn, as they are called: how often each, and if its input learns too."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[Convolution, list[bool]] = {}

    def __torch_function__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Called for every function of PyTorch."""
        found = plain(*args, **(kwargs or {})) if function is torch.conv2d else None
        if found:
            self.calls.setdefault(found[2], []).append(found[0].requires_grad)
        return function(*args, **(kwargs or {}))


def tuned(
    engine: Engine,
    network: nn.Module,
    image: Tensor,
    batch: int,
    steps: int,
    at_most: float = math.inf,
    at_best: float = math.inf,
) -> Engine:
    """The engine with the fastest way for each convolution of `network` that learns.

    image: one input, float [1, C, H, W]; batch: how many there are in a full batch, for which alone the ways
    hold; steps: how many will be trained, which decides how long measuring may take: a twentieth of that, at
    most 2 seconds, and at most `at_most`. It is the same engine on a GPU and for a short training.
    at_best: seconds of a step's convolutions that are not worth measuring any further once they are passed.
    The network is called once, on the one image, in eval mode, and left as it was; one that cannot take it
    keeps PyTorch's ways, and so does one that would win less than a twentieth of its convolutions' time.
    What a process has measured it takes again; processes that train together take what the first measured.
    """
    if devices.kind_of(engine.device) != "cpu" or batch < 2:
        return engine
    try:
        calls = _recorded(engine, network, image)
    except Exception:  # a network that cannot take a single image, whatever it raises: PyTorch's ways
        return engine
    operations = sum(
        (2 + learns) * convolution.operations
        for convolution, all_calls in calls.items()
        for learns in all_calls
    )
    seconds = min(SECONDS, at_most, operations * batch * steps / PACE)
    if seconds < LEAST:
        return engine
    layout = engine.memory_format, engine.layer4_format
    how = engine.precision, engine.threads, layout, batch, seconds, at_best < math.inf
    key = signature(engine.device), *how, *sorted(calls)
    found = _known.get(key)
    if distributed.broadcast(found is None):
        if not _known:  # said once: an estimate of several recipes measures for each of their phases
            say("Measuring the convolutions, for up to two seconds each time …")
        found = _known[key] = distributed.broadcast(_measured(engine, calls, batch, seconds, at_best))
    return engine.computing_as(distributed.broadcast(found))


def tuned_in_any_precision(
    engine: Engine,
    precisions: tuple[str, ...],
    network: nn.Module,
    image: Tensor,
    batch: int,
    steps: int,
    at_most: float = math.inf,
) -> Engine:
    """`tuned`, in the precision in which all convolutions of a step are fastest once each takes its best way.

    precisions: that may be taken, the engine's own among them; each is measured for at most 1.5 seconds.
    PyTorch's own ways do not tell which one that is, because the fastest ways gain more in one precision than
    in the other; `benchmarks/convolutions.py` measures both.
    The engine's own precision stays where another has no faster way or not all could be measured.
    """
    if len(precisions) < 2:
        return tuned(engine, network, image, batch, steps, at_most)
    each = min(at_most, EACH)
    found = tuned(engine, network, image, batch, steps, each)
    for precision in precisions:
        other = replace(engine, precision=precision)
        if precision != engine.precision and found.convolutions is not None:
            other = tuned(other, network, image, batch, steps, each, found.convolutions.seconds)
            if other.convolutions and other.convolutions.seconds < found.convolutions.seconds < math.inf:
                found = other
    return found


def forget() -> None:
    """Measure the convolutions anew when asked again."""
    _known.clear()


def signature(device: str) -> str:
    """What a measurement on a device holds for: its kind, or processor and caps, and PyTorch's version."""
    if devices.kind_of(device) != "cpu":
        return f"{devices.kind_of(device)} torch {torch.__version__}"
    caps = (f"{name}={os.environ[name]}" for name in CAPS if name in os.environ)
    return " ".join(
        (processor(), torch.backends.cpu.get_cpu_capability(), *caps, f"torch {torch.__version__}")
    )


def _recorded(engine: Engine, network: nn.Module, image: Tensor) -> dict[Convolution, list[bool]]:
    """The convolutions of a network that learn, from one image; it is left as it was."""
    recording = Recording()
    undisturbed = seeded(), torch.inference_mode(False), torch.enable_grad(), eval_mode(network)
    with contextlib.ExitStack() as stack:
        for context in (*undisturbed, engine.autocast(), recording):
            stack.enter_context(context)
        # A copy, because what was made in inference mode can take no gradient.
        network(image.to(next(network.parameters()).device, copy=True))
    return recording.calls


def _measured(
    engine: Engine, calls: dict[Convolution, list[bool]], batch: int, seconds: float, at_best: float
) -> Convolutions:
    """The fastest ways, of the convolutions with the most operations first, until the time is over.

    What they save is counted from the engine's own layout, not from the channels-last one in which they all
    compute: with layer3 and layer4 in fp32 on AVX-512 a step was 1.15 times as long as in contiguous memory
    when the time had run out for one pass.
    """
    until, saved, all_seconds, complete, speed = perf_counter() + seconds, 0.0, 0.0, True, math.inf
    chosen = {convolution: dict.fromkeys(PASSES, NEVER) for convolution in calls}
    by_operations = sorted(calls, key=lambda convolution: -convolution.operations * len(calls[convolution]))
    widest = max(convolution.outputs for convolution in calls)  # those of layer4
    # The gradient of the weights first, where most is to be won.
    passes = [(each, one, _calls_of(each, calls[one])) for each in reversed(PASSES) for one in by_operations]
    passes = [each for each in passes if each[2]]
    with torch.no_grad(), engine.computing():
        for done, (each, convolution, needed) in enumerate(passes):
            if all_seconds - saved > at_best:
                return Convolutions(batch, ())
            layer4 = engine.layer4_format if convolution.outputs == widest else None
            contiguous = (layer4 or engine.memory_format) == "contiguous"
            share = (until - perf_counter()) / (len(passes) - done)
            images = _images(convolution, batch, speed * share / CALLS)
            way, times = _fastest(convolution, each, batch, images, until, contiguous, share)
            if times:
                speed = batch * convolution.operations / min(times.values())
            chosen[convolution][each] = way
            before = times.get(BEFORE if contiguous else "conv2d")
            complete = complete and before is not None
            all_seconds += needed * (before or 0.0)
            saved += needed * (before - times[way]) if before and way in times else 0.0
    if saved < (1 - GAIN) * all_seconds:
        return Convolutions(batch, (), all_seconds if complete else math.inf)
    ways = tuple((convolution, Ways(**ways)) for convolution, ways in chosen.items())
    return Convolutions(batch, ways, all_seconds - saved if complete else math.inf)


def _calls_of(each: str, calls: list[bool]) -> int:
    """How often a step computes a pass of a convolution. calls: for each, whether its input learns too."""
    return sum(calls) if each == "input_gradient" else len(calls)


def _images(convolution: Convolution, batch: int, operations: float) -> int:
    """Of how many images a pass is measured, for at most so many operations."""
    return int(min(batch, max(16, min(OPERATIONS, operations) // convolution.operations)))


def _fastest(
    convolution: Convolution,
    each: str,
    batch: int,
    images: int,
    until: float,
    contiguous: bool = False,
    share: float = 0.0,
) -> tuple[str, dict[str, float]]:
    """The fastest way of one pass, and the seconds of those that were tried, for a batch; BEFORE among them.

    contiguous: True if the engine's own layout is contiguous memory, False if it is channels-last. Where
        there was no time to compare, the way is PyTorch's own in that layout.
    images: that are computed at once. share: seconds after which what is known well enough is not repeated.
    """
    again_until = perf_counter() + share
    tensors, best, own = _tensors(convolution, each, images), {}, "conv2d"
    ways = {way: (way, tensors) for way in convolution.possible(each)}
    if contiguous:
        own = "contiguous"
        ways = {BEFORE: (own, tuple(tensor.contiguous() for tensor in tensors)), **ways}
    for done, (name, (way, given)) in itertools.product(range(ROUNDS[1]), ways.items()):
        if perf_counter() >= (until if done < ROUNDS[0] else again_until):
            break
        hopeless = HOPELESS_AT_FIRST[convolution.precision] if done == 1 else HOPELESS
        if name in best and best[name] > hopeless * min(best.values()):
            continue
        start = perf_counter()
        compute(each, way, convolution, *given)
        best[name] = min(best.get(name, float("inf")), perf_counter() - start)
    times = {name: batch / images * seconds for name, seconds in best.items()}
    if len(best) < len(ways):
        return own, times
    way = min(convolution.possible(each), key=best.get)
    return (way if best[way] < GAIN * best[own] else own), times


def _tensors(convolution: Convolution, each: str, images: int) -> tuple[Tensor, ...]:
    """Tensors of the right sizes, as `compute` takes them; how long that takes depends on no number."""
    height, width = convolution.geometry.output
    dtype = torch.bfloat16 if convolution.precision == "bf16" else torch.float32
    kernel = convolution.kernel
    shapes = (
        (images, convolution.channels, convolution.height, convolution.width),
        (convolution.outputs, convolution.channels, kernel, kernel),
        (images, convolution.outputs, height, width),
    )
    x, weight, gradient = (
        torch.ones(shape, dtype=dtype).to(memory_format=torch.channels_last) for shape in shapes
    )
    orders = {
        "output": (x, weight),
        "input_gradient": (gradient, weight, x),
        "weight_gradient": (x, gradient, weight),
    }
    return orders[each]
