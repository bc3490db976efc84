"""Figures that are made of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from resnet_course.common.errors import ArgumentError
from resnet_course.data.images import ImageSet
from resnet_course.data.reading import read_image
from resnet_course.evaluation.predictions import Predictions
from resnet_course.plots.figure import (
    bare,
    check_finite,
    finish,
    listed,
    show_image,
    subplots,
    to_array,
)
from resnet_course.plots.palette import COURSE, MUTED, RIGHT, WRONG
from resnet_course.prediction import ImageSource, Prediction

MOST_CLASSES = 10  # that `prediction` has room for
MOST_ROWS = 20  # classes that `samples` has room for
SHOWN = 512  # pixels that a large image's shorter side has at least where it is shown


def samples(image_set: ImageSet, per_class: int = 8) -> Figure:
    """Some images of every class, a row each; of many classes those of the first ones."""
    classes, side = len(image_set.classes), image_set.stored_size
    shown = image_set.classes[:MOST_ROWS]
    figure, axes = subplots(len(shown), 1, figsize=(0.8 * per_class, 0.8 * len(shown)))
    bare(axes)
    for label, axis in enumerate(axes.flat):
        members = (image_set.labels == label).nonzero().flatten()[:per_class]
        strip = np.full((side, per_class * side, 3), 255, np.uint8)
        for place, image in enumerate(image_set.take(members)):
            strip[:, place * side : (place + 1) * side] = to_array(image)
        show_image(axis, strip)
        axis.set_ylabel(shown[label], rotation=0, ha="right", va="center")
    which = f" (the first {MOST_ROWS} are shown)" if classes > MOST_ROWS else ""
    title = f"{image_set.name}: {classes} classes{which}, {len(image_set):,} images to learn from"
    return finish(figure, title, f"A row of up to {per_class} images for each class: {listed(shown)}.")


def predictions(image_set: ImageSet, predictions: Predictions, rows: int = 3, columns: int = 4) -> Figure:
    """Right and wrong predictions beside each other: the first wrong ones, at most half, then right ones."""
    check_finite("predictions", predictions.logits, "logits")
    wrong = (~predictions.correct).nonzero().flatten().tolist()
    right = predictions.correct.nonzero().flatten().tolist()
    count = rows * columns
    shown_wrong = wrong[: max(count // 2, count - len(right))]
    shown_right = right[: count - len(shown_wrong)]
    figure, axes = subplots(rows, columns, figsize=(2.4 * columns, 2.7 * rows))
    bare(axes)
    confidence = predictions.probabilities.max(1).values
    for axis, index in zip(axes.flat, shown_wrong + shown_right, strict=False):
        said = predictions.classes[predictions.predicted[index]]
        truth = predictions.classes[predictions.labels[index]]
        style, text = (RIGHT, f"✓ {said}") if said == truth else (WRONG, f"✗ says {said}, is {truth}")
        show_image(axis, image_set[index][0])
        axis.spines[:].set(visible=True, color=style.color, linestyle=style.line, linewidth=3)
        axis.set_title(f"{text}\n{confidence[index]:.0%} sure", fontsize=10)
    title = (
        f"{predictions.dataset}: {len(wrong):,} of {len(predictions):,} predictions are wrong; "
        f"{len(shown_wrong)} of them come first here"
    )
    alt = (
        f"A grid of images with what the network says about each: {len(shown_wrong)} wrong, then "
        f"{len(shown_right)} right."
    )
    return finish(figure, title, alt)


def prediction(image: ImageSource, square: Tensor, prediction: Prediction) -> Figure:
    """An image, what the network gets to see of it, and the probabilities of the first classes.

    image: what `Classifier.predict` takes. square: uint8 [3, H, W], as `Classifier.square` returns it.
    """
    check_finite("prediction", prediction.probabilities, "probabilities")
    figure, axes = subplots(1, 3, figsize=(11, 3.6), width_ratios=(1, 1, 1.4))
    whole, seen, bars = axes.flat
    captions = []
    yours = read_image(image, at_least=SHOWN)
    for axis, pixels, what, (width, height) in (
        (whole, np.asarray(yours), "your image", yours.info["whole"]),
        (seen, to_array(square), "the square that is kept", square.shape[:0:-1]),
    ):
        axis.imshow(pixels)
        captions.append(f"{what}, {width} × {height} pixels")
        axis.set_title(captions[-1], fontsize=10)
        axis.axis("off")
    ranked = list(prediction.probabilities.items())[:MOST_CLASSES]
    for place, (name, value) in enumerate(ranked):
        bars.barh(name, value, **(MUTED if place else COURSE).bar)
    bars.invert_yaxis()
    classes = len(prediction.probabilities)
    which = f" of the first {MOST_CLASSES} of {classes} classes" if classes > MOST_CLASSES else ""
    bars.set(xlim=(0, 1), xlabel=f"probability{which}")
    bars.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    shares = listed((f"{name} {value:.0%}" for name, value in ranked), 4)
    alt = f"From left to right: {captions[0]}; {captions[1]}; and bars with probabilities: {shares}."
    title = f"The network says {prediction.label}, and gives it {prediction.confidence:.0%}"
    if prediction.label not in prediction.probabilities:
        title = f"The network does not know: even {ranked[0][0]} has only {prediction.confidence:.0%}"
    return finish(figure, title, alt)


def rows(images: Mapping[str, Tensor], title: str, heads: Sequence[str] = ()) -> Figure:
    """Images in rows, each row with its name.

    images: by the row's name, uint8 [N, 3, H, W]; rows may differ in N and in size. heads: what stands above
    the columns.
    """
    columns = max(len(row) for row in images.values())
    figure, axes = subplots(len(images), columns, figsize=(1.05 * columns + 1.6, 1.05 * len(images) + 0.5))
    bare(axes)
    for row, (name, members) in zip(axes, images.items(), strict=True):
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for axis, image in zip(row, members, strict=False):  # a short row leaves axes empty
            show_image(axis, image)
    for axis, head in zip(axes[0], heads, strict=False):
        axis.set_title(head, fontsize=9)
    named = (
        f"{name} ({len(row)} of {row.shape[-1]} × {row.shape[-2]} pixels)" for name, row in images.items()
    )
    return finish(figure, title, f"Rows of images: {listed(named)}.")


def gallery(images: Tensor, captions: Sequence[str], title: str, columns: int = 4) -> Figure:
    """Images with a caption each. images: uint8 [N, 3, H, W]."""
    _check_captions("gallery", images, captions)
    count = -(-len(images) // columns)
    figure, axes = subplots(count, columns, figsize=(2.6 * columns, 2.9 * count))
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, caption in zip(axes.flat, images, captions, strict=False):
        show_image(axis, image)
        axis.set_title(caption, fontsize=9)
    return finish(figure, title, f"{len(images)} images with captions: {listed(captions)}.")


def heat_maps(images: Tensor, maps: Mapping[str, Tensor], captions: Sequence[str], title: str) -> Figure:
    """Images in the first row, and under them a row for each name with its heat maps laid over them.

    images: uint8 [N, 3, H, W]. maps: by name, float [N, h, w], 0 to 1.
    """
    _check_captions("heat_maps", images, captions)
    check_finite("heat_maps", maps, "maps")
    figure, axes = subplots(
        1 + len(maps), len(images), figsize=(1.9 * len(images) + 1, 2.1 * (1 + len(maps)))
    )
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    side = images.shape[-1]
    whole = {"extent": (0, side, side, 0)}
    for column, (image, caption) in enumerate(zip(images, captions, strict=True)):
        for axis in axes[:, column]:
            show_image(axis, image, **whole)
        for axis, heat in zip(axes[1:, column], maps.values(), strict=True):
            axis.imshow(heat[column].cpu().numpy(), cmap="inferno", alpha=0.55, vmin=0, vmax=1, **whole)
        axes[0, column].set_title(caption, fontsize=9)
    for axis, name in zip(axes[:, 0], ("image", *maps), strict=True):
        axis.set_ylabel(name)
    alt = f"{len(images)} images ({listed(captions)}), and under each its heat maps: {listed(maps)}."
    return finish(figure, title, alt)


def _check_captions(figure: str, images: Tensor, captions: Sequence[str]) -> None:
    if len(images) != len(captions):
        raise ArgumentError(
            f"plots.{figure}: {len(images)} images and {len(captions)} captions; give one each"
        )
