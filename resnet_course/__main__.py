"""The command line: `resnet-course doctor | train | evaluate | predict | retarget`.

Thin: the rooms do the work. Results go to stdout, progress and notices to stderr. Bad input ends with
status 2 and one line.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from resnet_course.common.console import say
from resnet_course.settings import WEIGHTS_SOURCES, Settings, SettingsError

# torch takes seconds to import: each command imports the rooms that it needs, so that usage errors are quick.

LEAST_VALIDATION = 500  # pictures, and never more than there are: fewer could not tell epochs apart
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "matplotlib", "ipywidgets", "jupyterlab", "nbval")


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    settings = Settings.from_env()
    parser = _Parser(prog="resnet-course", description="ResNet-18 transfer learning on a CPU.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    doctor = commands.add_parser("doctor", help="what will run here, how fast, what is missing")
    doctor.set_defaults(run=_doctor)

    train = commands.add_parser("train", help="fine-tune a network; writes best.pt, last.pt and history.json")
    train.add_argument("--recipe", default="laptop", help="original, laptop (default), full, few or reduced")
    train.add_argument("--data", default=settings.data, help="auto, cifar10, shapes or folder:DIR")
    train.add_argument("--weights", default=settings.weights, help=f"{', '.join(WEIGHTS_SOURCES)} or a file")
    train.add_argument("--out", type=Path, required=True, help="the folder to write into")
    train.add_argument("--resume", action="store_true", help="go on from last.pt in --out")
    train.add_argument("--limit", type=int, metavar="N", help="train on N pictures, validate on N or 500")
    train.add_argument("--seed", type=int, metavar="N", help="in place of the recipe's own, 0")
    train.add_argument("--epochs", type=int, metavar="N", help="in place of the recipe's own number")
    train.set_defaults(run=_train)

    evaluate = commands.add_parser("evaluate", help="the accuracy of a checkpoint on one split")
    evaluate.add_argument("checkpoint", type=Path)
    evaluate.add_argument("--data", default=settings.data, help="auto, cifar10, shapes or folder:DIR")
    evaluate.add_argument("--split", default="test", choices=("train", "val", "test"))
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    evaluate.set_defaults(run=_evaluate)

    predict = commands.add_parser("predict", help="the class of pictures")
    predict.add_argument("checkpoint", type=Path)
    predict.add_argument("pictures", type=Path, nargs="+", metavar="PICTURE")
    predict.add_argument(
        "--json", action="store_true", help="print one JSON list, an object for each picture"
    )
    predict.set_defaults(run=_predict)

    retarget = commands.add_parser("retarget", help="set the repository's address, here and in all notebooks")
    retarget.add_argument("repository", metavar="OWNER/NAME")
    retarget.set_defaults(run=_retarget)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 (failed), 2 (bad input) or 130 (stopped by hand)."""
    try:
        options = build_parser().parse_args(arguments)
        return options.run(options)
    except (ValueError, OSError) as error:  # bad input: the rooms' errors are ValueErrors
        print(f"resnet-course: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:  # a training that diverged, a download that failed
        print(f"resnet-course: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("resnet-course: stopped by hand", file=sys.stderr)
        return 130


def _doctor(options: argparse.Namespace) -> int:
    settings = Settings.from_env()
    import torch

    from resnet_course import machine, transfer
    from resnet_course.data import cifar10
    from resnet_course.recipes import RECIPES

    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in PACKAGES:
        try:
            print(f"{package:12} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            print(f"{package:12} MISSING: pip install {package}")
    print(f"torch threads {torch.get_num_threads()}, device {machine.device()}")
    probe = machine.probe()
    print(probe)
    for (precision, memory_format), milliseconds in probe.milliseconds.items():
        print(f"one residual block, one training step, {precision}, {memory_format}: {milliseconds:.1f} ms")
    print(f"mode {settings.mode}, data {settings.data}, weights {settings.weights}, home {settings.home}")
    print(f"free disk at home: {shutil.disk_usage(_existing(settings.home)).free / 1e9:.0f} GB")
    print(f"CIFAR-10 on disk: {'yes' if cifar10.is_present(settings.home) else 'no'}")
    print(f"ImageNet weights on disk: {'yes' if transfer.imagenet_path().is_file() else 'no'}")
    for recipe in RECIPES.values():
        minutes = machine.estimate(recipe, 45_000, 5_000) / 60
        print(f"recipe {recipe.name}, CIFAR-10, {recipe.all_epochs} epochs: about {minutes:.1f} minutes")
    return 0


def _existing(folder: Path) -> Path:
    """The folder itself or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _train(options: argparse.Namespace) -> int:
    settings = replace(Settings.from_env(), data=options.data, weights=options.weights)
    from resnet_course.recipes import RECIPES

    if options.recipe not in RECIPES:
        raise SettingsError(f"recipe is {options.recipe!r}; it must be one of: {', '.join(RECIPES)}")
    if options.limit is not None and options.limit < 2:
        raise SettingsError(f"--limit is {options.limit}; it must be 2 or more")
    recipe = RECIPES[options.recipe]
    if options.epochs is not None:
        recipe = replace(recipe, epochs=options.epochs)
    if options.seed is not None:
        recipe = replace(recipe, seed=options.seed)
    if options.out.exists() and not options.out.is_dir():
        raise SettingsError(f"--out {options.out} is a file; it must be a folder, or not exist yet")

    import torch

    from resnet_course import machine
    from resnet_course.data import load
    from resnet_course.machine import distributed
    from resnet_course.training.loop import fit, learning_and_choosing
    from resnet_course.transfer import build_model, freeze

    if not options.resume and (options.out / "best.pt").exists():
        raise SettingsError(
            f"--out {options.out} holds a training already; add --resume, or choose another folder"
        )
    with distributed.process_group():
        with distributed.local_main_process_first():
            train, val = learning_and_choosing(load(settings), recipe)
            torch.manual_seed(recipe.seed)
            model = build_model(len(train.classes), settings.weights, recipe.train_from, recipe.dropout)
        if options.limit is not None:
            train = train.limit(options.limit, settings.seed)
            val = val.limit(max(LEAST_VALIDATION, options.limit), settings.seed)
        freeze(model, recipe.train_from, batchnorm_moves=recipe.batchnorm_moves)
        engine, minutes = (
            machine.choose(recipe),
            machine.estimate(recipe, len(train), len(val), model.width) / 60,
        )
        say(f"Recipe {recipe.name} on {engine}: {recipe.all_epochs} epochs, about {minutes:.1f} minutes.")
        history = fit(model, train, val, recipe, options.out, resume=options.resume, home=settings.home)
        if not history.epochs:
            return 130
        if distributed.rank() == 0:
            best = history.best
            print(
                f"{options.out / 'best.pt'}: epoch {best['epoch']}, "
                f"validation accuracy {best['val_accuracy']:.2%}"
            )
    return 130 if history.interrupted else 0


def _evaluate(options: argparse.Namespace) -> int:
    settings = replace(Settings.from_env(), data=options.data)
    from resnet_course.data import load_split
    from resnet_course.evaluation.predictions import evaluate
    from resnet_course.training import checkpoint

    saved = checkpoint.load(options.checkpoint)
    image_set = load_split(settings, options.split, saved.stored_size).in_classes(saved.classes)
    predictions = evaluate(saved.model(), image_set, saved.recipe)
    low, high = predictions.interval()
    if options.json:
        result = {
            "accuracy": predictions.accuracy,
            "interval": [low, high],
            "n": len(predictions),
            "dataset": predictions.dataset,
            "split": options.split,
            "per_class": predictions.per_class,
            "ece": predictions.ece(),
            "loss": predictions.loss,
        }
        print(json.dumps(result, indent=1))
        return 0
    print(f"{predictions.dataset}, {options.split} split, {len(predictions):,} pictures")
    print(f"accuracy {predictions.accuracy:.2%}, 95% interval {low:.2%} to {high:.2%}")
    print(f"expected calibration error {predictions.ece():.3f}")
    for name, accuracy in predictions.per_class.items():
        print(f"  {name:12} {'no pictures' if accuracy is None else f'{accuracy:.1%}'}")
    return 0


def _predict(options: argparse.Namespace) -> int:
    from resnet_course.data import ImageError
    from resnet_course.prediction import Classifier

    classifier = Classifier.load(options.checkpoint)
    good = bad = 0
    if options.json:
        print("[", end="")
    # One by one as they come: of ten thousand pictures no list is kept.
    for path, found in zip(options.pictures, classifier.predict_many(options.pictures), strict=True):
        if isinstance(found, ImageError):
            bad += 1
            print(f"resnet-course: {found}", file=sys.stderr)
            continue
        if options.json:
            print(",\n" if good else "\n", json.dumps({"path": str(path), **vars(found)}), sep="", end="")
        else:
            print(f"{path}: {found.label} ({found.confidence:.1%})")
        good += 1
    if options.json:
        print("\n]")
    return 2 if bad else 0


def _retarget(options: argparse.Namespace) -> int:
    from resnet_course.repository import retarget

    for path in retarget(options.repository):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
