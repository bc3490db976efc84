"""Writes benchmarks/leaderboard.md from results.json: a row for each recipe and each peer. Measures nothing.

uv run python benchmarks/leaderboard.py
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

from record import RESULTS, recorded

from resnet_course.common.files import write_atomically
from resnet_course.evaluation import wilson_interval

BOARD = Path(__file__).with_name("leaderboard.md")
ORIGINALS = {
    "moving": "the original, its best epoch of 8, chosen on test",
    "frozen": "the same, BatchNorm frozen",
}
SCRATCH = "from scratch: airbench94 with Muon (arXiv 2404.00498)"
INTRODUCTION = (
    "Made by `python benchmarks/leaderboard.py` from `results.json`; change nothing here. Two cores, "
    "ImageNet weights (CNTK's ResNet-18, last block left out). Minutes of one processor say nothing about "
    "those of another: compare rows with the same one. The interval is of 95%, Wilson's, for the test "
    "pictures of one run: 5,000 of all, 1,000 with few (5,000 where `few` ran with AMX), or the photographs "
    "kept back; it does not cover other trainings. Minutes are means or medians of the runs. The original's "
    "accuracies come from a GPU, its minutes from its steps on the processor."
)
HEAD_OF_MINUTES = (
    "| pictures a class | minutes given | taken at most | plan | right on test | each draw | interval |\n"
    "|---|---|---|---|---|---|---|\n"
)
HEAD = (
    "| what | right on test | runs | interval | minutes | peak memory | processor |\n"
    "|---|---|---|---|---|---|---|\n"
)
# What they are, the minutes given to `fit_in`, and the pixels a side that fastai saw.
PHOTOGRAPHS = {
    "minutes_photographs_ants_bees": (
        "170 of ants and bees to learn from, 73 kept back",
        "one minute",
        224,
    ),
    "minutes_photographs_flowers": (
        "2,420 of flowers to learn from, 128 pixels enlarged from 32, 1,037 kept back",
        "three minutes",
        128,
    ),
}
KINDS = ("avx2", "avx512", "amx")  # of processor, as `time_to_accuracy.py --machine` names them


def rows_of_all(kind: str) -> Iterator[str]:
    """All of CIFAR-10's training pictures, from the command to the checkpoint, on one kind of processor."""
    steps = recorded(f"original_steps_{kind}")
    if not steps:
        return
    on = _processor(f"original_steps_{kind}")
    for recipe in ("laptop", "full", "top"):
        if found := recorded(f"{recipe}_{kind}"):
            runs = list(found["runs"].values())
            memory = max(run.get("peak_memory_gigabytes", 0.0) for run in runs)
            accuracies = [run["test_accuracy_percent"] for run in runs]
            yield _row(f"`{recipe}`", accuracies, 5_000, found["minutes"], memory, on)
    for batchnorm, name in ORIGINALS.items():
        found = recorded("original_run")[f"batchnorm_{batchnorm}_seed_0"]
        minutes = steps["original_minutes_computed"]
        yield _row(name, [found["best_on_test_percent"]], 5_000, minutes, 0.0, on, " (computed, 10 epochs)")
    scratch = steps["airbench94_minutes_computed"]
    yield f"| {SCRATCH}, not run | 94% by its authors | | | {scratch:g} (computed) | | {on} |"


def rows_of_few(count: int) -> Iterator[str]:
    """So many pictures a class; the recipe from the command on, all others from loaded data on."""
    for benchmark in ("few", "few_amx"):
        few = recorded(benchmark).get(f"at_{count}")
        if not few:
            continue
        runs = list(few["runs"].values())
        memory = max(run["peak_memory_gigabytes"] for run in runs)
        values = [run["test_accuracy_percent"] for run in runs]
        pictures, on = runs[0]["test_pictures"], _processor(benchmark)
        yield _row("`few`, from the command on", values, pictures, few["seconds"] / 60, memory, on)
    cells = [cell for name, cell in recorded("peers").items() if name.startswith(f"at_{count}_")]
    for key, name in (
        ("ours", "`fit_in`, five minutes allowed"),
        ("scikit_learn", "logistic regression on features at 128 pixels (scikit-learn)"),
        ("timm", "timm's `resnet18`, all layers, a plain loop for as long as `fit_in` took"),
    ):
        runs = [(cell[key]["test_accuracy_percent"], cell[key]["seconds"]) for cell in cells]
        yield from _rows(name, runs, "peers")
    fastai = [cell for name, cell in recorded("minutes_fastai").items() if name.startswith(f"at_{count}_")]
    peers = [(cell["fastai_test_accuracy_percent"], cell["fastai_seconds"]) for cell in fastai]
    yield from _rows("fastai 2.8's `fine_tune(5)`, its defaults, 128 pixels", peers, "minutes_fastai")
    for key, name in (("same_time", "`fit_in` in fastai's time"), ("quarter", "`fit_in` in a quarter of it")):
        found = [cell[key] for cell in fastai if "error" not in cell[key]]  # too few seconds for any plan
        runs = [(cell["test_accuracy_percent"], cell["seconds"]) for cell in found]
        yield from _rows(name, runs, "minutes_fastai")


def rows_of_photographs(benchmark: str, minutes_given: str, pixels: int) -> Iterator[str]:
    """Judged by the photographs that were kept back, three of ten in every run. pixels: that fastai saw."""
    cells = [cell for name, cell in recorded(benchmark).items() if name.startswith("seed_")]
    for key, name, seconds in (
        ("test_accuracy_percent", f"`fit_in`, {minutes_given} allowed", "seconds"),
        ("linear_probe_224_percent", "a linear probe on features at 224 pixels", None),
        (
            "fastai_test_accuracy_percent",
            f"fastai 2.8's `fine_tune(5)`, its defaults, {pixels} pixels",
            "fastai_seconds",
        ),
    ):
        minutes = statistics.median(cell[seconds] for cell in cells) / 60 if seconds else None
        accuracies, pictures = [cell[key] for cell in cells], cells[0]["test_pictures"]
        yield _row(name, accuracies, pictures, minutes, 0.0, _processor(benchmark))


def rows_of_minutes(kind: str) -> Iterator[str]:
    """What the whole command `train --minutes` made of CIFAR-10 on a kind of processor, over all draws."""
    cells: dict[tuple[int, float], list[dict]] = {}
    for name, cell in recorded(f"minutes_grid_{kind}").items():
        count, minutes = re.fullmatch(r"at_(\d+)_seed_\d+_in_(.+)_min", name).groups()
        cells.setdefault((int(count), float(minutes)), []).append(cell)
    for (count, minutes), found in sorted(cells.items()):
        accuracies = [cell["test_accuracy_percent"] for cell in found]
        low, high = _interval(accuracies, found[0]["test_pictures"])
        plans = ", ".join(dict.fromkeys(cell["recipe"] for cell in found))
        longest = max(cell["seconds"] for cell in found)
        each = ", ".join(f"{accuracy:.1f}" for accuracy in accuracies) if len(found) > 1 else ""
        yield (
            f"| {count} | {minutes:g} | {longest:.0f} s | {plans} | {statistics.mean(accuracies):.1f}% | "
            f"{each} | {low:.1f} to {high:.1f} |"
        )


def _rows(name: str, runs: list[tuple[float, float]], benchmark: str) -> Iterator[str]:
    if runs:
        minutes = statistics.median(seconds for _, seconds in runs) / 60
        accuracies = [accuracy for accuracy, _ in runs]
        yield _row(name, accuracies, 1_000, minutes, 0.0, _processor(benchmark))


def _processor(benchmark: str) -> str:
    """The processor that a benchmark was measured on, and its instructions, or what they are limited to."""
    conditions = json.loads(RESULTS.read_text(encoding="utf-8"))[benchmark]["conditions"]
    words = conditions["instructions"].partition(" torch ")[0].replace("(R)", "").split()
    *model, instructions = (word for word in words if "=" not in word)
    limited = "limited to " if any("=" in word for word in words) else ""
    return f"{' '.join(model)}, {limited}{instructions}"


def _interval(accuracies: list[float], pictures: int) -> tuple[float, float]:
    """Wilson's, in percent, for one run that is as accurate as the mean."""
    ends = wilson_interval(round(statistics.mean(accuracies) / 100 * pictures), pictures)
    return tuple(100 * end for end in ends)


def _row(
    name: str,
    accuracies: list[float],
    pictures: int,
    minutes: float | None,
    memory: float,
    processor: str,
    note: str = "",
) -> str:
    """accuracies: in percent, of all runs. pictures: that judged each. memory: in gigabytes, 0 if unknown."""
    low, high = _interval(accuracies, pictures)
    cells = (
        name,
        f"{statistics.mean(accuracies):.1f}%",
        str(len(accuracies)),
        f"{low:.1f} to {high:.1f}",
        "not measured" if minutes is None else f"{minutes:.1f}{note}",
        f"{memory:.1f} GB" if memory else "not measured",
        processor,
    )
    return f"| {' | '.join(cells)} |"


def board() -> str:
    """The whole file."""
    of_all = [row for kind in KINDS for row in rows_of_all(kind)]
    parts = [
        "# Leaderboard\n\n" + INTRODUCTION + "\n",
        "## All 50,000 training pictures\n\n" + HEAD + "\n".join(of_all) + "\n",
    ]
    for count in (10, 50, 500):
        if rows := list(rows_of_few(count)):
            parts.append(f"## {count} pictures of each class\n\n{HEAD}" + "\n".join(rows) + "\n")
    for benchmark, (what, *conditions) in PHOTOGRAPHS.items():
        if not recorded(benchmark):
            continue
        photographs = "\n".join(rows_of_photographs(benchmark, *conditions))
        parts.append(f"## Photographs: {what}\n\n{HEAD}{photographs}\n")
    parts.append("## `train --minutes`, the whole command\n\nMeasured before plans could take `top`.\n")
    for kind in KINDS:
        if minutes := "\n".join(rows_of_minutes(kind)):
            parts.append(f"On {_processor(f'minutes_grid_{kind}')}:\n\n{HEAD_OF_MINUTES}{minutes}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    text = board()
    write_atomically(BOARD, lambda file: file.write(text.encode()))
    print(text)
