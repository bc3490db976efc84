"""Whole trainings, parts of time_to_accuracy.py: from the command to the checkpoint, and what that is worth.

Every training is a process of its own with an empty home folder: images decoded, trunk pass, validation
included. The test split is looked at only after a training is over.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

from measuring import some_images, splits_of, weights_file
from record import recorded

from resnet_course import machine
from resnet_course.recipes import LAPTOP, Recipe
from resnet_course.teaching.baseline import measure_original
from resnet_course.training import fit
from resnet_course.transfer import build_model

A_FEW = 500  # images to train with, in all, where there are few


class Training:
    """One `resnet-course train` with a folder of its own, for as long as the block lasts."""

    def __init__(self, options: Namespace, *more: str) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.options, self.out = options, self.folder / "run"
        self.environment = os.environ | {"RESNET_COURSE_HOME": str(self.folder / "home")}
        words = ["train", "--data", options.data, "--weights", options.weights, "--out", str(self.out), *more]
        if options.quick:
            words += ["--limit", str(A_FEW), "--epochs", "1"]
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder)

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
            self._command(words), env=self.environment, check=True, stdout=subprocess.PIPE, text=True
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


def measure_laptop(options: Namespace) -> dict[str, object]:
    """LAPTOP with three seeds."""
    runs = {}
    for seed in range(options.rounds):
        with Training(options, "--recipe", "laptop", "--seed", str(seed)) as training:
            runs[f"seed_{seed}"] = training.row()
    return _with_means(runs)


def measure_full(options: Namespace) -> dict[str, object]:
    """FULL with the first seed that is not recorded yet, since a training takes long."""
    return _one_seed_more(options, "full")


def measure_top(options: Namespace) -> dict[str, object]:
    """TOP in the same way."""
    return _one_seed_more(options, "top")


def _one_seed_more(options: Namespace, recipe: str) -> dict[str, object]:
    """A recipe with the first seed that is not recorded yet.

    And what its checkpoint was worth on the way: whenever another epoch was kept.
    """
    runs = recorded(options.name).get("runs", {})
    seed = len(runs)
    with Training(options, "--recipe", recipe, "--seed", str(seed)) as training:
        found = training.row() | {"on_the_way": {}}
        ends = [*itertools.accumulate(epoch["seconds"] / 60 for epoch in training.epochs)]
        for minutes, copy in training.kept:
            epochs = sum(end <= minutes for end in ends)  # what was done before takes less than an epoch
            found["on_the_way"][f"after_epoch_{epochs}"] = {
                "minutes": round(minutes, 2),
                "test_accuracy_percent": round(100 * training.evaluate(copy)["accuracy"], 2),
            }
    return _with_means(runs | {f"seed_{seed}": found})


def _with_means(runs: dict[str, dict]) -> dict[str, object]:
    """The runs, and before them what they come to."""
    each = runs.values()
    return {
        "test_accuracy_percent": round(statistics.mean(run["test_accuracy_percent"] for run in each), 2),
        "minutes": round(statistics.mean(run["minutes"] for run in each), 2),
        "peak_memory_gigabytes": max(run["peak_memory_gigabytes"] for run in each),
        "test_pictures": next(iter(each))["test_pictures"],
        "runs": runs,
    }


def measure_few(options: Namespace) -> dict[str, object]:
    """FEW on folders of 10 and of 50 pictures a class in all, three draws each, judged on the test split.

    Beside it 40 steps of the original, before and after.
    """
    found: dict[str, object] = {}
    train, weights = some_images(options), weights_file(options.weights)

    def original() -> list[float]:
        return measure_original(train, steps=options.steps, weights=weights)["step_milliseconds"]

    steps = original()
    for count in (10, 50):
        runs = []
        for draw in range(options.rounds):
            with drawn_folder(options.data, count, draw) as folder:
                few = Namespace(**vars(options) | {"data": folder})
                with Training(few, "--recipe", "few", "--seed", str(draw)) as training:
                    training.options = options  # to judge by
                    runs.append(training.row())
        found[f"at_{count}"] = {
            "test_accuracy_percent": round(statistics.mean(run["test_accuracy_percent"] for run in runs), 2),
            "seconds": round(60 * statistics.median(run["minutes"] for run in runs), 1),
            "runs": {f"draw_{draw}": run for draw, run in enumerate(runs)},
        }
    median = statistics.median(steps + original())
    return found | {"forty_original_steps_seconds": round(40 * median / 1000, 1)}


@contextmanager
def drawn_folder(data: str, count: int, seed: int) -> Iterator[str]:
    """`folder:DIR` with so many training pictures of each class, as someone has it who has no more."""
    generator = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        for directory in sorted(Path(data.removeprefix("folder:"), "train").iterdir()):
            Path(folder, directory.name).mkdir()
            for file in generator.sample(sorted(directory.iterdir()), count):
                shutil.copy(file, Path(folder, directory.name))
        yield f"folder:{folder}"


def measure_growth(options: Namespace) -> dict[str, object]:
    """The minutes of LAPTOP with fewer images; all of them are in the part "laptop"."""
    minutes = {}
    for images in (5_000, 10_000, 25_000):
        with Training(options, "--recipe", "laptop", "--limit", str(images)) as training:
            minutes[f"at_{images}"] = round(training.minutes, 2)
    return {"minutes": minutes, "all_pictures": len(splits_of(options).train)}


def measure_estimate(options: Namespace) -> dict[str, object]:
    """What `machine.estimate` predicts for LAPTOP at two sizes, against what 10,000 images then take."""
    return {f"at_{size}": _estimate_and_time(options, _three_epochs(size)) for size in (64, 128)}


def _three_epochs(image_size: int) -> Recipe:
    return replace(LAPTOP, image_size=image_size, epochs=3)


def _estimate_and_time(options: Namespace, recipe: Recipe) -> dict[str, float]:
    splits = splits_of(options)
    train, val = splits.train.limit(10_000), splits.val.limit(1_000)
    if options.quick:
        train, val = train.limit(A_FEW), val.limit(A_FEW)
    model = build_model(len(train.classes), options.weights, recipe.train_from, recipe.dropout)
    predicted = machine.estimate(recipe, len(train), len(val))
    with tempfile.TemporaryDirectory() as home:
        start = time.perf_counter()
        fit(model, train, val, recipe, home=home)
        seconds = time.perf_counter() - start
    return {
        "predicted_seconds": round(predicted, 1),
        "measured_seconds": round(seconds, 1),
        "ratio": round(predicted / seconds, 2),
    }
