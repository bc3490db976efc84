"""How reliably a deeper plain stack is worse: the experiment of notebook 01, over seeds or over many epochs.

uv run python benchmarks/degradation.py --images 900 --width 8 --data shapes --weights none …
uv run python benchmarks/degradation.py --images 5000 --width 16 --data folder:DIR --weights none …
uv run python benchmarks/degradation.py --images 2000 --width 8 --image-size 16 --seeds 1 --epochs 30 …

With --epochs it writes resnet_course/teaching/tables/degradation_table.json too, which notebook 01 draws.
"""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from statistics import mean

import torch
from record import RESULTS, parser, record

from resnet_course.common.files import write_atomically
from resnet_course.data import Splits, load
from resnet_course.recipes import STACK
from resnet_course.resnet.stacks import stack
from resnet_course.settings import Settings
from resnet_course.training import History, fit

DEPTHS = (8, 38)
TABLE = RESULTS.parents[1] / "resnet_course" / "teaching" / "tables" / "degradation_table.json"


def main() -> None:
    """Train the four stacks for every seed and record their errors."""
    arguments = parser(__doc__)
    arguments.add_argument("--images", type=int, required=True)
    arguments.add_argument("--width", type=int, required=True)
    arguments.add_argument("--image-size", type=int, default=STACK.image_size)
    arguments.add_argument("--seeds", type=int, default=10)
    arguments.add_argument("--epochs", type=int, help="more than notebook 01 trains; every epoch is recorded")
    options = arguments.parse_args()
    splits = load(Settings(mode="reduced" if options.data == "shapes" else "laptop", data=options.data))
    histories = []
    for seed in range(options.seeds):
        histories.append(train_stacks(splits, options, seed))
        print(seed, {name: percent(found)[-1] for name, found in histories[-1].items()}, flush=True)
    if options.epochs:
        record_long(histories, options)
    else:
        record_short(histories, options)


def train_stacks(splits: Splits, options: Namespace, seed: int) -> dict[str, History]:
    """The four stacks with one seed, by name, such as "plain_8"."""
    train, val = splits.train.limit(options.images, seed), splits.val.limit(200, seed)
    epochs = options.epochs or STACK.epochs
    recipe = replace(STACK, seed=seed, epochs=epochs, image_size=options.image_size)
    histories = {}
    for skip in (False, True):
        for depth in DEPTHS:
            torch.manual_seed(seed)
            model = stack(depth, skip=skip, width=options.width)
            histories[f"{'skip' if skip else 'plain'}_{depth}"] = fit(model, train, val, recipe)
    return histories


def percent(history: History, split: str = "train") -> list[float]:
    """The error of every epoch in percent."""
    return [round(100 * (1 - accuracy), 1) for accuracy in history.values(f"{split}_accuracy")]


def record_short(histories: list[dict[str, History]], options: Namespace) -> None:
    """Record the training errors at the end, and how often depth hurts and helps."""
    rows = [{name: percent(history)[-1] for name, history in found.items()} for found in histories]
    shallow, deep = DEPTHS
    measured = {
        "pictures": options.images,
        "width": options.width,
        "seeds": options.seeds,
        "deeper_plain_is_worse": sum(row[f"plain_{deep}"] > row[f"plain_{shallow}"] for row in rows),
        "deeper_with_skips_is_better": sum(row[f"skip_{deep}"] < row[f"skip_{shallow}"] for row in rows),
        "mean_training_error_percent": {name: round(mean(row[name] for row in rows), 1) for name in rows[0]},
        "training_error_percent_by_seed": rows,
    }
    name = "shapes" if options.data == "shapes" else "pictures"
    record(f"degradation_{name}", measured, options.data_is, options.weights_are)


def record_long(histories: list[dict[str, History]], options: Namespace) -> None:
    """Record the errors of every epoch, and write them as the table that notebook 01 draws."""
    names = list(histories[0])
    curves = {
        split: {name: [percent(found[name], split) for found in histories] for name in names}
        for split in ("train", "val")
    }
    measured = {
        "pictures": options.images,
        "width": options.width,
        "image_size": options.image_size,
        "seeds": options.seeds,
        "epochs": options.epochs,
        "last_training_error_percent": {
            name: round(mean(run[-1] for run in runs), 1) for name, runs in curves["train"].items()
        },
    }
    record("degradation_long", measured, options.data_is, options.weights_are)
    table = {"data": options.data_is, **measured, "error_percent": curves}
    text = json.dumps(table, indent=1) + "\n"
    write_atomically(TABLE, lambda file: file.write(text.encode()))


if __name__ == "__main__":
    main()
