"""Which number is white, in files and in arrays alike, and how deep pixels become 8-bit RGB."""

import numpy as np
import pytest
from image_files import encode, grey, pixels
from PIL import Image

from resnet_course.data import pixels as conversion
from resnet_course.data.pixels import LEGAL
from resnet_course.data.reading import ImageError, read_image

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (12, 9, 3), dtype=np.uint8)
COLOURS[0, 0] = 255
GREYS = COLOURS[:, :, 0]
DEEP = np.array([[0, 128, 129, 257, 2570, 40_000, 65_535]], np.uint16)
SHALLOW = np.array([[0, 0, 1, 1, 10, 156, 255]], np.uint8)  # the nearest of 0..255 for each


def refused(source) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Sixteen bits


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])  # Pillow reads a deep PPM as mode "I"
def test_sixteen_bits_are_scaled_not_clipped(file_format):
    assert np.array_equal(pixels(encode(Image.fromarray(DEEP), file_format)), grey(SHALLOW))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_a_dark_sixteen_bit_image_stays_dark(file_format):
    dark = np.full((2, 2), 200, np.uint16)
    options = {"irreversible": False} if file_format == "JPEG2000" else {}
    assert np.array_equal(
        pixels(encode(Image.fromarray(dark), file_format, **options)), grey(np.ones((2, 2)))
    )


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B"])
def test_every_order_of_sixteen_bit_bytes(mode):
    image = Image.frombytes(mode, (7, 1), DEEP.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    assert np.array_equal(pixels(image), grey(SHALLOW))


@pytest.mark.parametrize("file_format", ["PNG", "PPM", "JPEG2000"])
def test_a_16_bit_file_that_an_older_pillow_reads_as_32_bits(file_format):
    image = Image.fromarray(np.full((2, 2), 200, np.int32))
    image.format = file_format
    assert (pixels(image) == 1).all()


def test_the_transparent_grey_of_a_16_bit_png_becomes_white():
    data = encode(Image.fromarray(DEEP), transparency=40_000)
    assert pixels(data)[0, :, 0].tolist() == [0, 0, 1, 1, 10, 255, 255]


def test_a_tiff_in_which_0_is_white():
    data = encode(Image.fromarray(DEEP), "TIFF")
    entry = b"\x06\x01\x03\x00\x01\x00\x00\x00"  # tag 262, a SHORT, one of them
    assert data.count(entry + b"\x01") == 1
    data = data.replace(entry + b"\x01", entry + b"\x00")
    assert np.array_equal(pixels(data), grey(255 - SHALLOW))


def test_a_tiff_of_12_bits():
    """What the sensor of a microscope gives: Pillow leaves 0..4095 as they are."""
    values = [0, 16, 2048, 4095]
    packed = bytes.fromhex("".join(f"{value:03x}" for value in values))
    data = encode(Image.fromarray(np.zeros((1, 3), np.uint16)), "TIFF")  # 6 bytes of pixels too
    bits, width = b"\x02\x01\x03\x00\x01\x00\x00\x00", b"\x00\x01\x04\x00\x01\x00\x00\x00"
    assert data.count(bits + b"\x10\0") == data.count(width + b"\3\0") == 1
    assert data.endswith(bytes(6))
    data = data.replace(bits + b"\x10\0", bits + b"\x0c\0").replace(width + b"\3\0", width + b"\4\0")
    found = pixels(data[:-6] + packed)
    assert found[0, :, 0].tolist() == [0, 1, 128, 255]


# The brightest number shows what is white

# Numbers that show it, and what they are as 8 bits.
SHOWN = {
    "to 1": (np.array([[0, 0.2, 0.5, 1]]), [[0, 51, 128, 255]]),
    "to less than 1": (np.array([[0, 0.2, 0.1]]), [[0, 51, 26]]),
    "nothing but 0": (np.zeros((1, 3)), [[0, 0, 0]]),
    "to 255": (np.array([[0, 1, 51.2, 255]]), [[0, 1, 51, 255]]),
    "to 16": (np.array([[0, 1, 16]]), [[0, 1, 16]]),
    "to 65535": (np.array([[0, 257, 40_000, 65_535]]), [[0, 1, 156, 255]]),
    "to 4096": (np.array([[0, 257, 4096]]), [[0, 1, 16]]),
    "a little beyond": (np.array([[-0.001, 0.2, 1.001]]), [[0, 51, 255]]),  # as resizing leaves it
}


@pytest.mark.parametrize("name", SHOWN)
def test_floats_say_what_is_white(name):
    numbers, expected = SHOWN[name]
    for dtype in (np.float32, np.float64, ">f4"):
        assert np.array_equal(pixels(numbers.astype(dtype)), grey(expected)), dtype
    as_float = Image.fromarray(numbers.astype(np.float32))
    assert as_float.mode == "F"
    assert np.array_equal(pixels(as_float), grey(expected))
    assert np.array_equal(pixels(encode(as_float, "TIFF")), grey(expected))


@pytest.mark.parametrize("name", [name for name in SHOWN if "1" not in name.split() and "beyond" not in name])
def test_integers_say_what_is_white(name):
    numbers, expected = SHOWN[name]
    for dtype in (np.int32, np.int64, np.uint32, ">i4"):
        assert np.array_equal(pixels(numbers.astype(dtype)), grey(expected)), dtype
    as_integers = Image.fromarray(numbers.astype(np.int32))
    assert as_integers.mode == "I"
    assert np.array_equal(pixels(as_integers), grey(expected))
    assert np.array_equal(pixels(encode(as_integers, "TIFF")), grey(expected))


def test_dark_integers_are_of_255():
    for numbers in (np.array([[0, 1, 3]]), np.array([[0, 1, 3]], np.int8), np.array([[0, 1, 3]], np.int16)):
        assert np.array_equal(pixels(numbers), grey([[0, 1, 3]]))
    assert np.array_equal(pixels(Image.fromarray(np.array([[0, 1, 3]], np.int32))), grey([[0, 1, 3]]))


def test_a_byte_is_a_byte_in_every_mode_of_pillow():
    for mode in ("L", "I", "F"):
        assert np.array_equal(pixels(Image.fromarray(GREYS).convert(mode)), grey(GREYS)), mode


UNCLEAR = {
    "normalised": ([[-2.1, 2.6]], "float32 from -2.1 to 2.6"),
    "beyond 1": ([[0.5, 1.2]], "float32 from 0.5 to 1.2"),
    "between 255 and 65535": ([[0, 300.5]], "float32 from 0 to 300.5"),
    "too many": ([[0, 70_000]], "float32 from 0 to 70000"),
    "negative": ([[-9, 200]], "float32 from -9 to 200"),
    "no number": ([[0.5, np.nan]], "float32 from nan to nan"),
    "infinite": ([[0.5, np.inf]], "float32 from 0.5 to inf"),
    "integers between": (np.array([[0, 300]], np.int32), "int32 from 0 to 300"),
    "negative integers": (np.array([[-1, 3]], np.int32), "int32 from -1 to 3"),
    "negative deep integers": (np.array([[-1, 9999]], np.int32), "int32 from -1 to 9999"),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_numbers_that_do_not_say_what_is_white(name):
    numbers, found = UNCLEAR[name]
    numbers = numbers if isinstance(numbers, np.ndarray) else np.array(numbers, np.float32)
    image = Image.fromarray(numbers)
    for source in (numbers, image, encode(image, "TIFF")):
        assert refused(source) == f"the image: holds {found}; {LEGAL}"


# Arrays


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (COLOURS, COLOURS),
        (GREYS, grey(GREYS)),
        (GREYS[..., None], grey(GREYS)),
        (GREYS.astype(np.int64), grey(GREYS)),
        (COLOURS[::-1, ::2], COLOURS[::-1, ::2]),
        (COLOURS / 255, COLOURS),
        (COLOURS.astype(np.float32) / 255 + 1e-4, COLOURS),
        ((GREYS / 255).astype(np.float16), grey(GREYS)),
        (GREYS.astype(np.float16), grey(GREYS)),
        (COLOURS.astype(np.float64), COLOURS),
        (COLOURS.astype(np.float32) * 257, COLOURS),
        (COLOURS.astype(np.int32) * 257, COLOURS),
        (COLOURS.astype(np.uint16) * 257, COLOURS),
        (GREYS > 99, grey((GREYS > 99) * 255)),
        (DEEP, grey(SHALLOW)),
        (DEEP.astype(">u2"), grey(SHALLOW)),
        (np.array([[[9, 9, 9, 255], [9, 9, 9, 0]]], np.uint8), [[[9] * 3, [255] * 3]]),
        (np.array([[[9, 9, 9, 255], [9, 9, 9, 0]]]), [[[9] * 3, [255] * 3]]),
        (np.array([[[0.2, 0.2, 0.2, 0]]]), [[[255] * 3]]),
    ],
)
def test_arrays(array, expected):
    before = array.copy()
    result = read_image(array)
    assert np.array_equal(result, expected)
    assert result.info["whole"] == (array.shape[1], array.shape[0])
    result.paste((1, 2, 3), (0, 0, *result.size))
    assert np.array_equal(array, before)


@pytest.mark.parametrize("shape", [(5,), (4, 4, 2), (3, 8, 8), (1, 4, 4, 3), (0, 4), (4, 0, 3)])
def test_arrays_of_another_shape(shape):
    assert refused(np.zeros(shape, np.uint8)) == (
        f"the image: is an array of shape {list(shape)}; it must be [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]"
    )


@pytest.mark.parametrize(("array", "found"), [(np.array([["a"]]), "<U1"), (np.array([[1j]]), "complex128")])
def test_arrays_of_no_numbers(array, found):
    assert refused(array) == f"the image: is an array of {found}; it must be bool, integer or float"


# Strips


MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16"]


@pytest.mark.parametrize("at_least", [0, 8])
@pytest.mark.parametrize("mode", MODES)
def test_strips_are_not_seen(monkeypatch, mode, at_least):
    """A large image is converted and shrunk in strips; a small one at once: the same."""
    numbers = RANDOM.integers(0, 256, (101, 75, 4), dtype=np.uint8)
    numbers[0, 0] = 255
    image = Image.fromarray(numbers)
    image = {
        "P": lambda: image.convert("RGB").quantize(8),
        "PA": lambda: image.convert("P").convert("PA"),
        "RGBa": lambda: image.convert("RGBa"),
        "LAB": lambda: Image.merge("LAB", image.convert("RGB").split()),
        "I;16": lambda: Image.fromarray(numbers[..., 0].astype(np.uint16) * 257),
    }.get(mode, lambda: image.convert("RGB" if mode in ("HSV", "YCbCr", "CMYK") else "RGBA").convert(mode))()
    assert image.mode == mode
    at_once = read_image(image, at_least)
    assert at_once.size == ((25, 34) if at_least else (75, 101))
    monkeypatch.setattr(conversion, "STRIP", 75 * 7)
    assert np.array_equal(at_once, read_image(image, at_least))
    if mode not in ("PA", "HSV", "RGBa", "YCbCr"):  # which no file holds, or not every Pillow reads
        assert np.array_equal(at_once, read_image(encode(image, "TIFF"), at_least))


def test_strips_of_arrays_are_not_seen(monkeypatch):
    numbers = RANDOM.random((101, 75, 4))
    at_once = [read_image(numbers, at_least) for at_least in (0, 8)]
    monkeypatch.setattr(conversion, "STRIP", 75 * 7)
    for whole, at_least in zip(at_once, (0, 8), strict=True):
        assert np.array_equal(whole, read_image(numbers, at_least))
    numbers[100, 74] = np.nan
    assert "float64 from nan to nan" in refused(numbers)
