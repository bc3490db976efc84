"""Predicts how long a recipe will take here, from a few of its own steps."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_course.common.seeding import seeded
from resnet_course.data.images import ImageSet
from resnet_course.inputs.batches import eval_batches
from resnet_course.machine.distributed import world_size
from resnet_course.machine.engine import Engine
from resnet_course.machine.operations import operations
from resnet_course.machine.probing import choose, precisions_to_try
from resnet_course.machine.timing import seconds
from resnet_course.machine.tuning import tuned_in_any_precision
from resnet_course.recipes import OPTIMIZERS, STATISTICS_OF, Recipe
from resnet_course.resnet.network import ResNet, eval_mode, resnet18
from resnet_course.transfer import PARTS, freeze, fused, on_quantized_trunk, quantized, split_at, trunk_of

PIXELS = 16 * 128 * 128  # of the images of one step that is measured: 5 of 224 pixels a side, 64 of 64
A_STEP = 0.3  # seconds of the step that is measured: on AMX one of 16 images took 1.4 times as long for each
AT_MOST = 0.4  # seconds for each measurement, of which a phase has two to five
PROBE = 1e-4  # seconds of a linear probe for each row of features of 512 numbers
FOR_A_PHASE = 1.5  # seconds after which only the measurements that it cannot do without are started


@dataclass(frozen=True)
class Cost:
    """What one phase of a recipe costs here, measured on a few of its own steps.

    precision: in which a step computes. trunk_precision: in which the frozen trunk does. trunk: seconds to
    send one image through the frozen trunk, once; 0 if nothing is cached. gradients: seconds for the
    gradients of one image. update: seconds of a step that do not grow with its images, for the optimiser to
    change the weights among others. forward: seconds to validate on one view of one image.
    trunk_operations, step_operations: floating-point operations for an image; see `operations`.
    int8_operations: how many of a step's are computed in int8.
    """

    recipe: Recipe
    precision: str
    trunk_precision: str
    trunk: float
    gradients: float
    update: float
    forward: float
    trunk_operations: int
    step_operations: int
    int8_operations: int = 0

    def seconds(self, images: int, validation_images: int) -> float:
        """The seconds of the whole phase on so many images."""
        recipe = self.recipe
        views = recipe.validation_views
        once = self.trunk * (recipe.cached_views * images + views * validation_images)
        if recipe.head == "linear_probe":
            rows = max(1, recipe.cached_views) * images
            # One probe for the head; without validation images five more, which are cross-validated.
            probes = 1 if validation_images else 6
            once += min(rows, STATISTICS_OF) * self.forward + rows * (self.forward + PROBE * probes)
        epoch = images * self.gradients + math.ceil(images / recipe.batch_size) * self.update
        return once + recipe.epochs * (epoch + validation_images * views * self.forward)


def estimate(recipe: Recipe, images: int, validation_images: int = 0, width: int = 64) -> float:
    """The seconds that `recipe` will take here on so many images, from a few of its own steps.

    images, validation_images: how many are trained on and validated on, every epoch.
    width: the network's width; the built-in weights have 16.

    It takes about a second for each phase: the steps are of as many images as take a third of a second, and
    each kind of step is tried for half a second, or once where that takes longer. Where `fit` would measure
    its convolutions, it takes two seconds more, and `fit` in the same process two less. On a slow or busy
    machine the forward pass is taken to be a third of a step, and the optimiser's time is left out.
    """
    try:
        return sum(cost.seconds(images, validation_images) for cost in costs(recipe, images, width))
    finally:
        _network.cache_clear()  # it and its gradients would lie beside the training that follows


def costs(recipe: Recipe, images: int, width: int = 64, tuning_at_most: float = math.inf) -> tuple[Cost, ...]:
    """What each phase of a recipe costs here. See `estimate`.

    tuning_at_most: seconds for measuring the convolutions of each phase; with fewer than `fit` takes, some
        may be timed in a slower way than the one that it finds.
    A phase that differs from an earlier one in its number of pixels alone is not measured again: its
    operations take as long.
    """
    found: list[Cost] = []
    with seeded(), torch.inference_mode(False), torch.enable_grad():
        for phase in recipe.phases:
            alike = next((cost for cost in found if _same_work(cost.recipe, phase)), None)
            measured = _scaled(alike, phase, width) if alike else _cost(phase, images, width, tuning_at_most)
            found.append(measured)
    return tuple(found)


def _same_work(one: Recipe, other: Recipe) -> bool:
    """Whether a step of both is the same work, but for the number of pixels."""
    fields = "train_from", "batch_size", "dropout", "precision", "memory_format"
    alike = all(getattr(one, field) == getattr(other, field) for field in fields)
    return alike and bool(one.cached_views) == bool(other.cached_views)


def frozen_in_int8(recipe: Recipe, images: int) -> bool:
    """Whether a phase that learns from so many images, and not from features, has its frozen part in int8."""
    if recipe.train_from == "all" or recipe.batchnorm_moves:
        return False
    return choose(recipe, "trunk", recipe.epochs * images).frozen == "int8"


def scaled(cost: Cost, recipe: Recipe, width: int = 64) -> tuple[Cost, ...]:
    """What each phase of another recipe would cost, if every operation took as long as in one measured.

    cost: of a recipe that sends images through a frozen trunk.
    """
    return tuple(_scaled(cost, phase, width) for phase in recipe.phases)


def _scaled(cost: Cost, recipe: Recipe, width: int) -> Cost:
    """The same for one phase."""
    frozen, rounded, step = _operations(recipe.train_from, recipe.image_size, width)
    trunk, in_int8 = (frozen, 0) if recipe.cached_views else (0, rounded)
    total, pace = step + frozen - trunk, cost.gradients / cost.step_operations
    gradients = pace * total
    if not cost.trunk:
        in_int8 = round(cost.int8_operations * total / cost.step_operations)
    elif cost.trunk_precision == "int8":
        gradients = pace * (total - in_int8) + in_int8 * cost.trunk / cost.trunk_operations
    else:
        in_int8 = 0
    return replace(
        cost,
        recipe=recipe,
        trunk=cost.trunk * trunk / cost.trunk_operations if trunk else 0.0,
        gradients=gradients,
        forward=cost.forward * total / cost.step_operations,
        trunk_operations=trunk,
        step_operations=total,
        int8_operations=in_int8,
    )


@functools.cache
def _operations(train_from: str, image_size: int, width: int) -> tuple[int, int, int]:
    """For one image: of the trunk, those of it that int8 may compute, and of a step on its features."""
    with torch.device("meta"):  # shapes alone, so it takes milliseconds
        model, image = resnet18(10, width), torch.zeros(1, 3, image_size, image_size)
    trunk, rest = split_at(freeze(model, train_from), train_from)
    with eval_mode(model), torch.no_grad():
        features = trunk(image)
    frozen = operations(trunk, image) if len(trunk) else 0
    return frozen, _rounded_operations(trunk, image), operations(rest, features, learning=True)


def _rounded_operations(trunk: nn.Sequential, image: Tensor) -> int:
    """Those of a trunk's stages, which int8 may compute; its stem it leaves."""
    stem = trunk[: len(PARTS["stem"])]
    return operations(trunk, image) - operations(stem, image) if len(trunk) > len(stem) else 0


def _cost(recipe: Recipe, images: int, width: int, tuning_at_most: float) -> Cost:
    """The same for one phase."""
    model = freeze(_network(width), recipe.train_from)
    model.dropout.p = recipe.dropout
    most = min(recipe.batch_size, max(2, images))
    count = min(most, max(2, PIXELS // recipe.image_size**2))
    noise = torch.randint(0, 256, (most, 3, 32, 32), dtype=torch.uint8)
    engine, network = choose(recipe), model
    if recipe.cached_views:
        engine = choose(recipe, "trunk", recipe.cached_views * images)

    def batch(count: int) -> Tensor:
        some = ImageSet(noise[:count], torch.zeros(count, dtype=torch.int64), ("any",), "noise")
        return next(eval_batches(some, recipe))[0]

    once, trunk_operations, trunk_precision = 0.0, 0, engine.frozen or engine.precision
    if recipe.cached_views:
        trunk, network = (
            engine.place(trunk_of(model, recipe.train_from)),
            split_at(model, recipe.train_from)[1],
        )
        inputs = engine.place(batch(count))
        frozen = quantized(trunk, inputs) if engine.frozen else fused(trunk)
        once = _forward(frozen, engine, functools.partial(batch, count)) / count
        trunk_operations = operations(trunk, inputs[:1])
        with torch.no_grad():
            features = frozen(inputs)
        engine, batch = (
            choose(recipe, "features"),
            lambda count: features[torch.arange(count) % len(features)],
        )
    if recipe.memory_format == "auto":  # as `fit` does, which then need not measure again
        engine = _tuned(engine, recipe, network, batch(1), images, tuning_at_most)
    learner, in_int8 = network, 0
    if not recipe.cached_views and frozen_in_int8(recipe, images):
        engine = engine.with_frozen_in_int8(recipe.train_from)
        learner = on_quantized_trunk(engine.place(model), recipe.train_from, engine.place(batch(count)))
    if learner is not network:
        in_int8 = _rounded_operations(split_at(model, recipe.train_from)[0], engine.place(batch(1)))
    gradients, update, forward = _learning(network, learner, engine, batch, count, most)
    return Cost(
        recipe=recipe,
        precision=engine.precision,
        trunk_precision=trunk_precision,
        trunk=once,
        gradients=gradients,
        update=update,
        forward=forward,
        trunk_operations=trunk_operations,
        step_operations=operations(network, engine.place(batch(1)), learning=True),
        int8_operations=in_int8,
    )


def _tuned(
    engine: Engine, recipe: Recipe, network: nn.Module, image: Tensor, images: int, at_most: float
) -> Engine:
    """The engine with the ways that `fit` would take for a phase on so many images."""
    steps, shard = recipe.epochs * (images // recipe.batch_size), -(-recipe.batch_size // world_size())
    kind = "features" if recipe.cached_views else "images"
    precisions = precisions_to_try(recipe, kind, engine)
    return tuned_in_any_precision(engine, precisions, network, image, shard, steps, at_most)


@functools.lru_cache(maxsize=1)
def _network(width: int) -> ResNet:
    """One network for all estimates: to draw 11 million weights takes as long as to measure a few steps."""
    return resnet18(10, width)


def _forward(network: Callable[[Tensor], Tensor], engine: Engine, batch: Callable[[], Tensor]) -> float:
    """Seconds to send a batch through, without gradients. network: in eval mode, where the engine is."""

    @torch.inference_mode()
    def step() -> None:
        with engine.autocast():
            network(engine.place(batch()))

    with engine.computing():
        return statistics.median(seconds(step, times=3, at_most=AT_MOST))


def _learning(
    network: nn.Module,
    learner: nn.Module,
    engine: Engine,
    batch: Callable[[int], Tensor],
    count: int,
    most: int,
) -> tuple[float, float, float]:
    """Seconds for the gradients of an image, of a step whatever its images, and to validate an image.

    learner: what takes the batches of a step, the network itself or one that shares what learns of it.
    count, most: the fewest and the most images in a step; there are as many as take A_STEP.
    The second is the optimiser's time, and what two sizes of a step show not to grow; 0 without time for it.
    """
    engine.place(network).train()
    # Before the clock starts, because the first optimiser of a process imports PyTorch's compiler.
    optimizer = OPTIMIZERS["adamw"]([{"params": [p for p in network.parameters() if p.requires_grad]}], 0.0)
    until, update = perf_counter() + FOR_A_PHASE, 0.0

    def step_of(count: int) -> Callable[[], None]:
        labels = torch.zeros(count, dtype=torch.int64, device=engine.device)
        way = engine.for_batches_of(count)

        def gradients() -> None:
            optimizer.zero_grad()
            with way.autocast():
                logits = learner(engine.place(batch(count)))
            F.cross_entropy(logits.float(), labels).backward()

        return gradients

    def timed(count: int, at_most: float) -> float:
        return statistics.median(seconds(step_of(count), times=3, at_most=at_most))

    with engine.computing():
        step, fixed = timed(count, AT_MOST / 2), 0.0
        larger = min(most, int(count * A_STEP / step))
        if larger > count and perf_counter() < until:
            few, quick = count, step
            count, step = larger, timed(larger, AT_MOST)
            if count >= 2 * few:  # else their difference is mostly noise
                fixed = min(max(0.0, step - count * (step - quick) / (count - few)), step / 2)
        if perf_counter() < until:
            update = statistics.median(seconds(optimizer.step, times=3, at_most=AT_MOST / 4))
    forward = step / 3
    if perf_counter() < until:
        forward = _forward(network.eval(), engine.for_batches_of(count), functools.partial(batch, count))
    return (step - fixed) / count, fixed + update, forward / count
