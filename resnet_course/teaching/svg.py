"""What drawings are made of: an SVG file with a description, text, lines with arrow heads.

A drawing lies on a white card of its own, so that it reads alike on a light page and on a dark one.
"""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass

INK, GREY = "#1a1a1a", "#596464"  # text; lines


@dataclass(frozen=True)
class Drawing:
    """A drawing and what it shows in words. `svg` is a whole file, with the words in it."""

    svg: str
    alt: str

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self.html, "image/svg+xml": self.svg, "text/plain": self.alt}

    @property
    def html(self) -> str:
        """An image that shrinks with the page."""
        code = base64.b64encode(self.svg.encode()).decode()
        alt = html.escape(self.alt)
        style = "max-width: 100%; vertical-align: top"
        return f'<img src="data:image/svg+xml;base64,{code}" alt="{alt}" style="{style}">'


@dataclass(frozen=True)
class Beside:
    """Drawings beside each other; on a narrow page, below each other."""

    drawings: tuple[Drawing, ...]

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {
            "text/html": " ".join(drawing.html for drawing in self.drawings),
            "text/plain": " ".join(drawing.alt for drawing in self.drawings),
        }


def beside(*drawings: Drawing) -> Beside:
    """Several drawings in one row."""
    return Beside(drawings)


def finish(parts: list[str], width: float, height: float, alt: str, words: list[str]) -> Drawing:
    """The file of all parts. alt, words: what it shows, in sentences without their full stops."""
    alt = ". ".join([alt, *words]) + "."
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" font-family="sans-serif" font-size="12">'
        f"<title>{html.escape(alt)}</title>"
        f'<rect width="100%" height="100%" rx="8" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )
    return Drawing(svg, alt)


def line(points: list[tuple[float, float]], color: str) -> str:
    """A line with an arrow head at its end."""
    (before, _), (x, y) = points[-2:]
    down = before == x
    head = [(x, y), (x - 4, y - 8), (x + 4, y - 8)] if down else [(x, y), (x + 8, y - 4), (x + 8, y + 4)]
    path, tip = (" ".join(f"{a:.1f},{b:.1f}" for a, b in each) for each in (points, head))
    line = f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>'
    return f'{line}<polygon points="{tip}" fill="{color}"/>'


def text(x: float, y: float, text: str, size: int = 12, bold: bool = False, middle: bool = False) -> str:
    """A line of text that begins at a place, or has its middle there."""
    anchor = ' text-anchor="middle"' if middle else ""
    weight = ' font-weight="bold"' if bold else ""
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{INK}"{anchor}{weight}'
    return f"<text {place}>{html.escape(text)}</text>"
