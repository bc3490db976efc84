"""How good a checkpoint is on a split, and which of two is better, on images that neither has seen."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from resnet_course.common.console import quiet, say
from resnet_course.data import DataError, ImageSet, load_split, load_whole
from resnet_course.evaluation import (
    Predictions,
    churn,
    evaluate,
    mcnemar,
    reasons_to_refuse,
    report,
    with_temperature,
)
from resnet_course.settings import Settings, SettingsError
from resnet_course.training.checkpoint import Checkpoint
from resnet_course.training.history import chosen_by


@dataclass(frozen=True)
class Judged:
    """What a network says of a split.

    image_set: the images that count. raw: the predictions, without the temperature. split: which one.
    left_out: how many images do not count. note: what is to be known of the split, in words; "" if nothing.
    """

    image_set: ImageSet
    raw: Predictions
    split: str
    left_out: int
    note: str


def judge(saved: Checkpoint, settings: Settings, split: str | None) -> tuple[Judged, dict[str, Any]]:
    """What a checkpoint says of a split, and what `report.summary` says of that.

    split: None: test, and of a folder without splits all images that the network has not seen; where there
        is no test split, val, and a note says that it has chosen the epoch. Elsewhere than on val images that
        the network learned from or was chosen by do not count.
    Raises DataError if none is left, SettingsError if nobody says where a folder's images are.
    """
    image_set, split, left_out, note = _images(saved, settings, split, [saved])
    judged = Judged(image_set, evaluate(saved.model(), image_set, saved.recipe), split, left_out, note)
    found = report.summary(judged.raw, saved.temperature)
    return judged, found | {"split": split, "left_out": left_out, "note": note}


def compare(
    first: Checkpoint,
    second: Checkpoint,
    settings: Settings,
    split: str | None,
    most_churn: float | None = None,
) -> dict[str, Any]:
    """Two checkpoints on the same images, those left out that one of them has seen.

    most_churn: the first is in use; say too why the second may not replace it ("refused", a list; empty: it
        may), where it may change this share of the answers, 0 to 1. None: that is not asked.
    Returns both summaries, the difference of the accuracies (second minus first) with its 95% interval and
    p-value, the part of the images on which they disagree (churn), and those images, the surest first.
    Raises what `judge` raises, and DataError if the two know different classes.
    """
    if set(first.classes) != set(second.classes):
        only = sorted(set(first.classes) ^ set(second.classes))
        raise DataError(f"only one of the two knows {', '.join(only)}; both must know the same classes")
    both, raw, image_sets = [first, second], [], []
    for saved in both:
        with quiet() if image_sets else nullcontext():  # it says the same of the second
            image_set, judged_by, left_out, note = _images(saved, settings, split, both)
        image_sets.append(image_set)
        raw.append(_in_classes(evaluate(saved.model(), image_set, saved.recipe), first.classes))
    answers = [with_temperature(each, saved.temperature) for each, saved in zip(raw, both, strict=True)]
    found = mcnemar(*answers)
    refused = {} if most_churn is None else {"refused": reasons_to_refuse(*answers, most_churn)}
    return {
        **refused,
        "split": judged_by,
        "n": len(answers[0]),
        "left_out": left_out,
        "note": note,
        "first": report.summary(raw[0], first.temperature),
        "second": report.summary(raw[1], second.temperature),
        "difference": found.difference,
        "interval": list(found.interval),
        "p_value": found.p_value,
        "churn": churn(*answers),
        "disagreements": _disagreements(*answers, image_sets[0].paths),
    }


def _images(
    saved: Checkpoint, settings: Settings, split: str | None, judged: Sequence[Checkpoint]
) -> tuple[ImageSet, str, int, str]:
    """The images of a split as a checkpoint takes them, which split it is, how many are left out because one
    of the networks saw them, and what is to be known of it."""
    if settings.data == "auto" and saved.dataset.startswith("folder"):  # before CIFAR-10 is downloaded for it
        raise SettingsError(
            f"the network was trained on {saved.dataset}, with the classes "
            f"{', '.join(saved.classes[:10])}; say where its images are: --data folder:DIR"
        )
    settings = replace(settings, shorter_side=saved.shorter_side)
    # Of a group that was learned from the other images are no test; nor can all be told without digests.
    knows = not settings.group and all(each.digests for each in judged)
    whole = load_whole(settings, saved.stored_size) if split is None and knows else None
    loaded = load_split(settings, split or "test", saved.stored_size) if whole is None else whole
    loaded, note = loaded.in_classes(saved.classes), ""
    in_its_place = split is None and not len(loaded)
    if in_its_place:
        split = "val"
        loaded = load_split(settings, split, saved.stored_size).in_classes(saved.classes)
    split, unseen = split or ("test" if whole is None else report.UNSEEN), loaded
    for each in judged:
        unseen = each.unseen(unseen)
    known = len(loaded) - len(unseen)
    flatters = split in ("train", "val") and (known > 0 or not all(each.digests for each in judged))
    if in_its_place:
        note = "There is no test split, so val takes its place; the network has seen none of its images."
        if flatters:
            note = "There is no test split. The best epoch was chosen by val, so this flatters."
        say(note)
    elif flatters:
        seen = {"train": "The network learned from", "val": "The best epoch was chosen by"}
        note = f"{seen[split]} these images, so this is no test."
    kept = loaded if split in ("train", "val") else unseen
    if not len(loaded):
        raise DataError(f"{loaded.name} has no {split} split; take another one, or --test-share 0.2")
    if not len(kept):
        found = f"; {chosen_by(saved.metrics)}" if saved.metrics.get("best_folds") else ""
        of_split = "" if split == report.UNSEEN else f" of its {split} split"
        raise DataError(
            f"{loaded.name}: the network learned from all {known:,} images{of_split} or was chosen by them"
            f"{found}"
        )
    if known:
        what = "among them, so this is no test" if kept is loaded else f"left out of {len(loaded):,}"
        say(f"Images that the network was trained on or chosen by: {known:,}, {what}.")
    return kept, split, len(loaded) - len(kept), note


def _in_classes(predictions: Predictions, classes: tuple[str, ...]) -> Predictions:
    """The same predictions with the classes in another order."""
    order = torch.tensor([predictions.classes.index(name) for name in classes])
    return replace(
        predictions,
        logits=predictions.logits[:, order],
        labels=order.argsort()[predictions.labels],
        classes=classes,
    )


def _disagreements(
    first: Predictions, second: Predictions, paths: Sequence[str]
) -> list[dict[str, str | float]]:
    """The images that the two give different classes, those first of which both are surest."""
    sure = [each.probabilities.max(1).values for each in (first, second)]
    places = (first.predicted != second.predicted).nonzero().flatten()
    places = places[torch.minimum(*sure)[places].argsort(descending=True, stable=True)]
    classes = first.classes
    return [
        {
            "path": paths[place] if paths else f"image {place} of the split",
            "label": classes[first.labels[place]],
            "first": classes[first.predicted[place]],
            "second": classes[second.predicted[place]],
        }
        for place in places.tolist()
    ]


def compared_in_words(found: dict[str, Any], shown: int = 10) -> str:
    """What `compare` found, as lines of text. shown: how many of the disagreements."""
    low, high = found["interval"]
    lines = [f"{found['first']['dataset']}, {report.described(found['split'])}, {found['n']:,} images"]
    for name in ("first", "second"):
        ends = found[name]["interval"]
        accuracy = found[name]["accuracy"]
        lines.append(f"{name:6} {accuracy:.2%}, 95% interval {ends[0]:.2%} to {ends[1]:.2%}")
    verdict = "more than chance" if found["p_value"] < 0.05 else "no difference beyond chance"
    points = f"{100 * found['difference']:+.2f} points, 95% interval {100 * low:+.2f} to {100 * high:+.2f}"
    lines.append(
        f"second minus first: {points}; {verdict} (McNemar's exact test: p = {found['p_value']:.3f})"
    )
    count = len(found["disagreements"])
    lines.append(f"they disagree on {count:,} images, {found['churn']:.1%}")
    for each in found["disagreements"][:shown]:
        lines.append(f"  {each['path']}: {each['label']}; first {each['first']}, second {each['second']}")
    if "refused" in found:
        reasons = "; ".join(found["refused"])
        lines.append(f"the second is refused: {reasons}" if reasons else "the second may replace the first")
    return "\n".join(lines)
