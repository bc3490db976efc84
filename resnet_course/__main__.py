"""The command line: `resnet-course COMMAND …`; `commands` does what each one says.

Results go to stdout, progress and notices to stderr. What the user can put
right ends with one line; an error that is none of ours is a bug, and shows where it arose.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

BEGAN = time.perf_counter()  # before PyTorch is imported, which takes seconds

from resnet_course import commands
from resnet_course.common import console
from resnet_course.common.console import complain
from resnet_course.common.errors import CourseError
from resnet_course.common.files import FULL, in_words
from resnet_course.settings import WEIGHTS_SOURCES, Settings, SettingsError, read_seed

SPLIT_HELP = "test; of a folder without splits what the network has not seen; val where there is no test"
GROUP_HELP = (
    "what of a path must not be split, as '([^/_]+)_[^/]*$', or a table and its column, TABLE.csv:COLUMN"
)
GATE_HELP = (
    "status 1 if the second is worse beyond chance or changes more than this share of the answers, as 0.1"
)
TEST_SHARE = {
    "type": float,
    "metavar": "S",
    "help": "of train, set aside as test where there is no test folder: 0.2, or 0 beside a val folder",
}
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
    commands_of = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    doctor = commands_of.add_parser(
        "doctor", parents=[common], help="what will run here, how fast, what is missing"
    )
    doctor.set_defaults(run=commands.doctor)

    train = commands_of.add_parser(
        "train", parents=[common], help="fine-tune a network; writes best.pt, last.pt and history.json"
    )
    train.add_argument("--minutes", type=float, metavar="M", help="the best that fits into M minutes")
    train.add_argument(
        "--recipe", help="without --minutes: laptop (default), full, top, few, original or reduced"
    )
    train.add_argument("--data", default=settings.data, help="auto, cifar10, shapes or folder:DIR")
    train.add_argument("--group", default=settings.group, help=GROUP_HELP)
    train.add_argument("--weights", default=settings.weights, help=f"{', '.join(WEIGHTS_SOURCES)} or a file")
    train.add_argument("--test-share", **TEST_SHARE)
    train.add_argument("--out", type=_path, required=True, help="the folder to write into")
    train.add_argument("--resume", action="store_true", help="go on from last.pt in --out")
    train.add_argument("--limit", type=int, metavar="N", help="train on N images, validate on N or 500")
    train.add_argument("--seed", type=_seed, metavar="N", default=settings.seed, help="of the training")
    train.add_argument("--epochs", type=int, metavar="N", help="in all, shared among the recipe's phases")
    train.set_defaults(run=commands.train)

    advise = commands_of.add_parser("advise", parents=[common], help="look at a folder before training on it")
    advise.add_argument("folder", type=_path, metavar="DIR")
    advise.add_argument("--group", default=settings.group, help=GROUP_HELP)
    advise.add_argument("--test-share", **TEST_SHARE)
    advise.set_defaults(run=commands.advise)

    _add_judging(commands_of, common)

    export = commands_of.add_parser("export", parents=[common], help="a network as an ONNX file")
    export.add_argument("checkpoint", type=_path)
    export.add_argument("--onnx", type=_path, required=True, metavar="FILE", help="the file to write")
    export.set_defaults(run=commands.export)

    clean = commands_of.add_parser("clean", parents=[common], help="empty the caches in the home folder")
    clean.set_defaults(run=commands.clean)

    predict = commands_of.add_parser("predict", parents=[common], help="the class of images")
    predict.add_argument("checkpoint", type=_path)
    predict.add_argument("images", type=_path, nargs="+", metavar="IMAGE", help="files, folders, patterns")
    predict.add_argument("--json", action="store_true", help="print one JSON list, an object for each image")
    predict.add_argument("--csv", type=_path, metavar="FILE", help="write a table, a row for each image")
    predict.add_argument(
        "--threshold", type=float, metavar="P", help="less probable than P is unknown; 0: nothing is"
    )
    predict.add_argument("--raw", action="store_true", help="the bare softmax: no temperature, no threshold")
    predict.set_defaults(run=commands.predict)
    return parser


def _add_judging(commands_of: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """The commands that judge networks on a split."""
    settings = Settings.from_env()
    judged = argparse.ArgumentParser(add_help=False, parents=[common])
    judged.add_argument("--data", default=settings.data, help="auto, cifar10, shapes or folder:DIR")
    judged.add_argument("--group", default=settings.group, help=GROUP_HELP)
    judged.add_argument("--test-share", **TEST_SHARE)
    judged.add_argument("--split", choices=("train", "val", "test"), help=SPLIT_HELP)
    judged.add_argument("--json", action="store_true", help="print one JSON object")
    evaluate = commands_of.add_parser("evaluate", parents=[judged], help="how good a network is on one split")
    evaluate.add_argument("checkpoint", type=_path)
    evaluate.add_argument(
        "--report", type=_path, metavar="DIR", help="write report.html, report.json and model_card.md there"
    )
    evaluate.add_argument("--intended-use", default="", metavar="TEXT", help="what the model card says of it")
    evaluate.set_defaults(run=commands.evaluate)
    compare = commands_of.add_parser("compare", parents=[judged], help="two networks on the same images")
    compare.add_argument("first", type=_path, metavar="CHECKPOINT")
    compare.add_argument("second", type=_path, metavar="CHECKPOINT")
    compare.add_argument("--gate", type=float, metavar="CHURN", help=GATE_HELP)
    compare.set_defaults(run=commands.compare)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0, 1 (failed, or refused by `compare --gate`), 2 (bad input), 130 (stopped by hand) or 141 (nobody reads
    the output any more, as of `resnet-course doctor | head -1`).
    """
    began = BEGAN if arguments is None else time.perf_counter()
    arguments = sys.argv[1:] if arguments is None else arguments
    console.escape_what_cannot_be_written()
    if sys.platform == "win32":  # else Intel's Fortran runtime, in conda's numpy, ends the process at Ctrl-C
        os.environ.setdefault("FOR_DISABLE_CONSOLE_CTRL_HANDLER", "1")
    try:
        try:
            options = build_parser().parse_args(arguments)
            options.began = began
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


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("it is empty; give a path, or . for the current folder")
    return Path(os.path.expanduser(text))  # noqa: PTH111 (a shell leaves the ~ of --out=~/runs; and ~nobody stays)


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


if __name__ == "__main__":
    sys.exit(main())
