"""What cached features save, what each kind of regularisation gains, and freezing layer3 half-way.

    uv run python benchmarks/freezing.py PART --data folder:DIR --weights FILE --data-is … --weights-are …

PART is "cache" (seconds with and without cached features), "regularise" (each kind, with all images, over
three seeds) or "progressive" (after Brock et al., "FreezeOut", 2017, arXiv 1706.04983: two epochs of layer3
and all after it, then two more, with layer3 or without it on its features, computed once more). Accuracies
are those on the validation split.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import torch
from measuring import in_turn
from record import parser, record

from resnet_course import transfer
from resnet_course.common import console
from resnet_course.data import ImageSet, LabelledSet, Splits, load
from resnet_course.evaluation import evaluate
from resnet_course.features import cache_features
from resnet_course.features.feature_set import FeatureSet
from resnet_course.recipes import Recipe
from resnet_course.resnet import ResNet
from resnet_course.settings import Settings
from resnet_course.training import fit, fit_linear

SEEDS = (0, 1, 2)
PROGRESSIVE = 5_000  # images of the training that freezes on its way
BASE = Recipe(name="freezing", image_size=64, augmentation="flip", batch_size=128, learning_rate=1e-3)

# The same as in notebook 03.
VARIANTS: dict[str, dict[str, Any]] = {
    "none": {},
    "dropout": {"dropout": 0.5},
    "weight decay": {"weight_decay": 0.1},
    "decay all": {"weight_decay": 0.1, "decay_all": True},
    "label smoothing": {"label_smoothing": 0.1},
    "averaged weights": {"average": 0.95},
}


class Bench:
    """The images, their features, and one training after another."""

    def __init__(self, splits: Splits, settings: Settings, data: str, weights: str) -> None:
        """data, weights: what they are, in words."""
        self.splits, self.settings = splits, settings
        self.data, self.weights = data, weights

    def model(self, start: str, seed: int) -> ResNet:
        """A network for a way to start. The layers that have no weights yet are drawn from the seed."""
        torch.manual_seed(seed)
        classes = len(self.splits.train.classes)
        return transfer.build_model(classes, self.settings.weights, start, dropout=0.0)

    def cached(self, model: ResNet, image_set: ImageSet, recipe: Recipe, views: int | None) -> FeatureSet:
        """Features for training (views a number) or for validation (None)."""
        return cache_features(model, image_set, recipe, self.settings.home, views=views)

    def epoch_seconds(self, start: str, recipe: Recipe, train: LabelledSet, val: LabelledSet) -> list[float]:
        """How long an epoch on these images or features takes."""
        return [fit(self.model(start, 0), train, val, recipe).seconds]


def cache(bench: Bench) -> dict[str, Any]:
    """Epochs with and without cached features in turn; the linear layer on all images; peak memory."""
    measured: dict[str, Any] = {}
    for size in (96, 128):
        measured[f"at_{size}"] = epochs_in_turn(bench, size)
        print(size, measured[f"at_{size}"], flush=True)
    measured |= linear_layer(bench)
    measured["peak_memory_gigabytes"] = round(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2
    )
    return measured


def epochs_in_turn(bench: Bench, size: int) -> dict[str, float]:
    """Seconds of an epoch on 10,000 images, cached and through the whole network."""
    through = bench.splits.train.limit(10_000), bench.splits.val.limit(500)
    seconds: dict[str, float] = {}
    for start in ("layer4", "fc"):
        # In fp32: where a trunk is fastest in int8, an epoch through it would be shorter.
        recipe = replace(BASE, image_size=size, augmentation="none", train_from=start, precision="fp32")
        model = bench.model(start, 0)
        cached = bench.cached(model, through[0], recipe, 1), bench.cached(model, through[1], recipe, None)
        ways = {
            f"{start}_cached": partial(bench.epoch_seconds, start, recipe, *cached),
            f"{start}_through": partial(bench.epoch_seconds, start, recipe, *through),
        }
        seconds |= in_turn(ways)
    return {
        **{f"{name}_seconds": round(value, 2) for name, value in seconds.items()},
        "layer4_times_faster": round(seconds["layer4_through"] / seconds["layer4_cached"], 2),
        "fc_times_faster": round(seconds["fc_through"] / seconds["fc_cached"], 1),
    }


def linear_layer(bench: Bench) -> dict[str, float]:
    """The best linear layer on the features of all images: its seconds and its accuracy."""
    model = bench.model("fc", 0)
    recipe = replace(BASE, image_size=96, augmentation="none", train_from="fc")
    train = bench.cached(model, bench.splits.train, recipe, 1)
    val = bench.cached(model, bench.splits.val, recipe, None)
    start = time.perf_counter()
    head = fit_linear(train.read(torch.arange(len(train))).flatten(1), train.labels, len(train.classes))
    seconds = time.perf_counter() - start
    right = head(val.read(torch.arange(len(val))).flatten(1)).argmax(1) == val.labels
    return {
        "linear_layer_seconds": round(seconds, 1),
        "linear_layer_pictures": len(train),
        "linear_layer_percent": round(100 * float(right.float().mean()), 2),
    }


def regularise(bench: Bench) -> dict[str, Any]:
    """Layer4 and head on the features of all images, with one kind of regularisation at a time."""
    accuracies: dict[str, list[float]] = {}
    for name, changes in VARIANTS.items():
        for seed in SEEDS:
            model = bench.model("layer4", seed)
            recipe = replace(BASE, train_from="layer4", weight_decay=0.0, seed=seed)
            recipe = replace(recipe, **changes)
            train = bench.cached(model, bench.splits.train, recipe, 2)
            val = bench.cached(model, bench.splits.val, recipe, None)
            history = fit(model, train, val, recipe)
            accuracies.setdefault(name, []).append(100 * history.epochs[-1]["val_accuracy"])
        print(name, accuracies[name], f"{history.seconds:.1f} s", flush=True)
    means = {name: statistics.mean(values) for name, values in accuracies.items()}
    return {
        "pictures": len(bench.splits.train),
        "epochs": BASE.epochs,
        "validation_accuracy_percent": {n: [round(v, 2) for v in values] for n, values in accuracies.items()},
        "largest_gain_points": round(max(means.values()) - means["none"], 1),
        "largest_spread_points": round(max(max(v) - min(v) for v in accuracies.values()), 1),
    }


def progressive(bench: Bench) -> dict[str, Any]:
    """Both ways in turn, with each seed: they differ in the second half of the training alone."""
    half = replace(
        BASE,
        image_size=128,
        epochs=2,
        train_from="layer3",
        layer_decay=0.6,
        label_smoothing=0.1,
        test_views=2,
    )
    later = replace(half, learning_rate=3e-4)
    frozen = replace(later, train_from="layer4", layer_decay=1.0, cached_views=half.epochs)
    runs: dict[str, list[dict[str, float]]] = {"learns_on": [], "frozen": []}
    images, val = bench.splits.train.limit(PROGRESSIVE), bench.splits.val
    for seed in SEEDS:
        for name, second in (("learns_on", later), ("frozen", frozen)):
            recipe = replace(second, first=replace(half, seed=seed), seed=seed)
            model = bench.model("layer3", seed)
            with TemporaryDirectory() as home:
                # Without validation, which costs the one way more than the other.
                history = fit(model, images, None, recipe, home=home)
            accuracy = 100 * evaluate(model, val, recipe).accuracy
            runs[name].append({"seconds": round(history.seconds, 1), "percent": round(accuracy, 2)})
            print(seed, name, runs[name][-1], flush=True)
    pairs = list(zip(runs["frozen"], runs["learns_on"], strict=True))
    return {
        "pictures": len(images),
        "validation_pictures": len(val),
        "epochs": recipe.all_epochs,
        "runs": runs,
        "times_as_long": round(statistics.median(f["seconds"] / a["seconds"] for f, a in pairs), 2),
        "points": [round(f["percent"] - a["percent"], 2) for f, a in pairs],
        "mean_percent": {
            name: round(statistics.mean(run["percent"] for run in found), 1) for name, found in runs.items()
        },
    }


PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "cache": cache,
    "regularise": regularise,
    "progressive": progressive,
}


def main() -> None:
    """Run one part and record it."""
    options = parser(__doc__)
    options.add_argument("part", choices=PARTS)
    options = options.parse_args()
    settings = replace(Settings.from_env(), data=options.data, weights=options.weights)
    with console.quiet():
        bench = Bench(load(settings), settings, options.data_is, options.weights_are)
        measured = PARTS[options.part](bench)
    record(f"freezing_{options.part}", measured, options.data_is, options.weights_are)


if __name__ == "__main__":
    main()
