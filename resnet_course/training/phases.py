"""One phase of a recipe, ready to be trained: what learns, on what, and by which optimiser."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from resnet_course import machine
from resnet_course.common.console import say
from resnet_course.common.durations import format_duration
from resnet_course.common.errors import ArgumentError
from resnet_course.data.images import LabelledSet
from resnet_course.features import cache_features, network_for
from resnet_course.inputs.batches import eval_batches, evenly_spread
from resnet_course.machine import Engine, distributed
from resnet_course.recipes import OPTIMIZERS, SCHEDULES, Recipe
from resnet_course.settings import Settings
from resnet_course.training.averaging import WeightAverage
from resnet_course.training.history import Measured
from resnet_course.training.linear import (
    cross_validated,
    pooled_features,
    start_head_as_linear_probe,
    take_statistics,
)
from resnet_course.transfer import apply_recipe, images_to_scale_on, on_quantized_trunk, parameter_groups

if TYPE_CHECKING:
    from resnet_course.training.state import Run

SEEDS_APART = 1_000_003  # a prime, so that a later phase does not draw what another seed drew in the first


@dataclass
class Phase:
    """What one phase needs, made once at its beginning.

    recipe: of this phase. start: how many epochs came before it.
    train, val: what it learns from and validates on: images, or their features.
    cross_validated: what takes the place of validating where there are no validation images.
    model: the whole network. network: what takes their batches: a part of it, or it with a rounded copy of
        what is frozen.
    began, began_after: when this process began with it, in seconds, and after how many epochs of all.
    preparation_seconds: for features, before its first epoch.
    paces: seconds for each image, of every epoch so far.
    """

    recipe: Recipe
    start: int
    train: LabelledSet
    val: LabelledSet
    cross_validated: Measured | None
    model: nn.Module
    network: nn.Module
    engine: Engine
    optimizer: torch.optim.Optimizer
    average: WeightAverage
    generator: torch.Generator
    began: float
    began_after: int
    preparation_seconds: float
    paces: list[float] = field(default_factory=list)

    def left(self, run: Run) -> int:
        """How many of its epochs are left."""
        return self.start + self.recipe.epochs - len(run.epochs)

    def set_learning_rate(self, run: Run, step: int, steps: int) -> None:
        """Set the rate for a step, 1 to `steps` of this epoch, as the recipe's schedule says.

        The schedule is read in the middle of the step: at its end the last step would have a rate of 0.
        Where the run has to end at a certain time, the part of the time that is spent counts, if it is more.
        """
        done = (len(run.epochs) - self.start + (step - 0.5) / steps) / self.recipe.epochs
        if self.recipe is run.recipe:  # the last phase
            spent = time.perf_counter() - self.began
            done = max(done, min(1.0, spent / max(1e-9, run.until - self.began)))
        accuracies = [entry["val_accuracy"] for entry in run.epochs[self.start :]]
        factor = SCHEDULES[self.recipe.schedule](done, accuracies)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * factor * group["rate"]

    @property
    def learning_rate(self) -> float:
        """The rate of the parts that learn fastest, at the last step."""
        return max(group["lr"] for group in self.optimizer.param_groups)

    def time_left(self, run: Run, step: int, steps: int) -> str:
        """What is left of this phase, from its own pace so far."""
        done = len(run.epochs) + step / steps
        pace = (time.perf_counter() - self.began) / (done - self.began_after)
        return f"about {format_duration((self.start + self.recipe.epochs - done) * pace)} left"

    def retune(self) -> None:
        """Choose threads and memory layout again where the pace says that they are wrong; not precision.

        A choice was made in a moment, which may have been a busy one, and an epoch can take half an hour.
        """
        seconds = self.paces[-1] * len(self.train) if self.paces else 0.0
        if distributed.broadcast(machine.needs_retuning(self.engine, self.paces, seconds)):
            before, self.engine = self.engine, machine.retune(self.engine, self.recipe, self.train.kind)
            machine.forget()
            if distributed.world_size() > 1:
                machine.probe()  # together: a process without validation images would not ask for it
                # DistributedDataParallel has noted the layout of the weights.
                layout = {"memory_format": before.memory_format, "layer4_format": before.layer4_format}
                self.engine = replace(self.engine, **layout)
            if before.convolutions:
                network = network_for(self.model, self.train)
                precision = (self.engine.precision,)
                self.engine = _tuned(
                    replace(self.engine, convolutions=None), precision, network, self.train, self.recipe
                )
            self.engine.place(self.model)
            self.paces.clear()


@contextmanager
def entered_phase(
    run: Run, train: LabelledSet, val: LabelledSet, home: str | os.PathLike | None
) -> Iterator[Phase]:
    """The phase in which the run's next epoch lies; within the block the model is where it is computed."""
    model, done = run.model, len(run.epochs)
    start, recipe = run.recipe.phase_after(done)
    run.load(run.progress.best if done == start else run.progress.last)
    as_given = _what_is_trained(model)
    apply_recipe(model, recipe)
    if not done and _what_is_trained(model) != as_given:
        say(
            f"The model is brought in line with the recipe {recipe.name}: train_from {recipe.train_from}, "
            f"dropout {recipe.dropout:g}."
        )
    began = time.perf_counter()
    train, val = _sets(model, train, val, recipe, home)
    preparation_seconds = time.perf_counter() - began if train.kind != run.train.kind else 0.0
    left_in_its_middle = run.progress.training if done > start else None
    engine = _engine(network_for(model, train), train, recipe, left_in_its_middle or {})
    with engine.hosting(model):
        estimate = _linear_probe(run, recipe, train, val, engine)
        engine, network = _network(model, train, recipe, engine)
        seed = recipe.seed + start * SEEDS_APART
        torch.manual_seed(seed + distributed.rank())  # dropout draws from torch's global numbers
        phase = Phase(
            recipe=recipe,
            start=start,
            train=train,
            val=val.subset(distributed.shard(torch.arange(len(val)))),
            cross_validated=estimate,
            model=model,
            network=distributed.data_parallel(network),
            engine=engine,
            optimizer=make_optimizer(model, recipe),
            average=WeightAverage(model, recipe.average, recipe.head == "linear_probe"),
            generator=torch.Generator().manual_seed(seed),
            preparation_seconds=preparation_seconds,
            began=time.perf_counter(),
            began_after=done,
        )
        if done > start:
            run.restore(phase)
        yield phase


def _linear_probe(
    run: Run, recipe: Recipe, train: LabelledSet, val: LabelledSet, engine: Engine
) -> Measured | None:
    """Start the head as a linear probe, if the recipe says so; without validation images cross-validate one.

    After the first epoch the head has learned, and what was found before it still holds.
    """
    if run.epochs:
        if len(val):
            return None
        before = run.epochs[-1]
        return Measured(
            before["val_loss"], before["val_accuracy"], before["val_images"], folds=before["folds"]
        )
    if len(val) and recipe.head == "random":
        return None
    if recipe.head == "linear_probe":
        take_statistics(run.model, train, recipe, engine)
    features = pooled_features(run.model, train, recipe, engine)
    if recipe.head == "linear_probe":
        start_head_as_linear_probe(run.model, features, train.labels)
    return None if len(val) else cross_validated(features, train.labels, train.groups, len(train.classes))


def _engine(network: nn.Module, train: LabelledSet, recipe: Recipe, before: dict[str, Any]) -> Engine:
    """How a phase is computed; one that was left in its middle as before: the same ways, the same weights."""
    engine = machine.choose(recipe, train.kind)
    measured_on, ways = before.get("convolutions", (None, None))
    known = machine.Convolutions.from_list(ways) if ways else None
    # The first process decides for all: processors in a group may differ, and measuring is done together.
    here = measured_on == machine.signature(engine.device)
    same = distributed.broadcast(here)
    if same:
        in_int8 = here and before.get("frozen") == "int8"
    else:
        in_int8 = train.kind == "images" and machine.frozen_in_int8(recipe, len(train))
    engine = engine.with_frozen_in_int8(recipe.train_from) if in_int8 else engine
    precisions = machine.precisions_to_try(recipe, train.kind, engine)
    if same:
        precision = known.precision if known else before.get("precision", engine.precision)
        engine = replace(engine, precision=precision)
    if same and (known is None or known.fit(engine.precision, _batch(recipe))):
        return engine if known is None else engine.computing_as(known)
    if measured_on and not same:
        say("Processor, caps or PyTorch are not those of before, so the convolutions are measured anew.")
    return _tuned(engine, precisions, network, train, recipe)


def _tuned(
    engine: Engine, precisions: tuple[str, ...], network: nn.Module, train: LabelledSet, recipe: Recipe
) -> Engine:
    """The engine with the fastest way for each convolution, unless the recipe demands a layout."""
    if recipe.memory_format != "auto":
        return engine
    image, _ = next(eval_batches(train.subset(torch.arange(1)), recipe))
    steps = recipe.epochs * (len(train) // recipe.batch_size)
    return machine.tuned_in_any_precision(engine, precisions, network, image, _batch(recipe), steps)


def _network(
    model: nn.Module, train: LabelledSet, recipe: Recipe, engine: Engine
) -> tuple[Engine, nn.Module]:
    """What takes the training batches, and the engine; in int8 only what that can stand for."""
    network = found = network_for(model, train)
    distributed.broadcast_state(model)  # what is copied now, DistributedDataParallel does not make equal
    if engine.frozen:
        with engine.computing():
            some = engine.place(evenly_spread(train, recipe, images_to_scale_on(recipe.image_size)))
            found = on_quantized_trunk(model, recipe.train_from, some)
    # One process alone cannot train another network than the others.
    if distributed.all_reduce_sum([found is not network]).item() < distributed.world_size():
        return replace(engine, frozen=None), network
    return engine, found


def _batch(recipe: Recipe) -> int:
    """The images of a full batch that this process gets."""
    return -(-recipe.batch_size // distributed.world_size())


def _what_is_trained(model: nn.Module) -> tuple[set[str], float]:
    """The names of the parameters that are not frozen, and the dropout's probability."""
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return trained, getattr(getattr(model, "dropout", None), "p", 0.0)


def _sets(
    model: nn.Module, train: LabelledSet, val: LabelledSet, recipe: Recipe, home: str | os.PathLike | None
) -> tuple[LabelledSet, LabelledSet]:
    """What a phase learns from and validates on: the sets as they are, or their features."""
    if not recipe.cached_views or train.kind == "features":
        return train, val
    # All processes measure now, together: in the block where one works first, none could wait for another.
    machine.choose(recipe)
    home = Settings.from_env().working_home() if home is None else home
    with distributed.local_main_process_first():
        features = cache_features(model, train, recipe, home, views=recipe.cached_views)
        nothing = features.subset(torch.arange(0))
        return features, cache_features(model, val, recipe, home) if len(val) else nothing


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over the parameters that are not frozen. Raises ArgumentError if all are."""
    groups = parameter_groups(model, recipe.weight_decay, recipe.decay_all, recipe.layer_decay)
    if not groups:
        raise ArgumentError("every parameter of the model is frozen; build it with a later train_from")
    return OPTIMIZERS[recipe.optimizer](groups, recipe.learning_rate)
