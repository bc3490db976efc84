"""One training loop, in full view: `fit`."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_course import machine
from resnet_course.common.console import progress, say
from resnet_course.data import concatenate
from resnet_course.data.images import DataError, ImageSet, Splits
from resnet_course.evaluation.predictions import evaluate
from resnet_course.features.cache import cache_features, network_for
from resnet_course.features.feature_set import FeatureSet
from resnet_course.inputs.batches import count_batches, train_batches
from resnet_course.machine import distributed
from resnet_course.recipes import Recipe
from resnet_course.resnet.network import ResNet
from resnet_course.settings import Settings
from resnet_course.training import checkpoint
from resnet_course.training.checkpoint import Checkpoint, CheckpointError
from resnet_course.transfer import freeze, parameter_groups


class TrainingDiverged(RuntimeError):
    """The loss stopped being a number. The model holds the last good weights."""


@dataclass
class History:
    """What one training run measured.

    epochs: one dict an epoch, of all phases: epoch (from 1), train_loss, train_accuracy, val_loss,
        val_accuracy, learning_rate (the epoch's last), seconds.
    engine: where and in which precision it ran.
    interrupted: True if it was stopped by hand before its last epoch.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    engine: str = ""
    interrupted: bool = False

    def values(self, name: str) -> list[float]:
        """One measurement over the epochs, such as "val_accuracy"."""
        return [entry[name] for entry in self.epochs]

    @property
    def best(self) -> dict[str, float]:
        """The entry of the epoch with the highest validation accuracy (the first of equals)."""
        return max(self.epochs, key=lambda entry: entry["val_accuracy"])

    @property
    def seconds(self) -> float:
        """The seconds of all epochs together, validation included."""
        return sum(self.values("seconds"))


def one_cycle(progress: float, warmup: float = 0.2) -> float:
    """The factor on the learning rate: up in a straight line, then down half a cosine to 0.

    progress: the part of the training that is done, 0 to 1. warmup: the part that goes up.
    Source: Smith and Topin, "Super-Convergence", 2017 (arXiv 1708.07120), with a cosine for the way down.
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def plateau(accuracies: Sequence[float], patience: int = 2, factor: float = 0.5) -> float:
    """The factor on the learning rate after epochs with these validation accuracies.

    It is multiplied by `factor` once more than `patience` epochs in a row brought nothing better:
    torch's ReduceLROnPlateau with mode "max", as a pure function.
    """
    scale, best, waited = 1.0, -math.inf, 0
    for accuracy in accuracies:
        if accuracy > best * 1.0001:  # torch's threshold: a ten-thousandth more than the best
            best, waited = accuracy, 0
        else:
            waited += 1
        if waited > patience:
            scale, waited = scale * factor, 0
    return scale


def rate_factor(recipe: Recipe, done: float, accuracies: Sequence[float]) -> float:
    """The factor on the recipe's learning rate, `done` (0 to 1) of the way, after these accuracies."""
    if recipe.schedule == "one_cycle":
        return one_cycle(done)
    return plateau(accuracies) if recipe.schedule == "plateau" else 1.0


def make_optimizer(model: ResNet, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over the parameters that are not frozen. Raises ValueError if all are."""
    groups = parameter_groups(model, recipe.weight_decay, recipe.decay_all, recipe.layer_decay)
    if not groups:
        raise ValueError("every parameter of the model is frozen; build it with a later train_from")
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


def learning_and_choosing(splits: Splits, recipe: Recipe) -> tuple[ImageSet, ImageSet]:
    """The pictures that `fit` learns from, and those that it chooses the best epoch with: train and val.

    A recipe with the flaw `select_on_test` learns from both and chooses on test.
    """
    if recipe.select_on_test:
        return concatenate(splits.train, splits.val), splits.test
    return splits.train, splits.val


def fit(
    model: ResNet,
    train: ImageSet | FeatureSet,
    val: ImageSet | FeatureSet,
    recipe: Recipe,
    out: str | os.PathLike | None = None,
    *,
    resume: bool = False,
    home: str | os.PathLike | None = None,
) -> History:
    """Train the parts of `model` that are not frozen, and leave it with the weights of its best epoch.

    train: pictures to learn from. val: pictures to choose the best epoch with; never the test split.
        Either may be the features of the pictures instead: then only the parts behind them are computed.
        With a recipe's `cached_views` the features are made here, once.
    recipe: if it has phases (`Recipe.first`), each freezes the model anew, as it says, and begins with the
        best weights so far.
    out: a folder for best.pt, last.pt and history.json, written after every epoch; None writes nothing.
    resume: go on from last.pt in `out`, if it is there, to the same result as without the break.
    home: where features are kept; None: the home folder of the settings.

    Under `torchrun` every process takes its share of each batch, and the first one writes the files.

    The stop button (or Ctrl-C) ends the training, not the work: the model keeps its best weights, and
    the History so far is returned.
    Raises DataError for too few pictures or other classes; TrainingDiverged when the loss is no longer
    a finite number (the model then holds the weights from before that epoch); CheckpointError when
    last.pt belongs to another training; FeaturesError for features that another trunk made; ProcessLost
    when another process has ended.
    """
    _check_sets(model, train, val, recipe)
    run = _Run(model, train, val, recipe, None if out is None else Path(out), home)
    history = run.history
    with torch.random.fork_rng(devices=[]), distributed.naming_lost_processes(run.what_is_kept()):
        torch.manual_seed(recipe.seed + distributed.rank())  # dropout draws from torch's global numbers
        if resume:
            run.resume()
        try:
            while len(history.epochs) < recipe.all_epochs and not history.interrupted:
                run.enter_phase()
                start = time.perf_counter()
                with run.engine.computing():
                    learned = train_epoch(run, run.train)
                    if history.interrupted and (history.epochs or not learned):
                        break  # a part of an epoch is kept only where there is nothing else
                    chosen_by = validate(run)
                run.end_epoch({**learned, **chosen_by, "seconds": time.perf_counter() - start})
        except KeyboardInterrupt:  # while caching, validating or writing
            if distributed.world_size() > 1:
                raise  # the others cannot go on without this one
            history.interrupted = True
    run.keep_best()
    return history


def train_epoch(run: _Run, train: ImageSet | FeatureSet) -> dict[str, float]:
    """One pass over the pictures, or a part of one if it is interrupted; returns what it measured."""
    model, recipe, engine = run.model, run.recipe, run.engine
    epoch = len(run.history.epochs)
    steps = count_batches(len(train), recipe, train=True, world_size=distributed.world_size())
    total_loss, right, seen = 0.0, 0, 0
    model.train()
    batches = train_batches(train, recipe, run.generator, distributed.rank(), distributed.world_size())
    bar = progress(batches, total=steps, description=f"epoch {epoch + 1}/{run.whole.all_epochs}")
    try:
        for step, (inputs, labels) in enumerate(bar, start=1):
            learning_rate = run.set_learning_rate((epoch - run.phase_start + step / steps) / recipe.epochs)
            inputs, labels = engine.place(inputs), labels.to(engine.device)
            with engine.autocast():
                logits = run.network(inputs)
            loss = F.cross_entropy(
                logits.float(), labels, label_smoothing=recipe.label_smoothing, reduction="sum"
            )
            most = labels if labels.ndim == 1 else labels.argmax(1)  # of mixed labels the larger share
            measured = [loss.item(), int((logits.argmax(1) == most).sum()), len(labels)]
            batch_loss, batch_right, batch_seen = distributed.all_reduce_sum(measured).tolist()
            if not math.isfinite(batch_loss):
                run.stop_diverged(epoch + 1, step, learning_rate)
            run.optimizer.zero_grad()
            # Processes average their gradients; so this is the mean over all pictures, whatever the shares.
            (loss * distributed.world_size() / batch_seen).backward()
            run.optimizer.step()
            run.average_weights()

            total_loss, right, seen = total_loss + batch_loss, right + batch_right, seen + batch_seen
            bar.set_postfix_str(run.time_left(step, steps), refresh=False)
    except KeyboardInterrupt:
        if distributed.world_size() > 1:
            raise
        run.history.interrupted = True
    finally:
        bar.close()
    if not seen:
        return {}
    return {
        "epoch": epoch + 1,
        "train_loss": total_loss / seen,
        "train_accuracy": right / seen,
        "learning_rate": learning_rate,
    }


def validate(run: _Run) -> dict[str, float]:
    """Loss and accuracy on the validation pictures; several processes share them."""
    recipe = replace(run.recipe, test_views=run.recipe.validation_views)
    val = run.val.subset(distributed.shard(torch.arange(len(run.val))))
    with run.averaged():
        distributed.broadcast_buffers(run.model)
        measured = [0.0, 0.0, 0.0]
        if len(val):
            predictions = evaluate(run.model, val, recipe)
            measured = [predictions.loss * len(val), float(predictions.correct.sum()), len(val)]
    loss, right, seen = distributed.all_reduce_sum(measured).tolist()
    return {"val_loss": loss / seen, "val_accuracy": right / seen}


def fit_linear(features: Tensor, labels: Tensor, num_classes: int, weight_decay: float = 1e-3) -> nn.Linear:
    """The linear layer with the lowest cross-entropy on fixed features, plus a penalty on its weights.

    features: float32 [N, C]. labels: int64 [N]. weight_decay: half of it times the squared weights of the
        standardised features is added to the mean loss.
    Returns a layer that takes features as they come. The problem is convex, so the answer does not depend
    on a learning rate or a seed; L-BFGS finds it. Source: Liu and Nocedal, "On the limited memory BFGS
    method for large scale optimization", 1989.
    """
    mean, std = features.mean(0), features.std(0).clamp(min=1e-6)
    standardised = (features - mean) / std
    layer = nn.Linear(features.shape[1], num_classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(layer(standardised), labels)
        value = value + 0.5 * weight_decay * layer.weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    with torch.no_grad():  # the standardisation moves into the layer
        layer.weight.div_(std)
        layer.bias.sub_(layer.weight @ mean)
    return layer.requires_grad_(False)


def _check_sets(
    model: ResNet, train: ImageSet | FeatureSet, val: ImageSet | FeatureSet, recipe: Recipe
) -> None:
    least = 2 * distributed.world_size()
    if len(train) < least or len(val) < 1:
        raise DataError(
            f"{len(train)} pictures to train on and {len(val)} to validate on; it takes at least {least} "
            "and 1"
        )
    if recipe.mix != "none" and isinstance(train, FeatureSet):
        raise DataError(f"mix is {recipe.mix!r}, and features cannot be mixed as pictures are; take 'none'")
    if train.classes != val.classes or model.fc.out_features != len(train.classes):
        raise DataError(
            f"train has {len(train.classes)} classes, val {len(val.classes)}, the model "
            f"{model.fc.out_features} outputs; all three must agree, in names and order"
        )


class _Run:
    """What changes while `fit` runs: optimiser, random numbers, weights, history; and its way to the disk."""

    def __init__(
        self,
        model: ResNet,
        train: ImageSet | FeatureSet,
        val: ImageSet | FeatureSet,
        recipe: Recipe,
        out: Path | None,
        home: str | os.PathLike | None,
    ) -> None:
        self.model, self.out, self.home = model, out, home
        self.given = self.train, self.val = train, val  # train and val become features where a phase says so
        self.whole, self.recipe = recipe, None  # all phases, and the one that runs
        self.phase_start = 0  # epochs before this phase
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.history = History()
        self.last_weights = self.best_weights = self._weights()
        self.saved: dict[str, Any] = {}  # the training state to go on with

    def enter_phase(self) -> None:
        """Get ready for the next epoch: at the beginning of a phase freeze, cache, and make the optimiser."""
        start, done = 0, len(self.history.epochs)
        for phase in self.whole.phases:
            if done < start + phase.epochs:
                break
            start += phase.epochs
        if phase is self.recipe:
            return
        self.recipe, self.phase_start = phase, start
        if len(self.whole.phases) > 1:
            self.model.load_state_dict(self.best_weights if done == start else self.last_weights)
            freeze(self.model, phase.train_from, batchnorm_moves=phase.batchnorm_moves)
        # All measure now, and agree: in the block where one works first, none could wait for the others.
        for what in ("pictures", "features") if phase.cached_views else ():
            machine.choose(phase, what)
        self.train, self.val = self._sets()
        self.engine = machine.choose(phase, self.train.kind)
        self.engine.place(self.model)
        self.history.engine = str(self.engine)
        self.network = distributed.data_parallel(network_for(self.model, self.train))
        self.optimizer = make_optimizer(self.model, phase)
        self.average, self.steps = self._weights() if phase.average else {}, 0
        if self.saved and done > start:
            self.optimizer.load_state_dict(self.saved["optimizer"])
            self.average, self.steps = self.saved["average"], self.saved["steps"]
        self.saved = {}
        self.started, self.started_at = time.perf_counter(), done

    def _sets(self) -> tuple[ImageSet | FeatureSet, ImageSet | FeatureSet]:
        """What this phase learns from and validates on: the pictures, or their features."""
        train, val = self.given
        views = self.recipe.cached_views
        if not views or isinstance(train, FeatureSet):
            return train, val
        home = Settings.from_env().home if self.home is None else self.home
        with distributed.local_main_process_first():
            train = cache_features(self.model, train, self.recipe, home, views=views)
            val = cache_features(self.model, val, self.recipe, home)
        return train, val

    def what_is_kept(self) -> str:
        """How to go on when a process is lost."""
        if self.out is None:
            return "nothing was written, because no folder was given"
        return f"the last whole epoch is in {self.out / 'last.pt'}, if there was one; go on with --resume"

    def time_left(self, step: int, steps: int) -> str:
        """What is left of this phase, from its own pace so far."""
        done = len(self.history.epochs) + step / steps
        pace = (time.perf_counter() - self.started) / (done - self.started_at)
        return f"about {(self.phase_start + self.recipe.epochs - done) * pace / 60:.1f} min left"

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def set_learning_rate(self, done: float) -> float:
        """Set the rate for the next step, `done` (0 to 1) of the way through the phase, and return it."""
        accuracies = self.history.values("val_accuracy")[self.phase_start :]
        factor = rate_factor(self.recipe, done, accuracies)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * factor * group["rate"]
        return self.recipe.learning_rate * factor

    def average_weights(self) -> None:
        """Move the average of the weights one step on. Early in training it forgets faster.

        Source: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992; the
        faster start is TensorFlow's ExponentialMovingAverage.
        """
        if not self.recipe.average:
            return
        self.steps += 1
        stays = min(self.recipe.average, self.steps / (9 + self.steps))
        for name, tensor in self.model.state_dict().items():
            if tensor.is_floating_point():
                self.average[name].lerp_(tensor, 1 - stays)
            else:
                self.average[name].copy_(tensor)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it the model holds the average of its weights, if the recipe asks for one."""
        if not self.recipe.average:
            yield
            return
        latest = self._weights()
        self.model.load_state_dict(self.average)
        try:
            yield
        finally:
            self.model.load_state_dict(latest)

    def end_epoch(self, measured: dict[str, float]) -> None:
        """Record an epoch, keep its weights if they are the best, write all files, print one line."""
        self.history.epochs.append(measured)
        self.last_weights = self._weights()
        if self.history.best is measured:
            with self.averaged():
                self.best_weights = self._weights()
            # A network should be used at the size at which it learned, and phases may differ in it.
            recipe = replace(self.whole, image_size=self.recipe.image_size)
            self._save("best.pt", recipe, self.best_weights, training=None)
        if not self.history.interrupted:  # it goes on from whole epochs only
            self._save("last.pt", self.whole, self.last_weights, training=self._state())
        if self.out and not distributed.rank():
            text = json.dumps(self.history.epochs, indent=1)
            checkpoint.write_atomically(self.out / "history.json", lambda file: file.write(text.encode()))
        say(
            f"epoch {measured['epoch']}/{self.whole.all_epochs}: loss {measured['train_loss']:.3f} on train, "
            f"{measured['val_loss']:.3f} on validation; validation accuracy {measured['val_accuracy']:.1%}; "
            f"{measured['seconds']:.0f} s"
        )

    def _save(
        self, name: str, recipe: Recipe, weights: dict[str, Tensor], training: dict[str, Any] | None
    ) -> None:
        if not self.out or distributed.rank():
            return
        metrics = {
            f"best_{k}": v for k, v in self.history.best.items() if k in ("epoch", "val_loss", "val_accuracy")
        }
        content = Checkpoint(
            state_dict=weights,
            classes=self.train.classes,
            stored_size=self.train.stored_size,
            dataset=self.train.name,
            recipe=recipe,
            metrics=metrics,
            training=training,
        )
        checkpoint.save(self.out / name, content)

    def _state(self) -> dict[str, Any]:
        return {
            "pictures": len(self.train),
            "history": self.history.epochs,
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "global_generator": torch.get_rng_state(),
            "average": self.average,
            "steps": self.steps,
        }

    def resume(self) -> None:
        """Go back to the end of the last whole epoch that `out` holds; start anew if there is none."""
        path = self.out / "last.pt" if self.out else None
        if path is None or not path.is_file():
            say("nothing to resume: starting at the first epoch")
            return
        saved = checkpoint.load(path)
        training = saved.training or {"pictures": 0}
        for what, was, now in (
            ("recipe", saved.recipe, self.whole),
            ("data set", saved.dataset, self.train.name),
            ("classes", saved.classes, self.train.classes),
            ("number of pictures", training["pictures"], len(self.train)),
        ):
            if was != now:
                raise CheckpointError(
                    f"{path} cannot be resumed: its {what} was {was}, and now it is {now}; "
                    "give the same settings, or another --out"
                )
        self.model.load_state_dict(saved.state_dict)
        self.generator.set_state(training["generator"])
        if distributed.rank() == 0:  # the others draw other dropout
            torch.set_rng_state(training["global_generator"])
        self.history.epochs.extend(training["history"])
        self.last_weights = self._weights()
        self.saved = {"average": {}, "steps": 0, **training}
        self.best_weights = checkpoint.load(self.out / "best.pt").state_dict
        say(f"resuming after epoch {len(self.history.epochs)} of {self.whole.all_epochs}")

    def _say_the_size(self, epoch: int) -> None:
        """Say so, if the weights of this epoch learned from pictures of another size than the recipe's."""
        sizes = [phase.image_size for phase in self.whole.phases for _ in range(phase.epochs)]
        if sizes[epoch - 1] != self.whole.image_size:
            say(f"the best epoch saw {sizes[epoch - 1]} pixels: evaluate with image_size={sizes[epoch - 1]}")

    def stop_diverged(self, epoch: int, step: int, learning_rate: float) -> None:
        """Put the weights from before this epoch back and raise TrainingDiverged."""
        self.model.load_state_dict(self.last_weights)
        raise TrainingDiverged(
            f"the loss is not a finite number in epoch {epoch}, step {step}, "
            f"at learning rate {learning_rate:.2g}; likely causes: a learning rate that is too high "
            "(try a tenth of it), a std of 0 in the normalisation, or bf16 (try precision fp32). "
            "The model has its weights from before this epoch."
        )

    def keep_best(self) -> None:
        """Leave the model with its best weights, in eval mode."""
        if self.history.epochs:
            self.model.load_state_dict(self.best_weights)
            self._say_the_size(int(self.history.best["epoch"]))
        self.model.eval()
        if self.history.interrupted:
            kept = (
                f"from epoch {self.history.best['epoch']}" if self.history.epochs else "as the stop left them"
            )
            say(f"stopped by hand; the model's weights are {kept}")
