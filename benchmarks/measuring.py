"""How benchmarks take times: ways in turn, a step of training, a process of its own."""

from __future__ import annotations

import itertools
import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor, nn

from resnet_course import machine
from resnet_course.data import ImageSet, Splits, load
from resnet_course.inputs import train_batches
from resnet_course.machine import Engine
from resnet_course.recipes import Recipe
from resnet_course.settings import Settings
from resnet_course.training import make_optimizer, train_epoch
from resnet_course.transfer import build_model, imagenet_path

WARM_UP = 3  # of the first steps, which are not counted
SOME = 5_000  # images to take batches from


def in_turn(ways: Mapping[str, Callable[[], Sequence[float]]], rounds: int = 3) -> dict[str, float]:
    """The median of what each way measures; the ways take turns, so that a busy minute hits all.

    ways: each is called once a round and returns one number or more, all in one unit.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name] += way()
    return {name: statistics.median(numbers) for name, numbers in found.items()}


def timed(work: Callable[[], object]) -> Callable[[], list[float]]:
    """A way for `in_turn`: the seconds of one call, without a warm-up."""

    def way() -> list[float]:
        start = time.perf_counter()
        work()
        return [time.perf_counter() - start]

    return way


def in_new_process(function: Callable[..., Any], *arguments: object) -> Any:
    """What `function(*arguments)` returns, computed in a process that has done nothing else."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def splits_of(options: Namespace) -> Splits:
    """The images that the command line named."""
    return load(Settings(data=options.data, weights=options.weights))


def some_images(options: Namespace) -> ImageSet:
    """A few thousand training images."""
    return splits_of(options).train.limit(SOME)


def weights_file(weights: str) -> str | None:
    """The file of ImageNet's weights for torchvision's own network; None: random ones."""
    return {"none": None, "imagenet": str(imagenet_path())}.get(weights, weights)


def step_times(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    engine: Engine,
    steps: int,
) -> list[float]:
    """Milliseconds of the first `steps` training steps as `fit` does them, taking the batch included."""
    ends = [time.perf_counter()]
    train_epoch(
        network,
        itertools.islice(batches, steps),
        optimizer,
        engine=engine,
        after_step=lambda: ends.append(time.perf_counter()),
    )
    return [1000 * (end - start) for start, end in itertools.pairwise(ends)]


def course_steps(
    train: ImageSet,
    weights: str,
    recipe: Recipe,
    steps: int,
    prepare: Callable[[nn.Module], nn.Module] = lambda model: model,
) -> list[float]:
    """Milliseconds of the course's first training steps by a recipe.

    Memory and threads are the caller's: see `Engine.computing`.
    prepare: what is done to the network before it is called, such as `torch.compile`.
    """
    torch.manual_seed(0)
    engine = machine.choose(recipe)
    model = build_model(len(train.classes), weights, recipe.train_from, recipe.dropout)
    network = prepare(engine.place(model))
    return step_times(network, endless(train, recipe), make_optimizer(model, recipe), engine, steps)


def endless(train: ImageSet, recipe: Recipe) -> Iterator[tuple[Tensor, Tensor]]:
    """`train_batches`, epoch after epoch."""
    generator = torch.Generator().manual_seed(0)
    while True:
        yield from train_batches(train, recipe, generator)
