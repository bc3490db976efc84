"""`RunFolder`: a training's files, from which it can go on, whichever of them a kill left unwritten."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
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
from resnet_course.training.history import History

Weights = dict[str, Tensor]


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

    model, recipe, train: what is trained, how, and on what. path: the folder.
    Raises ArchitectureError if a checkpoint of the model could not be rebuilt.
    """

    def __init__(self, path: Path, model: nn.Module, recipe: Recipe, train: LabelledSet) -> None:
        self.path, self.recipe, self.train = path, recipe, train
        self.architecture = architecture.describe(model)
        self.best: Weights | None = None  # what best.pt holds

    def write(self, progress: Progress) -> None:
        """Write last.pt, best.pt and history.json, in this order: the others can be made from the first."""
        if progress.training:
            # With the best weights in it, because a kill may come before best.pt is written.
            best = None if progress.best is progress.last else progress.best
            self._save("last.pt", self.recipe, progress.last, progress, {**progress.training, "best": best})
        if progress.best is not self.best:
            # A network should be used at the size at which it learned, and phases may differ in it.
            phase = self.recipe.phase_after(int(progress.best_epoch["epoch"]) - 1)[1]
            recipe = replace(self.recipe, image_size=phase.image_size)
            self._save("best.pt", recipe, progress.best, progress, None)
            self.best = progress.best
        text = json.dumps(progress.epochs, indent=1)
        write_atomically(self.path / "history.json", lambda file: file.write(text.encode()))

    def _save(
        self, name: str, recipe: Recipe, weights: Weights, progress: Progress, training: dict[str, Any] | None
    ) -> None:
        best = progress.best_epoch
        content = Checkpoint(
            state_dict=weights,
            architecture=self.architecture,
            classes=self.train.classes,
            stored_size=self.train.stored_size,
            dataset=self.train.name,
            recipe=recipe,
            metrics={f"best_{what}": best[what] for what in ("epoch", "val_loss", "val_accuracy")},
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
                    f"{path} cannot be resumed: its {what} was {was}, and now it is {now}; "
                    "give the same settings, or another --out"
                )
        # A file of the first format has no best weights in it.
        best = training["best"] if "best" in training else checkpoint.load(self.path / "best.pt").state_dict
        return Progress(tuple(training["history"]), saved.state_dict, best or saved.state_dict, training)
