"""Where images come from: one loader for each source that `settings` can name."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch

from resnet_course.common.caches import make_room
from resnet_course.common.console import say
from resnet_course.common.download import DownloadError
from resnet_course.data import cifar10, folder, shapes
from resnet_course.data.groups import Group, group_function
from resnet_course.data.images import DataError, ImageSet, Splits, split_off
from resnet_course.data.splitting import split_by_content
from resnet_course.settings import Settings

SPLITS = ("train", "val", "test")
VALIDATION = 0.1  # of train, where the data set has no validation split of its own
SHAPES_COUNTS = {
    "reduced": (1_000, 500),
    "laptop": (10_000, 2_000),
    "full": (10_000, 2_000),
}  # train + val, test


def load(settings: Settings, group: Group | None = None, until: float = math.inf) -> Splits:
    """The three splits of the data source that `settings` names, said in one line.

    What a folder does not bring, validation and test, is set aside from train by the digests of its files, so
    that an image stays on its side. Of CIFAR-10 and the shapes a stratified tenth of train is validation.

    group: of a folder's image, from its path in the folder to the name of what it belongs to, such as an
        object or a day: a group is never split. None: what `settings.group` says.
    until: when it has to be over, in seconds of `time.perf_counter`: of a folder that takes longer to decode
        a part is read, and its own test split is not.
    Raises DataError for a folder that cannot be used, and DownloadError if CIFAR-10 was asked for and
    cannot be had.
    """
    if _source(settings) == "folder":
        splits, reason = _folder_splits(settings, None, group, until), "as you asked"
    else:
        splits, reason = LOADERS[_source(settings)](settings)
    test = f"{len(splits.test):,} test images"
    if until < math.inf and settings.folder and "test" in folder.split_names(_directory(settings)):
        test = "test images, which are not read now, to save time"
    sizes = f"{len(splits.train):,} train, {len(splits.val):,} validation, {test}"
    say(f"Data: {splits.train.name} ({reason}); {len(splits.train.classes)} classes, {sizes}.")
    return splits


def load_split(settings: Settings, split: str, stored_size: int | None = None) -> ImageSet:
    """One split, "train", "val" or "test"; of a folder, only that one is read where it stands alone.

    stored_size: pixels a side at which a folder's images are stored; None: as the folder suggests.
    Raises what `load` raises.
    """
    if split not in SPLITS:
        raise DataError(f"split is {split!r}; it must be one of: {', '.join(SPLITS)}")
    if _source(settings) != "folder":
        return getattr(load(settings), split)
    directory, there = _directory(settings), folder.split_names(_directory(settings))
    if "train" not in there or (split != "train" and split in there and not settings.group):
        own = split if split in there else there[0]
        found = folder.load_split(directory, own, settings.home, stored_size, settings.shorter_side)
        return found if own == split else found.subset(torch.arange(0))
    return getattr(_folder_splits(settings, stored_size), split)


def load_whole(settings: Settings, stored_size: int | None = None) -> ImageSet | None:
    """All images of a folder that has neither val nor test of its own; None for any other source.

    stored_size: as in `load_split`. Raises DataError for a folder that cannot be used.
    """
    if not settings.folder or {"val", "test"} & set(folder.split_names(_directory(settings))):
        return None
    return folder.load_split(
        _directory(settings), "train", settings.home, stored_size, settings.shorter_side, to_learn=False
    )


def test_share(settings: Settings, asked: float | None) -> float:
    """The share of train to set aside as test: as asked for, else none if a folder brings its own val.

    Raises DataError for a folder that cannot be used.
    """
    if asked is not None or not settings.folder:
        return settings.test_share if asked is None else asked
    return 0.0 if "val" in folder.split_names(_directory(settings)) else settings.test_share


def _source(settings: Settings) -> str:
    return settings.data.partition(":")[0]


def _directory(settings: Settings) -> Path:
    return Path(settings.data.removeprefix("folder:")).expanduser()


def _load_folder(settings: Settings) -> tuple[Splits, str]:
    return _folder_splits(settings), "as you asked"


def _folder_splits(
    settings: Settings,
    stored_size: int | None = None,
    group: Group | None = None,
    until: float = math.inf,
) -> Splits:
    directory = _directory(settings)
    there = folder.split_names(directory)
    parts = {
        split: folder.load_split(directory, split, settings.home, stored_size, settings.shorter_side, until)
        for split in there
        if split != "test" or until == math.inf
    }
    if "train" not in parts:
        raise DataError(f"{directory} has no train folder; it must be DIR/train/<class>/<images>")
    if group or settings.group:
        parts = _apart(_grouped(directory, parts, group or group_function(settings.group)))
    parts.setdefault("test", parts["train"].subset(torch.arange(0)))
    shares = {}
    if "test" not in there:
        share = f"{settings.test_share:.0%}" if settings.test_share else "none"
        say(f"{parts['train'].name} has no test folder: {share} of train is set aside as the test split.")
        shares |= {"test": settings.test_share} if settings.test_share else {}
    if "val" not in there:
        shares["val"] = VALIDATION * (1 - sum(shares.values()))
    set_aside = tuple(shares)
    if shares:
        shares["train"] = 1 - sum(shares.values())
        parts.update(split_by_content(parts["train"], shares))
    make_room(settings.home, settings.cache_limit)
    # A folder comes sorted by class; learners look at the first test images, and should see all classes.
    order = torch.randperm(len(parts["test"]), generator=torch.Generator().manual_seed(settings.seed))
    return Splits(parts["train"], parts["val"], parts["test"].subset(order), set_aside)


def _grouped(directory: Path, parts: dict[str, ImageSet], group: Group) -> dict[str, ImageSet]:
    """The images of a folder with their groups; in val and test there may be some without one."""
    found = {}
    for split, images in parts.items():
        names, without = list(images.digests), 0
        for place, path in enumerate(images.paths):
            try:
                names[place] = str(group(Path(path).relative_to(directory).as_posix()))
            except DataError:
                if split == "train":
                    raise
                without += 1
        if without:
            say(f"{images.name}: {without:,} of {len(images):,} images of {split} have no group; they stay.")
        found[split] = images.grouped(names)
    return found


def _apart(parts: dict[str, ImageSet]) -> dict[str, ImageSet]:
    """The splits that a folder brings; of val and test without images whose group an earlier one holds."""
    taken: set[str] = set()
    for split, images in parts.items():
        new = [place for place, name in enumerate(images.groups) if name not in taken]
        if left_out := len(images) - len(new):
            what = f"{left_out:,} of {len(images):,} images of {split} belong to groups of an earlier split"
            if not new:
                raise DataError(f"{images.name}: {what}, so none is left; divide the folder by groups")
            say(f"{images.name}: {what} and are left out.")
        taken |= set(images.groups)
        parts[split] = images.subset(torch.tensor(new))
    return parts


def _load_shapes(settings: Settings, reason: str = "they need no download") -> tuple[Splits, str]:
    train_count, test_count = SHAPES_COUNTS[settings.mode]
    drawn = shapes.draw(train_count, seed=settings.seed)
    test = shapes.draw(test_count, seed=(settings.seed + 1_000_000) % 2**32)
    return Splits(*split_off(drawn, VALIDATION, settings.seed), test, ("val",)), reason


def _load_cifar10(settings: Settings, patience: float | None = None) -> tuple[Splits, str]:
    reason = "it is on this disk" if cifar10.is_present(settings.home) else "downloaded just now"
    official, test = cifar10.load(settings.home, patience=patience)
    return Splits(*split_off(official, VALIDATION, settings.seed), test, ("val",)), reason


def _load_auto(settings: Settings) -> tuple[Splits, str]:
    """CIFAR-10; the shapes if it cannot be had."""
    try:
        return _load_cifar10(settings, settings.patience)
    except (DownloadError, OSError) as error:
        why = str(error).splitlines()[0]
        reason = f"because CIFAR-10 cannot be had now: {why}; RESNET_COURSE_DATA=cifar10 asks again"
        return _load_shapes(settings, reason)


LOADERS: dict[str, Callable[[Settings], tuple[Splits, str]]] = {
    "auto": _load_auto,
    "cifar10": _load_cifar10,
    "shapes": _load_shapes,
    "folder": _load_folder,
}  # each returns the splits and why these: as many as `settings.DATA_SOURCES`, and folder:PATH
