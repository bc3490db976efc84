"""How any image, from a file or from memory, becomes 8-bit RGB, and that a square."""

from __future__ import annotations

import io
import warnings
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from resnet_course.common.errors import CourseError

# What people have and Pillow decodes itself. Others that it knows are left out: EPS, for one, it hands to
# Ghostscript, a program that a file can program. The first five are tried first, because loading the plugins
# of all takes a second on a slow machine; TGA comes last, because it has no mark by which it is known.
COMMON = ("PNG", "JPEG", "GIF", "BMP", "PPM")
FORMATS = (*COMMON, "WEBP", "TIFF", "AVIF", "HEIF", "JPEG2000", "QOI", "ICO", "TGA")


class ImageError(CourseError, ValueError):
    """One image cannot be read. The message is "name: why"."""


def open_image(source: str | PathLike | BinaryIO) -> Image.Image:
    """`PIL.Image.open` for the formats in FORMATS alone, known by the content, whatever the suffix says.

    HEIF is read where its plugin, pillow-heif, has been registered.
    Raises what Pillow raises: UnidentifiedImageError for what is no such image.
    """
    Image.preinit()
    try:
        return Image.open(source, formats=COMMON)
    except UnidentifiedImageError:
        Image.init()
        return Image.open(source, formats=[name for name in FORMATS if name in Image.OPEN])


def read_image(source: str | PathLike | bytes | Image.Image | np.ndarray, at_least: int = 0) -> Image.Image:
    """Read an image as 8-bit RGB, upright, whatever it was.

    EXIF rotation is applied; transparent parts become white; grey, palette, CMYK, 16-bit and float
    images are converted; of an animation the first frame is taken.

    source: a path, the bytes of a file, a PIL image (which stays as it is), or an array [H, W], [H, W, 3]
        or [H, W, 4] of bool, float in 0..1, uint16 in 0..65535, or other integers in 0..255.
    at_least: a shortest side in pixels below which a JPEG may not be shrunk while it is decoded;
        0 decodes it whole. It makes large photographs several times faster to read.
    Returns a new image.
    Raises ImageError.
    """
    name = str(source) if isinstance(source, str | PathLike) else "the image"
    try:
        with warnings.catch_warnings():
            # Pillow warns of a decompression bomb from 89 million pixels on, and raises from twice that.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # EXIF that Pillow can only read in part is no reason to refuse an image.
            warnings.filterwarnings("ignore", category=UserWarning)
            if isinstance(source, Image.Image):
                return _to_rgb(source)
            if isinstance(source, np.ndarray):
                return _to_rgb(_from_array(source))
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
                return _to_rgb(image)
    except FileNotFoundError:
        reason = "there is no such file"
    except UnidentifiedImageError:
        reason = "not an image that can be read; PNG and JPEG always can"
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        reason = f"claims more than {Image.MAX_IMAGE_PIXELS:,} pixels; shrink it"
    except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
    raise ImageError(f"{name}: {reason}")


def count_frames(path: str | PathLike) -> int:
    """How many frames an animation has; 1 for all other files, also for what is no image."""
    with suppress(Exception), open_image(path) as image:
        if image.format in ("GIF", "PNG", "WEBP"):  # photographs of phones hold a preview as a second frame
            return getattr(image, "n_frames", 1)
    return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """A copy in 8-bit RGB, upright."""
    if 0 in image.size:
        raise ValueError(f"has no pixels, {image.width} x {image.height}")
    image.load()
    with suppress(Exception):  # EXIF that cannot be read at all is no reason to refuse an image either
        image = ImageOps.exif_transpose(image)
    # Pillow clips deep grey to 255 instead of scaling it. The mode says where white is, not the brightest
    # pixel: a dark 16-bit image stays dark. Pillow reads 16-bit files as any of the modes I….
    if image.mode.startswith("I"):
        image = _from_array(np.asarray(image).clip(0, 65535).astype(np.uint16))
    elif image.mode == "F":  # files hold 0..1 as a rule; what Pillow itself converts to F has 0..255
        pixels = np.nan_to_num(np.asarray(image))
        image = _from_array((pixels / (1 if pixels.max() <= 1 else 255)).clip(0, 1))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _from_array(array: np.ndarray) -> Image.Image:
    """A PIL image of an array; its dtype says which value is white."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or 0 in array.shape:
        shape = list(array.shape)
        raise ValueError(f"is an array of shape {shape}; it must be [H, W], [H, W, 3] or [H, W, 4]")
    if array.dtype.kind not in "buif":
        raise ValueError(f"is an array of {array.dtype}; it must be bool, integer or float")
    white = 1 if array.dtype.kind in "bf" else 65535 if array.dtype.str[1:] == "u2" else 255
    pixels = np.rint(array.astype(np.float32) * (255 / white))
    if not 0 <= pixels.min() <= pixels.max() <= 255:
        found = f"{array.dtype} from {array.min():g} to {array.max():g}"
        raise ValueError(f"is an array of {found}; its values must lie in 0..{white}")
    return Image.fromarray(pixels.astype(np.uint8))


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
