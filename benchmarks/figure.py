"""docs/time_to_accuracy.png, a part of time_to_accuracy.py, from what results.json holds."""

from __future__ import annotations

from pathlib import Path

from matplotlib.ticker import FuncFormatter, LogLocator
from record import recorded

from resnet_course.teaching import plots
from resnet_course.teaching.plots.palette import BASELINE, COURSE, MUTED, SERIES

FIGURE = Path(__file__).parents[1] / "docs" / "time_to_accuracy.png"


def draw() -> None:
    """The figure: test accuracy against minutes, and for scale what was computed and not run."""
    measured, laptop, full = (recorded(name) for name in ("original_steps", "laptop", "full"))
    figure, axes = plots.subplots(figsize=(9, 4.6))
    axis = axes[0, 0]
    runs = [(run["minutes"], run["test_accuracy_percent"]) for run in laptop["runs"].values()]
    axis.plot(*zip(*runs, strict=True), **COURSE.points, label="LAPTOP, three seeds")
    way = [(at["minutes"], at["test_accuracy_percent"]) for at in full["on_the_way"].values()]
    axis.plot(*zip(*way, strict=True), **SERIES[0].curve, label="FULL, whenever an epoch was better")
    scratch, original = measured["airbench94_minutes_computed"], measured["original_minutes_computed"]
    axis.plot(scratch, 94, **MUTED.points, label="from scratch (airbench94): time computed, not run")
    axis.axvline(
        original, color=BASELINE.color, linestyle=BASELINE.line, label="original recipe: time computed"
    )
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda minutes, _: f"{minutes:g}"))
    axis.set(xlabel="minutes from the command to the saved checkpoint, two cores", ylabel="test accuracy (%)")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right", fontsize=9)
    title = (
        f"CIFAR-10: {laptop['test_accuracy_percent']:.1f}% in {laptop['minutes']:.1f} minutes, "
        f"{full['test_accuracy_percent']:.1f}% in {full['minutes']:.1f}; the original's ten epochs take "
        f"{original:.0f}"
    )
    plots.finish(figure, title, "Test accuracy against minutes on a logarithmic scale.")
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=110)
