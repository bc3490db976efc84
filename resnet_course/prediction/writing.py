"""The images that a command line names, and the table of what a network says about them."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from resnet_course.common.files import in_words, why_not_replaceable, why_not_writable, write_atomically
from resnet_course.common.places import expanded
from resnet_course.data.layout import find_images, format_of
from resnet_course.data.reading import ImageError
from resnet_course.prediction.classifier import Prediction
from resnet_course.settings import SettingsError

Answer = tuple[Path, Prediction | ImageError]
COLUMNS = ("path", "label", "confidence", "error")


def images_of(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """The images that paths, patterns and folders name, each in its order; folders with all below them.

    Returns the images, and a sentence for each pattern and folder without one.
    """
    found, unmatched = expanded(paths)
    images, empty = [], [f"{pattern}: no file matches this pattern" for pattern in unmatched]
    for path in found:
        if not path.is_dir():
            images.append(path)
            continue
        closed: list[OSError] = []
        below = [image for image, _, _ in find_images(path, closed)]
        images += below
        empty += [f"{error.filename}: this folder cannot be read: {in_words(error)}" for error in closed]
        if not below and not closed:
            empty.append(f"{path}: this folder has no images")
    return images, empty


def check_target(option: str, target: Path, inputs: Iterable[Path]) -> None:
    """Raise SettingsError, before work is spent, if a file cannot be written or is one of the inputs."""
    reason = why_not_writable(Path(os.path.realpath(target)).parent)
    if target.is_dir():
        reason = "it is a folder; give the name of a file"
    elif target.exists() and not target.is_file():
        reason = "it is a device or a pipe; give the name of a file"
    elif target.exists() and (_is_one_of(target, inputs) or format_of(target)):
        reason = "it is an image or another input, which would be lost; give another name"
    elif target.exists():
        reason = reason or why_not_replaceable(target)
    if reason:
        raise SettingsError(f"{option} {target} cannot be written: {reason}")


def _is_one_of(target: Path, inputs: Iterable[Path]) -> bool:
    return any(each.exists() and each.samefile(target) for each in inputs)


def write_csv(path: Path, answers: Iterable[Answer], classes: Sequence[str]) -> Iterator[Answer]:
    """Write a table, a row for each image, and pass the answers on as they come.

    Its columns: path, label, confidence, error (why an image could not be read), and the probability of every
    class under its name; a class that is called like one of the first has its name in the form "class path".
    The file is there when the last answer was taken; a stop keeps the rows so far.
    """
    taken: list[Answer] = []
    named = [f"class {name}" if name in COLUMNS else name for name in classes]

    def write(file: BinaryIO) -> None:
        # Surrogates are how Python keeps the bytes of a file's name that is not UTF-8.
        # Excel takes a file for UTF-8 only if it begins with a mark.
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        table = csv.writer(text)
        table.writerow([*COLUMNS, *named])
        for image, answer in taken:
            if isinstance(answer, ImageError):
                table.writerow([image, "", "", str(answer), *([""] * len(classes))])
                continue
            shares = [f"{answer.probabilities[name]:.6f}" for name in classes]
            table.writerow([image, answer.label, f"{answer.confidence:.6f}", "", *shares])
        text.flush()
        text.detach()

    try:
        for image, answer in answers:
            taken.append((image, answer))
            yield image, answer
    finally:
        if taken:
            write_atomically(path, write)
