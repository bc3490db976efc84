"""The command line: `resnet-course doctor | train | evaluate | compare | predict | export | clean`.

Thin: the rooms do the work. Results go to stdout, progress and notices to stderr. What the user can put
right ends with one line; an error that is none of ours is a bug, and shows where it arose.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from resnet_course.common import caches, console
from resnet_course.common.console import complain, say
from resnet_course.common.durations import format_duration
from resnet_course.common.errors import CourseError
from resnet_course.common.files import FULL, in_words, why_not_writable
from resnet_course.common.places import check_out, free_disk, on_disk
from resnet_course.settings import WEIGHTS_SOURCES, Settings, SettingsError, read_seed

# torch takes seconds to import: each command imports the rooms that it needs, so that usage errors are quick.

GROUP_HELP = (
    "what of a path must not be split, as '([^/_]+)_[^/]*$', or a table and its column, TABLE.csv:COLUMN"
)
LEAST_VALIDATION = 500  # images, and never more than there are: fewer could not tell epochs apart
CLOSED = 141  # the exit status of a program whose output is no longer read: what shells give for SIGPIPE


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    settings = Settings.from_env()
    common = argparse.ArgumentParser(add_help=False)  # what may stand before the command and after it
    common.add_argument("--traceback", action="store_true", help="of an error show where it arose")
    parser = _Parser(
        prog="resnet-course", description="ResNet-18 transfer learning on a CPU.", parents=[common]
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    doctor = commands.add_parser(
        "doctor", parents=[common], help="what will run here, how fast, what is missing"
    )
    doctor.set_defaults(run=_doctor)

    train = commands.add_parser(
        "train", parents=[common], help="fine-tune a network; writes best.pt, last.pt and history.json"
    )
    train.add_argument("--recipe", default="laptop", help="original, laptop (default), full, few or reduced")
    train.add_argument("--data", default=settings.data, help="auto, cifar10, shapes or folder:DIR")
    train.add_argument("--group", default=settings.group, help=GROUP_HELP)
    train.add_argument("--weights", default=settings.weights, help=f"{', '.join(WEIGHTS_SOURCES)} or a file")
    train.add_argument("--out", type=Path, required=True, help="the folder to write into")
    train.add_argument("--resume", action="store_true", help="go on from last.pt in --out")
    train.add_argument("--limit", type=int, metavar="N", help="train on N images, validate on N or 500")
    train.add_argument("--seed", type=_seed, metavar="N", default=settings.seed, help="of the training")
    train.add_argument("--epochs", type=int, metavar="N", help="in all, shared among the recipe's phases")
    train.set_defaults(run=_train)

    judged = argparse.ArgumentParser(add_help=False, parents=[common])
    judged.add_argument("--data", default=settings.data, help="auto, cifar10, shapes or folder:DIR")
    judged.add_argument("--group", default=settings.group, help=GROUP_HELP)
    judged.add_argument("--split", default="test", choices=("train", "val", "test"))
    judged.add_argument("--json", action="store_true", help="print one JSON object")
    evaluate = commands.add_parser("evaluate", parents=[judged], help="how good a network is on one split")
    evaluate.add_argument("checkpoint", type=Path)
    evaluate.set_defaults(run=_evaluate)
    compare = commands.add_parser("compare", parents=[judged], help="two networks on the same images")
    compare.add_argument("first", type=Path, metavar="CHECKPOINT")
    compare.add_argument("second", type=Path, metavar="CHECKPOINT")
    compare.set_defaults(run=_compare)

    export = commands.add_parser("export", parents=[common], help="a network as an ONNX file")
    export.add_argument("checkpoint", type=Path)
    export.add_argument("--onnx", type=Path, required=True, metavar="FILE", help="the file to write")
    export.set_defaults(run=_export)

    clean = commands.add_parser("clean", parents=[common], help="empty the caches in the home folder")
    clean.set_defaults(run=_clean)

    predict = commands.add_parser("predict", parents=[common], help="the class of images")
    predict.add_argument("checkpoint", type=Path)
    predict.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="files, folders, patterns")
    predict.add_argument("--json", action="store_true", help="print one JSON list, an object for each image")
    predict.add_argument("--csv", type=Path, metavar="FILE", help="write a table, a row for each image")
    predict.add_argument("--threshold", type=float, metavar="P", help="less probable than P is unknown")
    predict.add_argument("--raw", action="store_true", help="the bare softmax, without the temperature")
    predict.set_defaults(run=_predict)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0, 1 (failed), 2 (bad input), 130 (stopped by hand) or 141 (nobody reads the output any more, as of
    `resnet-course doctor | head -1`).
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    console.escape_what_cannot_be_written()
    try:
        try:
            options = build_parser().parse_args(arguments)
            return options.run(options)
        finally:
            console.flush_results()  # what goes wrong with them is said here; Python itself shows a traceback
    except (CourseError, OSError) as error:
        if isinstance(error, OSError) and console.is_closed_pipe(error):
            return CLOSED
        shown = traceback.format_exc().rstrip() if "--traceback" in arguments else _in_words(error)
        complain(shown if "--traceback" in arguments else f"resnet-course: {shown}")
        # A training that diverged, a download that failed, a full disk: no fault of the input.
        failed = isinstance(error, RuntimeError) or getattr(error, "errno", None) in FULL
        return 1 if failed else 2
    except KeyboardInterrupt:
        complain("resnet-course: stopped by hand")
        return 130
    finally:
        console.drop_output()


def _seed(text: str) -> int:
    try:
        return read_seed(text)
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _in_words(error: CourseError | OSError) -> str:
    if not isinstance(error, OSError) or isinstance(error, CourseError):
        return str(error)
    if error.errno in FULL:
        return f"{error.filename or 'the output'} cannot be written: {in_words(error)}"
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)


def _doctor(options: argparse.Namespace) -> int:
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


def _train(options: argparse.Namespace) -> int:
    settings = replace(Settings.from_env(), data=options.data, weights=options.weights, group=options.group)
    from resnet_course.recipes import RECIPES

    if options.recipe not in RECIPES:
        raise SettingsError(f"recipe is {options.recipe!r}; it must be one of: {', '.join(RECIPES)}")
    if options.limit is not None and options.limit < 2:
        raise SettingsError(f"--limit is {options.limit}; it must be 2 or more")
    recipe = replace(RECIPES[options.recipe], seed=options.seed)
    if options.epochs is not None:
        recipe = recipe.with_epochs(options.epochs)
    check_out(options.out, settings.folder)
    if not options.resume and (options.out / "best.pt").exists():
        raise SettingsError(
            f"--out {options.out} holds a training already; add --resume, or choose another folder"
        )

    from resnet_course import machine
    from resnet_course.common.seeding import seeded
    from resnet_course.data import load
    from resnet_course.machine import distributed
    from resnet_course.training import fit, learning_and_choosing
    from resnet_course.training.history import chosen_by
    from resnet_course.training.sets import say_balance
    from resnet_course.transfer import build_model

    with distributed.process_group():
        with distributed.local_main_process_first():
            train, val = learning_and_choosing(load(settings), recipe)
            with seeded(recipe.seed):
                start = recipe.phases[0]
                model = build_model(len(train.classes), settings.weights, start.train_from, start.dropout)
        if options.limit is not None:
            train = train.limit(options.limit, settings.seed)
            val = val.limit(max(LEAST_VALIDATION, options.limit), settings.seed)
        say_balance(train, val)
        duration = format_duration(machine.estimate(recipe, len(train), len(val), model.width))
        engine = machine.choose(recipe)
        say(f"Recipe {recipe.name} on {engine}: {recipe.all_epochs} epochs, about {duration}.")
        history = fit(model, train, val, recipe, options.out, resume=options.resume)
        if not history.epochs:
            return 130
        if distributed.rank() == 0:
            print(f"{options.out / 'best.pt'}: epoch {history.best['epoch']}; {chosen_by(history.best)}")
    return 130 if history.interrupted else 0


def _evaluate(options: argparse.Namespace) -> int:
    settings = replace(Settings.from_env(), data=options.data, group=options.group)
    from resnet_course.evaluation import report
    from resnet_course.prediction import judging
    from resnet_course.training import checkpoint

    found = judging.judge(checkpoint.load(options.checkpoint), settings, options.split)
    print(json.dumps(found, indent=1) if options.json else report.in_words(found))
    return 0


def _compare(options: argparse.Namespace) -> int:
    settings = replace(Settings.from_env(), data=options.data, group=options.group)
    from resnet_course.prediction import judging
    from resnet_course.training import checkpoint

    both = [checkpoint.load(path) for path in (options.first, options.second)]
    found = judging.compare(*both, settings, options.split)
    print(json.dumps(found, indent=1) if options.json else judging.compared_in_words(found))
    return 0


def _export(options: argparse.Namespace) -> int:
    from resnet_course.prediction.export import export_onnx
    from resnet_course.training import checkpoint

    saved = checkpoint.load(options.checkpoint)
    print(f"{export_onnx(saved, options.onnx)}: {saved.stored_size} × {saved.stored_size} RGB bytes in")
    return 0


def _clean(options: argparse.Namespace) -> int:
    home = Settings.from_env().home
    freed = caches.clean(home) / caches.GIGABYTE
    print(f"{home}: {freed:.1f} GB of decoded images and features removed; downloads stay")
    return 0


def _predict(options: argparse.Namespace) -> int:
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        raise SettingsError(f"--threshold is {options.threshold:g}; it must be a probability, 0 to 1")
    if options.csv and (reason := why_not_writable(options.csv.absolute().parent)):
        raise SettingsError(f"--csv {options.csv} cannot be written: {reason}")
    from resnet_course.data import ImageError
    from resnet_course.prediction import Classifier, images_of, write_csv
    from resnet_course.training import checkpoint

    saved = checkpoint.load(options.checkpoint)
    saved = replace(saved, threshold=saved.threshold if options.threshold is None else options.threshold)
    classifier = Classifier(replace(saved, temperature=1.0) if options.raw else saved)
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
    elif options.csv:
        print(f"{options.csv}: {good:,} images")
    return 2 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
