"""The best network in so many minutes: the grid of `train --minutes`, and fastai's `fine_tune` beside it.

    uv run python benchmarks/minutes.py grid --data folder:DIR --weights FILE --data-is … --weights-are …
        [--counts 10 50] [--minutes 0.5 2] [--seeds 3]
    uv run --with fastai==2.8.* python benchmarks/minutes.py fastai … [--counts 10 50 500]

Each cell draws so many training images of each class into a folder of its own, with a home folder of its own,
and is judged on test images of DIR, the same for all. `grid` times the whole command, reading included.
`fastai` times from loaded data on: fastai's five epochs, then ours in the same time, then in a quarter of it.
What is in results.json already is not measured again.
"""

from __future__ import annotations

import tempfile
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from record import parser, record, recorded
from trainings import Training, drawn_folder

from resnet_course.data import load, load_split
from resnet_course.evaluation import evaluate
from resnet_course.settings import Settings
from resnet_course.training import checkpoint
from resnet_course.training.planning import fit_in
from resnet_course.transfer.weights import load_weights

JUDGED, EPOCHS, SIZE = 100, 5, 128  # test images of each class; fastai's epochs; its pixels a side


def main() -> None:
    """Measure every cell that is not recorded yet, and record each as soon as it is done."""
    arguments = parser(__doc__)
    arguments.add_argument("part", choices=("grid", "fastai"))
    arguments.add_argument("--counts", type=int, nargs="+", default=(10, 50, 500, 4_500))
    arguments.add_argument("--minutes", type=float, nargs="+", default=(0.5, 2, 5, 20))
    arguments.add_argument("--seeds", type=int, default=3)
    options = arguments.parse_args()
    options.quick = False
    measure = measure_grid if options.part == "grid" else measure_fastai
    name = "minutes_" + options.part
    for seed in range(options.seeds):
        for count in options.counts:
            for minutes in options.minutes if options.part == "grid" else (None,):
                cell = f"at_{count}_seed_{seed}" + (f"_in_{minutes:g}_min" if minutes else "")
                found = recorded(name)
                if cell not in found:
                    found[cell] = measure(options, count, seed, minutes)
                    record(name, found, options.data_is, options.weights_are)


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
        found |= _fine_tune(directory, options.weights, test, seed)
        splits = load(replace(settings, data=folder, home=Path(home)))
        for name, part in (("same_time", 1.0), ("quarter", 0.25)):
            began = time.perf_counter()
            minutes = part * found["fastai_seconds"] / 60
            fitted = fit_in(minutes, splits, weights=options.weights, seed=seed, home=home)
            seconds = time.perf_counter() - began
            accuracy = evaluate(fitted.model, test, fitted.plan.recipe).accuracy
            found[name] = {
                "seconds": round(seconds, 1),
                "plan": fitted.plan.recipe.name,
                "images": fitted.plan.images,
                "test_accuracy_percent": round(100 * accuracy, 2),
            }
    return found


def _fine_tune(directory: Path, weights: str, test: Any, seed: int) -> dict[str, float]:
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
        item_tfms=Resize(SIZE),
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
    return {"fastai_seconds": round(seconds, 1), "fastai_test_accuracy_percent": round(100 * right, 2)}


if __name__ == "__main__":
    main()
