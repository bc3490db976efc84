"""The best network in so many minutes: the grid of `train --minutes`, and fastai's `fine_tune` beside it.

    uv run python benchmarks/minutes.py grid --data folder:DIR --weights FILE --data-is … --weights-are …
        --machine amx [--counts 10 50] [--minutes 0.5 2] [--seeds 3]
    uv run --with fastai==2.8.* python benchmarks/minutes.py fastai … [--counts 10 50 500]
    uv run --with fastai==2.8.* python benchmarks/minutes.py photographs … --minutes 1 --seeds 5
    uv run python benchmarks/minutes.py sizes … --seeds 5 [--strategies head]

Each cell draws so many training images of each class into a folder of its own, with a home folder of its own,
and is judged on test images of DIR, the same for all. `grid` times the whole command, reading included.
`fastai` times from loaded data on: fastai's five epochs, then ours in the same time, then in a quarter of it.
`photographs` keeps three of ten pictures of each class back, another three with every seed, and
judges by them: ours in so many minutes, a linear probe on frozen features at 224 pixels, and fastai.
`sizes` judges by the same, with strategies at their own number of pixels and, where the photographs have
as many, at 224.
What is in results.json already is not measured again.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from kept_back import kept_back
from record import named, parser, record, recorded
from trainings import Training, drawn_folder

from resnet_course.data import ImageSet, Splits, load, load_split
from resnet_course.evaluation import evaluate, mcnemar
from resnet_course.recipes import DETAILED, Recipe, strategy, with_detail
from resnet_course.resnet import ResNet
from resnet_course.settings import Settings
from resnet_course.training import all_that_may_learn, checkpoint, fit
from resnet_course.training.planning import PlanError, fit_in
from resnet_course.transfer import build_model
from resnet_course.transfer.weights import load_weights

JUDGED, EPOCHS, SIZE = 100, 5, 128  # test images of each class; fastai's epochs; its pixels a side


def main() -> None:
    """Measure every cell that is not recorded yet, and record each as soon as it is done."""
    arguments = parser(__doc__)
    arguments.add_argument("part", choices=("grid", "fastai", "photographs", "sizes"))
    arguments.add_argument("--counts", type=int, nargs="+", default=(10, 50, 500, 4_500))
    arguments.add_argument("--minutes", type=float, nargs="+", default=(0.5, 2, 5, 20))
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--strategies", nargs="+", default=("head", "layer4", "few"))
    options = arguments.parse_args()
    options.quick = False
    measure = {
        "grid": measure_grid,
        "fastai": measure_fastai,
        "photographs": measure_photographs,
        "sizes": measure_sizes,
    }[options.part]
    name = named(f"minutes_{options.part}", options)
    if options.part in ("photographs", "sizes"):
        folder = Path(options.data.removeprefix("folder:"))
        name, options.counts = f"{name}_{folder.name.replace('-', '_')}", (0,)
    for seed in range(options.seeds):
        for count in options.counts:
            for minutes in options.minutes if options.part in ("grid", "photographs") else (None,):
                cell = f"at_{count}_seed_{seed}" if count else f"seed_{seed}"
                cell += f"_in_{minutes:g}_min" if minutes else ""
                found = recorded(name)
                if cell not in found:
                    found[cell] = measure(options, count, seed, minutes)
                    if not count:
                        found["mean"] = _means([value for key, value in found.items() if key != "mean"])
                    record(name, found, options.data_is, options.weights_are)


def _means(cells: list[dict[str, Any]]) -> dict[str, float]:
    """The mean over cells of every figure that is a single number."""
    figures = [name for name, value in cells[0].items() if isinstance(value, float)]
    return {name: round(statistics.mean(cell[name] for cell in cells), 2) for name in figures}


def measure_grid(options: Namespace, count: int, seed: int, minutes: float) -> dict[str, Any]:
    """One command `train --minutes`: its plan, its seconds, its accuracy."""
    with drawn_folder(options.data, count, seed) as folder:
        own = Namespace(**vars(options) | {"data": folder})
        with Training(own, "--minutes", f"{minutes:g}", "--seed", str(seed)) as training:
            training.options = options  # to judge by
            result, history = training.evaluate(), training.epochs
            recipe = checkpoint.load(training.out / "best.pt").recipe.name
    return {
        "seconds": round(60 * training.minutes, 1),
        "part_of_the_time": round(training.minutes / minutes, 3),
        "test_accuracy_percent": round(100 * result["accuracy"], 2),
        "test_pictures": result["n"],
        "epochs": len(history),
        "recipe": recipe,
    }


def measure_fastai(options: Namespace, count: int, seed: int, _: None) -> dict[str, Any]:
    """fastai's `fine_tune`, and `fit_in` in the same time and in a quarter of it."""
    settings = replace(Settings.from_env(), weights=options.weights)
    test = load_split(replace(settings, data=options.data), "test").per_class(JUDGED)
    found: dict[str, Any] = {"test_pictures": len(test)}
    with drawn_folder(options.data, count, seed) as folder, tempfile.TemporaryDirectory() as home:
        directory = Path(folder.removeprefix("folder:"))
        found |= _fine_tune(directory, options.weights, test, seed, SIZE)
        # As fastai, which keeps a tenth back to validate with and nothing to test with.
        splits = load(replace(settings, data=folder, home=Path(home), test_share=0.0))
        for name, part in (("same_time", 1.0), ("quarter", 0.25)):
            began = time.perf_counter()
            minutes = part * found["fastai_seconds"] / 60
            try:
                fitted = fit_in(minutes, splits, weights=options.weights, seed=seed, home=home)
            except PlanError as error:  # a quarter of the few seconds that fastai takes for 100 images
                found[name] = {"error": str(error)}
                continue
            seconds = time.perf_counter() - began
            accuracy = evaluate(fitted.model, test, fitted.history.recipe).accuracy
            found[name] = {
                "seconds": round(seconds, 1),
                "plan": fitted.plan.recipe.name,
                "images": fitted.plan.images,
                "test_accuracy_percent": round(100 * accuracy, 2),
            }
    return found


def measure_photographs(options: Namespace, _: int, seed: int, minutes: float) -> dict[str, Any]:
    """`fit_in`, a linear probe at 224 pixels and fastai on the same photographs, all judged by others."""
    with kept_back(options, seed) as (scratch, splits):
        began = time.perf_counter()
        fitted = fit_in(minutes, splits, weights=options.weights, seed=seed, home=scratch)
        seconds = time.perf_counter() - began
        ours = evaluate(fitted.model, splits.test, fitted.history.recipe)
        probe = evaluate(*_linear_probe(splits, options.weights, seed, scratch))
        size = min(DETAILED, splits.train.stored_size)  # enlarging what is smaller shows nothing more
        peer = _fine_tune(scratch / "photographs" / "train", options.weights, splits.test, seed, size)
    found = mcnemar(probe, ours)
    return {
        "seconds": round(seconds, 1),
        "plan": fitted.plan.recipe.name,
        "test_pictures": len(splits.test),
        "test_accuracy_percent": round(100 * ours.accuracy, 2),
        "what_training_said_percent": round(100 * fitted.history.best["val_accuracy"], 2),
        "linear_probe_224_percent": round(100 * probe.accuracy, 2),
        "ahead_of_the_probe_points": round(100 * found.difference, 2),
        "interval_points": [round(100 * end, 2) for end in found.interval],
        **peer,
    }


def measure_sizes(options: Namespace, _: int, seed: int, __: None) -> dict[str, Any]:
    """In percent, strategies at their own number of pixels and at 224: right, and what training said."""
    found = {}
    with kept_back(options, seed) as (scratch, splits):
        train, val = all_that_may_learn(splits)
        for name in options.strategies:
            own = replace(strategy(name, len(train)), seed=seed)
            detailed = (with_detail(own),) if train.stored_size >= DETAILED else ()
            for recipe in (own, *detailed):
                model = build_model(len(train.classes), options.weights, recipe.train_from, 0.0)
                history = fit(model, train, val, recipe, home=scratch)
                said = history.best["val_accuracy"]
                accuracy = evaluate(model, splits.test, history.recipe).accuracy
                cell = f"{name.replace(', ', '_').replace(' ', '_')}_{recipe.image_size}"
                found[f"{cell}_percent"] = round(100 * accuracy, 2)
                found[f"{cell}_said_percent"] = round(100 * said, 2)
    return found | {"test_pictures": len(splits.test)}


def _linear_probe(splits: Splits, weights: str, seed: int, home: Path) -> tuple[ResNet, ImageSet, Recipe]:
    """A linear layer on frozen features at 224 pixels, from all photographs, as `evaluate` takes it."""
    recipe = replace(strategy("head", len(splits.train)), image_size=224, seed=seed, test_views=1)
    train, _ = all_that_may_learn(splits)
    model = build_model(len(train.classes), weights, recipe.train_from, 0.0)
    fit(model, train, None, recipe, home=home)
    return model, splits.test, recipe


def _fine_tune(directory: Path, weights: str, test: ImageSet, seed: int, size: int) -> dict[str, Any]:
    """fastai as its documentation has it: vision_learner, its augmentation, a tenth for validation."""
    from fastai.vision.all import ImageDataLoaders, PILImage, Resize, accuracy, aug_transforms, set_seed
    from fastai.vision.learner import model_meta, vision_learner
    from torchvision.models import resnet18

    def pretrained_resnet18(**_: object) -> torch.nn.Module:
        model = resnet18()
        model.load_state_dict(
            {n: t for n, t in load_weights(weights).items() if not n.startswith("fc.")}, strict=False
        )
        return model

    model_meta[pretrained_resnet18] = model_meta[resnet18]
    set_seed(seed)
    loaders = ImageDataLoaders.from_folder(
        directory,
        valid_pct=0.1,
        seed=seed,
        item_tfms=Resize(size),
        batch_tfms=aug_transforms(),
        num_workers=0,
        device="cpu",
    )
    learner = vision_learner(loaders, pretrained_resnet18, metrics=accuracy)
    began = time.perf_counter()
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(EPOCHS)
    seconds = time.perf_counter() - began
    images = [PILImage.create(image.permute(1, 2, 0).numpy()) for image in test.images]
    probabilities, _ = learner.get_preds(dl=loaders.test_dl(images))
    predicted = [loaders.vocab[place] for place in probabilities.argmax(1).tolist()]
    truth = [test.classes[label] for label in test.labels.tolist()]
    right = sum(one == other for one, other in zip(predicted, truth, strict=True)) / len(truth)
    return {
        "fastai_seconds": round(seconds, 1),
        "fastai_pixels": size,
        "fastai_test_accuracy_percent": round(100 * right, 2),
    }


if __name__ == "__main__":
    main()
