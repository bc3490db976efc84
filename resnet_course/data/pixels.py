"""How the pixels of any image or array become 8-bit RGB: a strip at a time, so that no second copy exists."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

STRIP = 1 << 19  # pixels that are converted at a time
KEPT = 3  # times `at_least` that is left, because the last step of shrinking is the better one
LEGAL = (
    "legal are 0..1 (floats), 0..255 (the brightest at least 16, unless integers) "
    "and 0..65535 (the brightest at least 4096)"
)


def to_rgb(image: Image.Image, at_least: int = 0, ours: bool = False) -> Image.Image:
    """A loaded image in 8-bit RGB. Transparent parts become white.

    at_least: if the shortest side is several times as long, the image is shrunk by a whole number.
    ours: the result may share its memory.
    Raises ValueError if the numbers of a deep image do not tell which is white.
    """
    factor = _factor(image.size, at_least)
    if image.mode == "RGB" and "transparency" not in image.info:
        if factor > 1:
            return Image.Image.reduce(image, factor)  # the plugin of JPEG 2000 has another `reduce`
        return image._new(image.im) if ours else image.copy()

    def cut(top: int, bottom: int) -> Image.Image:
        whole = (top, bottom) == (0, image.height)
        return image if whole else Image.Image.crop(image, (0, top, image.width, bottom))

    if image.mode[0] not in "IF":
        return _in_strips(image.size, factor, lambda top, bottom: _opaque(cut(top, bottom)))

    def numbers(top: int, bottom: int) -> np.ndarray:
        return np.asarray(cut(top, bottom))

    white = _white_of_mode(image) or _white(numbers, image.size, numbers(0, 1).dtype)
    clear = image.info.get("transparency")  # one grey that is transparent
    inverted = getattr(image, "tag_v2", {}).get(262) == 0  # a TIFF in which 0 is white; Pillow leaves it so

    def grey(top: int, bottom: int) -> Image.Image:
        strip = numbers(top, bottom)
        pixels = _to_bytes(strip, white) ^ (255 if inverted else 0)
        if isinstance(clear, int):
            pixels[strip == clear] = 255
        return Image.fromarray(pixels)

    return _in_strips(image.size, factor, grey)


def from_array(array: np.ndarray, at_least: int = 0) -> Image.Image:
    """An array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] as 8-bit RGB; else as `to_rgb`."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or 0 in array.shape:
        shape = list(array.shape)
        raise ValueError(
            f"is an array of shape {shape}; it must be [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]"
        )
    if array.dtype.kind not in "buif":
        raise ValueError(f"is an array of {array.dtype}; it must be bool, integer or float")
    height, width = array.shape[:2]
    white = _white(lambda top, bottom: array[top:bottom], (width, height), array.dtype)

    def strip(top: int, bottom: int) -> Image.Image:
        return _opaque(Image.fromarray(_to_bytes(array[top:bottom], white)))

    return _in_strips((width, height), _factor((width, height), at_least), strip)


def _factor(size: tuple[int, int], at_least: int) -> int:
    return max(1, min(size) // (KEPT * at_least)) if at_least else 1


def _strips(size: tuple[int, int], factor: int = 1) -> list[tuple[int, int]]:
    """Where strips begin and end: each of a multiple of `factor` rows, but for the last."""
    width, height = size
    rows = max(1, STRIP // (width * factor)) * factor
    return [(top, min(height, top + rows)) for top in range(0, height, rows)]


def _in_strips(size: tuple[int, int], factor: int, strip: Callable[[int, int], Image.Image]) -> Image.Image:
    """The image of all strips, shrunk by `factor`. strip: returns some rows in RGB or grey."""

    def shrunk(top: int, bottom: int) -> Image.Image:
        part = strip(top, bottom)
        return part.reduce(factor) if factor > 1 else part

    strips = _strips(size, factor)
    if len(strips) == 1:
        part = shrunk(*strips[0])
        return part if part.mode == "RGB" else part.convert("RGB")
    result = Image.new("RGB", (-(-size[0] // factor), -(-size[1] // factor)))
    for top, bottom in strips:
        result.paste(shrunk(top, bottom), (0, top // factor))
    return result


def _opaque(image: Image.Image) -> Image.Image:
    """In RGB, laid over white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    image = image.convert("RGBA")
    result = Image.new("RGB", image.size, "white")
    result.paste(image, (0, 0), image)
    return result


def _white_of_mode(image: Image.Image) -> int | None:
    """The number that is white where the mode tells it. None: the numbers have to tell."""
    if image.mode.startswith("I;16"):
        return 4095 if getattr(image, "tag_v2", {}).get(258) == (12,) else 65535
    # Some versions of Pillow read 16-bit files as "I", all but those of TIFF, where "I" is 32 bits.
    return 65535 if image.mode == "I" and image.format not in (None, "TIFF") else None


def _white(numbers: Callable[[int, int], np.ndarray], size: tuple[int, int], dtype: np.dtype) -> int:
    """The number that is white: that of the type, else the one that the brightest number shows.

    Types of 8 and 16 bits without a sign are full where white is. Other numbers were computed from such ones,
    and may have kept their range or been scaled to 1.
    """
    if dtype.str[1:] in ("b1", "u1", "u2"):
        return {"b1": 1, "u1": 255, "u2": 65535}[dtype.str[1:]]
    ends = [(strip.min(), strip.max()) for strip in (numbers(*rows) for rows in _strips(size))]
    low, high = np.min([low for low, _ in ends]), np.max([high for _, high in ends])
    floats = dtype.kind == "f"
    for white, dimmest in ((1, 0), (255, 16), (65535, 4096)) if floats else ((255, 0), (65535, 4096)):
        slack = white / 510 if floats else 0  # what still rounds to 0..255
        if -slack <= low and dimmest <= high <= white + slack:
            return white
    raise ValueError(f"holds {dtype} from {low:g} to {high:g}; {LEGAL}")


def _to_bytes(numbers: np.ndarray, white: int) -> np.ndarray:
    """The numbers as uint8, where `white` becomes 255."""
    if numbers.dtype == np.uint8:
        return np.ascontiguousarray(numbers)
    scaled = numbers.astype(np.float32)
    scaled *= np.float32(255 / white)
    return np.rint(scaled, out=scaled).clip(0, 255, out=scaled).astype(np.uint8)
