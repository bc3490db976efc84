"""A model card: what someone has to know of a network before using it, as a page of Markdown."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from resnet_course.common.console import printable
from resnet_course.common.files import write_atomically
from resnet_course.evaluation import Predictions, ece_without_error, with_temperature
from resnet_course.evaluation.predictions import wilson_interval
from resnet_course.evaluation.report import described
from resnet_course.prediction.judging import Judged
from resnet_course.training.checkpoint import Checkpoint

NOT_STATED = (
    "Not stated. Say with --intended-use for which images and decisions it is meant, and for which not."
)


def write_model_card(
    folder: Path, saved: Checkpoint, path: Path, judged: Judged, intended_use: str = ""
) -> Path:
    """Write model_card.md into a folder, whole or not at all, and return its path. Raises OSError."""
    text = model_card(saved, path, judged, intended_use)
    return write_atomically(folder / "model_card.md", lambda file: file.write(printable(text).encode()))


def model_card(saved: Checkpoint, path: Path, judged: Judged, intended_use: str = "") -> str:
    """What a checkpoint is, what it learned from, how well it did, and where that no longer holds.

    path: the checkpoint's file, whose SHA-256 ties the card to it. judged: what it says of the images that it
    is judged by. intended_use: in words of whoever hands it over; "": the card says that it is not stated.
    Returns Markdown. Raises OSError if the file cannot be read.
    Source: Mitchell et al., "Model Cards for Model Reporting", 2019, https://arxiv.org/abs/1810.03993.
    """
    predictions = with_temperature(judged.raw, saved.temperature)
    parts = {
        "The network": _network(saved, path),
        "Intended use": [intended_use.strip() or NOT_STATED],
        "What it learned from": _training(saved),
        "How well it did": _figures(predictions, judged.split, saved.threshold),
        "Where that no longer holds": _limits(predictions, judged.note, saved.threshold),
    }
    text = [f"# Model card: {_plain(path.name)}"]
    for title, lines in parts.items():
        text += ["", f"## {title}", "", *lines]
    return "\n".join(text) + "\n"


def _plain(name: str) -> str:
    """A name as text of one line: what Markdown or HTML would take for its own is escaped."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|&~-])", r"\\\1", " ".join(name.split()))


def _network(saved: Checkpoint, path: Path) -> list[str]:
    recipe = saved.recipe
    count = sum(parameter.numel() for parameter in saved.model().parameters())
    made = ", ".join(f"{name} {version}" for name, version in saved.versions.items())
    threshold = "none" if saved.threshold is None else f"{saved.threshold:.3f}"
    mean, std = (", ".join(f"{value:.3f}" for value in values) for values in (recipe.mean, recipe.std))
    architecture = ", ".join(f"{name} {value}" for name, value in saved.architecture.items())
    return [
        f"- Architecture: {architecture}; {count:,} parameters",
        f"- Classes, in the order of the outputs: {', '.join(map(_plain, saved.classes))}",
        f"- Input: RGB; the shorter side scaled to {saved.stored_size} pixels, the middle square, scaled to "
        f"{recipe.image_size} × {recipe.image_size}; normalised by mean {mean} and standard deviation {std}",
        f"- Output: softmax of the logits (views: {recipe.test_views}) divided by temperature "
        f"{saved.temperature:.3f}; unknown where less probable than the threshold: {threshold}",
        f"- Written by: {made or 'not recorded'}",
        f"- SHA-256 of the file: {hashlib.sha256(path.read_bytes()).hexdigest()}",
    ]


def _training(saved: Checkpoint) -> list[str]:
    recipe = saved.recipe
    seen = f"{len(saved.digests):,} files, learned from or chosen by"
    epoch = f"the weights are of epoch {saved.metrics['best_epoch']}" if "best_epoch" in saved.metrics else ""
    facts = (
        f"{recipe.name}, {recipe.all_epochs} epochs planned",
        epoch,
        f"from {recipe.train_from} on, augmentation {recipe.augmentation}, seed {recipe.seed}",
    )
    lines = [
        f"- Images: {_plain(saved.dataset)}; {seen if saved.digests else 'files not recorded'}",
        f"- Recipe: {', '.join(filter(None, facts))}",
    ]
    if saved.digests:  # the same images in any order give the same digest
        together = hashlib.sha256("\n".join(sorted(saved.digests)).encode()).hexdigest()
        lines.append(f"- Digest of these files: {together}")
    return lines


def _figures(predictions: Predictions, split: str, threshold: float | None) -> list[str]:
    low, high = predictions.interval()
    lines = [
        f"On {_plain(predictions.dataset)}, {described(split)}, {len(predictions):,} images:",
        "",
        f"- Accuracy {predictions.accuracy:.1%}, 95% confidence interval {low:.1%} to {high:.1%}",
        f"- Expected calibration error {predictions.ece():.3f}; a network without calibration error shows "
        f"{ece_without_error(predictions):.3f} on so many images",
    ]
    if threshold is not None:
        sure = predictions.probabilities.max(1).values >= threshold
        answered, right = int(sure.sum()), int((predictions.correct & sure).sum())
        ends = wilson_interval(right, answered) if answered else (0.0, 1.0)
        lines.append(
            f"- At its threshold it answers {answered:,} of them; of these "
            f"{right:,} are right ({ends[0]:.1%} to {ends[1]:.1%})"
        )
    lines += ["", "| class | images | recall | 95% confidence interval |", "|---|---|---|---|"]
    for label, name in enumerate(predictions.classes):
        own = predictions.labels == label
        count, right = int(own.sum()), int(predictions.correct[own].sum())
        shown = "– | –"
        if count:
            low, high = wilson_interval(right, count)
            shown = f"{right / count:.1%} | {low:.1%} to {high:.1%}"
        lines.append(f"| {_plain(name)} | {count:,} | {shown} |")
    return lines


def _limits(predictions: Predictions, note: str, threshold: float | None) -> list[str]:
    few = [
        _plain(name)
        for label, name in enumerate(predictions.classes)
        if int((predictions.labels == label).sum()) < 30
    ]
    lines = [
        "- The figures hold for images like those above, and for no others: another camera, light or place "
        "is another experiment.",
        "- An image of none of its classes is given one of them"
        + ("." if threshold is None else ", unless that is less probable than the threshold."),
        "- The intervals cover the luck of the images, and not that of another training.",
    ]
    if few:
        lines.append(f"- Too few images to say much (fewer than 30): {', '.join(few)}.")
    return [*lines, f"- {note}"] if note else lines
