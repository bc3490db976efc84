"""`RunFolder`: a training's files, from which it can go on, whichever of them a kill left unwritten."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from resnet_course.common.files import write_atomically
from resnet_course.common.tensors import CheckpointError
from resnet_course.data.images import LabelledSet
from resnet_course.recipes import Recipe
from resnet_course.resnet import architecture
from resnet_course.training import checkpoint
from resnet_course.training.checkpoint import Checkpoint
from resnet_course.training.history import History, as_seen_by

Weights = dict[str, Tensor]
Entry = dict[str, float]  # of an epoch
KEPT = ("epoch", "val_loss", "val_accuracy", "val_images", "folds")  # of the best epoch, in a checkpoint


@dataclass(frozen=True)
class Progress:
    """What a training has reached, as one value: an interrupt finds the old one or the new one, whole.

    epochs: as in `History`. last, best: the weights after the last epoch and after the best one.
    training: what a later process needs to go on from here; None after a part of an epoch.
    """

    epochs: tuple[dict[str, float], ...]
    last: Weights
    best: Weights
    training: dict[str, Any] | None = None

    @property
    def best_epoch(self) -> dict[str, float]:
        """The entry of the epoch with the highest validation accuracy."""
        return History(list(self.epochs)).best


class RunFolder:
    """The folder with last.pt, best.pt and history.json.

    path: the folder. model, recipe: what is trained, and how. train, val: what it learns from and is chosen
        by. seen: digests of files that the weights have learned from before.
    Raises ArchitectureError if a checkpoint of the model could not be rebuilt.
    """

    def __init__(
        self,
        path: Path,
        model: nn.Module,
        recipe: Recipe,
        train: LabelledSet,
        val: LabelledSet,
        seen: Collection[str] = (),
    ) -> None:
        self.path, self.model, self.recipe, self.train = path, model, recipe, train
        self.digests = tuple(sorted({*train.digests, *val.digests, *seen}))
        # Features have a content of their own, but their images may be sent through the trunk anew.
        self.identity = [train.identity(), val.identity()]
        self.architecture = architecture.describe(model)
        self.best: Weights | None = None  # what best.pt holds

    def write(self, progress: Progress) -> None:
        """Write last.pt, best.pt and history.json, in this order: the others can be made from the first."""
        if progress.training:
            # With the best weights in it, because a kill may come before best.pt is written.
            best = None if progress.best is progress.last else progress.best
            training = {**progress.training, "best": best, "identity": self.identity}
            _, phase = self.recipe.phase_after(len(progress.epochs) - 1)
            # What was validated is the average of the weights, and these are the weights themselves.
            own = {} if phase.average else progress.epochs[-1]
            self._save("last.pt", self.recipe, progress.last, own, progress.best_epoch, training)
        if progress.best is not self.best:
            recipe = as_seen_by(int(progress.best_epoch["epoch"]), self.recipe)
            self._save("best.pt", recipe, progress.best, progress.best_epoch, progress.best_epoch, None)
            self.best = progress.best
        text = json.dumps(progress.epochs, indent=1)
        write_atomically(self.path / "history.json", lambda file: file.write(text.encode()))

    def _save(
        self,
        name: str,
        recipe: Recipe,
        weights: Weights,
        own: Entry,
        best: Entry,
        training: dict[str, Any] | None,
    ) -> None:
        """own: of the epoch that validated the weights; empty if none did."""
        content = Checkpoint(
            state_dict=weights,
            architecture=self.architecture,
            classes=self.train.classes,
            stored_size=self.train.stored_size,
            dataset=self.train.name,
            recipe=recipe,
            input={"shorter_side": self.train.origins.shorter_side} if self.train.origins else {},
            digests=self.digests,
            temperature=own.get("temperature", 1.0),
            threshold=own.get("threshold", 0.0) or None,
            metrics={f"best_{what}": best[what] for what in KEPT if what in best},
            training=training,
        )
        checkpoint.save(self.path / name, content)

    def read(self) -> Progress | None:
        """What last.pt holds; None if there is none.

        Raises CheckpointError if it belongs to another training.
        """
        path = self.path / "last.pt"
        if not path.is_file():
            return None
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
                    f"{path} cannot be resumed: {_difference(what, was, now)}; give the same settings, or "
                    "another --out"
                )
        if difference := architecture.compare(saved.state_dict, self.model.state_dict()):
            raise CheckpointError(
                f"{path} cannot be resumed: it holds another network ({difference}); give the same weights, "
                "or another --out"
            )
        if training.get("identity", self.identity) != self.identity:
            raise CheckpointError(
                f"{path} cannot be resumed: it was trained or validated on other images, or on the same with "
                "other labels; give the same data, or another --out"
            )
        self.digests = tuple(sorted({*self.digests, *saved.digests}))  # what its weights had seen, too
        # A file of the first format has no best weights in it.
        best = training["best"] if "best" in training else checkpoint.load(self.path / "best.pt").state_dict
        return Progress(tuple(training["history"]), saved.state_dict, best or saved.state_dict, training)


def _difference(what: str, was: Any, now: Any) -> str:
    """How a setting differs; of recipes only the fields that do."""
    if isinstance(was, Recipe):
        fields = was.to_dict(), now.to_dict()
        changed = [name for name in fields[0] if fields[0][name] != fields[1][name]]
        return ", ".join(
            f"{name} was {'another' if name == 'first' else fields[0][name]!r}"
            + ("" if name == "first" else f", and now it is {fields[1][name]!r}")
            for name in changed
        )
    return f"its {what} was {was}, and now it is {now}"
