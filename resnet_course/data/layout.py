"""Which folders of a directory are splits, which are classes, and which files in them may be images."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from resnet_course.data.formats import HEAD, NOT_READ, identify
from resnet_course.data.rows import DataError

SPLITS = ("train", "val", "test")
LAYOUT = "the layout is DIR/train/<class>/<images>, optionally DIR/val/... and DIR/test/..."
WORDS = {"train": r"train(ing)?", "val": r"val(id|idation|idate)?|dev(elopment)?", "test": r"test(ing)?"}
SPLIT_NAMES = {
    split: re.compile(rf"({word})([ _.-]*(sets?|data|splits?|images?|imgs?|samples?|folder|dir))*")
    for split, word in WORDS.items()
}  # train, Training, training_set, test-images, valid; but not "test tube"
# What systems, network drives and programs for photographs leave behind: thumbnails, previews, deleted files.
LEFT_BEHIND = re.compile(
    r"\..*|__MACOSX|@eaDir|@__thumb|#recycle|#snapshot|@Recycle|@Recently-Snapshot|@tmp|\$RECYCLE\.BIN|RECYCLE[RD]"
    r"|System Volume Information|lost\+found|FOUND\.\d{3}|Network Trash Folder|Temporary Items|\$Trash"
    r"|TheVolumeSettingsFolder|_gsdata_|iPod Photo Cache|BridgeCache|pwg_representative|ZbThumbnail.*"
    r"|.*\.lrdata|.*\.lrcat-data|.*\.aplibrary|.*\.photoslibrary|.*\.cocatalogdb|CaptureOne|SYNOFILE_THUMB_.*"
    r"|SYNOPHOTO_.*|AlbumArt.*\.jpg|ehthumbs.*\.db|thumbs\.db|desktop\.ini|__pycache__",
    re.IGNORECASE,
)
THUMBNAILS = re.compile(r"(thumb(nail)?s?|previews?)", re.IGNORECASE)  # inside a class, not a class itself
# Of these names it is taken for granted that they hold images: a file is opened when it is decoded.
IMAGE_NAME = re.compile(r".*\.(jpe?g|png|webp|bmp|gif)", re.IGNORECASE)
IMAGE = "an image"

Classes = dict[str, list[Path]]  # of each class its folders


def find_splits(directory: Path) -> dict[str, Classes]:
    """The folders of the classes of each split there is, in the order of SPLITS.

    Either DIR/<split>/<class>, or DIR/<class>/<split>, or DIR/<class>, which is all train. Splits go by many
    names (training_set, valid, Testing).
    Raises DataError for another layout, in one line that says which.
    """
    folders = _subfolders(directory)
    if not folders:
        raise DataError(f"{directory} has no class folders, and {_loose(directory)}; {LAYOUT}")
    named = {folder: split for folder in folders if (split := _split_of(folder.name))}
    nested = {folder: split for folder, split in named.items() if _has_classes(folder)}
    without = next((folder for folder in named if folder not in nested), None)
    if without and ((len(named) == len(folders) and not nested) or (nested and named[without] == "train")):
        raise DataError(f"{without} has no class folders, and {_loose(without)}; {LAYOUT}")
    if not nested:
        return _below_the_classes(directory, folders)
    for folder, split in nested.items():
        twin = next(other for other in nested if nested[other] == split)
        if twin != folder:
            both = f"{twin.name} and {folder.name}"
            raise DataError(f"{directory} has two folders for the split {split}: {both}; keep one of them")
    splits = {split: folder for folder, split in nested.items()}
    others = [folder for folder in folders if folder not in nested and _holds_images(folder, deep=True)]
    unclear = [folder.name for folder in others if folder not in named]
    if unclear and len(nested) == 1:
        only = next(iter(nested)).name
        raise DataError(
            f"{directory} has a folder {only}, which holds classes, and beside it images in {unclear[0]}: if "
            f"{only} is a split, move the others elsewhere; if it is a class, put its images into one folder"
        )
    return {split: _classes(splits[split]) for split in SPLITS if split in splits}


def passed_over(directory: Path, splits: dict[str, Classes]) -> list[str]:
    """Folders of a directory, itself too, that hold images, and are neither splits nor classes."""
    used = {path for classes in splits.values() for paths in classes.values() for path in paths}
    used |= {path.parent for path in used}
    others = [folder for folder in _subfolders(directory) if folder not in used]
    found = [folder.name for folder in others if _holds_images(folder, deep=True)]
    return [*found, f"{directory.resolve().name} itself"] if _holds_images(directory) else found


def _below_the_classes(directory: Path, folders: list[Path]) -> dict[str, Classes]:
    """DIR/<class>/<split>, or else DIR/<class>."""
    inner = {folder: _subfolders(folder) for folder in folders}
    split_up = [
        folder
        for folder in folders
        if inner[folder] and all(_split_of(sub.name) for sub in inner[folder]) and not _holds_images(folder)
    ]
    found = {_split_of(sub.name) for folder in split_up for sub in inner[folder]}
    if len(folders) == 1 and (below := [sub.name for sub in inner[folders[0]]]):
        name = folders[0].name
        raise DataError(
            f"{directory} has only one folder, {name}, with the folders {', '.join(below[:3])} in it; "
            f"perhaps you mean {folders[0]}: {LAYOUT}"
        )
    if len(found) < 2:
        return {"train": _classes(directory)}
    if split_up != folders:
        flat = next(folder.name for folder in folders if folder not in split_up)
        raise DataError(
            f"{directory}: the class {split_up[0].name} is split into {', '.join(sorted(found))}, and the "
            f"class {flat} is not; {LAYOUT}"
        )
    splits: dict[str, Classes] = {split: {} for split in SPLITS if split in found}
    for folder in folders:
        for sub in inner[folder]:
            splits[_split_of(sub.name)].setdefault(class_name(folder.name), []).append(sub)
    return splits


def find_images(folder: Path, closed: list[OSError] | None = None) -> Iterator[tuple[Path, os.DirEntry, str]]:
    """The files below a folder that may be images: path, directory entry, and what `format_of` says.

    closed: gets the error of each folder that cannot be read; None: it is raised.
    """
    try:
        entries = _entries(folder)
    except OSError as error:
        if closed is None:
            raise
        closed.append(error)
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):  # a link could lead round in a circle
            if not THUMBNAILS.fullmatch(entry.name):
                yield from find_images(Path(entry.path), closed)
        elif (_is_file(entry) or not Path(entry).exists()) and (found := format_of(entry)):
            yield Path(entry.path), entry, found


def _is_file(entry: os.DirEntry) -> bool:
    """As `entry.is_file()`; a link to itself is none, and raises no error."""
    with suppress(OSError):
        return entry.is_file()
    return False


def format_of(entry: os.DirEntry | Path) -> str | None:
    """IMAGE for the commonest names; else what `formats.identify` says of the file's first bytes."""
    if IMAGE_NAME.fullmatch(entry.name):
        return IMAGE
    head = b""
    with suppress(OSError), Path(entry).open("rb") as file:  # who reads it says what is wrong
        head = file.read(HEAD)
    return identify(head, entry.name)


def _entries(folder: Path) -> list[os.DirEntry]:
    """What is in a folder, sorted by name, less what programs leave behind."""
    with os.scandir(folder) as entries:  # several times faster than pathlib
        found = [entry for entry in entries if not LEFT_BEHIND.fullmatch(entry.name)]
    return sorted(found, key=lambda entry: entry.name)


def _split_of(name: str) -> str | None:
    """The split that a folder's name stands for."""
    for split, names in SPLIT_NAMES.items():
        if names.fullmatch(name.casefold()):
            return split
    return None


def _has_classes(folder: Path) -> bool:
    """Whether there are images in folders of this folder, and none in itself."""
    return not _holds_images(folder) and any(_holds_images(sub, deep=True) for sub in _subfolders(folder))


def _holds_images(folder: Path, deep: bool = False) -> bool:
    """Whether there is an image in the folder; deep: or in one of its folders."""
    entries = _entries(folder)
    if any(_is_file(entry) and (found := format_of(entry)) and found not in NOT_READ for entry in entries):
        return True
    inner = (Path(entry.path) for entry in entries if deep and entry.is_dir(follow_symlinks=False))
    return any(_holds_images(sub, deep=True) for sub in inner)


def _subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, less those that programs leave behind."""
    inner = (sub for sub in folder.iterdir() if sub.is_dir() and not LEFT_BEHIND.fullmatch(sub.name))
    return sorted(inner)


def _classes(folder: Path) -> Classes:
    classes: Classes = {}
    for sub in _subfolders(folder):
        classes.setdefault(class_name(sub.name), []).append(sub)
    return dict(sorted(classes.items()))


def _loose(folder: Path) -> str:
    loose = sum(bool(path.is_file() and format_of(path)) for path in folder.iterdir())
    return f"{loose:,} images that belong to no class" if loose else "no images either"


def class_name(name: str) -> str:
    """One spelling of a folder's name: in archives from macOS é is e and an accent; bytes are escaped."""
    try:
        printable = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a character, as Windows allows
        printable = name.encode("utf-8", "backslashreplace").decode()
    return unicodedata.normalize("NFC", printable)
