"""Draws folders of pictures as people have them: few or many, of any shape, balanced or not.

python tests/own_folders.py DIR [NAME …]    draws those folders, by default all, as DIR/NAME/<class>/<picture>
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from resnet_course.data.shapes import SHAPES, draw

HUES = ((1.0, 1.0, 1.0), (1.0, 0.35, 0.35), (0.35, 1.0, 0.35), (0.35, 0.35, 1.0))


@dataclass(frozen=True)
class Folder:
    """A folder of pictures.

    counts: pictures of each class. sizes: (width, height), taken in turn. suffix: what the files are.
    easy: every class has a colour of its own, so that hardly a network gets one wrong.
    """

    counts: Sequence[int]
    sizes: Sequence[tuple[int, int]]
    suffix: str = ".png"
    easy: bool = False


MIXED = ((300, 200), (200, 300), (640, 480), (97, 131), (500, 120), (64, 64))
FOLDERS = {
    "two_small": Folder([20, 20], [(48, 48)]),
    "two_large": Folder([20, 20], [(4000, 3000)], ".jpg"),
    "dominant": Folder([180, 20], [(300, 200)], ".jpg"),
    "three_tiny": Folder([40] * 3, [(16, 16)]),
    "three_mixed": Folder([80, 40, 20], MIXED, ".jpg"),
    "ten_mixed": Folder([60] * 10, MIXED, ".jpg"),
    "hundred": Folder([20] * 100, [(64, 64)]),
    "two_many": Folder([2_000, 2_000], [(32, 48)]),
    "six": Folder([3, 3], [(64, 48)]),  # as few as the course takes
    "four_days": Folder([40, 40], [(64, 48)]),  # ten pictures of each class a day: the tens in their names
    "two_easy": Folder([100, 100], [(120, 90)], easy=True),
}


def draw_folder(folder: Folder, into: Path, seed: int = 0) -> Path:
    """Draw a folder's pictures as `into`/<class>/<number>; returns `into`."""
    random = np.random.RandomState(seed)
    for label, count in enumerate(folder.counts):
        # After as many classes as there are shapes, the shapes come again in another colour.
        round_, place = divmod(label, len(SHAPES))
        shape = list(SHAPES)[place]
        name = shape if round_ == 0 else f"{shape} {round_}"
        (into / name).mkdir(parents=True)
        tint = np.array(HUES[(label + 1 if folder.easy else round_) % len(HUES)])
        for number, image in enumerate(draw(count, seed + label, (shape,)).images):
            figure = image.permute(1, 2, 0).numpy()
            if folder.easy:
                figure = np.broadcast_to(200 * tint, figure.shape) + random.uniform(-9, 9, figure.shape)
            size = folder.sizes[number % len(folder.sizes)]
            picture = _on_ground(
                Image.fromarray((figure * (tint if not folder.easy else 1)).astype(np.uint8)), size, random
            )
            picture.save(into / name / f"{number:04}{folder.suffix}", quality=90)
    return into


def _on_ground(figure: Image.Image, size: tuple[int, int], random: np.random.RandomState) -> Image.Image:
    """The figure as large as the shorter side, somewhere near the middle of a canvas with blotches."""
    width, height = size
    blotches = random.randint(60, 196, (3, 4, 3)).astype(np.uint8)
    canvas = Image.fromarray(blotches).resize(size, Image.Resampling.BICUBIC)
    side = min(size)
    room = (width - side) // 6, (height - side) // 6
    left, top = ((space - side) // 2 + random.randint(-r, r + 1) for space, r in zip(size, room, strict=True))
    canvas.paste(figure.resize((side, side), Image.Resampling.BICUBIC), (left, top))
    return canvas


if __name__ == "__main__":
    directory, *names = sys.argv[1:]
    for name in names or FOLDERS:
        print(draw_folder(FOLDERS[name], Path(directory, name)))
