"""Several processes that train one network together, as `torchrun` starts them; alone, nothing happens."""

from __future__ import annotations

import contextlib
import datetime
import functools
import itertools
import os
import signal
from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from resnet_course.common.console import quiet, say
from resnet_course.common.errors import CourseError
from resnet_course.machine import devices

PATIENCE = datetime.timedelta(hours=2)  # how long the others wait while one decodes images or fills a cache


_groups = itertools.count()  # each process group of this process has a number
_waiting_here = 0  # processes on this machine that wait for this one


class ProcessLost(CourseError, RuntimeError):
    """Another process of the run has ended, so that this one cannot go on. The message says what is kept."""


def _number(name: str, alone: int) -> int:
    """What torchrun says in an environment variable."""
    return int(os.environ.get(name, alone))


def launched() -> bool:
    """True in a process that torchrun started together with others."""
    return _number("WORLD_SIZE", 1) > 1


def world_size() -> int:
    """How many processes train together, on all machines; 1 alone."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process among them, from 0; the one with 0 writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this process is the one with 0, or alone: also where no process group is open any more."""
    return not launched() or _number("RANK", 0) == 0


def local_world_size() -> int:
    """How many of them share this machine."""
    return _number("LOCAL_WORLD_SIZE", 1) if launched() else 1


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """Within it the processes that torchrun started can compute together; all but the first are silent.

    A block within another one, or within a group that the program has made itself, is part of that group.
    The gradients travel with NCCL between GPUs. They travel with gloo between CPUs, and between processes
    that share a GPU, which NCCL refuses. Raises ProcessLost when torchrun ends this process because another
    one has ended.
    """
    if not launched() or dist.is_initialized():
        yield
        return
    backend = "gloo"
    if devices.kind_of(devices.device()) == "cuda":
        torch.cuda.set_device(devices.device())
        if local_world_size() <= torch.cuda.device_count():
            backend = "cpu:gloo,cuda:nccl"
    before = signal.signal(signal.SIGTERM, _stopped)
    # Under a name of its own: what an earlier group of this process left in the store would mislead it.
    store = dist.PrefixStore(f"group {next(_groups)}", _store())
    number, count = _number("RANK", 0), _number("WORLD_SIZE", 1)
    dist.init_process_group(backend, store=store, rank=number, world_size=count, timeout=PATIENCE)
    try:
        with quiet() if rank() else contextlib.nullcontext():
            say(f"{world_size()} processes train together, {local_world_size()} of them on this machine.")
            yield
    finally:
        signal.signal(signal.SIGTERM, before)
        dist.destroy_process_group()


@functools.cache
def _store() -> dist.Store:
    """Where the processes that torchrun started find each other; one for as long as they live."""
    return next(dist.rendezvous("env://", timeout=PATIENCE))[0]


def _stopped(*_: Any) -> None:
    raise ProcessLost("this process was asked to end, as torchrun does when another one has ended")


@contextlib.contextmanager
def local_main_process_first() -> Iterator[None]:
    """One process of every machine runs the block first; the others, after it, find its files made.

    It has the cores of the others meanwhile, because they only wait (see `thread_multiplier`).
    """
    if world_size() == 1:
        yield
        return
    global _waiting_here
    leads = _number("LOCAL_RANK", 0) == 0
    if leads:
        _waiting_here = local_world_size() - 1
    else:
        dist.barrier()
    try:
        yield
    finally:
        _waiting_here = 0
    if leads:
        dist.barrier()


def thread_multiplier() -> int:
    """How many times its own number of threads this process may use: more than 1 while others wait for it."""
    return 1 + _waiting_here


def shard(whole: Tensor) -> Tensor:
    """This process's part of a batch: every `world_size()`-th entry."""
    return whole[rank() :: world_size()]


def all_reduce_sum(numbers: list[float] | Tensor) -> Tensor:
    """The sum over all processes: float64 of the same length."""
    summed = torch.as_tensor(numbers, dtype=torch.float64, device="cpu")
    if world_size() > 1:
        dist.all_reduce(summed)
    return summed


def broadcast(value: Any) -> Any:
    """The first process's value, for all: what each has measured for itself may differ."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def broadcast_buffers(model: nn.Module) -> None:
    """Give all processes the first one's BatchNorm statistics; each has seen its own images only."""
    _broadcast(model.buffers())


def broadcast_state(model: nn.Module) -> None:
    """Give all processes the first one's weights and BatchNorm statistics."""
    _broadcast(itertools.chain(model.parameters(), model.buffers()))


@torch.no_grad()
def _broadcast(tensors: Iterable[Tensor]) -> None:
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def data_parallel(network: nn.Module) -> nn.Module:
    """The network, with a backward pass that gives all processes the mean of their gradients.

    PyTorch's own: Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training",
    2020 (arXiv 2006.15704). It sends a layer's gradients while those before it are still computed.
    """
    return network if world_size() == 1 else nn.parallel.DistributedDataParallel(network)


@contextlib.contextmanager
def naming_lost_processes(kept: str) -> Iterator[None]:
    """Turns the failure of a joint computation into ProcessLost. kept: what is not lost, and how to go on."""
    try:
        yield
    except ProcessLost as error:
        raise ProcessLost(f"{error}; {kept}") from None
    except CourseError:  # an error of its own, such as a download that failed
        raise
    except RuntimeError as error:
        lost = isinstance(error, dist.DistError) or any(word in str(error) for word in ("gloo", "Connection"))
        if world_size() == 1 or not lost:
            raise
        raise ProcessLost(f"another process of this run has ended ({_line(error)}); {kept}") from None


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200]
