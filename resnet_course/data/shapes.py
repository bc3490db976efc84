"""Images that the package draws itself: ten classes of shapes, and twenty others to pretrain on.

They need no download, and a seed gives the same bytes on every platform and with every numpy: the
random numbers are `RandomState`'s, whose stream is frozen, and a pixel is made with + - * / and sqrt
alone, which IEEE 754 defines to the last bit. (Sines and cosines it does not; they are rounded.)

A shape is a signed distance function: from points (x, y) to their distance to the shape's edge, negative
inside. Clipped to half a pixel on either side, it gives a smooth edge; a minimum of two distances is a
union, a maximum an intersection. Shapes fill the unit disc.
Source: Inigo Quilez, "2D distance functions", https://iquilezles.org/articles/distfunctions2d/.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch

from resnet_course.common.errors import ArgumentError
from resnet_course.data.images import ImageSet

SIZE = 32  # pixels a side
BATCH = 256  # images painted at once: few enough for the processor's cache

Point = tuple[float, float]
Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]  # x and y, float32 [N, H, W] → distance, the same


def disc(x: float, y: float, radius: float) -> Shape:
    """All points less than `radius` from (x, y)."""
    return lambda px, py: np.sqrt((px - x) * (px - x) + (py - y) * (py - y)) - radius


def line(width: float, *points: Point) -> Shape:
    """A line of `width` with round ends from point to point."""
    return lambda px, py: np.sqrt(_squared_distance(px, py, points)) - width / 2


def polygon(*points: Point) -> Shape:
    """The area inside an outline, the last point joined to the first."""
    outline = (*points, points[0])

    def distance(px: np.ndarray, py: np.ndarray) -> np.ndarray:
        inside = np.zeros(px.shape, bool)
        for (ax, ay), (bx, by) in pairwise(outline):
            # A ray to the right crosses the outline an odd number of times if it starts inside.
            left = ((bx - ax) * (py - ay) > (px - ax) * (by - ay)) == (by > ay)
            inside ^= left & ((py < ay) != (py < by))
        edge = np.sqrt(_squared_distance(px, py, outline))
        return np.where(inside, -edge, edge)

    return distance


def box(left: float, bottom: float, right: float, top: float) -> Shape:
    """An upright rectangle."""
    return lambda px, py: np.maximum(np.maximum(left - px, px - right), np.maximum(bottom - py, py - top))


def union(*shapes: Shape) -> Shape:
    """What is in any of the shapes."""
    return lambda px, py: np.minimum.reduce([shape(px, py) for shape in shapes])


def cut(shape: Shape, *holes: Shape) -> Shape:
    """What is in the first shape and in none of the others."""
    return lambda px, py: np.maximum(shape(px, py), -union(*holes)(px, py))


def _squared_distance(px: np.ndarray, py: np.ndarray, points: Sequence[Point]) -> np.ndarray:
    """To the nearest point of the lines from point to point."""
    nearest = np.full(px.shape, np.inf, np.float32)
    for (ax, ay), (bx, by) in pairwise(points):
        dx, dy = bx - ax, by - ay
        x, y = px - ax, py - ay
        along = np.clip((x * dx + y * dy) / (dx * dx + dy * dy), 0, 1)
        x, y = x - along * dx, y - along * dy
        nearest = np.minimum(nearest, x * x + y * y)
    return nearest


# fmt: off
SHAPES: dict[str, Shape] = {
    "circle": disc(0, 0, 0.8),
    "ring": cut(disc(0, 0, 0.95), disc(0, 0, 0.55)),
    "square": box(-0.7, -0.7, 0.7, 0.7),
    "triangle": polygon((0, 1), (-0.87, -0.5), (0.87, -0.5)),
    "star": polygon((0, 1), (-0.26, 0.36), (-0.95, 0.31), (-0.43, -0.14), (-0.59, -0.81),
                    (0, -0.45), (0.59, -0.81), (0.43, -0.14), (0.95, 0.31), (0.26, 0.36)),
    "cross": union(box(-0.95, -0.27, 0.95, 0.27), box(-0.27, -0.95, 0.27, 0.95)),
    "heart": union(disc(-0.42, 0.36, 0.47), disc(0.42, 0.36, 0.47),
                   polygon((0, 0.5), (-0.82, 0.12), (0, -0.95), (0.82, 0.12))),
    "crescent": cut(disc(0, 0, 0.95), disc(0.45, 0, 0.75)),
    "arrow": polygon((0, 1), (-0.75, 0.15), (-0.25, 0.15), (-0.25, -0.95),
                     (0.25, -0.95), (0.25, 0.15), (0.75, 0.15)),
    "bars": union(box(-0.7, -0.85, -0.2, 0.85), box(0.2, -0.85, 0.7, 0.85)),
    # The ten above are the data set; the twenty below are there to pretrain on.
    "L": polygon((-0.55, 0.9), (-0.55, -0.9), (0.65, -0.9), (0.65, -0.45), (-0.1, -0.45), (-0.1, 0.9)),
    "T": union(box(-0.75, 0.4, 0.75, 0.85), box(-0.23, -0.95, 0.23, 0.6)),
    "zigzag": line(0.32, (-0.85, -0.35), (-0.42, 0.4), (0, -0.35), (0.42, 0.4), (0.85, -0.35)),
    "semicircle": cut(disc(0, -0.4, 0.95), box(-1, -2, 1, -0.4)),
    "pacman": cut(disc(0, 0, 0.9), polygon((-0.1, 0), (1.2, 0.85), (1.2, -0.85))),
    "frame": cut(box(-0.75, -0.75, 0.75, 0.75), box(-0.42, -0.42, 0.42, 0.42)),
    "pill": line(0.75, (-0.6, 0), (0.6, 0)),
    "rectangle": box(-0.9, -0.38, 0.9, 0.38),
    "trapezoid": polygon((-0.9, -0.5), (0.9, -0.5), (0.4, 0.5), (-0.4, 0.5)),
    "hexagon": polygon((0.9, 0), (0.45, 0.78), (-0.45, 0.78), (-0.9, 0), (-0.45, -0.78), (0.45, -0.78)),
    "drop": union(disc(0, -0.35, 0.58), polygon((0, 1), (-0.53, -0.12), (0.53, -0.12))),
    "bolt": polygon((0.25, 1), (-0.6, -0.1), (-0.1, -0.1), (-0.3, -1), (0.6, 0.2), (0.08, 0.2)),
    "dots": union(disc(-0.5, -0.35, 0.36), disc(0.5, -0.35, 0.36), disc(0, 0.52, 0.36)),
    "checker": union(box(-0.75, -0.75, 0, 0), box(0, 0, 0.75, 0.75)),
    "ladder": union(box(-0.6, -0.95, -0.35, 0.95), box(0.35, -0.95, 0.6, 0.95),
                    box(-0.5, -0.62, 0.5, -0.4), box(-0.5, -0.11, 0.5, 0.11), box(-0.5, 0.4, 0.5, 0.62)),
    "target": union(disc(0, 0, 0.36), cut(disc(0, 0, 0.95), disc(0, 0, 0.68))),
    "house": polygon((-0.65, -0.8), (0.65, -0.8), (0.65, 0.15), (0, 0.95), (-0.65, 0.15)),
    "chevron": line(0.36, (-0.8, -0.3), (0, 0.35), (0.8, -0.3)),
    "key": union(cut(disc(0, 0.5, 0.46), disc(0, 0.5, 0.19)), box(-0.13, -0.95, 0.13, 0.15),
                 box(0, -0.95, 0.45, -0.72), box(0, -0.55, 0.4, -0.33)),
    "hourglass": polygon((-0.65, 0.85), (0.65, 0.85), (-0.65, -0.85), (0.65, -0.85)),
}
# fmt: on
CLASSES = tuple(SHAPES)[:10]
PRETRAINING_CLASSES = tuple(SHAPES)[10:]


def draw(count: int, seed: int, classes: Sequence[str] = CLASSES) -> ImageSet:
    """Draw `count` images of 32×32 pixels, as many of each class (give or take one), in random order.

    count: the number of images.
    seed: 0 to 2**32 - 1; the same seed gives the same images everywhere.
    classes: names out of `CLASSES` or `PRETRAINING_CLASSES`.
    Raises ArgumentError for an unknown class.
    """
    unknown = [name for name in classes if name not in SHAPES]
    if unknown:
        raise ArgumentError(f"there is no shape {unknown[0]!r}; it must be one of: {', '.join(SHAPES)}")
    random = np.random.RandomState(seed)
    labels = np.arange(count) % len(classes)
    labels = labels[np.argsort(random.random_sample(count), kind="stable")]
    images = np.empty((count, 3, SIZE, SIZE), np.uint8)
    for label, name in enumerate(classes):
        members = np.flatnonzero(labels == label)
        for start in range(0, len(members), BATCH):
            batch = members[start : start + BATCH]
            images[batch] = _paint(SHAPES[name], len(batch), random)
    return ImageSet(
        torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)), tuple(classes), "shapes"
    )


def _paint(shape: Shape, count: int, random: np.random.RandomState) -> np.ndarray:
    """`count` images of one shape, uint8 [count, 3, SIZE, SIZE]."""

    def uniform(low: float, high: float, channels: int = 1, size: int = 1) -> np.ndarray:
        numbers = random.random_sample((count, channels, size, size)).astype(np.float32)
        return low + (high - low) * numbers

    def view(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pixels' coordinates in axes that start at (x, y) and are turned by a random angle."""
        turns = 2 * math.pi * random.random_sample(count)
        turns = np.rint(2**20 * np.array([[math.cos(turn), math.sin(turn)] for turn in turns]))
        cosine, sine = turns.astype(np.float32).T[:, :, None, None, None] / 2**20
        right, up = middles - x, -middles[:, None] - y
        return cosine * right + sine * up, cosine * up - sine * right

    middles = np.arange(SIZE, dtype=np.float32) - (SIZE - 1) / 2

    # Four figures in five are light on a dark ground, in any hue, the others dark on light. The ground is
    # plain, or has waves in one direction (stripes, a gradient if they are long) or in two (blotches).
    dark, light = uniform(0, 0.4, 3), uniform(0.6, 1, 3)
    negative = uniform(0, 1) < 0.2
    ground, figure = np.where(negative, light, dark), np.where(negative, dark, light)
    x, y = view(uniform(-16, 16), uniform(-16, 16))
    waves = _wave(x / uniform(8, 40)) * np.where(uniform(0, 1) < 0.5, _wave(y / uniform(8, 40)), 1)
    image = ground + waves * np.maximum(uniform(-0.2, 0.2, 3), 0)

    radius = uniform(9, 13)
    room = SIZE / 4 - 0.45 * radius
    x, y = view(room * uniform(-1, 1), room * uniform(-1, 1))
    cover = np.clip(0.5 - radius * shape(x / radius, y / radius), 0, 1)
    image += cover * (figure - image)

    # A bar in any colour lies over two images in five.
    x, y = view(uniform(-10, 10), uniform(-10, 10))
    width = np.where(uniform(0, 1) < 0.4, uniform(0.8, 2.5), -1)
    cover = np.clip(0.5 - np.maximum(np.abs(x) - width, np.abs(y) - uniform(4, 16)), 0, 1)
    image += cover * (uniform(0, 1, 3) - image)

    image += uniform(0, 0.12) * uniform(-1, 1, 3, SIZE)  # noise
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def _wave(x: np.ndarray) -> np.ndarray:
    """A triangle wave between -1 and 1 with period 1."""
    return 4 * np.abs(x - np.floor(x) - 0.5) - 1
