"""How any image, from a file or from memory, becomes 8-bit RGB, and that a square or a small one."""

from __future__ import annotations

import io
import math
import struct
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
from resnet_course.data.turns import Turns

ImageSource = str | PathLike | bytes | Image.Image | np.ndarray

MOST_PIXELS = 256_000_000  # of a file: what the largest cameras of phones make, and a little more
# Bytes a pixel that some decoders take; of their formats half as many pixels are read.
HUNGRY = {"WEBP": 16, "AVIF": 10, "HEIF": 10, "JPEG2000": 20}
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
_turns = Turns()
SIDEWAYS = [TURNS[number] for number in (5, 6, 7, 8)]


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
    if not file.seekable():
        raise UnidentifiedImageError("is a pipe, and only files can be read; save it as a file")
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
    if found == "PNG":
        file = without_text(file)
    file.seek(0)
    try:
        image = Image.OPEN[found][0](file, "")  # not `Image.open`, which has a limit of its own that warns
    except (SyntaxError, IndexError, TypeError, KeyError, struct.error) as error:
        raise UnidentifiedImageError(
            f"is {found} that cannot be read ({error}); save it as PNG or JPEG"
        ) from None
    if found == "TIFF" and any(is_raw_tag(tag, image.tag_v2[tag]) for tag in RAW_TAGS if tag in image.tag_v2):
        raise UnidentifiedImageError(_why_not(RAW))
    most = MOST_PIXELS // (2 if found in HUNGRY else 1)
    if image.width * image.height > most:
        raise ValueError(f"claims {image.width:,} × {image.height:,} pixels, more than {most:,}; shrink it")
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
    Returns a new image; the size of the whole is its `info["whole"]`.
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
            return _upright(source, source.size, at_least, ours=False)
        if isinstance(source, np.ndarray):
            result = from_array(source, at_least)
            result.info["whole"] = source.shape[1::-1]
            return result
        if isinstance(source, bytes | bytearray | memoryview):
            source = io.BytesIO(source)
        elif not isinstance(source, str | PathLike):
            found = type(source).__name__
            raise ValueError(f"is a {found}; give a path, the bytes of a file, a PIL image or an array")
        elif Path(source).is_dir():
            raise ValueError("is a folder; give the path of an image file")
        with open_image(source) as image:
            whole = image.size
            if at_least:
                image.draft(None, (at_least, at_least))
            with _turns.taken(_bytes_needed(image, whole)):
                return _upright(image, whole, at_least, ours=True)
    except FileNotFoundError:
        reason = "there is no such file"
    except Image.DecompressionBombError:  # a limit that Pillow has in some formats beside ours
        reason = "claims more pixels than are read of this format; shrink it, or save it as JPEG or PNG"
    except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
    raise ImageError(f"{name}: {reason}")


def _upright(image: Image.Image, whole: tuple[int, int], at_least: int, ours: bool) -> Image.Image:
    """In 8-bit RGB, turned as its EXIF says. whole: its size before any shrinking."""
    if 0 in image.size:
        raise ValueError(f"has no pixels, {image.width} x {image.height}")
    stored = image.size
    image.load()
    if image.size == stored[::-1]:  # Pillow turns a TIFF itself
        whole = whole[::-1]
    turn = None
    with suppress(Exception):  # EXIF that cannot be read at all is no reason to refuse an image either
        turn = TURNS.get(image.getexif().get(0x0112))
    result = to_rgb(image, at_least, ours)
    if ours:
        image.close()  # frees what was decoded
    if turn is not None:
        result = result.transpose(turn)
        whole = whole[::-1] if turn in SIDEWAYS else whole
    result.info = {"whole": whole}
    return result


def _bytes_needed(image: Image.Image, whole: tuple[int, int]) -> int:
    """What decoding takes, roughly. whole: the size before `draft`."""
    beside = 0
    if image.info.get("progressive") and (layers := getattr(image, "layer", ())):
        # All coefficients of a progressive JPEG are in memory at once, 16 bits each.
        _, across, down = map(max, list(zip(*layers, strict=True))[:3])
        beside = 2 * math.prod(whole) * sum(h * v for _, h, v, *_ in layers) // (across * down)
    default = 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4
    return beside + math.prod(image.size) * HUNGRY.get(image.format, default)


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
        # As `resize` does itself with reducing_gap=3, but without a copy of a large square.
        factor = max(1, side // (3 * size))
        image = image.reduce(
            factor, (left, top, left + side, top + side)
        )  # else pixels beyond would bleed in
        box = (0, 0, side / factor, side / factor)
        image = image.resize((size, size), Image.Resampling.BILINEAR, box)
    return np.array(image)


def shrink(image: Image.Image, shorter_side: int) -> Image.Image:
    """The whole image, its shorter side scaled down to `shorter_side` pixels; as it is where it is no longer.

    Of one that is more than LONGEST times as long as `shorter_side` then, the middle is kept, so many pixels
    long: with 160 an image takes at most 1.2 MB.
    """
    short, shorter = min(image.size), min(*image.size, shorter_side)
    longest = max(1, LONGEST * shorter_side * short // shorter)  # of what is kept, before it is scaled
    if max(image.size) > longest:
        width, height = (min(side, longest) for side in image.size)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    if short == shorter:
        return image
    size = tuple(max(1, round(side * shorter / short)) for side in image.size)
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
