"""One function a figure. They draw what the other rooms return, and compute no metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import Tensor

from resnet_course.data.images import ImageSet
from resnet_course.data.reading import read_image
from resnet_course.evaluation import Bin
from resnet_course.evaluation.predictions import Predictions
from resnet_course.prediction import ImageSource, Prediction
from resnet_course.training.loop import History

# Okabe and Ito's colours, which people with any colour vision can tell apart (https://jfly.uni-koeln.de/color/).
BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#999999"


def samples(image_set: ImageSet, per_class: int = 8) -> Figure:
    """Some pictures of every class, a row each."""
    classes = len(image_set.classes)
    figure, axes = plt.subplots(classes, 1, figsize=(0.8 * per_class, 0.8 * classes), layout="constrained")
    for label, axis in enumerate(np.atleast_1d(axes)):
        members = (image_set.labels == label).nonzero().flatten()[:per_class]
        strip = np.full(
            (image_set.images.shape[-1], per_class * image_set.images.shape[-1], 3), 255, np.uint8
        )
        for place, index in enumerate(members.tolist()):
            side = image_set.images.shape[-1]
            strip[:, place * side : (place + 1) * side] = to_array(image_set.images[index])
        axis.imshow(strip)
        axis.set_ylabel(image_set.classes[label], rotation=0, ha="right", va="center")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    figure.suptitle(f"{image_set.name}: {classes} classes, {len(image_set):,} pictures to learn from")
    return figure


def history(history: History, dataset: str) -> Figure:
    """Loss and accuracy over the epochs, on the training and on the validation pictures."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    epochs = history.values("epoch")
    for axis, what, label in zip(axes, ("loss", "accuracy"), ("loss (nats)", "accuracy"), strict=True):
        axis.plot(epochs, history.values(f"train_{what}"), "o--", color=ORANGE, label="training pictures")
        axis.plot(epochs, history.values(f"val_{what}"), "s-", color=BLUE, label="validation pictures")
        axis.set(xlabel="epoch", ylabel=label)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend()
    axes[1].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    best = history.best
    minutes, seconds = divmod(round(history.seconds), 60)
    figure.suptitle(
        f"{dataset}: after epoch {best['epoch']:.0f}, {best['val_accuracy']:.1%} of the validation pictures "
        f"are right; {minutes} min {seconds} s in all"
    )
    return figure


def predictions(image_set: ImageSet, predictions: Predictions, rows: int = 3, columns: int = 4) -> Figure:
    """Right and wrong predictions beside each other: the first wrong ones, at most half, then right ones."""
    wrong = (~predictions.correct).nonzero().flatten().tolist()
    right = predictions.correct.nonzero().flatten().tolist()
    count = rows * columns
    shown_wrong = wrong[: max(count // 2, count - len(right))]
    shown = shown_wrong + right[: count - len(shown_wrong)]
    figure, axes = plt.subplots(rows, columns, figsize=(2.4 * columns, 2.7 * rows), layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    confidence = predictions.probabilities.max(1).values
    for axis, index in zip(axes.flat, shown, strict=False):
        said = predictions.classes[predictions.predicted[index]]
        truth = predictions.classes[predictions.labels[index]]
        correct = said == truth
        axis.imshow(to_array(image_set.images[index]))
        text = f"✓ {said}" if correct else f"✗ {said}, not {truth}"
        axis.set_title(
            f"{text}\n{confidence[index]:.0%} sure", color=BLUE if correct else VERMILION, fontsize=10
        )
    figure.suptitle(
        f"{predictions.dataset}: {len(wrong):,} of {len(predictions):,} test pictures are wrong; "
        f"{len(shown_wrong)} of them come first here"
    )
    return figure


def prediction(picture: ImageSource, view: Tensor, prediction: Prediction) -> Figure:
    """A picture, what the network gets to see of it, and the probability of every class.

    picture: what `Classifier.predict` takes. view: uint8 [3, side, side], as `Classifier.view` returns it.
    """
    figure, (whole, seen, bars) = plt.subplots(
        1, 3, figsize=(11, 3.6), layout="constrained", width_ratios=(1, 1, 1.4)
    )
    for axis, pixels, title in (
        (whole, np.asarray(read_image(picture)), "your picture"),
        (seen, to_array(view), "what the network sees"),
    ):
        axis.imshow(pixels)
        axis.set_title(f"{title}, {pixels.shape[1]} × {pixels.shape[0]} pixels", fontsize=10)
        axis.axis("off")
    names = list(prediction.probabilities)[:10][::-1]
    values = [prediction.probabilities[name] for name in names]
    bars.barh(names, values, color=[GREY] * (len(names) - 1) + [BLUE])
    bars.set(xlim=(0, 1), xlabel="probability")
    bars.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.suptitle(f"The network says {prediction.label}, and gives it {prediction.confidence:.0%}")
    return figure


def training_errors(histories: Mapping[tuple[int, bool], History], title: str) -> Figure:
    """The training error of stacks over the epochs: without skips on the left, with skips on the right.

    histories: by (depth, skip).
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained", sharey=True)
    depths = sorted({depth for depth, _ in histories})
    for (depth, skip), history in histories.items():
        deepest = depth == depths[-1]
        errors = [1 - accuracy for accuracy in history.values("train_accuracy")]
        axes[int(skip)].plot(
            history.values("epoch"),
            errors,
            "o-" if deepest else "s--",
            color=VERMILION if deepest else BLUE,
            label=f"{depth} layers",
        )
    for axis, name in zip(axes, ("plain", "with skips"), strict=True):
        axis.set(title=name, xlabel="epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axis.grid(alpha=0.3)
        axis.legend()
    axes[0].set_ylabel("training error")
    figure.suptitle(title)
    return figure


def gradient_norms(panels: Mapping[str, Mapping[str, Mapping[str, float]]], title: str) -> Figure:
    """The size of the gradient in every layer, a line for each network, in panels beside each other.

    panels: by the panel's title and the network's name, what `anatomy.gradient_norms` returns.
    """
    figure, axes = plt.subplots(
        1, len(panels), figsize=(5.5 * len(panels), 4), layout="constrained", sharey=True, squeeze=False
    )
    looks = ((VERMILION, "o-"), (ORANGE, "x--"), (BLUE, "s-"), (GREEN, "^--"), (GREY, "."))
    for axis, (name, networks) in zip(axes.flat, panels.items(), strict=True):
        for (network, norms), (color, style) in zip(networks.items(), looks, strict=False):
            layers = range(1, len(norms) + 1)
            axis.semilogy(layers, list(norms.values()), style, color=color, label=network, markersize=4)
        axis.set(title=name, xlabel="layer, from the picture to the classes")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    axes[0, 0].set_ylabel("norm of the gradient")
    figure.suptitle(title)
    return figure


def filters(weights: Tensor, title: str, columns: int = 16) -> Figure:
    """The filters of a first layer as small pictures, each stretched to its own range.

    weights: float32 [filters, 3, height, width].
    """
    rows = -(-len(weights) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(0.6 * columns, 0.6 * rows + 0.4), layout="constrained"
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, weight in zip(axes.flat, weights.detach(), strict=False):
        low, high = weight.min(), weight.max()
        axis.imshow(((weight - low) / (high - low)).permute(1, 2, 0).numpy())
    figure.suptitle(title)
    return figure


def feature_maps(picture: Tensor, outputs: Mapping[str, Tensor], title: str, channels: int = 8) -> Figure:
    """What the parts of a network make of one picture: a row for each part, its first channels.

    picture: uint8 [3, H, W]. outputs: by the part's name, float32 [1, C, h, w].
    """
    figure, axes = plt.subplots(
        len(outputs), channels + 1, figsize=(channels + 1, len(outputs) + 0.4), layout="constrained"
    )
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for row, (name, maps) in zip(axes, outputs.items(), strict=True):
        row[1].set_ylabel(f"{name}\n{maps.shape[-2]}×{maps.shape[-1]}", rotation=0, ha="right", va="center")
        for axis, values in zip(row[1:], maps[0], strict=False):
            axis.imshow(values.numpy(), cmap="viridis")
    axes[0, 0].imshow(to_array(picture))
    axes[0, 0].set_title("the picture", fontsize=9)
    figure.suptitle(title)
    return figure


def bars(
    groups: Mapping[str, Mapping[str, float]], title: str, label: str, line: float | None = None
) -> Figure:
    """Values side by side: a group of bars for each name, a colour for each of the `groups`.

    label: what the bars measure, with its unit. line: a value to compare with, drawn across.
    """
    names = list(dict.fromkeys(name for values in groups.values() for name in values))
    figure, axis = plt.subplots(figsize=(10, 3.8), layout="constrained")
    width = 0.8 / len(groups)
    for place, ((group, values), color) in enumerate(
        zip(groups.items(), (VERMILION, BLUE, GREEN), strict=False)
    ):
        positions = [names.index(name) + (place - (len(groups) - 1) / 2) * width for name in values]
        axis.bar(positions, list(values.values()), width, color=color, label=group)
    if line is not None:
        axis.axhline(line, color="black", linestyle="--", linewidth=1)
    axis.set_xticks(range(len(names)), names, rotation=30 if len(names) > 8 else 0)
    axis.set_ylabel(label)
    axis.grid(alpha=0.3, axis="y")
    figure.legend(loc="outside lower center", ncols=len(groups))
    figure.suptitle(title)
    return figure


def waterfall(seconds: Mapping[str, float], title: str) -> Figure:
    """What is left after each saving, from top to bottom; pale: what that saving took away.

    seconds: by the name of the step, in order; the first is where it all begins. Long times are drawn in
        minutes.
    """
    names, left = list(seconds), list(seconds.values())
    unit, name, short = (60, "minutes", "min") if left[0] > 300 else (1, "seconds", "s")
    left = [value / unit for value in left]
    figure, axis = plt.subplots(figsize=(9, 0.5 * len(names) + 1.4), layout="constrained")
    for row, (before, now) in enumerate(zip([left[0], *left], left, strict=False)):
        axis.barh(row, max(before, now), color=GREY, alpha=0.35)
        axis.barh(row, now, color=VERMILION if row == 0 else BLUE)
        times = "" if row == 0 else f"  (÷ {before / now:.1f})"
        place = (max(before, now), row)
        axis.annotate(f"{now:,.1f} {short}{times}", place, xytext=(5, -4), textcoords="offset points")
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set(xlabel=f"{name} for all epochs", xlim=(0, 1.25 * max(left)))
    axis.grid(alpha=0.3, axis="x")
    figure.suptitle(title)
    return figure


def rows(pictures: Mapping[str, Tensor], title: str) -> Figure:
    """Pictures in rows, each row with its name.

    pictures: by the row's name, uint8 [N, 3, H, W]; rows may differ in N and in size.
    """
    columns = max(len(row) for row in pictures.values())
    figure, axes = plt.subplots(
        len(pictures),
        columns,
        figsize=(1.05 * columns + 1.6, 1.05 * len(pictures) + 0.5),
        layout="constrained",
        squeeze=False,
    )
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for row, (name, images) in zip(axes, pictures.items(), strict=True):
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for axis, image in zip(row, images, strict=False):
            axis.imshow(to_array(image))
    figure.suptitle(title)
    return figure


def accuracy_against_seconds(
    runs: Mapping[str, Sequence[tuple[float, float]]], title: str, front: bool = False
) -> Figure:
    """Mean accuracy against mean seconds, a point for each choice, with a bar from its worst to its best run.

    runs: by the choice's name, (seconds, accuracy) of every run. front: join the choices that no other one
        beats in both.
    """
    figure, axis = plt.subplots(figsize=(8, 4.2), layout="constrained")
    means = {name: np.mean(np.array(values), axis=0) for name, values in runs.items()}
    best = [
        name
        for name, (seconds, accuracy) in means.items()
        if not any(
            s <= seconds and a >= accuracy and (s, a) != (seconds, accuracy) for s, a in means.values()
        )
    ]
    for name, (seconds, accuracy) in means.items():
        accuracies = [value for _, value in runs[name]]
        spread = [[accuracy - min(accuracies)], [max(accuracies) - accuracy]]
        color = BLUE if name in best or not front else GREY
        axis.errorbar(seconds, accuracy, spread, fmt="o", color=color, capsize=4)
        late = seconds > 0.6 * max(
            s for s, _ in means.values()
        )  # its name goes to the left, where there is room
        place = {"xytext": (-7, 6), "ha": "right"} if late else {"xytext": (7, -10)}
        axis.annotate(name, (seconds, accuracy), textcoords="offset points", fontsize=9, **place)
    if front:
        line = sorted(tuple(means[name]) for name in best)
        axis.plot(*zip(*line, strict=True), "--", color=BLUE, zorder=0, label="no other choice beats these")
        axis.legend(loc="lower right")
    axis.margins(y=0.15)
    slowest = max(seconds for seconds, _ in means.values())
    axis.set(xlabel="seconds", ylabel="validation accuracy", xlim=(0, 1.25 * slowest))  # room for a name
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.grid(alpha=0.3)
    figure.suptitle(title)
    return figure


def spreads(runs: Mapping[str, Sequence[tuple[float, float]]], title: str) -> Figure:
    """The accuracy of every run, a row for each choice with its mean and its mean seconds, best row on top.

    runs: by the choice's name, (seconds, accuracy) of every run.
    """
    means = {name: np.mean(np.array(values), axis=0) for name, values in runs.items()}
    names = sorted(means, key=lambda name: means[name][1])
    figure, axis = plt.subplots(figsize=(8, 0.45 * len(names) + 1.4), layout="constrained")
    for row, name in enumerate(names):
        accuracies = [accuracy for _, accuracy in runs[name]]
        axis.plot([min(accuracies), max(accuracies)], [row, row], color=GREY, linewidth=2, zorder=0)
        axis.plot(accuracies, [row] * len(accuracies), "o", color=GREY, label="one run" if not row else None)
        axis.plot(means[name][1], row, "D", color=BLUE, label="mean of the runs" if not row else None)
    axis.set_yticks(range(len(names)), [f"{name} ({means[name][0]:.1f} s)" for name in names])
    axis.set_xlabel("validation accuracy")
    axis.xaxis.set_major_formatter(PercentFormatter(1))
    axis.margins(y=0.15)
    axis.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2)
    figure.suptitle(title)
    return figure


def lines(
    series: Mapping[str, Mapping[float, float | Sequence[float]]],
    title: str,
    x: str,
    y: str,
    *,
    percent: bool = False,
    logarithmic: bool = False,
) -> Figure:
    """A line for each name, through values or through the means of several, with a bar from least to most.

    series: by the name and the place on the x axis, a value or several. x, y: what the axes show, with units.
    percent: the values are shares, 0 to 1. logarithmic: the x axis.
    """
    figure, axis = plt.subplots(figsize=(8, 4.2), layout="constrained")
    looks = ((BLUE, "o-"), (VERMILION, "s--"), (GREEN, "^-."), (ORANGE, "D:"), (GREY, "x-"), ("black", "v--"))
    for (name, values), (color, style) in zip(series.items(), looks * 2, strict=False):
        runs = {place: np.atleast_1d(found) for place, found in values.items()}
        means = [found.mean() for found in runs.values()]
        spread = [
            [mean - found.min() for mean, found in zip(means, runs.values(), strict=True)],
            [found.max() - mean for mean, found in zip(means, runs.values(), strict=True)],
        ]
        axis.errorbar(list(runs), means, spread, fmt=style, color=color, capsize=3, label=name, markersize=5)
    axis.set(xlabel=x, ylabel=y)
    if logarithmic:
        axis.set_xscale("log")
        places = sorted({place for values in series.values() for place in values})
        axis.set_xticks(places, [f"{place:,.0f}" for place in places])
        axis.minorticks_off()
    if percent:
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9)
    figure.suptitle(title)
    return figure


def confusion(matrix: Tensor, classes: Sequence[str], title: str) -> Figure:
    """A confusion matrix twice: as counts, and as shares of each true class.

    matrix: int64 [C, C], row = the true class, column = the predicted one. classes: in the matrix's order.
    """
    figure, axes = plt.subplots(1, 2, figsize=(13, 6), layout="constrained")
    counts = matrix.numpy()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    mistakes = shares * (1 - np.eye(len(classes)))
    for axis, values, what in ((axes[0], counts, "pictures"), (axes[1], shares, "% of the true class")):
        axis.imshow(mistakes, cmap="Oranges", vmin=0)  # the right ones are many and would hide the others
        for (row, column), value in np.ndenumerate(values):
            text = f"{value:,}" if values is counts else f"{100 * value:.0f}" if value >= 0.005 else ""
            color = "white" if mistakes[row, column] > 0.7 * mistakes.max() > 0 else "black"
            axis.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
        axis.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
        axis.set_yticks(range(len(classes)), classes)
        axis.set(xlabel="predicted class", ylabel="true class", title=what)
    figure.suptitle(title)
    return figure


def reliability(bins: Mapping[str, Sequence[Bin]], title: str) -> Figure:
    """Accuracy against confidence, a panel for each name, and under it how many predictions each bar holds.

    bins: by name, as `calibration.reliability` returns them.
    """
    figure, axes = plt.subplots(
        2,
        len(bins),
        figsize=(5.2 * len(bins), 5.4),
        layout="constrained",
        height_ratios=(3, 1),
        sharex=True,
        squeeze=False,
    )
    for (upper, lower), (name, found) in zip(axes.T, bins.items(), strict=True):
        filled = [b for b in found if b.count]
        middle, width = [(b.low + b.high) / 2 for b in filled], found[0].high - found[0].low
        upper.bar(middle, [b.accuracy for b in filled], 0.95 * width, color=BLUE, label="accuracy")
        upper.plot(
            [b.confidence for b in filled], [b.accuracy for b in filled], "o", color="black", markersize=3
        )
        upper.plot([0, 1], [0, 1], "--", color=VERMILION, label="confidence = accuracy")
        upper.set(title=name, ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        upper.legend(loc="upper left", fontsize=9)
        lower.bar(middle, [b.count for b in filled], 0.95 * width, color=GREY)
        lower.set(xlabel="confidence", ylabel="predictions")
    figure.suptitle(title)
    return figure


def gallery(images: Tensor, captions: Sequence[str], title: str, columns: int = 4) -> Figure:
    """Pictures with a caption each. images: uint8 [N, 3, H, W]."""
    count = -(-len(images) // columns)
    figure, axes = plt.subplots(
        count, columns, figsize=(2.6 * columns, 2.9 * count), layout="constrained", squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, caption in zip(axes.flat, images, captions, strict=False):
        axis.imshow(to_array(image))
        axis.set_title(caption, fontsize=9)
    figure.suptitle(title)
    return figure


def heat_maps(images: Tensor, maps: Mapping[str, Tensor], captions: Sequence[str], title: str) -> Figure:
    """Pictures in the first row, and under them a row for each name with its heat maps laid over them.

    images: uint8 [N, 3, H, W]. maps: by name, float [N, h, w], 0 to 1.
    """
    figure, axes = plt.subplots(
        1 + len(maps),
        len(images),
        figsize=(1.9 * len(images) + 1, 2.1 * (1 + len(maps))),
        layout="constrained",
        squeeze=False,
    )
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    side = images.shape[-1]
    for column, (image, caption) in enumerate(zip(images, captions, strict=True)):
        for row, axis in enumerate(axes[:, column]):
            axis.imshow(to_array(image), extent=(0, side, side, 0))
            if row:
                heat = list(maps.values())[row - 1][column].numpy()
                axis.imshow(heat, cmap="inferno", alpha=0.55, vmin=0, vmax=1, extent=(0, side, side, 0))
        axes[0, column].set_title(caption, fontsize=9)
    for axis, name in zip(axes[:, 0], ("picture", *maps), strict=True):
        axis.set_ylabel(name)
    figure.suptitle(title)
    return figure


def to_array(image: Tensor) -> np.ndarray:
    """uint8 [3, H, W] → uint8 [H, W, 3], as matplotlib wants it."""
    return image.permute(1, 2, 0).numpy()
