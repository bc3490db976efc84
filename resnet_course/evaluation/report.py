"""One honest report on a network and a split, as numbers and in words."""

from __future__ import annotations

from typing import Any

from resnet_course.evaluation.calibration import with_temperature
from resnet_course.evaluation.predictions import Predictions


def summary(raw: Predictions, temperature: float) -> dict[str, Any]:
    """The numbers that every evaluation reports.

    raw: what the network said. temperature: what predictions divide its logits by; loss and ece are theirs.
    """
    predictions = with_temperature(raw, temperature)
    return {
        "accuracy": predictions.accuracy,
        "interval": list(predictions.interval()),
        "n": len(predictions),
        "dataset": predictions.dataset,
        "per_class": predictions.per_class,
        "ece": predictions.ece(),
        "ece_without_temperature": raw.ece(),
        "temperature": temperature,
        "loss": predictions.loss,
    }


UNSEEN = "unseen"  # in the place of a split: of a folder without splits what no network has seen


def described(split: str) -> str:
    """A split, or what stands for one, in words."""
    return "what was not seen before" if split == UNSEEN else f"{split} split"


def in_words(found: dict[str, Any]) -> str:
    """A summary of one split, `found["split"]`, as lines of text."""
    low, high = found["interval"]
    calibration = f"expected calibration error {found['ece']:.3f}"
    if found["temperature"] != 1:
        without = f"{found['ece_without_temperature']:.3f} without it"
        calibration += f" (at temperature {found['temperature']:.2f}; {without})"
    lines = [
        f"{found['dataset']}, {described(found['split'])}, {found['n']:,} images",
        f"accuracy {found['accuracy']:.2%}, 95% interval {low:.2%} to {high:.2%}",
        calibration,
    ]
    for name, accuracy in found["per_class"].items():
        lines.append(f"  {name:12} {'no images' if accuracy is None else f'{accuracy:.1%}'}")
    return "\n".join(filter(None, [*lines, found.get("note", "")]))
