"""Whether there are enough pictures to check what a notebook says of them; where not, a line says why."""

from __future__ import annotations

import torch

from resnet_course.data.images import LabelledSet

BALANCED = 3  # times the smallest class


def can_show(claim: str, pictures: LabelledSet, at_least: int = 0, of_each: int = 0) -> bool:
    """Whether a claim can be checked on these pictures; if not, one line says why.

    Drawn shapes are the same everywhere: what they showed once they always show.
    claim: what is to be shown, as a clause. pictures: on which it is.
    at_least: how many there must be. of_each: how many of each class, and no class may then have more than
        BALANCED times as many as another.
    """
    if pictures.name == "shapes":
        return True
    counts = torch.bincount(pictures.labels, minlength=len(pictures.classes)).tolist()
    few, many = (pictures.classes[counts.index(count)] for count in (min(counts), max(counts)))
    if len(pictures) < at_least:
        reason = f"that takes at least {at_least:,} pictures, and you have {len(pictures):,}"
    elif min(counts) < of_each:
        reason = f"that takes at least {of_each:,} pictures of each class, and {few} has {min(counts):,}"
    elif of_each and max(counts) > BALANCED * min(counts):
        reason = (
            f"{many} has {max(counts):,} pictures and {few} {min(counts):,}; that takes classes of which "
            f"none has more than {BALANCED} times as many as another"
        )
    else:
        return True
    print(f"Not checked in this run, that {claim}: {reason}.")
    return False


def better_than(chance: float) -> float:
    """The accuracy from which on a network does far better than guessing.

    Half as often again as guessing; where few classes make guessing easy, an eighteenth of what is left to
    win. With ten equal classes both are 15%.
    chance: how often guessing is right, 0 to 1.
    """
    return chance + min(chance / 2, (1 - chance) / 18)
