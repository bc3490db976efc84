"""All that was tried for LAPTOP and FULL, with what did not help: validation accuracy after each epoch.

    uv run python benchmarks/frontier.py --data folder:DIR --weights FILE --data-is … --weights-are … NAME…

Only the validation split is looked at. Rows that are not run again keep their earlier figures.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace

import torch
from record import RESULTS, parser, record, recorded

from resnet_course import machine
from resnet_course.common.files import write_atomically
from resnet_course.data import load
from resnet_course.evaluation import evaluate
from resnet_course.recipes import FULL, LAPTOP, Recipe
from resnet_course.settings import Settings
from resnet_course.training import fit
from resnet_course.transfer import build_model

TABLE = RESULTS.parents[1] / "resnet_course" / "teaching" / "tables" / "frontier_table.json"
CACHED = Recipe(
    "cached", 128, epochs=3, train_from="layer4", augmentation="flip", cached_views=2, test_views=2
)
# layer3, layer4 and head from the start: the head's parts learn faster than layer3
LATE = Recipe("late", 128, epochs=3, train_from="layer3", learning_rate=1e-3, layer_decay=0.6, test_views=2)
SMALL = replace(LATE, image_size=64)  # a quarter of the pixels, to compare what does not depend on them
FEW = replace(CACHED, epochs=12, batch_size=32)  # for 50 images a class

CANDIDATES: dict[str, Recipe] = {
    "layer3, 128 px, 3 epochs": LATE,
    "layer3, 128 px, 3 epochs, one rate 5e-4": replace(LATE, learning_rate=5e-4, layer_decay=1.0),
    "layer3, 128 px, 3 epochs, batches of 64": replace(LATE, batch_size=64, learning_rate=7e-4),
    # layer4 and head on cached features, and more layers after that
    "cached, 96 px, 3 epochs": replace(CACHED, image_size=96),
    "cached 3, then layer3 2 epochs": replace(
        LATE, epochs=2, learning_rate=3e-4, layer_decay=1.0, first=CACHED
    ),
    # the same small training in other ways
    "layer3, 64 px, 3 epochs": SMALL,
    "layer3, 64 px, 3 epochs, SGD": replace(SMALL, optimizer="sgd", learning_rate=0.05, weight_decay=5e-4),
    "layer3, 64 px, 3 epochs, smoothing 0.1": replace(SMALL, label_smoothing=0.1),
    "layer3, 64 px, 3 epochs, constant rate, averaged": replace(
        SMALL, schedule="constant", learning_rate=5e-4, average=0.997
    ),
    # 50 images a class
    "few, cached, 128 px": FEW,
    "few, cached, 96 px": replace(FEW, image_size=96),
    "few, cached, 128 px, 30 epochs": replace(FEW, epochs=30),
    "few, from random, 128 px": replace(FEW, train_from="all", cached_views=0),
}


def main() -> None:
    """Train the named candidates, one after another, and record each as soon as it is done."""
    arguments = parser(__doc__)
    arguments.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CANDIDATES))
    options = arguments.parse_args()
    settings = replace(Settings.from_env(), data=options.data, weights=options.weights)
    if unknown := set(options.names) - set(CANDIDATES):
        arguments.error(f"unknown: {', '.join(unknown)}; it must be one of: {', '.join(CANDIDATES)}")
    splits = load(settings)
    for name in options.names:
        recipe = CANDIDATES[name]
        # Who has 500 images to learn from has not 5,000 to choose the best epoch with.
        train, val = splits.train.per_class(50), splits.val.limit(500)
        if not name.startswith("few"):
            train, val = splits.train, splits.val
        torch.manual_seed(recipe.seed)
        weights = "none" if "random" in name else options.weights
        model = build_model(len(train.classes), weights, recipe.phases[0].train_from, recipe.dropout)
        machine.choose(recipe)
        start = time.perf_counter()
        history = fit(model, train, val, recipe, home=settings.home)
        seconds = time.perf_counter() - start
        best = evaluate(model, splits.val, recipe).accuracy
        row = {
            "val_accuracy_percent": [round(100 * share, 2) for share in history.values("val_accuracy")],
            "best_on_all_val_percent": round(100 * best, 2),
            "seconds_of_epochs": round(history.seconds, 1),
            # Features that an earlier candidate has left on the disk are read, not made again.
            "seconds_of_all": round(seconds, 1),
        }
        rows = recorded("frontier") | {name: row}
        record("frontier", rows, options.data_is, options.weights_are)
    write_table(options.data_is, options.weights_are)


def write_table(data: str, weights: str) -> None:
    """What the widget of notebook 04 shows, in a file that is installed with the package."""
    measured = {}
    for name, row in recorded("frontier").items():
        recipe = CANDIDATES[name]
        if not name.startswith("few"):
            measured[name] = {
                "size": recipe.image_size,
                "train_from": recipe.train_from,
                "epochs": recipe.all_epochs,
                "accuracy_percent": row["best_on_all_val_percent"],
                "seconds": row["seconds_of_all"],
            }
    # What was chosen, as time_to_accuracy.py measured it: from the command to the saved checkpoint.
    chosen = (LAPTOP, recorded("laptop")["runs"]["seed_0"]), (FULL, recorded("full"))
    for recipe, run in chosen:
        measured[recipe.name.upper()] = {
            "size": recipe.image_size,
            "train_from": recipe.train_from,
            "epochs": recipe.all_epochs,
            "accuracy_percent": max(run["val_accuracy_percent"]),
            "seconds": round(60 * run["minutes"], 1),
        }
    text = json.dumps({"data": data, "weights": weights, "measured": measured}, indent=1, ensure_ascii=False)
    write_atomically(TABLE, lambda file: file.write(text.encode() + b"\n"))


if __name__ == "__main__":
    main()
