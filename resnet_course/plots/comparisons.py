"""Figures that set values of several things beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from resnet_course.common.durations import format_duration
from resnet_course.evaluation.summaries import summarise_choices, unbeaten
from resnet_course.plots.figure import check_finite, finish, listed, subplots
from resnet_course.plots.palette import BASELINE, COURSE, MUTED, VALIDATION, styles
from resnet_course.plots.texts import legend_label, number

FEW = 12  # values that a description names one by one


def bars(
    groups: Mapping[str, Mapping[str, float]],
    title: str,
    label: str,
    line: float | None = None,
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
) -> Figure:
    """Values side by side: a group of bars for each name, a style for each of the `groups`.

    label: what the bars measure, with its unit. line: a value to compare with, drawn across.
    intervals: by group and name, (low, high) of a value's confidence interval, drawn as an error bar.
    """
    check_finite("bars", groups)
    check_finite("bars", intervals or {})
    names = list(dict.fromkeys(name for values in groups.values() for name in values))
    figure, axes = subplots(figsize=(10, 3.8))
    axis = axes[0, 0]
    width, few = 0.8 / len(groups), sum(map(len, groups.values())) <= FEW
    for place, (group, style) in enumerate(styles(groups).items()):
        positions = [names.index(name) + (place - (len(groups) - 1) / 2) * width for name in groups[group]]
        drawn = axis.bar(
            positions, list(groups[group].values()), width, **style.bar, label=legend_label(group)
        )
        if few and not intervals:
            axis.bar_label(drawn, fmt=number, fontsize=8, padding=2)
            axis.margins(y=0.1)
        for position, (name, value) in zip(positions, groups[group].items(), strict=True):
            low, high = (intervals or {}).get(group, {}).get(name, (value, value))
            if low < high:
                reach = [[max(0.0, value - low)], [max(0.0, high - value)]]
                axis.errorbar(position, value, reach, color=rcParams["text.color"], capsize=3, linewidth=1)
    if line is not None:
        axis.axhline(line, color=rcParams["text.color"], linestyle="--", linewidth=1)
    axis.set_xticks(range(len(names)), names, rotation=30 if len(names) > 8 else 0)
    axis.set_ylabel(label)
    axis.grid(alpha=0.3, axis="y")
    figure.legend(loc="outside lower center", ncols=min(4, len(groups)))
    across = "" if line is None else f" A line across marks {number(line)}."
    errors = " Error bars show confidence intervals." if intervals else ""
    return finish(figure, title, f"Bars of {label}. {_described(groups)}.{across}{errors}")


def _described(groups: Mapping[str, Mapping[str, float]]) -> str:
    """Every value, or of many the least and the most of each group."""
    few = sum(map(len, groups.values())) <= FEW
    parts = []
    for group, values in groups.items():
        least, most = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
        shown = values if few else {least: values[least], most: values[most]}
        parts.append(f"{group}: {listed((f'{name} {number(value)}' for name, value in shown.items()), FEW)}")
    return "; ".join(parts)


def waterfall(seconds: Mapping[str, float], title: str) -> Figure:
    """What is left after each saving, from top to bottom; an empty frame: what that saving took away.

    seconds: by the name of the step, in order; the first is where it all begins. Long times are drawn in
        minutes.
    """
    check_finite("waterfall", seconds)
    names, left = list(seconds), list(seconds.values())
    unit, name, short = (60, "minutes", "min") if left[0] > 300 else (1, "seconds", "s")
    left = [value / unit for value in left]
    figure, axes = subplots(figsize=(9, 0.5 * len(names) + 1.4))
    axis = axes[0, 0]
    for row, (before, now) in enumerate(zip([left[0], *left], left, strict=False)):
        axis.barh(row, max(before, now), color="none", edgecolor=MUTED.color)
        axis.barh(row, now, **(COURSE if row else BASELINE).bar)
        times = f"  (÷ {before / now:.1f})" if row and now else ""
        place = (max(before, now), row)
        axis.annotate(f"{now:,.1f} {short}{times}", place, xytext=(5, -4), textcoords="offset points")
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set(xlabel=f"{name} for all epochs", xlim=(0, 1.25 * max(left)))
    axis.grid(alpha=0.3, axis="x")
    steps = (f"{name} {format_duration(value)}" for name, value in seconds.items())
    return finish(figure, title, f"Bars of what is left after each step: {listed(steps, FEW)}.")


def accuracy_against_seconds(
    runs: Mapping[str, Sequence[tuple[float, float]]], title: str, front: bool = False
) -> Figure:
    """Mean accuracy against mean seconds, a point for each choice, with a bar from its worst to its best run.

    runs: by the choice's name, (seconds, accuracy) of every run. front: join the choices that no other one
        beats in both.
    """
    check_finite("accuracy_against_seconds", runs)
    choices = summarise_choices(runs)
    best = unbeaten(choices)
    slowest = max(choice.seconds for choice in choices.values())
    figure, axes = subplots(figsize=(8, 4.2))
    axis = axes[0, 0]
    for name, choice in choices.items():
        style = VALIDATION if name in best or not front else MUTED
        at, spread = (choice.seconds, choice.accuracy.mean), [[reach] for reach in choice.accuracy.reach]
        axis.errorbar(*at, spread, **style.points, capsize=4)
        late = choice.seconds > 0.6 * slowest  # its name goes to the left, where there is room
        place = {"xytext": (-7, 6), "ha": "right"} if late else {"xytext": (7, -10)}
        axis.annotate(name, at, textcoords="offset points", fontsize=9, **place)
    if front:
        line = [(choices[name].seconds, choices[name].accuracy.mean) for name in best]
        axis.plot(
            *zip(*line, strict=True),
            color=VALIDATION.color,
            linestyle="--",
            zorder=0,
            label="no other choice beats these",
        )
        axis.legend(loc="lower right")
    axis.margins(y=0.15)
    axis.set(xlabel="seconds", ylabel="validation accuracy", xlim=(0, 1.25 * slowest))  # room for a name
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axis.grid(alpha=0.3)
    ends = (
        f"{name} with {choices[name].accuracy.mean:.1%} in {format_duration(choices[name].seconds)}"
        for name in best
    )
    alt = f"{len(choices)} choices by time and validation accuracy; none beats {listed(ends)}."
    return finish(figure, title, alt)


def spreads(runs: Mapping[str, Sequence[tuple[float, float]]], title: str) -> Figure:
    """The accuracy of every run, a row for each choice with its mean and its mean seconds, best row on top.

    runs: by the choice's name, (seconds, accuracy) of every run.
    """
    check_finite("spreads", runs)
    choices = summarise_choices(runs)
    names = sorted(choices, key=lambda name: choices[name].accuracy.mean)
    figure, axes = subplots(figsize=(8, 0.45 * len(names) + 1.4))
    axis = axes[0, 0]
    for row, name in enumerate(names):
        found, values = choices[name].accuracy, [accuracy for _, accuracy in runs[name]]
        axis.plot([found.least, found.most], [row, row], color=MUTED.color, linewidth=2, zorder=0)
        axis.plot(values, [row] * len(values), **MUTED.points, label="" if row else "single runs")
        axis.plot(found.mean, row, **VALIDATION.points, label="" if row else "mean of the runs")
    axis.set_yticks(
        range(len(names)), [f"{name} ({format_duration(choices[name].seconds)})" for name in names]
    )
    axis.set_xlabel("validation accuracy")
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axis.margins(y=0.15)
    axis.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2)
    means = (f"{name} {choices[name].accuracy.mean:.1%}" for name in reversed(names))
    return finish(figure, title, f"Mean validation accuracies, the best first: {listed(means, FEW)}.")
