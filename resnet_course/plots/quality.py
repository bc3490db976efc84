"""Figures of how good predictions are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from resnet_course.common.errors import ArgumentError
from resnet_course.evaluation import Bin
from resnet_course.evaluation.summaries import shares_of_rows
from resnet_course.plots.figure import check_finite, finish, listed, subplots
from resnet_course.plots.palette import MUTED, TEST

MOST_NUMBERED = 20  # classes of which `confusion` has room for numbers
INCHES = 0.16  # for each of more classes: room for its name


def confusion(matrix: Tensor, classes: Sequence[str], title: str) -> Figure:
    """A confusion matrix: what part of each true class was predicted as what, in percent.

    matrix: counts, int64 [C, C], row = the true class, column = the predicted one. classes: in the matrix's
    order; beside each stands how many images it has. Of many classes only colours are shown.
    """
    if matrix.shape != (len(classes), len(classes)):
        size = " × ".join(map(str, matrix.shape))
        raise ArgumentError(f"plots.confusion: the matrix is {size}, and there are {len(classes)} classes")
    shares = shares_of_rows(matrix).numpy()
    mistakes = shares * (1 - np.eye(len(classes)))
    if len(classes) > MOST_NUMBERED:
        side = INCHES * len(classes) + 2
        figure, axes = subplots(figsize=(side + 1, side))
        cells = _matrix(axes[0, 0], mistakes, classes, "wrong predictions", fontsize=7)
        share = PercentFormatter(1, decimals=0)
        figure.colorbar(cells, ax=axes[0, 0], shrink=0.5, label="share of the true class", format=share)
    else:
        figure, axes = subplots(figsize=(8, 6.4))
        axis = axes[0, 0]
        cells = _matrix(axis, mistakes, classes, "% of the true class")
        counts = matrix.sum(1).tolist()
        axis.set_yticks(
            range(len(classes)), [f"{name} ({n:,})" for name, n in zip(classes, counts, strict=True)]
        )
        for (row, column), value in np.ndenumerate(shares):
            text = f"{100 * value:.0f}" if value >= 0.005 else ""
            color = _readable_on(cells.to_rgba(mistakes[row, column]))
            axis.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
    right, total = int(matrix.trace()), int(matrix.sum())
    alt = (
        f"A table of true against predicted classes: {right:,} of {total:,} images are right; "
        f"{_worst(matrix, classes)}."
    )
    return finish(figure, title, alt)


def _matrix(
    axis: Axes, mistakes: np.ndarray, classes: Sequence[str], title: str, **letters: float
) -> AxesImage:
    """The mistakes in orange; the right predictions are many and would hide them. letters: their size."""
    cells = axis.imshow(mistakes, cmap="Oranges", vmin=0)
    upright = 90 if letters else 45
    axis.set_xticks(
        range(len(classes)), classes, rotation=upright, ha="center" if letters else "right", **letters
    )
    axis.set_yticks(range(len(classes)), classes, **letters)
    axis.set(xlabel="predicted class", ylabel="true class", title=title)
    return cells


def _worst(matrix: Tensor, classes: Sequence[str]) -> str:
    """The most frequent mistake in words."""
    mistakes = matrix - matrix.diag().diag()
    if not mistakes.any():
        return "no image is wrong"
    true, said = divmod(int(mistakes.argmax()), len(classes))
    return f"most often {classes[true]} is called {classes[said]} ({int(mistakes.max()):,} times)"


def _readable_on(rgba: Sequence[float]) -> str:
    """Black or white, whichever has more contrast to a colour: always 4.5:1 at least."""
    linear = [((c + 0.055) / 1.055) ** 2.4 if c > 0.04045 else c / 12.92 for c in rgba[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "white" if luminance < 0.179 else "black"


def reliability(bins: Mapping[str, Sequence[Bin]], title: str) -> Figure:
    """Accuracy against confidence, a panel for each name, and under it how many predictions each bar holds.

    bins: by name, as `calibration.reliability` returns them.
    """
    filled = {name: [each for each in found if each.count] for name, found in bins.items()}
    check_finite(
        "reliability",
        {name: [(each.confidence, each.accuracy) for each in found] for name, found in filled.items()},
    )
    figure, axes = subplots(2, len(bins), figsize=(5.2 * len(bins), 5.4), height_ratios=(3, 1), sharex=True)
    surest = []
    for (upper, lower), (name, found) in zip(axes.T, filled.items(), strict=True):
        middle, width = [(each.low + each.high) / 2 for each in found], bins[name][0].high - bins[name][0].low
        upper.bar(middle, [each.accuracy for each in found], 0.95 * width, **TEST.bar, label="accuracy")
        points = [(each.confidence, each.accuracy) for each in found]
        upper.plot(
            *zip(*points, strict=True),
            "o",
            color="black",
            markeredgecolor="white",
            markersize=4,
            label="mean confidence and accuracy of a bin",
        )
        upper.plot([0, 1], [0, 1], "--", color=MUTED.color, label="confidence = accuracy")
        upper.set(title=name, ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        lower.bar(middle, [each.count for each in found], 0.95 * width, **MUTED.bar)
        lower.set(xlabel="confidence", ylabel="predictions", yscale="log")
        lower.minorticks_off()
        last = found[-1]
        surest.append(
            f"{name}: of the {last.count:,} surest, with a mean confidence of {last.confidence:.0%}, "
            f"{last.accuracy:.0%} are right"
        )
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
    return finish(figure, title, f"Bars of accuracy against confidence. {listed(surest)}.")
