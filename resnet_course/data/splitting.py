"""Which side of a split an image of a folder is on: its file's content decides, and nothing else.

So a picture stays on its side whatever is added or removed, copies of it are on the same side, and another
machine finds the same sides.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict

import torch

from resnet_course.data.images import ImageSet
from resnet_course.data.rows import DataError


def split_by_content(image_set: ImageSet, shares: dict[str, float]) -> dict[str, ImageSet]:
    """Split images of files by the digests of the files, or by their groups, which are never split.

    A class that would have an empty side gets the image, or group, with the smallest digest there; sides that
    come first in `shares` are filled first.

    shares: of each side its share, 0 to 1; together they are 1.
    Raises DataError if a class has too few different images, or groups, to be on every side.
    """
    digests, grouped = list(image_set.groups), image_set.origins.groups is not None
    if grouped:
        digests = [hashlib.sha256(group.encode("utf-8", "surrogatepass")).hexdigest() for group in digests]
    members: dict[int, set[str]] = defaultdict(set)
    for label, digest in zip(image_set.labels.tolist(), digests, strict=True):
        members[label].add(digest)
    what = "groups" if grouped else "different images"
    for label, own in sorted(members.items()):
        if len(own) < len(shares):
            raise DataError(
                f"{image_set.name}: the class {image_set.classes[label]} has {len(own)} {what}; every class "
                f"needs at least {len(shares)}, one for each of {', '.join(shares)}"
            )
    side = {digest: _side(digest, shares) for digest in digests}
    _fill_empty_sides(side, [sorted(own) for _, own in sorted(members.items())], list(shares))
    found = [side[digest] for digest in digests]
    parts = {
        name: torch.tensor([place for place, own in enumerate(found) if own == name], dtype=torch.int64)
        for name in shares
    }
    return {name: image_set.subset(indices) for name, indices in parts.items()}


def _side(digest: str, shares: dict[str, float]) -> str:
    """The side of a digest: its first 52 bits are a number from 0 to 1, and the sides lie there in a row."""
    position, end = int(digest[:13], 16) / 16**13, 0.0
    for name, share in shares.items():
        end += share
        if position < end:
            return name
    return next(reversed(shares))


def _fill_empty_sides(side: dict[str, str], classes: list[list[str]], names: list[str]) -> None:
    """Move digests between sides until every class is on every side.

    side: changed in place. classes: the sorted digests of each class; one can be in several classes.
    Raises DataError where classes share so many images that it cannot be done.
    """
    for _ in range(len(classes) * len(names) + 1):
        empty = [
            (place, own) for place, name in enumerate(names) for own in classes if not _on(name, own, side)
        ]
        if not empty:
            return
        place, own = empty[0]
        filled = names[:place]  # what one of these sides has alone stays there
        movable = (
            digest for digest in own if side[digest] not in filled or not _is_alone(digest, side, classes)
        )
        if (digest := next(movable, None)) is None:
            break
        side[digest] = names[place]
    raise DataError(
        "the images cannot be split so that every class is on every side: too many are in several classes"
    )


def _on(name: str, own: list[str], side: dict[str, str]) -> list[str]:
    """Those of a class that are on a side."""
    return [digest for digest in own if side[digest] == name]


def _is_alone(digest: str, side: dict[str, str], classes: list[list[str]]) -> bool:
    """Whether a class would lose its only one on that side."""
    return any(_on(side[digest], own, side) == [digest] for own in classes)
