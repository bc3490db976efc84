"""`Run`: what a training has reached, in memory and in its folder; it can be stopped at any moment."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from resnet_course.common.console import say
from resnet_course.common.durations import format_duration
from resnet_course.common.files import write_atomically
from resnet_course.common.tensors import CheckpointError
from resnet_course.data.images import LabelledSet
from resnet_course.machine import distributed
from resnet_course.recipes import Recipe
from resnet_course.resnet import architecture
from resnet_course.training import checkpoint
from resnet_course.training.averaging import snapshot
from resnet_course.training.checkpoint import Checkpoint
from resnet_course.training.history import History

if TYPE_CHECKING:
    from resnet_course.training.loop import Measured
    from resnet_course.training.phases import Phase

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Progress:
    """What has been reached, as one value: an interrupt finds the old one or the new one, never a mixture.

    epochs: as in `History`. last, best: the weights after the last epoch and after the best one.
    training: what a later process needs to go on from here; None after a part of an epoch.
    """

    epochs: tuple[dict[str, float], ...]
    last: Weights
    best: Weights
    training: dict[str, Any] | None = None


class Run:
    """A training from its first epoch to its last.

    model, recipe: what is trained, and how, all phases. train: what it was given to learn from.
    out: its folder; None: nothing is written.
    Raises ArchitectureError if a checkpoint in `out` could not be rebuilt.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, train: LabelledSet, out: Path | None) -> None:
        self.model, self.recipe, self.train, self.out = model, recipe, train, out
        self.kind = train.kind
        self.architecture = architecture.describe(model) if out else None
        weights = snapshot(model)
        self.progress = Progress((), weights, weights)
        self.written: Progress | None = self.progress
        self.interrupted, self.engine = False, ""

    @property
    def epochs(self) -> tuple[dict[str, float], ...]:
        """What was measured, an entry an epoch."""
        return self.progress.epochs

    @property
    def best_epoch(self) -> dict[str, float]:
        """The entry of the epoch with the highest validation accuracy."""
        return History(list(self.epochs)).best

    @property
    def finished(self) -> bool:
        """True after the last epoch, or when it was stopped by hand."""
        return self.interrupted or len(self.epochs) >= self.recipe.all_epochs

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
            "seconds": seconds,
            "preparation_seconds": phase.preparation_seconds,
        }
        phase.preparation_seconds = 0.0
        phase.paces.append(seconds / len(phase.train))
        epochs, last, best = (*self.epochs, entry), snapshot(self.model), self.progress.best
        if History(list(epochs)).best is entry:
            with phase.average.in_place():
                best = snapshot(self.model) if phase.recipe.average else last
        training = None if self.interrupted else self._training(phase, epochs)
        self.engine = str(phase.engine)
        self.progress = Progress(epochs, last, best, training)
        self.write()
        say(
            f"epoch {entry['epoch']}/{self.recipe.all_epochs}: loss {learned.loss:.3f} on train, "
            f"{chosen_by.loss:.3f} on validation; validation accuracy {chosen_by.accuracy:.1%}; "
            f"{format_duration(seconds)}"
        )

    def _training(self, phase: Phase, epochs: tuple[dict[str, float], ...]) -> dict[str, Any]:
        """What `restore` goes on from, and the history."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "images": len(phase.train),
            "history": list(epochs),
            "optimizer": phase.optimizer.state_dict(),
            "generator": phase.generator.get_state(),
            "global_generator": torch.get_rng_state(),
            "cuda_generators": cuda,
            **phase.average.state_dict(),
        }

    def write(self) -> None:
        """Write last.pt, best.pt and history.json, in this order: the others can be made from the first."""
        progress = self.progress
        if self.out and not distributed.rank():
            if progress.training:
                # With the best weights in it, because a kill may come before best.pt is written.
                best = None if progress.best is progress.last else progress.best
                self._save("last.pt", self.recipe, progress.last, {**progress.training, "best": best})
            if self.written is None or progress.best is not self.written.best:
                # A network should be used at the size at which it learned, and phases may differ in it.
                size = self.recipe.phase_after(int(self.best_epoch["epoch"]) - 1)[1].image_size
                self._save("best.pt", replace(self.recipe, image_size=size), progress.best, None)
            text = json.dumps(progress.epochs, indent=1)
            write_atomically(self.out / "history.json", lambda file: file.write(text.encode()))
        self.written = progress

    def _save(self, name: str, recipe: Recipe, weights: Weights, training: dict[str, Any] | None) -> None:
        best = self.best_epoch
        content = Checkpoint(
            state_dict=weights,
            architecture=self.architecture,
            classes=self.train.classes,
            stored_size=self.train.stored_size,
            dataset=self.train.name,
            recipe=recipe,
            metrics={f"best_{name}": best[name] for name in ("epoch", "val_loss", "val_accuracy")},
            training=training,
        )
        checkpoint.save(self.out / name, content)

    def resume(self) -> None:
        """Go back to the end of the last whole epoch that `out` holds, if there is one."""
        path = self.out / "last.pt" if self.out else None
        if path is None or not path.is_file():
            say("nothing to resume: starting at the first epoch")
            return
        saved = checkpoint.load(path)
        training = saved.training or {}
        for what, was, now in (
            ("recipe", saved.recipe, self.recipe),
            ("data set", saved.dataset, self.train.name),
            ("classes", saved.classes, self.train.classes),
            ("number of images", training.get("images", training.get("pictures")), len(self.train)),
        ):
            if was != now:
                raise CheckpointError(
                    f"{path} cannot be resumed: its {what} was {was}, and now it is {now}; "
                    "give the same settings, or another --out"
                )
        # A file of the first format has no best weights in it.
        best = training["best"] if "best" in training else checkpoint.load(self.out / "best.pt").state_dict
        self.progress = Progress(
            tuple(training["history"]), saved.state_dict, best or saved.state_dict, training
        )
        self.written = None  # a kill may have come between last.pt and the others
        self.write()
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

    def back_to_last(self) -> None:
        """Give the model the weights from before this epoch."""
        self.load(self.progress.last)

    def what_is_kept(self) -> str:
        """How to go on when a process is lost."""
        if self.out is None:
            return "nothing was written, because no folder was given"
        return f"the last whole epoch is in {self.out / 'last.pt'}, if there was one; go on with --resume"

    def finish(self) -> History:
        """Leave the model with its best weights, in eval mode, and return what was measured."""
        if self.written is not self.progress:
            self.write()  # the stop came while files were written
        kept = "as the stop left them"
        if self.epochs:
            self.load(self.progress.best)
            epoch = int(self.best_epoch["epoch"])
            kept = f"from epoch {epoch}"
            size = self.recipe.phase_after(epoch - 1)[1].image_size
            if size != self.recipe.image_size:
                say(f"the best epoch saw {size} pixels: evaluate with image_size={size}")
        self.model.eval()
        if self.interrupted:
            say(f"stopped by hand; the model's weights are {kept}")
        return History(list(self.epochs), self.engine, self.interrupted)
