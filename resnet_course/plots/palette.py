"""Which colour, marker, line and hatching stands for which thing: the same in every figure of the course.

Every colour has a contrast of at least 3:1 to white and to JupyterLab's dark background (#111111). No colour
has the 4.5:1 that text needs on both, so text is always in matplotlib's own colour for text. Nothing is told
apart by colour alone. tests/test_palette.py computes the contrasts, and the distances between the colours as
people with each kind of colour vision see them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from matplotlib import rcParams

from resnet_course.common.errors import ArgumentError


@dataclass(frozen=True)
class Style:
    """How one thing is drawn. marker, line and hatch are matplotlib's codes."""

    color: str
    marker: str
    line: str
    hatch: str

    @property
    def curve(self) -> dict[str, str]:
        """Arguments for a line through points."""
        return {"color": self.color, "marker": self.marker, "linestyle": self.line}

    @property
    def bar(self) -> dict[str, str]:
        """Arguments for a bar."""
        return {"color": self.color, "hatch": self.hatch, "edgecolor": rcParams["axes.facecolor"]}

    @property
    def points(self) -> dict[str, str]:
        """Arguments for points without a line."""
        return {"color": self.color, "marker": self.marker, "linestyle": "none"}


TRAIN = Style("#85590b", "o", "--", "//")  # the training images
VALIDATION = Style("#5990ff", "s", "-", "||")  # the validation images
TEST = Style("#9037bc", "^", "-.", "..")  # the test images
RIGHT = Style("#00a64e", "p", "-", "--")  # a right prediction
WRONG = Style("#ff2137", "X", "--", "xx")  # a wrong one
BASELINE = Style("#a6857a", "v", "--", "\\\\")  # what is compared with: plain, random, the original
COURSE = Style("#5937ff", "D", "-", "")  # what the course makes of it: skips, pretrained, faster
FROZEN = Style("#2c7a90", "P", ":", "++")  # parts that do not learn
TRAINED = Style("#ff00a6", "*", "-", "**")  # parts that learn
MUTED = Style("#596464", "8", ":", "o")  # single runs, what is beaten, values to compare with

ROLES = {
    "training": TRAIN,
    "validation": VALIDATION,
    "test": TEST,
    "right": RIGHT,
    "wrong": WRONG,
    "baseline": BASELINE,
    "course": COURSE,
    "frozen": FROZEN,
    "trained": TRAINED,
    "muted": MUTED,
}

# For things that have no role: what one of these stands for holds in one figure only.
_COLORS = ("#de7a00", "#0064f4", "#a685bc", "#6f644e", "#b16f37", "#857ad3") * 2
_MARKERS = ("o", "s", "^", "D", "x", "v", "P", "*", "<", ">", "h", "p")
_LINES = ("-", "--", "-.", ":") * 3
_HATCHES = ("", "//", "..", "\\\\", "xx", "++", "oo", "||", "////", "....", "--", "**")
SERIES = tuple(map(Style, _COLORS, _MARKERS, _LINES, _HATCHES))

# Names that mean the same in every figure in which they stand.
NAMED = {
    **ROLES,
    "plain": BASELINE,
    "skips": COURSE,
    "random": BASELINE,
    "pretrained": COURSE,
    "scratch": BASELINE,
    "original order": BASELINE,
    "resize last": COURSE,
    "trained without": BASELINE,
    "with TrivialAugment": COURSE,
    "fc": SERIES[1],
    "layer4": SERIES[2],
    "all": SERIES[4],
}


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each name: its own if it has one in `NAMED`, else the next of `SERIES` that is free.

    No two of them share a marker or a hatching. Raises ArgumentError for more names than can be told apart.
    """
    names = list(dict.fromkeys(names))
    found = {name: NAMED[name] for name in names if name in NAMED}
    taken = {(style.marker, style.hatch) for style in found.values()}
    free = [s for s in SERIES if not any(s.marker == marker or s.hatch == hatch for marker, hatch in taken)]
    rest = [name for name in names if name not in found]
    if len(rest) > len(free):
        raise ArgumentError(
            f"{len(names)} things are to be drawn in one figure, and at most {len(found) + len(free)} of "
            "these can be told apart; draw fewer, or more figures"
        )
    found |= dict(zip(rest, free, strict=False))
    return {name: found[name] for name in names}
