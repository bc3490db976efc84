"""docs/time_to_accuracy.png, a part of time_to_accuracy.py, from what results.json holds."""

from __future__ import annotations

from pathlib import Path

from matplotlib.ticker import FuncFormatter, LogLocator
from record import recorded

from resnet_course import plots
from resnet_course.plots.palette import BASELINE, COURSE, MUTED, SERIES

FIGURE = Path(__file__).parents[1] / "docs" / "time_to_accuracy.png"


def draw() -> None:
    """The figure: test accuracy against minutes; the original's minutes are computed from its steps."""
    steps, laptop = recorded("original_steps_avx2"), recorded("laptop_avx2")
    original, scratch = steps["original_minutes_computed"], steps["airbench94_minutes_computed"]
    figure, axes = plots.subplots(figsize=(9, 4.6))
    axis = axes[0, 0]
    runs = [(run["minutes"], run["test_accuracy_percent"]) for run in laptop["runs"].values()]
    axis.plot(
        *zip(*runs, strict=True),
        **COURSE.points,
        label="LAPTOP" if len(runs) == 1 else f"LAPTOP, {len(runs)} seeds",
    )
    for batchnorm, style in (("moving", BASELINE), ("frozen", MUTED)):
        accuracies = recorded("original_run")[f"batchnorm_{batchnorm}_seed_0"]["test_accuracy_percent"]
        minutes = [original / 10 * epoch for epoch in range(1, len(accuracies) + 1)]
        name = "as it is" if batchnorm == "moving" else "with its BatchNorm frozen"
        axis.plot(
            minutes, accuracies, **style.curve, label=f"original, {name}, epochs 1 to {len(accuracies)}"
        )
    axis.plot(scratch, 94, **SERIES[0].points, label="from scratch (airbench94): time computed, not run")
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda minutes, _: f"{minutes:g}"))
    axis.set(xlabel="minutes from the command to the saved checkpoint, two cores", ylabel="test accuracy (%)")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right", fontsize=9)
    best = max(recorded("original_run")["batchnorm_moving_seed_0"]["test_accuracy_percent"])
    title = (
        f"CIFAR-10: {laptop['test_accuracy_percent']:.1f}% in {laptop['minutes']:.0f} minutes; the original "
        f"reaches {best:.1f}% in {original * len(accuracies) / 10:.0f}"
    )
    plots.finish(figure, title, "Test accuracy against minutes on a logarithmic scale.")
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=110)
