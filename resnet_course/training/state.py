"""`Run`: what a training has reached; it can be stopped at any moment."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from resnet_course import machine
from resnet_course.common.console import say
from resnet_course.common.durations import format_duration
from resnet_course.data.images import LabelledSet
from resnet_course.machine import distributed
from resnet_course.recipes import Recipe
from resnet_course.training.averaging import snapshot
from resnet_course.training.folder import Progress, RunFolder, Weights
from resnet_course.training.history import History, Measured, as_seen_by

if TYPE_CHECKING:
    from resnet_course.training.phases import Phase


class Run:
    """A training from its first epoch to its last.

    model, recipe: what is trained, and how, all phases. train, val: what it learns from and is chosen by.
    out: its folder; None: nothing is written. until: when it ends, in seconds of `time.perf_counter`.
    seen: digests of files that the weights have learned from before.
    Raises ArchitectureError if a checkpoint in `out` could not be rebuilt.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        train: LabelledSet,
        val: LabelledSet,
        out: Path | None,
        until: float = math.inf,
        seen: Collection[str] = (),
    ) -> None:
        self.model, self.recipe, self.train, self.until = model, recipe, train, until
        self.folder = None if out is None else RunFolder(out, model, recipe, train, val, seen)
        weights = snapshot(model)
        self.progress = self.written = Progress((), weights, weights)
        self.interrupted, self.engine = False, ""

    @property
    def epochs(self) -> tuple[dict[str, float], ...]:
        """What was measured, an entry an epoch."""
        return self.progress.epochs

    @property
    def finished(self) -> bool:
        """True after the last epoch, when it was stopped by hand, or when an epoch had no more time."""
        cut = self.out_of_time and bool(self.epochs)
        return self.interrupted or cut or len(self.epochs) >= self.recipe.all_epochs

    @property
    def out_of_time(self) -> bool:
        """Whether its time is over."""
        return time.perf_counter() >= self.until

    def load(self, weights: Weights) -> None:
        """Give the model these weights."""
        self.model.load_state_dict(weights)

    def commit(self, phase: Phase, learned: Measured, chosen_by: Measured, seconds: float) -> None:
        """Record an epoch, keep its weights if they are the best, write all files, print one line."""
        entry = {
            "epoch": len(self.epochs) + 1,
            "train_loss": learned.loss,
            "train_accuracy": learned.accuracy,
            "learning_rate": phase.learning_rate,
            "val_loss": chosen_by.loss,
            "val_accuracy": chosen_by.accuracy,
            "val_images": 0 if phase.recipe.select_on_test else chosen_by.images,
            "folds": chosen_by.folds,
            "temperature": chosen_by.temperature,
            "threshold": chosen_by.threshold,
            "seconds": seconds,
            "preparation_seconds": phase.preparation_seconds,
        }
        epochs, last, best = (*self.epochs, entry), snapshot(self.model), self.progress.best
        if History(list(epochs)).best is entry:
            with phase.average.in_place():
                best = snapshot(self.model) if phase.recipe.average else last
        training = None if self.interrupted or self.out_of_time else _state(phase, epochs)
        self.progress = Progress(epochs, last, best, training)
        self.engine = str(phase.engine)
        phase.preparation_seconds = 0.0
        phase.paces.append(seconds / len(phase.train))
        self.write()
        validated = f", {chosen_by.loss:.3f} on validation; validation accuracy {chosen_by.accuracy:.1%}"
        say(
            f"epoch {entry['epoch']}/{self.recipe.all_epochs}: loss {learned.loss:.3f} on train"
            f"{'' if chosen_by.folds else validated}; {format_duration(seconds)}"
        )

    def write(self) -> None:
        """Write what has been reached into the folder, if there is one."""
        if self.folder and not distributed.rank():
            self.folder.write(self.progress)
        self.written = self.progress

    def resume(self) -> None:
        """Go back to the end of the last whole epoch that the folder holds, if there is one."""
        reached = self.folder.read() if self.folder else None
        if reached is None:
            say("nothing to resume: starting at the first epoch")
            return
        self.progress = reached
        self.write()  # a kill may have come between last.pt and the others
        say(f"resuming after epoch {len(self.epochs)} of {self.recipe.all_epochs}")

    def restore(self, phase: Phase) -> None:
        """Give a phase that was left in its middle its optimiser, average and random numbers back."""
        training = self.progress.training
        if training is None:
            return
        phase.optimizer.load_state_dict(training["optimizer"])
        phase.average.load_state_dict(training)
        phase.generator.set_state(training["generator"])
        if distributed.rank() == 0:  # the others draw other dropout
            torch.set_rng_state(training["global_generator"])
            if cuda := training.get("cuda_generators"):
                torch.cuda.set_rng_state_all(cuda[: torch.cuda.device_count()])

    def what_is_kept(self) -> str:
        """How to go on when a process is lost."""
        if self.folder is None:
            return "nothing was written, because no folder was given"
        last = self.folder.path / "last.pt"
        return f"the last whole epoch is in {last}, if there was one; go on with --resume"

    def finish(self) -> History:
        """Leave the model with its best weights, in eval mode, and return what was measured."""
        if self.written is not self.progress:
            self.write()  # the stop came while files were written
        if self.out_of_time and len(self.epochs) < self.recipe.all_epochs:
            say(f"the time is over in epoch {max(1, len(self.epochs))} of {self.recipe.all_epochs}")
        kept, recipe = "as the stop left them", self.recipe
        if self.epochs:
            self.load(self.progress.best)
            epoch = int(self.progress.best_epoch["epoch"])
            kept = f"from epoch {epoch}"
            if self.progress.best_epoch["val_accuracy"] < max(e["val_accuracy"] for e in self.epochs):
                say(f"epoch {epoch} is kept, the last that validation cannot tell from the best")
            recipe = as_seen_by(epoch, self.recipe)
            if recipe != self.recipe:
                size = recipe.image_size
                say(f"the best epoch saw {size} pixels: evaluate with image_size={size} (History.recipe)")
        self.model.eval()
        if self.interrupted:
            say(f"stopped by hand; the model's weights are {kept}")
        return History(list(self.epochs), self.engine, self.interrupted, recipe)


def _state(phase: Phase, epochs: tuple[dict[str, float], ...]) -> dict[str, Any]:
    """What `Run.restore` and `entered_phase` go on from, and the history."""
    ways = phase.engine.convolutions
    return {
        "images": len(phase.train),
        "history": list(epochs),
        "convolutions": [machine.signature(phase.engine.device), None if ways is None else ways.to_list()],
        "precision": phase.engine.precision,
        "frozen": phase.engine.frozen,
        "optimizer": phase.optimizer.state_dict(),
        "generator": phase.generator.get_state(),
        "global_generator": torch.get_rng_state(),
        "cuda_generators": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        **phase.average.state_dict(),
    }
