"""Figures of how something goes with something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from resnet_course.common.durations import format_duration
from resnet_course.evaluation.summaries import summarise
from resnet_course.plots.figure import check_finite, finish, listed, subplots
from resnet_course.plots.palette import BASELINE, COURSE, SERIES, TRAIN, VALIDATION, styles
from resnet_course.plots.texts import legend_label, number
from resnet_course.training import History


def history(history: History, dataset: str) -> Figure:
    """Loss and accuracy over the epochs, on the training and on the validation images."""
    keys = {"training": "train", "validation": "val"}
    curves = {
        what: {name: history.values(f"{key}_{what}") for name, key in keys.items()}
        for what in ("loss", "accuracy")
    }
    check_finite("history", curves)
    figure, axes = subplots(1, 2, figsize=(10, 3.6))
    epochs = history.values("epoch")
    for axis, (what, by_name) in zip(axes.flat, curves.items(), strict=True):
        for (name, values), style in zip(by_name.items(), (TRAIN, VALIDATION), strict=True):
            axis.plot(epochs, values, **style.curve, label=f"{name} images")
        axis.set(xlabel="epoch", ylabel=f"{what} (nats)" if what == "loss" else what)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend()
    axes[0, 1].yaxis.set_major_formatter(PercentFormatter(1))
    best = history.best
    title = (
        f"{dataset}: after epoch {best['epoch']:.0f}, {best['val_accuracy']:.1%} of the validation images "
        f"are right; {format_duration(history.seconds)} in all"
    )
    ways = listed(
        f"the {name} {what} from {values[0]:{form}} to {values[-1]:{form}}"
        for (what, by_name), form in zip(curves.items(), (".2f", ".1%"), strict=True)
        for name, values in by_name.items()
    )
    return finish(figure, title, f"From the first to the last of {len(epochs)} epochs go {ways}.")


def losses(runs: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> Figure:
    """A panel for each training: its loss after each epoch, on the training and on the validation images.

    runs: by the panel's name, the losses in nats under "training" and "validation". All panels share an axis
        of losses, which is logarithmic.
    """
    check_finite("losses", runs)
    figure, axes = subplots(1, len(runs), figsize=(2.5 * len(runs), 3.4), sharey=True)
    ends = []
    for axis, (name, curves) in zip(axes.flat, runs.items(), strict=True):
        for key, style in (("training", TRAIN), ("validation", VALIDATION)):
            axis.plot(range(1, 1 + len(curves[key])), curves[key], **style.curve, markersize=3, label=key)
        axis.set(title=name, xlabel="epoch", yscale="log")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        ends.append(f"{name} {curves['training'][-1]:.2f} and {curves['validation'][-1]:.2f}")
    axes[0, 0].set_ylabel("loss (nats)")
    axes[0, 0].legend(fontsize=9)
    return finish(figure, title, f"The losses on training and on validation images end at: {listed(ends)}.")


def training_errors(
    histories: Mapping[tuple[int, bool], History], title: str, chance: float | None = None
) -> Figure:
    """The training error of stacks over the epochs: without skips on the left, with skips on the right.

    histories: by (depth, skip). chance: the error of guessing, 0 to 1, drawn across.
    """
    errors = {
        key: [1 - accuracy for accuracy in history.values("train_accuracy")]
        for key, history in histories.items()
    }
    check_finite("training_errors", errors)
    figure, axes = subplots(1, 2, figsize=(10, 3.8), sharey=True)
    depths = sorted({depth for depth, _ in histories})
    looks = dict(zip(depths, styles(f"{depth} layers" for depth in depths).values(), strict=True))
    for (depth, skip), values in errors.items():
        curve = looks[depth].curve | {"color": (COURSE if skip else BASELINE).color}
        axes[0, int(skip)].plot(
            histories[depth, skip].values("epoch"), values, **curve, label=f"{depth} layers"
        )
    for axis, name in zip(axes.flat, ("plain", "with skips"), strict=True):
        axis.set(title=name, xlabel="epoch")
        if chance is not None:
            axis.axhline(chance, color=rcParams["text.color"], linestyle=":", linewidth=1, label="guessing")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.yaxis.set_major_formatter(PercentFormatter(1))
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend()
    axes[0, 0].set_ylabel("training error")
    ends = (
        f"{values[-1]:.0%} with {depth} layers {'with' if skip else 'without'} skips"
        for (depth, skip), values in errors.items()
    )
    across = "" if chance is None else f" A line across marks guessing, {chance:.0%}."
    return finish(
        figure, title, f"The training error over the epochs; at the end it is {listed(ends)}.{across}"
    )


def lines(
    series: Mapping[str, Mapping[float, float | Sequence[float]]],
    title: str,
    x: str,
    y: str,
    *,
    percent: bool = False,
    logarithmic: bool = False,
    intervals: Mapping[str, Mapping[float, tuple[float, float]]] | None = None,
) -> Figure:
    """A line for each name, through values or through the means of several, with a bar from least to most.

    series: by the name and the place on the x axis, a value or several. x, y: what the axes show, with units.
    percent: the values are shares, 0 to 1. logarithmic: the x axis. intervals: by name and place, (low, high)
    of a value's confidence interval, which is drawn as a band.
    """
    check_finite("lines", series)
    check_finite("lines", intervals or {})
    check_finite("lines", {name: list(values) for name, values in series.items()})
    figure, axes = subplots(figsize=(8, 4.2))
    axis = axes[0, 0]
    ends = []
    for (name, values), style in zip(series.items(), styles(series).values(), strict=True):
        places, found = list(values), [summarise(value) for value in values.values()]
        means, reach = [each.mean for each in found], [each.reach for each in found]
        spread = list(zip(*reach, strict=True)) if any(map(any, reach)) else None
        axis.errorbar(places, means, spread, **style.curve, capsize=3, label=legend_label(name), markersize=5)
        if band := (intervals or {}).get(name):
            low, high = zip(*band.values(), strict=True)
            axis.fill_between(list(band), low, high, color=style.color, alpha=0.2, linewidth=0)
        first, last = (f"{mean:.0%}" if percent else number(mean) for mean in (means[0], means[-1]))
        ends.append(f"{name} from {first} at {places[0]:,.4g} to {last} at {places[-1]:,.4g}")
    axis.set(xlabel=x, ylabel=y)
    if logarithmic:
        _mark_places(axis, {place for values in series.values() for place in values})
    if percent:
        axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.grid(alpha=0.3)
    if len(series) > 6:  # too many to be laid over the lines
        figure.legend(loc="outside right upper", fontsize=9)
    else:
        axis.legend(fontsize=9)
    bands = " Bands show 95% confidence intervals." if intervals else ""
    return finish(figure, title, f"Lines of {y} against {x}: {listed(ends, len(SERIES))}.{bands}")


def _mark_places(axis: Axes, places: set[float]) -> None:
    """Make the x axis logarithmic, with a tick at each place."""
    axis.set_xscale("log")
    axis.set_xticks(sorted(places), [f"{place:,.0f}" for place in sorted(places)])
    axis.minorticks_off()


def panels(
    groups: Mapping[str, Mapping[str, Mapping[float, float]]],
    title: str,
    x: str,
    y: str,
    intervals: Mapping[str, Mapping[str, Mapping[float, tuple[float, float]]]] | None = None,
    *,
    logarithmic: bool = False,
) -> Figure:
    """The same lines of shares, 0 to 1, in a panel for each name, all with the same axes.

    groups: by the panel's name, the line's name and the place on the x axis, a share. x, y: what the axes
    show. intervals: likewise, (low, high) of its confidence interval, which is drawn as a band. logarithmic:
    the x axis.
    """
    check_finite("panels", groups)
    check_finite("panels", intervals or {})
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure, axes = subplots(
        rows, columns, figsize=(3.4 * columns, 2.6 * rows + 0.8), sharex=True, sharey=True
    )
    looks = styles(line for lines_of in groups.values() for line in lines_of)
    for axis, (name, lines_of) in zip(axes.flat, groups.items(), strict=False):
        for line, values in lines_of.items():
            axis.plot(*zip(*values.items(), strict=True), **looks[line].curve, label=line, markersize=5)
            if band := (intervals or {}).get(name, {}).get(line):
                low, high = zip(*band.values(), strict=True)
                axis.fill_between(list(band), low, high, color=looks[line].color, alpha=0.2, linewidth=0)
        axis.set_title(name, fontsize=10)
        if logarithmic:
            _mark_places(axis, {place for values in lines_of.values() for place in values})
        axis.yaxis.set_major_formatter(PercentFormatter(1))
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(groups) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel(y)
    for axis in axes[-1]:
        axis.set_xlabel(x)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(looks))
    ends = (
        f"{name}, {line}: from {next(iter(values.values())):.0%} to {list(values.values())[-1]:.0%}"
        for name, lines_of in groups.items()
        for line, values in lines_of.items()
    )
    bands = " Bands show 95% confidence intervals." if intervals else ""
    return finish(figure, title, f"Panels with lines of {y} against {x}. {listed(ends, 24)}.{bands}")
