"""The words of a figure, whatever characters names have: fonts for them, dollar signs, lone surrogates."""

from __future__ import annotations

import functools
import re
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib.axis import Axis
from matplotlib.category import StrCategoryFormatter
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

from resnet_course.common.console import printable, say

# Their characters are not what their numbers say, or are boxes with the number in them.
NOT_FOR_TEXT = re.compile(r"\.?Last ?Resort|STIX(NonUnicode|Size)|cm[a-z]+10|Symbol$|W[ei][bn]g?dings|Zapf")
# Looked through first, because they hold much: a computer may have a thousand fonts.
LIKELY = re.compile(
    r"Noto|Source Han|CJK|Gothic|Hei|YaHei|Ming|Song|PingFang|Hiragino|WenQuanYi|Malgun|Nanum|Arial Uni|"
    r"Segoe|Emoji|Symbola|Nirmala|Mangal|Kohinoor|Devanagari|Arabic|Tahoma|Unifont|Droid|STIXGeneral|DejaVu"
)
NAMES = (FixedFormatter, FuncFormatter, StrCategoryFormatter)  # what an axis has whose ticks are names
WARNINGS = (r"Glyph \d+ .*missing from", r"Matplotlib currently does not support .* natively")


def make_writable(figure: Figure) -> None:
    """Let a finished figure show its texts as they are.

    Names are not read as formulas; what the figure's font lacks comes from another one that is installed, or
    is said once to be missing; and what is no character, as in file names that are no text, is escaped.
    """
    numbers = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        if isinstance(axis.get_major_formatter(), NAMES):
            _escape_ticks(axis)
        else:
            numbers |= {label for tick in axis.get_major_ticks() for label in (tick.label1, tick.label2)}
        numbers |= {label for tick in axis.get_minor_ticks() for label in (tick.label1, tick.label2)}
        numbers.add(axis.offsetText)
    for text in figure.findobj(Text):
        if text in numbers:  # a logarithmic axis writes its powers as formulas
            continue
        text.set_parse_math(False)
        if printable(text.get_text()) != text.get_text():
            text.set_text(printable(text.get_text()))
        if lacking := _lacking(text.get_text(), tuple(text.get_fontfamily())):
            text.set_fontfamily([*text.get_fontfamily(), *_fonts_with(lacking)])


def number(value: float) -> str:
    """A number in three digits, or as a whole one from a thousand on, and never as a power of ten there."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def legend_label(name: str) -> str:
    """A name as a legend shows it; matplotlib leaves out what begins with an underscore."""
    return f" {name}" if name.startswith("_") else name


@contextmanager
def without_font_warnings() -> Iterator[None]:
    """Within it nothing is said of characters that no font has: `make_writable` has said it once."""
    with warnings.catch_warnings():
        for message in WARNINGS:
            warnings.filterwarnings("ignore", message)
        yield


def _escape_ticks(axis: Axis) -> None:
    names = [label.get_text() for label in axis.get_ticklabels()]
    if any(printable(name) != name for name in names):
        axis.set_ticks(axis.get_ticklocs(), [printable(name) for name in names])


def _lacking(text: str, families: tuple[str, ...]) -> frozenset[str]:
    """The characters of a text that its fonts do not have."""
    seen = {each for each in text if ord(each) > 126 and unicodedata.category(each) not in ("Cc", "Cf", "Mn")}
    return frozenset(each for each in seen if not any(ord(each) in _of_family(name) for name in families))


@functools.cache
def _of_family(name: str) -> frozenset[int]:
    try:
        return _characters(findfont(FontProperties(family=[name]), fallback_to_default=False))
    except ValueError:  # there is none; the others of the family list are asked
        return frozenset()


@functools.cache
def _characters(path: str) -> frozenset[int]:
    """What a font file can draw; nothing for one of pictures in a single size, which cannot be scaled."""
    try:
        font = FT2Font(path)
        return frozenset(font.get_charmap() if font.scalable else ())
    except Exception:  # a font that cannot be read is no loss, and what it raises differs
        return frozenset()


@functools.cache
def _fonts_with(lacking: frozenset[str]) -> list[str]:
    """The names of as few fonts as have these characters; says once what none has."""
    left, chosen = {ord(each) for each in lacking}, []
    for entry in _fonts():
        if not left:
            break
        if found := left & _characters(entry.fname):
            left -= found
            chosen.append(entry.name)
    if left:
        _say_missing("".join(map(chr, sorted(left)[:12])))
    return chosen


@functools.cache
def _fonts() -> list[FontEntry]:
    """An upright one of ordinary weight for each name, the likely ones first."""
    by_name: dict[str, FontEntry] = {}
    for entry in sorted(fontManager.ttflist, key=_unlike_text):
        if not NOT_FOR_TEXT.match(entry.name):
            by_name.setdefault(entry.name, entry)
    return sorted(by_name.values(), key=lambda entry: (not LIKELY.search(entry.name), entry.name))


def _unlike_text(entry: FontEntry) -> tuple[bool, bool, str]:
    return entry.style != "normal", str(entry.weight) not in ("400", "normal", "regular"), entry.fname


_said: list[str] = []


def _say_missing(characters: str) -> None:
    if not _said:
        _said.append(characters)
        say(
            f"No installed font has the characters {characters}: figures show boxes in their place. A font "
            "that has them, such as one of the Noto family, is found once it is installed."
        )
