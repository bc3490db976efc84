"""What each command of the command line does; `__main__` has their options.

torch takes seconds to import: each command imports the rooms that it needs, so that usage errors are quick.
Each returns its exit status.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from resnet_course.common import caches, console
from resnet_course.common.console import complain, say
from resnet_course.common.durations import format_duration
from resnet_course.common.files import only_one, why_not_writable
from resnet_course.common.places import check_out, free_disk, on_disk
from resnet_course.settings import Settings, SettingsError

if TYPE_CHECKING:
    from resnet_course.data import Splits
    from resnet_course.training import History

LEAST_VALIDATION = 500  # images, and never more than there are: fewer could not tell epochs apart
A_YEAR = 365 * 24 * 60  # minutes
READING = 0.25  # of the minutes that are left, at most, to decode images
INSTEAD = "--minutes chooses the recipe, its epochs and the images, and begins anew; leave out "


def doctor(options: argparse.Namespace) -> int:
    settings = Settings.from_env()
    from resnet_course import machine, transfer
    from resnet_course.data import cifar10

    for line in machine.environment():
        print(line)
    print(f"mode {settings.mode}, data {settings.data}, weights {settings.weights}, seed {settings.seed}")
    print(f"home {settings.home}, {free_disk(settings.home)}")
    print(f"CIFAR-10 on disk: {on_disk(lambda: cifar10.state(settings.home))}")
    print(f"ImageNet weights on disk: {on_disk(transfer.imagenet_state)}")
    for line in machine.report():
        print(line)
    return 0


def train(options: argparse.Namespace) -> int:
    settings = replace(Settings.from_env(), data=options.data, weights=options.weights, group=options.group)
    check_out(options.out, settings.folder)
    _refuse_to_replace(options)
    from resnet_course.data.sources import test_share

    settings = replace(settings, test_share=test_share(settings, options.test_share))
    history = (_train_by_recipe if options.minutes is None else _train_in_minutes)(options, settings)
    if history is None or not history.epochs:
        return 130
    from resnet_course.machine import distributed
    from resnet_course.training.history import chosen_by

    if distributed.is_first():
        print(f"{options.out / 'best.pt'}: epoch {history.best['epoch']}; {chosen_by(history.best)}")
    return 130 if history.interrupted else 0


def _refuse_to_replace(options: argparse.Namespace) -> None:
    """Raise SettingsError if the training would take the place of another one's files."""
    best, last = ((options.out / name).exists() for name in ("best.pt", "last.pt"))
    if options.resume and best and not last:
        raise SettingsError(
            f"--out {options.out} holds best.pt and no last.pt to go on from; choose another folder, or "
            f"go on from its network with --weights {options.out / 'best.pt'}"
        )
    if not options.resume and (best or last):
        go_on = "" if options.minutes else "add --resume, or "
        raise SettingsError(f"--out {options.out} holds a training already; {go_on}choose another folder")


@contextmanager
def _alone_in(options: argparse.Namespace) -> Iterator[None]:
    """Within it no other training writes into the same folder. Raises SettingsError if one does, or did."""
    from resnet_course.machine import distributed

    if not distributed.is_first():
        yield
        return
    with only_one(options.out / "training") as free:
        if not free:
            raise SettingsError(f"another training writes into --out {options.out}; choose another folder")
        _refuse_to_replace(options)
        yield


def _load(options: argparse.Namespace, settings: Settings, until: float = math.inf) -> Splits:
    """The splits. Who asks for a test split wants to test: then no recipe learns from it."""
    from resnet_course.data import load

    splits = load(settings, until=until)
    if options.test_share is None:
        return splits
    return replace(splits, set_aside=tuple(name for name in splits.set_aside if name != "test"))


def _train_in_minutes(options: argparse.Namespace, settings: Settings) -> History | None:
    given = {name: getattr(options, name) for name in ("recipe", "epochs", "limit", "resume")}
    if unwanted := [f"--{name}" for name, value in given.items() if value not in (None, False)]:
        raise SettingsError(INSTEAD + ", ".join(unwanted))
    if not 0 < options.minutes <= A_YEAR:
        raise SettingsError(
            f"--minutes is {options.minutes:g}; it must be a number above 0, {A_YEAR:,} at most"
        )
    from resnet_course.training.planning import fit_in

    now = time.perf_counter()
    splits = _load(options, settings, now + READING * (options.began + 60 * options.minutes - now))
    with _alone_in(options):
        return fit_in(
            options.minutes,
            splits,
            options.out,
            weights=settings.weights,
            seed=options.seed,
            began=options.began,
        ).history


def _train_by_recipe(options: argparse.Namespace, settings: Settings) -> History | None:
    from resnet_course.recipes import RECIPES, in_small_batches, suited_to

    options.recipe = options.recipe or "laptop"
    if options.recipe not in RECIPES:
        raise SettingsError(f"recipe is {options.recipe!r}; it must be one of: {', '.join(RECIPES)}")
    if options.limit is not None and options.limit < 2:
        raise SettingsError(f"--limit is {options.limit}; it must be 2 or more")
    recipe = replace(RECIPES[options.recipe], seed=options.seed)
    if options.epochs is not None:
        recipe = recipe.with_epochs(options.epochs)
    from resnet_course import machine
    from resnet_course.common.seeding import seeded
    from resnet_course.machine import distributed
    from resnet_course.training import fit, learning_and_choosing
    from resnet_course.training.before import go_on_from
    from resnet_course.training.sets import say_balance
    from resnet_course.transfer import build_model

    with distributed.process_group():
        with distributed.naming_lost_processes("this start has written nothing; give the same command again"):
            with distributed.local_main_process_first():
                train, val = learning_and_choosing(_load(options, settings), recipe)
                with seeded(recipe.seed):
                    start = recipe.phases[0]
                    model = build_model(len(train.classes), settings.weights, start.train_from, start.dropout)
                seen = go_on_from(settings.weights, model, train, val, recipe)
            if options.limit is not None:
                train = train.limit(options.limit, settings.seed)
                val = val.limit(max(LEAST_VALIDATION, options.limit), settings.seed)
            recipe = suited_to(in_small_batches(recipe, len(train)), model.width)
            say_balance(train, val)
            duration = format_duration(machine.estimate(recipe, len(train), len(val), model.width))
            engine = machine.choose(recipe)
        if settings.weights == "none" and start.train_from != "all":
            say(f"The weights are random, and {recipe.name} keeps them so before {start.train_from}.")
        epochs = f"{recipe.all_epochs} epoch{'s' * (recipe.all_epochs != 1)}"
        batches = f"batches of {recipe.batch_size}"
        say(f"Recipe {recipe.name} on {engine}: {epochs}, {batches}, about {duration}.")
        with _alone_in(options):
            return fit(model, train, val, recipe, options.out, resume=options.resume, seen=seen)


def advise(options: argparse.Namespace) -> int:
    """What is in a folder, what to mend there, and what to train in how many minutes."""
    settings = replace(Settings.from_env(), data=f"folder:{options.folder}", group=options.group)
    from resnet_course.data import load
    from resnet_course.data.sources import test_share
    from resnet_course.training import planning
    from resnet_course.transfer import width_of

    splits = load(replace(settings, test_share=test_share(settings, options.test_share)))
    print(planning.advise(splits, width_of(settings.weights)))
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """How good a network is on one split."""
    settings = _to_judge(options)
    if options.report and (reason := why_not_writable(options.report.absolute())):
        raise SettingsError(f"--report {options.report} cannot be written: {reason}")
    if options.intended_use and not options.report:
        raise SettingsError("--intended-use goes into the model card of a report; add --report DIR")
    from resnet_course.evaluation import report
    from resnet_course.prediction import judging
    from resnet_course.training import checkpoint

    saved = checkpoint.load(options.checkpoint)
    judged, found = judging.judge(saved, settings, options.split)
    if options.report:
        from resnet_course.plots.report import write_report
        from resnet_course.prediction.model_card import write_model_card

        say(f"Report: {write_report(options.report, judged, found, str(options.checkpoint))}")
        card = write_model_card(options.report, saved, options.checkpoint, judged, options.intended_use)
        say(f"Model card: {card}")
    print(json.dumps(found, indent=1) if options.json else report.in_words(found))
    return 0


def compare(options: argparse.Namespace) -> int:
    """Two networks on the same images; with --gate whether the second may replace the first."""
    if options.gate is not None and not 0 <= options.gate <= 1:
        raise SettingsError(f"--gate is {options.gate:g}; it must be a share of the answers, 0 to 1")
    settings = _to_judge(options)
    from resnet_course.prediction import judging
    from resnet_course.training import checkpoint

    both = [checkpoint.load(path) for path in (options.first, options.second)]
    found = judging.compare(*both, settings, options.split, options.gate)
    print(json.dumps(found, indent=1) if options.json else judging.compared_in_words(found))
    return 1 if found.get("refused") else 0


def _to_judge(options: argparse.Namespace) -> Settings:
    if options.test_share is not None:
        options.split = options.split or "test"  # who asks for a share means the test split
    settings = replace(Settings.from_env(), data=options.data, group=options.group)
    from resnet_course.data.sources import test_share

    return replace(settings, test_share=test_share(settings, options.test_share))


def export(options: argparse.Namespace) -> int:
    from resnet_course.prediction.writing import check_target

    check_target("--onnx", options.onnx, (options.checkpoint,))
    from resnet_course.prediction.export import export_onnx
    from resnet_course.training import checkpoint

    saved = checkpoint.load(options.checkpoint)
    print(f"{export_onnx(saved, options.onnx)}: {saved.stored_size} × {saved.stored_size} RGB bytes in")
    return 0


def clean(options: argparse.Namespace) -> int:
    home = Settings.from_env().home
    freed = caches.clean(home) / caches.GIGABYTE
    print(f"{home}: {freed:.1f} GB of decoded images and features removed; downloads stay")
    return 0


def predict(options: argparse.Namespace) -> int:
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        raise SettingsError(f"--threshold is {options.threshold:g}; it must be a probability, 0 to 1")
    from resnet_course.prediction.writing import check_target

    if options.csv:
        check_target("--csv", options.csv, (options.checkpoint, *options.images))
    from resnet_course.data import ImageError
    from resnet_course.prediction import Classifier, images_of, write_csv
    from resnet_course.training import checkpoint

    saved = checkpoint.load(options.checkpoint)
    saved = replace(saved, temperature=1.0, threshold=None) if options.raw else saved
    classifier = Classifier(
        saved if options.threshold is None else replace(saved, threshold=options.threshold)
    )
    images, unmatched = images_of(options.images)
    for line in unmatched:
        complain(f"resnet-course: {line}")
    # One by one as they come: a folder may hold ten thousand.
    bar = console.progress(total=len(images), description="predicting", unit=" images")
    answers = zip(images, classifier.predict_many(images), strict=True)
    if options.csv:
        answers = write_csv(options.csv, answers, classifier.classes)
    good, bad = 0, len(unmatched)
    if options.json:
        print("[", end="")
    for path, found in answers:
        bar.update()
        if isinstance(found, ImageError):
            bad += 1
            complain(f"resnet-course: {found}")
            continue
        if options.json:
            print(",\n" if good else "\n", json.dumps({"path": str(path), **vars(found)}), sep="", end="")
        elif not options.csv:
            print(f"{path}: {found.label} ({found.confidence:.1%})")
        good += 1
    if options.json:
        print("\n]")
    elif options.csv and images:
        print(f"{options.csv}: {good:,} image{'s' * (good != 1)}")
    return 2 if bad else 0
