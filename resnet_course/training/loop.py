"""The training loop, on one page: `fit`, one epoch, validation."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection, Iterable
from itertools import takewhile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_course.common.console import progress, say
from resnet_course.common.errors import ArgumentError, CourseError
from resnet_course.common.seeding import seeded
from resnet_course.common.stops import keeping_stops
from resnet_course.data.images import ImageSet
from resnet_course.evaluation import evaluate, fit_temperature, with_temperature
from resnet_course.evaluation.selective import threshold_of_doubt
from resnet_course.features import FeatureSet
from resnet_course.inputs.batches import count_batches, train_batches
from resnet_course.machine import Engine, distributed
from resnet_course.recipes import Recipe
from resnet_course.training.history import CALIBRATES, History, Measured
from resnet_course.training.phases import Phase, entered_phase
from resnet_course.training.sets import check_sets
from resnet_course.training.state import Run


class TrainingDiverged(CourseError, RuntimeError):
    """The loss stopped being a number. The model holds the last good weights."""


def fit(
    model: nn.Module,
    train: ImageSet | FeatureSet,
    val: ImageSet | FeatureSet | None,
    recipe: Recipe,
    out: str | os.PathLike | None = None,
    *,
    resume: bool = False,
    home: str | os.PathLike | None = None,
    until: float = math.inf,
    seen: Collection[str] = (),
) -> History:
    """Train `model` as the recipe says, and leave it with the weights of its best epoch, where it was.

    model: it is brought in line with the recipe: what is frozen, BatchNorm, dropout. If the recipe has phases
        (`Recipe.first`), each one does so again, and begins with the best weights so far.
    train: images to learn from. val: images to choose the best epoch with; never the test split. None or an
        empty set: of few images none is spent on that. Then the last epoch is kept, and the history's
        validation is that of a linear probe on the network's features, cross-validated before it learns.
        Either may be the features of the images instead: then only the parts behind them are computed.
        With a recipe's `cached_views` the features are made here, once.
    out: a folder for best.pt, last.pt and history.json, written after every epoch; None writes nothing.
    resume: go on from last.pt in `out`, if it is there, to the same result as without the break.
    home: where features are kept; None: the home folder of the settings.
    until: when learning has to be over, in seconds of `time.perf_counter`. In the last phase the schedule
        follows the clock wherever it is ahead of the steps, so that the learning rate has come down by then.
        Only for one process. Source: Li, Yumer and Ramanan, "Budgeted Training", 2020 (arXiv 1905.04753).
    seen: digests of files that the weights have learned from before; none of them will be a test.

    Under `torchrun` every process takes its shard of each batch, and the first one writes the files.

    The stop button (or Ctrl-C) ends the training, not the work: the model keeps its best weights, and
    the History so far is returned.
    Raises DataError for too few images or other classes; ArgumentError for a model that cannot be trained as
    the recipe says, and for a time that is over before a random head has learned; ArchitectureError for a
    model that `out` could not hold, before the first epoch; TrainingDiverged when the loss is no longer a
    finite number (the model then holds the weights from before that epoch); CheckpointError when last.pt
    belongs to another training; FeaturesError for features that
    another trunk made; ProcessLost when another process has ended.
    """
    with distributed.process_group():
        if distributed.world_size() > 1 and until < math.inf:
            raise ArgumentError("several processes cannot end by the clock, which each reads for itself")
        val = train.subset(torch.arange(0)) if val is None else val
        run = _begin(model, train, val, recipe, out, until, seen)
        if run is None:
            return History(interrupted=True, recipe=recipe)
        with seeded(), distributed.naming_lost_processes(run.what_is_kept()):
            if resume:
                run.resume()
            try:
                while not run.finished:
                    with keeping_stops(), entered_phase(run, train, val, home) as phase:
                        while not run.finished and phase.left(run):
                            fit_epoch(run, phase)
            except KeyboardInterrupt:
                if distributed.world_size() > 1:
                    raise  # the others cannot go on without this one
                run.interrupted = True
        return run.finish()


def _begin(
    model: nn.Module,
    train: ImageSet | FeatureSet,
    val: ImageSet | FeatureSet,
    recipe: Recipe,
    out: str | os.PathLike | None,
    until: float,
    seen: Collection[str],
) -> Run | None:
    """The run before its first step; None if it is stopped there by hand."""
    try:
        with keeping_stops():
            check_sets(model, train, val, recipe)
            return Run(model, recipe, train, val, None if out is None else Path(out), until, seen)
    except KeyboardInterrupt:
        if distributed.world_size() > 1:
            raise
        say("stopped by hand before the first step")
        return None


def fit_epoch(run: Run, phase: Phase) -> None:
    """Learn for one epoch, validate, and commit both to the run."""
    recipe, epoch = phase.recipe, len(run.epochs) + 1
    phase.retune()
    start = time.perf_counter()
    world = distributed.world_size()
    steps = count_batches(len(phase.train), recipe, train=True, world_size=world)
    batches = train_batches(phase.train, recipe, phase.generator, distributed.rank(), world)
    bar = progress(batches, total=steps, description=f"epoch {epoch}/{run.recipe.all_epochs}")

    def before_step(step: int) -> None:
        phase.set_learning_rate(run, step, steps)
        bar.set_postfix_str(phase.time_left(run, step, steps), refresh=False)

    with bar, phase.engine.computing():
        try:
            learned = train_epoch(
                phase.network,
                takewhile(lambda _: not run.out_of_time, bar),
                phase.optimizer,
                engine=phase.engine,
                label_smoothing=recipe.label_smoothing,
                before_step=before_step,
                after_step=phase.average.update,
            )
        except TrainingDiverged as error:
            run.load(run.progress.last)
            raise TrainingDiverged(
                f"epoch {epoch}: {error} The model has its weights from before it."
            ) from None
        run.interrupted = learned.interrupted
        if learned.interrupted and (run.epochs or not learned.images):
            return  # a part of an epoch is kept only where there is nothing else
        if not learned.images:  # the time was over before the first step
            if run.epochs:
                return
            if recipe.head == "random":  # a linear probe is worth keeping
                raise ArgumentError(
                    "the time (until) was over before the first step, so nothing was learned; take more time"
                )
    # After the block above, which keeps the memory of the steps: within it validation's would come on top.
    with phase.average.in_place():
        chosen_by = phase.cross_validated or validate(run.model, phase.val, recipe)
    run.commit(phase, learned, chosen_by, time.perf_counter() - start)


def train_epoch(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    *,
    engine: Engine | None = None,
    label_smoothing: float = 0.0,
    before_step: Callable[[int], object] = lambda step: None,
    after_step: Callable[[], object] = lambda: None,
) -> Measured:
    """One pass over the batches: forward, loss, backward, step.

    network: from inputs to logits, float [B, C]; it is put into training mode.
    batches: (inputs, labels), labels int64 [B] or, of mixed images, float [B, C].
    engine: where and in which precision; None: where the network is, in float32.
    before_step: is called with the number of the step, from 1; the place to set the learning rate.
    Several processes each take their shard of a batch and average their gradients.
    The stop button ends it early, with what was measured so far. Raises TrainingDiverged.
    """
    engine = engine or Engine.of(network)
    total_loss, right, seen, interrupted = 0.0, 0, 0, False
    network.train()
    try:
        for step, (inputs, labels) in enumerate(batches, start=1):
            before_step(step)
            labels = labels.to(engine.device)
            with engine.autocast():
                logits = network(engine.place(inputs))
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=label_smoothing, reduction="sum")
            most = labels if labels.ndim == 1 else labels.argmax(1)  # of mixed labels the larger part
            hits = int((logits.argmax(1) == most).sum())
            measured = distributed.all_reduce_sum([loss.item(), hits, len(labels)])
            batch_loss, batch_right, batch_seen = measured.tolist()
            if not math.isfinite(batch_loss):
                raise TrainingDiverged(_why_diverged(step, optimizer.param_groups[0]["lr"]))
            optimizer.zero_grad()
            # Processes average their gradients; so this is the mean over all images, whatever the shards.
            (loss * distributed.world_size() / batch_seen).backward()
            optimizer.step()
            after_step()
            total_loss, right, seen = total_loss + batch_loss, right + batch_right, seen + batch_seen
    except KeyboardInterrupt:
        if distributed.world_size() > 1:
            raise
        interrupted = True
    return Measured(total_loss / max(1, seen), right / max(1, seen), int(seen), interrupted)


def validate(model: nn.Module, val: ImageSet | FeatureSet, recipe: Recipe) -> Measured:
    """Loss, accuracy, temperature and threshold on the validation images.

    Several processes each have their shard of them; the last two are the means of those of all shards. They
    are 1 and 0 for fewer than CALIBRATES images and where a recipe chooses on test; the temperature is 1,
    too, where all are right, which any near 0 would suit.
    """
    distributed.broadcast_buffers(model)
    measured = [0.0] * 5
    if len(val):
        predictions = evaluate(model, val, recipe.validating())
        right = float(predictions.correct.sum())
        temperature = fit_temperature(predictions) if right < len(val) else 1.0
        threshold = threshold_of_doubt(with_temperature(predictions, temperature))
        measured = [predictions.loss, right / len(val), 1, temperature, threshold]
        measured = [each * len(val) for each in measured]
    total = distributed.all_reduce_sum(measured).tolist()
    loss, accuracy, _, temperature, threshold = (each / total[2] for each in total)
    found = Measured(loss, accuracy, int(total[2]))
    if found.images < CALIBRATES or recipe.select_on_test:
        return found
    return found._replace(temperature=temperature, threshold=threshold)


def _why_diverged(step: int, learning_rate: float) -> str:
    return (
        f"the loss is not a finite number in step {step}, at learning rate {learning_rate:.2g}; likely "
        "causes: a learning rate that is too high (try a tenth of it), or bf16 (try precision fp32)."
    )
