"""`History`: what one training run measured."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class History:
    """What one training run measured.

    epochs: one dict an epoch, of all phases: epoch (from 1), train_loss, train_accuracy, val_loss,
        val_accuracy, learning_rate (the highest of all layers, at the epoch's last step), seconds (of
        learning and validating), and preparation_seconds (before it, for computing features; else 0).
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
        """The entry of the epoch with the highest validation accuracy; of equals the lowest validation loss.

        With a few validation pictures many epochs are all right, the first, hardly trained one among them.
        """
        return max(self.epochs, key=lambda entry: (entry["val_accuracy"], -entry["val_loss"]))

    @property
    def seconds(self) -> float:
        """The seconds of the whole run: features, learning and validating."""
        return sum(entry["seconds"] + entry.get("preparation_seconds", 0.0) for entry in self.epochs)
