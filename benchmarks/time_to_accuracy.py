"""From the command to a saved checkpoint: minutes, test accuracy and peak memory, beside the original recipe.

    uv run python benchmarks/time_to_accuracy.py --data folder:DIR --weights FILE --data-is … --weights-are …
        PART…

Parts: "steps" (the original's own loop, from which its ten epochs follow, and one step at equal work),
"memory" (a step with memory kept and given back), "compile" (a step through torch.compile), "laptop" (three
seeds), "full", "few" (50 pictures of each class), "growth" (time against the number of pictures), "estimate"
(predicted against measured), "figure". In one call they run one after another on one machine. Every training
is a process of its own with an empty home folder: pictures decoded, trunk pass, validation included. The test
split is looked at only after a training is over.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.ticker import FuncFormatter
from record import parser, record, recorded
from torch import nn

from resnet_course import machine, transfer
from resnet_course.data import ImageSet, load
from resnet_course.evaluation import evaluate
from resnet_course.inputs.batches import eval_batches, train_batches
from resnet_course.recipes import FEW, LAPTOP, ORIGINAL, PLAIN, Recipe
from resnet_course.resnet import eval_mode
from resnet_course.settings import Settings
from resnet_course.teaching import plots
from resnet_course.training import fit, make_optimizer

FIGURE = Path(__file__).parents[1] / "docs" / "time_to_accuracy.png"
STEPS, ROUNDS = 20, 3  # of each way in turn, so that a busy minute hits all
TRAIN, TEST = 50_000, 10_000  # pictures of CIFAR-10, which the original trains and validates on
AIRBENCH = 0.29e15  # floating-point operations to 94%: Keller Jordan, "94% on CIFAR-10 in 3.29 seconds", 2024


def steps(
    train: ImageSet,
    weights: str,
    recipe: Recipe,
    prepare: Callable[[nn.Module], nn.Module] = lambda model: model,
) -> Iterator[float]:
    """The milliseconds of one training step after another, for ever: reading, augmenting, learning.

    prepare: what is done to the network before it is called, such as `torch.compile`.
    """
    torch.manual_seed(0)
    model = transfer.build_model(len(train.classes), weights, recipe.train_from, recipe.dropout)
    transfer.freeze(model, recipe.train_from, batchnorm_moves=recipe.batchnorm_moves)
    engine = machine.choose(recipe)
    engine.place(model)
    optimizer = make_optimizer(model, recipe)
    generator = torch.Generator().manual_seed(0)
    network = prepare(model.train())
    while True:
        batches = train_batches(train, recipe, generator)
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                break
            with engine.autocast():
                logits = network(engine.place(batch[0]))
            loss = F.cross_entropy(logits.float(), batch[1], label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield 1000 * (time.perf_counter() - start)


def looks(test: ImageSet, weights: str, recipe: Recipe) -> Iterator[float]:
    """The milliseconds of one evaluation batch after another, for ever."""
    model = transfer.build_model(len(test.classes), weights, recipe.train_from, recipe.dropout)
    while True:
        batches = eval_batches(test, recipe)
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                break
            with eval_mode(model), torch.no_grad():
                model(batch[0])
            yield 1000 * (time.perf_counter() - start)


def in_turn(
    ways: dict[str, tuple[Iterator[float], Callable[[], AbstractContextManager]]],
) -> dict[str, float]:
    """The median of each way, of STEPS in each of ROUNDS, the ways in turn, each within its own context."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (way, context) in ways.items():
            with context():
                for _ in range(3):  # warm-up
                    next(way)
                times[name] += [next(way) for _ in range(STEPS)]
    return {name: statistics.median(found) for name, found in times.items()}


def step_with_memory(options: Namespace, train_from: str, kept: bool) -> float:
    """The median milliseconds of a step of 128 pictures at 128 pixels; to be called in a new process."""
    train = load(Settings(data=options.data, weights=options.weights)).train
    # Nothing is left to choose: the probe keeps memory, and what is kept once is used later too.
    recipe = replace(
        PLAIN, image_size=128, train_from=train_from, precision="bf16", memory_format="channels_last"
    )
    with machine.keeping_memory() if kept else nullcontext():
        times = list(itertools.islice(steps(train, options.weights, recipe), 3 + STEPS))
    return statistics.median(times[3:])


def measure_memory(options: Namespace) -> dict[str, object]:
    """That step with memory kept and given back, each in a new process: all layers, or from layer3 on."""
    found: dict[str, object] = {}
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for train_from in ("all", "layer3"):
            times: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(ROUNDS):
                for kept, measured in times.items():
                    measured.append(pool.submit(step_with_memory, options, train_from, kept).result())
            kept, given_back = (statistics.median(times[way]) for way in (True, False))
            found[f"train_from_{train_from}"] = {
                "kept_milliseconds": round(kept, 1),
                "given_back_milliseconds": round(given_back, 1),
                "times_as_long": round(given_back / kept, 2),
            }
    return found


def measure_compile(options: Namespace) -> dict[str, object]:
    """One step of 128 pictures at 96 pixels, all layers: as it is, and through torch.compile."""
    train = load(Settings(data=options.data, weights=options.weights)).train
    recipe = replace(PLAIN, image_size=96)
    computing = machine.choose(recipe).computing
    ways = {
        "plain": (steps(train, options.weights, recipe), computing),
        "compiled": (steps(train, options.weights, recipe, torch.compile), computing),
    }
    first = {}
    for name, (way, context) in ways.items():
        with context():
            first[name] = next(way) / 1000
    median = in_turn(ways)
    saved = (median["plain"] - median["compiled"]) / 1000
    return {
        "plain_milliseconds": round(median["plain"], 1),
        "compiled_milliseconds": round(median["compiled"], 1),
        "compiling_seconds": round(first["compiled"] - first["plain"], 1),
        "pays_after_steps": round((first["compiled"] - first["plain"]) / saved) if saved > 0 else None,
    }


def measure_steps(options: Namespace) -> dict[str, object]:
    """The original's step, its evaluation batch, its ten epochs, and a step of equal work by the course."""
    splits = load(Settings(data=options.data, weights=options.weights))
    equal = replace(LAPTOP, image_size=224, batch_size=32, cached_views=0, augmentation="crop_flip_rotate")
    in_fp32 = replace(equal, precision="fp32")
    median = in_turn(
        {
            "original": (steps(splits.train, options.weights, ORIGINAL), nullcontext),
            "original_look": (looks(splits.test, options.weights, ORIGINAL), nullcontext),
            "course_fp32": (steps(splits.train, options.weights, in_fp32), machine.choose(in_fp32).computing),
            "course_fastest": (steps(splits.train, options.weights, equal), machine.choose(equal).computing),
        }
    )
    epoch = (median["original"] * TRAIN + median["original_look"] * TEST) / ORIGINAL.batch_size
    return {
        "steps_each": STEPS * ROUNDS,
        "original_step_milliseconds": round(median["original"], 1),
        "original_evaluation_batch_milliseconds": round(median["original_look"], 1),
        "original_minutes_computed": round(ORIGINAL.epochs * epoch / 60_000, 1),
        "equal_step_fp32_milliseconds": round(median["course_fp32"], 1),
        "equal_step_fastest_milliseconds": round(median["course_fastest"], 1),
        "equal_step_fp32_ratio": round(median["course_fp32"] / median["original"], 3),
        "equal_step_fastest_ratio": round(median["course_fastest"] / median["original"], 3),
        "equal_step_fastest_is": str(machine.choose(equal)),
        "airbench94_minutes_computed": round(AIRBENCH / 1e9 / machine.probe().gigaflops("bf16") / 60, 1),
    }


class Training:
    """One `resnet-course train` in a process of its own, with an empty home folder."""

    def __init__(self, options: Namespace, *more: str) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.options, self.out = options, self.folder / "run"
        self.environment = os.environ | {"RESNET_COURSE_HOME": str(self.folder / "home")}
        words = ["train", "--data", options.data, "--weights", options.weights, "--out", str(self.out), *more]
        self.start = time.perf_counter()
        process = subprocess.Popen(self._command(words), env=self.environment)
        watcher = threading.Thread(target=self._keep_every_best)
        self.done = False
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        self.minutes = (time.perf_counter() - self.start) / 60
        self.done = True
        watcher.join()
        if status:
            raise SystemExit(f"the training failed with status {status}")
        self.gigabytes = usage.ru_maxrss * 1024 / 1e9  # ru_maxrss counts kilobytes on Linux
        self.epochs = json.loads((self.out / "history.json").read_text(encoding="utf-8"))

    @staticmethod
    def _command(words: list[str]) -> list[str]:
        return [sys.executable, "-m", "resnet_course", *words]

    def _keep_every_best(self) -> None:
        """Copy best.pt whenever it has changed, and note the minutes: what was there on the way."""
        self.kept: list[tuple[float, Path]] = []
        best, seen = self.out / "best.pt", 0.0
        while not self.done:
            if best.exists() and best.stat().st_mtime > seen:
                seen, minutes = best.stat().st_mtime, (time.perf_counter() - self.start) / 60
                copy = self.folder / f"best_{len(self.kept)}.pt"
                shutil.copy(best, copy)
                self.kept.append((minutes, copy))
            time.sleep(0.5)

    def evaluate(self, checkpoint: Path | None = None) -> dict[str, object]:
        """What `resnet-course evaluate --json` says of best.pt, or another one, on the test split."""
        words = ["evaluate", str(checkpoint or self.out / "best.pt"), "--data", self.options.data, "--json"]
        done = subprocess.run(
            self._command(words), env=self.environment, check=True, capture_output=True, text=True
        )
        return json.loads(done.stdout)

    def row(self) -> dict[str, object]:
        """The figures of this run."""
        result = self.evaluate()
        return {
            "minutes": round(self.minutes, 2),
            "test_accuracy_percent": round(100 * result["accuracy"], 2),
            "interval_percent": [round(100 * end, 2) for end in result["interval"]],
            "ece": round(result["ece"], 4),
            "val_accuracy_percent": [round(100 * epoch["val_accuracy"], 2) for epoch in self.epochs],
            "epoch_seconds": [round(epoch["seconds"], 1) for epoch in self.epochs],
            "peak_memory_gigabytes": round(self.gigabytes, 2),
            "test_pictures": result["n"],
        }

    def remove(self) -> None:
        """Delete its files."""
        shutil.rmtree(self.folder)


def measure_laptop(options: Namespace) -> dict[str, object]:
    """LAPTOP with three seeds."""
    runs = []
    for seed in range(3):
        training = Training(options, "--recipe", "laptop", "--seed", str(seed))
        runs.append(training.row())
        training.remove()
    accuracies = [run["test_accuracy_percent"] for run in runs]
    return {
        "test_accuracy_percent": round(statistics.mean(accuracies), 2),
        "minutes": round(statistics.mean(run["minutes"] for run in runs), 2),
        "peak_memory_gigabytes": max(run["peak_memory_gigabytes"] for run in runs),
        "test_pictures": runs[0]["test_pictures"],
        "runs": {f"seed_{seed}": run for seed, run in enumerate(runs)},
    }


def measure_full(options: Namespace) -> dict[str, object]:
    """FULL, and what its checkpoint was worth on the way: whenever an epoch was better than all before it."""
    training = Training(options, "--recipe", "full")
    found = training.row()
    found["on_the_way"], best = {}, 0.0
    kept = iter(training.kept)
    for epoch in training.epochs:
        if epoch["val_accuracy"] > best:
            best = epoch["val_accuracy"]
            minutes, copy = next(kept)
            found["on_the_way"][f"after_epoch_{epoch['epoch']}"] = {
                "minutes": round(minutes, 2),
                "test_accuracy_percent": round(100 * training.evaluate(copy)["accuracy"], 2),
            }
    training.remove()
    return found


def measure_few(options: Namespace) -> dict[str, object]:
    """50 pictures of each class, from the pretrained weights and from random ones."""
    training = Training(options, "--recipe", "few", "--limit", "500")
    found = training.row()
    training.remove()
    splits = load(Settings(data=options.data, weights="none"))
    torch.manual_seed(0)
    # The same network from random: all of it must learn, and nothing can be computed beforehand.
    recipe = replace(
        FEW, train_from="all", cached_views=0, augmentation="crop_flip", image_size=64, epochs=30
    )
    model = transfer.build_model(len(splits.train.classes), "none", "all", 0.0)
    history = fit(model, splits.train.limit(500), splits.val.limit(500), recipe)
    random = evaluate(model, splits.test, recipe).accuracy
    found["from_random_test_accuracy_percent"] = round(100 * random, 2)
    found["from_random_seconds"] = round(history.seconds, 1)
    found["seconds"] = round(60 * found.pop("minutes"), 1)
    found["points_above_random"] = round(
        found["test_accuracy_percent"] - found["from_random_test_accuracy_percent"], 1
    )
    return found


def measure_growth(options: Namespace) -> dict[str, object]:
    """The minutes of LAPTOP with fewer pictures; all of them are in the part "laptop"."""
    minutes = {}
    for pictures in (5_000, 10_000, 25_000):
        training = Training(options, "--recipe", "laptop", "--limit", str(pictures))
        minutes[f"at_{pictures}"] = round(training.minutes, 2)
        training.remove()
    whole = len(load(Settings(data=options.data, weights=options.weights)).train)
    return {"minutes": minutes, "all_pictures": whole}


def measure_estimate(options: Namespace) -> dict[str, object]:
    """What `machine.estimate` predicts for LAPTOP at two sizes, against what 10,000 pictures then take."""
    splits = load(Settings(data=options.data, weights=options.weights))
    train, val = splits.train.limit(10_000), splits.val.limit(1_000)
    found = {}
    for size in (64, 128):
        recipe = replace(LAPTOP, image_size=size, epochs=3)
        model = transfer.build_model(len(train.classes), options.weights, recipe.train_from, 0.0)
        predicted = machine.estimate(recipe, len(train), len(val))
        with tempfile.TemporaryDirectory() as home:
            start = time.perf_counter()
            fit(model, train, val, recipe, home=home)
            seconds = time.perf_counter() - start
        found[f"at_{size}"] = {
            "predicted_seconds": round(predicted, 1),
            "measured_seconds": round(seconds, 1),
            "ratio": round(predicted / seconds, 2),
        }
    return found


def draw() -> None:
    """The figure: test accuracy against minutes, and for scale what was computed and not run."""
    measured, laptop, full = (recorded(name) for name in ("original_steps", "laptop", "full"))
    figure, axis = plt.subplots(figsize=(9, 4.6), layout="constrained")
    runs = list(laptop["runs"].values())
    axis.plot(
        [run["minutes"] for run in runs],
        [run["test_accuracy_percent"] for run in runs],
        "o",
        color=plots.BLUE,
        label="LAPTOP, three seeds",
    )
    way = [(at["minutes"], at["test_accuracy_percent"]) for at in full["on_the_way"].values()]
    axis.plot(*zip(*way, strict=True), "s-", color=plots.GREEN, label="FULL, whenever an epoch was better")
    scratch, original = measured["airbench94_minutes_computed"], measured["original_minutes_computed"]
    axis.plot(scratch, 94, "^", color=plots.GREY, label="from scratch (airbench94): time computed, not run")
    axis.axvline(original, color=plots.VERMILION, linestyle="--", label="original recipe: time computed")
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda minutes, _: f"{minutes:g}"))
    axis.set(xlabel="minutes from the command to the saved checkpoint, two cores", ylabel="test accuracy (%)")
    axis.set_xticks([2, 5, 10, 20, 50, 100, 200])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right", fontsize=9)
    figure.suptitle(
        f"CIFAR-10: {laptop['test_accuracy_percent']:.1f}% in {laptop['minutes']:.1f} minutes, "
        f"{full['test_accuracy_percent']:.1f}% in {full['minutes']:.1f}; the original's ten epochs take "
        f"{original:.0f}"
    )
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=110)


PARTS: dict[str, tuple[str, Callable[[Namespace], dict[str, object]]]] = {
    "steps": ("original_steps", measure_steps),
    "memory": ("memory", measure_memory),
    "compile": ("compile", measure_compile),
    "laptop": ("laptop", measure_laptop),
    "full": ("full", measure_full),
    "few": ("few", measure_few),
    "growth": ("growth", measure_growth),
    "estimate": ("estimate", measure_estimate),
}


def main() -> None:
    """Run the parts one after another, and record each as soon as it is done."""
    arguments = parser(__doc__)
    arguments.add_argument("parts", nargs="+", choices=(*PARTS, "figure"), metavar="PART")
    options = arguments.parse_args()
    for part in options.parts:
        if part == "figure":
            draw()
            continue
        name, measure = PARTS[part]
        record(name, measure(options), options.data_is, options.weights_are)


if __name__ == "__main__":
    main()
