"""`write_report`: what `resnet-course evaluate --report DIR` leaves: a page to read, and the same as JSON."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from resnet_course.common.files import write_atomically
from resnet_course.data.images import ImageSet
from resnet_course.evaluation import (
    class_scores,
    confusion_matrix,
    label_issues,
    reliability,
    with_temperature,
    worst_class,
)
from resnet_course.evaluation.predictions import Predictions, wilson_interval
from resnet_course.evaluation.report import described
from resnet_course.evaluation.selective import coverage_curve
from resnet_course.plots import curves, quality
from resnet_course.plots.figure import DescribedFigure
from resnet_course.plots.images import gallery
from resnet_course.prediction.judging import Judged

SHOWN, LISTED, POINTS = 8, 50, 60  # images in a figure, in a list; points of a curve
STYLE = "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}img{max-width:100%}"
STYLE += "table{border-collapse:collapse}td,th{padding:.2em 1em .2em 0;text-align:left}"


def write_report(folder: Path, judged: Judged, found: dict[str, Any], name: str) -> Path:
    """Write report.html and report.json into a folder; each is there whole or not at all.

    judged: the predictions and their images. found: what `judging.judge` says of them.
    name: of the checkpoint. Returns the path of the page. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    predictions = with_temperature(judged.raw, found["temperature"])
    suspects = label_issues(predictions.probabilities, predictions.labels)[:LISTED]
    own = predictions.probabilities.gather(1, predictions.labels[:, None])[:, 0]
    wrong = (~predictions.correct).nonzero()[:, 0]
    wrong = wrong[own[wrong].argsort(stable=True)][:LISTED]
    lists = {
        "suspected_labels": _rows(judged.image_set, predictions, suspects),
        "most_wrong": _rows(judged.image_set, predictions, wrong),
    }
    text = json.dumps(found | lists, indent=1)
    write_atomically(folder / "report.json", lambda file: file.write(text.encode()))
    body = "\n".join(_page(judged, predictions, found, lists, suspects, wrong))
    title = html.escape(f"{name} on {found['dataset']}, {described(found['split'])}")
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style><h1>{title}</h1>{body}</html>\n"
    )
    path = folder / "report.html"
    write_atomically(path, lambda file: file.write(page.encode("utf-8", "replace")))
    return path


def _page(
    judged: Judged,
    predictions: Predictions,
    found: dict[str, Any],
    lists: dict[str, list[dict[str, str | float]]],
    suspects: Tensor,
    wrong: Tensor,
) -> Iterator[str]:
    low, high = found["interval"]
    yield (
        f"<p><strong>{found['accuracy']:.1%}</strong> of {found['n']:,} images are right "
        f"(95% interval {low:.1%} to {high:.1%}).{' ' + html.escape(judged.note) if judged.note else ''}</p>"
    )
    yield _per_class(predictions)
    matrix = confusion_matrix(predictions)
    yield _figure(quality.confusion(matrix, predictions.classes, "Confusion matrix"))
    bins = {f"as trained: calibration error {found['ece_without_temperature']:.3f}": reliability(judged.raw)}
    if found["temperature"] != 1:
        name = f"temperature {found['temperature']:.2f}: calibration error {found['ece']:.3f}"
        bins[name] = reliability(predictions)
    yield _figure(quality.reliability(bins, "Is 90% confident right nine times in ten?"))
    coverage, accuracy = coverage_curve(predictions)
    places = torch.linspace(0, len(coverage) - 1, min(POINTS, len(coverage))).long()
    curve = dict(zip((100 * coverage[places]).tolist(), (100 * accuracy[places]).tolist(), strict=True))
    title = "If only the surest are answered"
    yield _figure(curves.lines({"accuracy": curve}, title, "% of the images answered", "% of them right"))
    for name, places, rows in (
        ("Labels to look at: the network is sure of another class", suspects, lists["suspected_labels"]),
        ("Furthest from right", wrong, lists["most_wrong"]),
    ):
        yield f"<h2>{name}</h2>"
        if not rows:
            yield "<p>None.</p>"
            continue
        captions = [f"{row['label']}, said {row['said']}" for row in rows[:SHOWN]]
        yield _figure(gallery(judged.image_set.take(places[:SHOWN]), captions, name))
        yield _table(("image", "label", "said", "confidence"), [list(row.values()) for row in rows])


def _per_class(predictions: Predictions) -> str:
    name, recall, (low, high) = worst_class(predictions)
    worst = f"<h2>Each class</h2><p>Worst: {html.escape(name)}, {recall:.1%} ({low:.1%} to {high:.1%}).</p>"
    found = sorted(class_scores(predictions).items(), key=lambda each: (each[1].images == 0, each[1].recall))
    rows = []
    for name, scores in found:
        if not scores.images:
            rows.append((name, "no images", "", "", 0))
            continue
        low, high = wilson_interval(round(scores.recall * scores.images), scores.images)
        precision = "never said" if scores.precision is None else f"{scores.precision:.1%}"
        rows.append((name, f"{scores.recall:.1%}", f"{low:.1%} to {high:.1%}", precision, scores.images))
    return worst + _table(("class", "recall", "95% interval", "precision", "images"), rows)


def _rows(image_set: ImageSet, predictions: Predictions, places: Tensor) -> list[dict[str, str | float]]:
    paths, classes = image_set.paths, predictions.classes
    confidence = predictions.probabilities.max(1).values
    return [
        {
            "path": paths[place] if paths else f"image {place} of the split",
            "label": classes[predictions.labels[place]],
            "said": classes[predictions.predicted[place]],
            "confidence": round(float(confidence[place]), 4),
        }
        for place in places.tolist()
    ]


def _figure(figure: DescribedFigure) -> str:
    shown = figure._repr_mimebundle_()["text/html"]
    plt.close(figure)
    return f"<p>{shown}</p>"


def _table(heads: tuple[str, ...], rows: list[Any]) -> str:
    lines = ["".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) for row in rows]
    head = "".join(f"<th>{head}</th>" for head in heads)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
