"""`History`: what one training run measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from resnet_course.common.errors import ArgumentError
from resnet_course.evaluation.predictions import wilson_interval
from resnet_course.recipes import Recipe

CALIBRATES = 100  # validation images, from which on a temperature is fitted


class Measured(NamedTuple):
    """What a pass over images measured: mean loss in nats, accuracy, how many images; was it stopped.

    folds: in how many folds it was cross-validated; 0: the images were not learned from.
    temperature: what the logits are to be divided by, so that confidence tells how often they are right.
    threshold: of confidence at that temperature, below which answers are more often wrong than right.
    """

    loss: float
    accuracy: float
    images: int
    interrupted: bool = False
    folds: int = 0
    temperature: float = 1.0
    threshold: float = 0.0


def as_seen_by(epoch: int, recipe: Recipe) -> Recipe:
    """The recipe with the image size at which an epoch learned, for that suits its network best.

    epoch: from 1, counted through all phases.
    """
    return replace(recipe, image_size=recipe.phase_after(epoch - 1)[1].image_size)


@dataclass
class History:
    """What one training run measured.

    epochs: one dict an epoch, of all phases: epoch (from 1), train_loss, train_accuracy, val_loss,
        val_accuracy, val_images (how many it was measured on; 0 where the highest accuracy alone chooses),
        folds (0; without validation images how many the two were cross-validated in, before the first epoch),
        temperature and threshold (fitted on the validation images; 1 and 0 where there are too few),
        learning_rate (the highest of all layers, at the epoch's last step), seconds (of learning and
        validating), and preparation_seconds (before it, for computing features; else 0).
    engine: where and in which precision it ran.
    interrupted: True if it was stopped by hand before its last epoch.
    recipe: what to evaluate the model with: the recipe that was trained, with the image size of the epoch
        that is kept. None in a history that `fit` did not return.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    engine: str = ""
    interrupted: bool = False
    recipe: Recipe | None = None

    def values(self, name: str) -> list[float]:
        """One measurement over the epochs, such as "val_accuracy"."""
        return [entry[name] for entry in self.epochs]

    @property
    def best(self) -> dict[str, float]:
        """The entry of the epoch that is kept: the last one that validation cannot tell from the best.

        That is the last whose validation accuracy lies at most one standard error, √(p (1 − p) / n), below
        the highest. With 50 images that is 6 points: the highest of twelve epochs is luck, and the last one
        has learned longest. With 5,000 it is 0.3 points. Where there is no `val_images` it is the highest
        accuracy, and of equals the lowest validation loss.
        Source: the one-standard-error rule of Breiman, Friedman, Olshen and Stone, "Classification and
        Regression Trees", 1984, section 3.4.3.
        Raises ArgumentError if there is no epoch.
        """
        if not self.epochs:
            raise ArgumentError(
                "there is no epoch yet, as after a training that was stopped before it learned anything; run "
                "the cell of that training again"
            )
        highest = max(self.epochs, key=lambda entry: (entry["val_accuracy"], -entry["val_loss"]))
        images, accuracy = highest.get("val_images", 0), highest["val_accuracy"]
        if not images:
            return highest
        least = accuracy - math.sqrt(accuracy * (1 - accuracy) / images)
        return [entry for entry in self.epochs if entry["val_accuracy"] >= least][-1]

    @property
    def seconds(self) -> float:
        """The seconds of the whole run: features, learning and validating."""
        return sum(entry["seconds"] + entry.get("preparation_seconds", 0.0) for entry in self.epochs)


def chosen_by(entry: Mapping[str, float]) -> str:
    """How well an epoch did on validation images, or what was cross-validated in their place, in words.

    entry: an epoch of a History, or the metrics of a checkpoint, where the names begin with "best_".
    """
    names = ("val_accuracy", "folds", "val_images")
    accuracy, folds, images = (entry.get(name, entry.get(f"best_{name}", 0)) for name in names)
    if not folds and not images:
        return f"accuracy {accuracy:.2%} on the images that the epoch was chosen by"
    if not folds and images < CALIBRATES:
        return f"validation accuracy {accuracy:.2%}; to calibrate the confidence takes {CALIBRATES} images"
    if not folds:
        return f"validation accuracy {accuracy:.2%}"
    low, high = wilson_interval(round(accuracy * images), images)
    return (
        f"no image was kept back; a linear probe, cross-validated in {folds} folds of {images:,} images, "
        f"is right on {accuracy:.1%} (95% interval {low:.1%} to {high:.1%}); the confidence is not calibrated"
    )
