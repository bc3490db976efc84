"""How any image, from a file or from memory, becomes 8-bit RGB, and that a square or a small one."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from resnet_course.common.errors import CourseError
from resnet_course.data.formats import (
    DAMAGED,
    FORMATS,
    HEAD,
    NOT_READ,
    RAW,
    RAW_TAGS,
    identify,
    is_raw_tag,
    load_plugin,
    looks_like_tga,
)
from resnet_course.data.pixels import from_array, to_rgb
from resnet_course.data.png import without_text

ImageSource = str | PathLike | bytes | Image.Image | np.ndarray

MOST_PIXELS = 256_000_000  # of a file: what the largest cameras of phones make, and a little more
LONGEST = 16  # times its shorter side is how long `shrink` leaves an image
TRANSPOSE = Image.Transpose
TURNS = {  # by EXIF's number
    2: TRANSPOSE.FLIP_LEFT_RIGHT,
    3: TRANSPOSE.ROTATE_180,
    4: TRANSPOSE.FLIP_TOP_BOTTOM,
    5: TRANSPOSE.TRANSPOSE,
    6: TRANSPOSE.ROTATE_270,
    7: TRANSPOSE.TRANSVERSE,
    8: TRANSPOSE.ROTATE_90,
}


class ImageError(CourseError, ValueError):
    """One image cannot be read. The message is "name: why"."""


@contextmanager
def open_image(source: str | PathLike | BinaryIO) -> Iterator[Image.Image]:
    """An image file of one of the FORMATS, told by the content, not decoded: size and mode are known.

    HEIF is read where pillow-heif is installed.
    Raises UnidentifiedImageError with the reason for what is no such image, ValueError for one of more than
    MOST_PIXELS, and what Pillow raises for a damaged one.
    """
    if isinstance(source, str | PathLike):
        with Path(source).open("rb") as file:
            yield _opened(file, Path(source).name)
    else:
        yield _opened(source, "")


def _opened(file: BinaryIO, name: str) -> Image.Image:
    file.seek(0)
    head = file.read(HEAD)
    found = identify(head, name)
    if found in (None, DAMAGED) and looks_like_tga(head):  # without the name that a TGA has
        found = "TGA"
    if not head:
        raise UnidentifiedImageError("is empty")
    if found not in FORMATS:
        raise UnidentifiedImageError(_why_not(found))
    load_plugin(found)
    file.seek(0)
    image = Image.OPEN[found][0](without_text(file) if found == "PNG" else file, "")
    if found == "TIFF" and any(is_raw_tag(tag, image.tag_v2[tag]) for tag in RAW_TAGS if tag in image.tag_v2):
        raise UnidentifiedImageError(_why_not(RAW))
    if image.width * image.height > MOST_PIXELS:
        size = f"{image.width:,} × {image.height:,} pixels"
        raise ValueError(f"claims {size}, more than {MOST_PIXELS:,} in all; shrink it")
    return image


def _why_not(found: str | None) -> str:
    if found in (None, DAMAGED):
        return "not an image that can be read; PNG and JPEG always can"
    return f"{found} is not read; {NOT_READ[found]}"


def read_image(source: ImageSource, at_least: int = 0) -> Image.Image:
    """Read an image as 8-bit RGB, upright, whatever it was.

    EXIF rotation is applied; transparent parts become white; grey, palette, CMYK, 16-bit and float
    images are converted; of an animation the first frame is taken.

    source: a path, the bytes of a file, a PIL image (which stays as it is), or an array [H, W], [H, W, 1],
        [H, W, 3] or [H, W, 4]. White is 1 for bool, 255 for uint8, 65535 for uint16; for other numbers, in
        arrays and in files alike, it is the one of 1 (floats), 255 and 65535 that the brightest shows.
    at_least: a shortest side in pixels below which the image may not be shrunk while it is read;
        0 reads it whole. It makes large photographs several times faster to read, and takes less memory.
    Returns a new image.
    Raises ImageError.
    """
    with quiet():
        return read_quietly(source, at_least)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what Pillow warns of: EXIF that it can only read in part is no reason to refuse an image.

    Filters of warnings belong to the process, so this is not for threads: see `read_quietly`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_quietly(source: ImageSource, at_least: int = 0) -> Image.Image:
    """`read_image` for several threads at once, all of them inside one `with quiet():` of their caller."""
    name = str(source) if isinstance(source, str | PathLike) else "the image"
    try:
        if isinstance(source, Image.Image):
            return _upright(source, at_least, ours=False)
        if isinstance(source, np.ndarray):
            return from_array(source, at_least)
        if isinstance(source, bytes | bytearray | memoryview):
            source = io.BytesIO(source)
        elif not isinstance(source, str | PathLike):
            found = type(source).__name__
            raise ValueError(f"is a {found}; give a path, the bytes of a file, a PIL image or an array")
        elif Path(source).is_dir():
            raise ValueError("is a folder; give the path of an image file")
        with open_image(source) as image:
            if at_least:
                image.draft(None, (at_least, at_least))
            with _memory.taken(_bytes_needed(image)):
                result = _upright(image, at_least, ours=True)
                image.close()
                return result
    except FileNotFoundError:
        reason = "there is no such file"
    except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
    raise ImageError(f"{name}: {reason}")


def _upright(image: Image.Image, at_least: int, ours: bool) -> Image.Image:
    """In 8-bit RGB, turned as its EXIF says."""
    if 0 in image.size:
        raise ValueError(f"has no pixels, {image.width} x {image.height}")
    image.load()
    turn = None
    with suppress(Exception):  # EXIF that cannot be read at all is no reason to refuse an image either
        turn = TURNS.get(image.getexif().get(0x0112))
    result = to_rgb(image, at_least, ours)
    if ours:
        image.close()  # frees what was decoded
    return result if turn is None else result.transpose(turn)


class _Memory:
    """Lets threads decode at the same time as long as what they need together stays below `most` bytes.

    One that needs more than that decodes alone. They are served in the order in which they come.
    """

    def __init__(self, most: int) -> None:
        self.most, self.used = most, 0
        self.queue, self.changed = threading.Lock(), threading.Condition()

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        with self.queue, self.changed:
            self.changed.wait_for(lambda: self.used == 0 or self.used + size <= self.most)
            self.used += size
        try:
            yield
        finally:
            with self.changed:
                self.used -= size
                self.changed.notify_all()


_memory = _Memory(400_000_000)


def _bytes_needed(image: Image.Image) -> int:
    """Roughly what decoding takes: the decoded image, and what some decoders keep beside it."""
    pixels = image.width * image.height
    each = {"WEBP": 16, "AVIF": 12, "HEIF": 12, "JPEG2000": 20}.get(image.format, 4)
    return pixels * (1 if image.mode in ("1", "L", "P") and each == 4 else each)


def count_frames(path: str | PathLike) -> int:
    """How many frames an animation has; 1 for all other files, also for what is no image."""
    with suppress(Exception), open_image(path) as image:
        if image.format in ("GIF", "PNG", "WEBP"):  # photographs of phones hold a preview as a second frame
            return getattr(image, "n_frames", 1)
    return 1


def square(image: Image.Image, size: int) -> np.ndarray:
    """The middle square of an image, scaled to `size` pixels: uint8 [size, size, 3].

    The shortest side decides, so nothing is squashed; what sticks out on the long side is cut off.
    """
    width, height = image.size
    if (width, height) != (size, size):
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))  # else pixels beyond it would bleed in
        image = image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.array(image)


def shrink(image: Image.Image, shorter_side: int) -> Image.Image:
    """The whole image, so small that its shorter side has at most `shorter_side` pixels; never scaled up.

    Of one that is longer than LONGEST times that, the ends of the longer side are cut off: an image of 160
    pixels takes at most 1.2 MB.
    """
    width, height = image.size
    short = min(width, height)
    target = min(short, shorter_side)
    longest = LONGEST * shorter_side * short // target  # as it is now
    if max(width, height) > longest:
        left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
        image = image.crop((left, top, left + min(width, longest), top + min(height, longest)))
        width, height = image.size
    if short <= shorter_side:
        return image
    size = tuple(max(1, round(side * target / short)) for side in (width, height))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
