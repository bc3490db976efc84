"""What to train with N images a class: head, layer4, more, all; over several draws and seeds.

    uv run python benchmarks/strategies.py --data folder:DIR --weights FILE --data-is … --weights-are …
        [--counts 10 30] [--strategies head layer4] [--seeds 3] [--table flowers]

It writes one of the tables in resnet_course/training/planning, cell by cell; a cell that is there is not
measured again. Every network is judged once, after its last epoch, on images of the test split, the same for
all; the images that it learns from are drawn anew with every seed. The seconds are those of `fit` on decoded
images with an empty home folder: trunk pass and epochs. They are of the processor that the table names; on
another one only accuracies are added.
With --table flowers (and --counts 50 350) the data are a folder of photographs, of which three of ten are
kept back to judge by.
"""

from __future__ import annotations

import json
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from kept_back import kept_back
from record import RESULTS, parser, recorded

from resnet_course import machine
from resnet_course.common import console
from resnet_course.common.files import write_atomically
from resnet_course.data import ImageSet, load
from resnet_course.evaluation import evaluate
from resnet_course.recipes import STRATEGIES, strategy
from resnet_course.settings import Settings
from resnet_course.training import fit
from resnet_course.training.planning import TABLES
from resnet_course.transfer import build_model

FOLDER = RESULTS.parents[1] / "resnet_course" / "training" / "planning"
COUNTS = (10, 50, 150, 500, 1_500, 4_500)  # images a class; the last are all of CIFAR-10's
JUDGED = 100  # test images of each class of CIFAR-10
SPLIT = 5  # of photographs; `minutes.py photographs` judges the plans by those of 0 to 4
# What time_to_accuracy.py has measured already, on all training and 5,000 test images.
TAKEN = {
    ("laptop", 4_500): ("laptop_avx2", "laptop_amx"),
    ("full", 4_500): ("full_amx",),
    ("top", 4_500): ("top_amx",),
}
TIMED = "rows", "seconds"  # of the table, by strategy and number of images


def main() -> None:
    """Measure every cell that is not in the table yet."""
    arguments = parser(__doc__)
    arguments.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    arguments.add_argument("--strategies", nargs="+", default=[*STRATEGIES], choices=[*STRATEGIES])
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--table", default="CIFAR-10", choices=[*TABLES])
    options = arguments.parse_args()
    file = FOLDER / TABLES[options.table]
    if options.table == "flowers":
        with kept_back(options, SPLIT) as (_, splits):
            _measure_all(options, splits.train, splits.test, file)
    else:
        splits = load(replace(Settings.from_env(), data=options.data, weights=options.weights))
        _measure_all(options, splits.train, splits.test.per_class(JUDGED), file)


def _measure_all(options: Namespace, train: ImageSet, test: ImageSet, file: Path) -> None:
    """Every cell that the table in `file` lacks."""
    table = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"rows": {}}
    table |= {"data": options.data_is, "weights": options.weights_are, "judged": len(test)}
    here = f"{machine.processor()}, {machine.usable_cores()} cores"
    timed = table.setdefault("timed_on", here) == here
    for count in options.counts:
        for seed in range(options.seeds):
            for name in options.strategies:
                runs, seconds = (table[k].setdefault(name, {}).setdefault(str(count), []) for k in TIMED)
                if (name, count) in TAKEN and not runs:
                    found = [recorded(key) for key in TAKEN[name, count]]
                    each = [run for one in found for run in one["runs"].values()]
                    runs += [run["test_accuracy_percent"] for run in each]
                if len(runs) <= seed:
                    accuracy, taken = _measure(options, name, train.per_class(count, seed), test, seed)
                    runs.append(accuracy)
                    seconds += [taken] if timed else []
                    print(name, count, seed, accuracy, taken, flush=True)
                    _write(table, file)
    _write(table, file)


def _measure(
    options: Namespace, name: str, images: ImageSet, test: ImageSet, seed: int
) -> tuple[float, float]:
    """The accuracy in percent and the seconds of one training."""
    recipe = replace(strategy(name, len(images)), seed=seed)
    torch.manual_seed(seed)
    model = build_model(len(images.classes), options.weights, recipe.train_from, recipe.dropout)
    with console.quiet(), TemporaryDirectory() as home:
        start = time.perf_counter()
        history = fit(model, images, None, recipe, home=home)
        seconds = time.perf_counter() - start
        accuracy = evaluate(model, test, replace(history.recipe, test_views=2)).accuracy
    return round(100 * accuracy, 2), round(seconds, 1)


def _write(table: dict[str, Any], file: Path) -> None:
    for key in TIMED:  # in the order of the strategies, whichever was measured last
        table[key] = {name: table[key][name] for name in STRATEGIES if name in table[key]}
    text = json.dumps(table, indent=1) + "\n"
    write_atomically(file, lambda open_file: open_file.write(text.encode()))


if __name__ == "__main__":
    main()
