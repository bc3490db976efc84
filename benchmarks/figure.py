"""docs/time_to_accuracy.png from what results.json holds, and docs/degradation.png from the stored table.

uv run python benchmarks/figure.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator
from record import recorded

from resnet_course import plots
from resnet_course.plots.palette import BASELINE, COURSE, MUTED, SERIES
from resnet_course.teaching import tables
from resnet_course.training import History

DOCS = Path(__file__).parents[1] / "docs"


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
    figure.savefig(DOCS / "time_to_accuracy.png", dpi=110)


def draw_degradation() -> None:
    """The figure: training error of plain stacks and of stacks with skips, as notebook 01 shows it."""
    table, stored = tables.degradation_table(), {}
    for key, (run, *_) in table["error_percent"]["train"].items():
        kind, depth = key.split("_")
        entries = [
            {"epoch": n, "train_accuracy": 1 - percent / 100} for n, percent in enumerate(run, start=1)
        ]
        stored[int(depth), kind == "skip"] = History(entries)
    title = (
        f"{table['epochs']} epochs of {table['pictures']:,} pictures: only the deep plain stack stays behind"
    )
    plots.training_errors(stored, title)
    plt.savefig(DOCS / "degradation.png", dpi=110)


if __name__ == "__main__":
    draw()
    draw_degradation()
