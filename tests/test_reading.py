"""Reading any image from anywhere; squares, and small ones."""

import io
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from image_files import encode, grey, pixels
from PIL import EpsImagePlugin, Image, ImageCms

from resnet_course.data import reading
from resnet_course.data.reading import (
    LONGEST,
    ImageError,
    count_frames,
    quiet,
    read_image,
    read_quietly,
    shrink,
    square,
)
from resnet_course.data.turns import Turns

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (12, 9, 3), dtype=np.uint8)
GREYS = COLOURS[:, :, 0]


def gradient(width: int, height: int) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], -1).astype(np.uint8))


# Modes


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "PPM"])
def test_rgb_stays_as_it_is(file_format):
    assert np.array_equal(pixels(encode(Image.fromarray(COLOURS), file_format)), COLOURS)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "GIF"])
def test_greyscale_becomes_three_equal_channels(file_format):
    assert np.array_equal(pixels(encode(Image.fromarray(GREYS), file_format)), grey(GREYS))


def test_one_bit_becomes_black_and_white():
    assert np.array_equal(pixels(encode(Image.fromarray(GREYS > 127))), grey(255 * (GREYS > 127)))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_transparent_parts_become_white_in_proportion(mode, file_format):
    alpha = RANDOM.integers(0, 256, GREYS.shape, dtype=np.uint8)
    alpha[0], alpha[1] = 0, 255
    colours = COLOURS if mode == "RGBA" else grey(GREYS)
    image = Image.fromarray(colours).convert(mode)
    image.putalpha(Image.fromarray(alpha))
    found = pixels(encode(image, file_format))
    opaque = alpha[..., None] / 255
    assert np.abs(found - (colours * opaque + 255 * (1 - opaque))).max() <= 1
    assert (found[0] == 255).all()
    assert np.array_equal(found[1], colours[1])


def test_palette_without_transparency():
    image = Image.fromarray(COLOURS).quantize(8)
    assert np.array_equal(pixels(encode(image)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    ("transparency", "first", "second"),
    [(1, [255, 0, 0], [255, 255, 255]), (b"\x00\xff", [255, 255, 255], [0, 255, 0])],
    ids=["one index", "an alpha for each"],
)
def test_palette_with_transparency(transparency, first, second):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    assert pixels(encode(image, transparency=transparency)).tolist() == [[first, second]]


def test_a_transparent_colour_of_a_png_becomes_white():
    image = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert pixels(encode(image, transparency=(1, 2, 3))).tolist() == [[[255, 255, 255], [4, 5, 6]]]
    image = Image.fromarray(np.array([[7, 8]], np.uint8))
    assert pixels(encode(image, transparency=7)).tolist() == [[[255, 255, 255], [8, 8, 8]]]


def test_cmyk_jpeg_with_exif():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("CMYK", (16, 8), (10, 200, 30, 40))
    found = read_image(encode(image, "JPEG", quality=100, exif=exif))
    assert found.size == (8, 16)
    expected = image.convert("RGB").getpixel((0, 0))
    assert np.abs(np.asarray(found, int) - expected).max() <= 3


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_cmyk(file_format):
    """Pillow writes JPEGs as Adobe does, inverted, and TIFFs as they are."""
    image = Image.new("CMYK", (16, 16), (10, 200, 30, 40))
    options = {"quality": 100} if file_format == "JPEG" else {}
    data = encode(image, file_format, **options)
    expected = np.asarray(image.convert("RGB"), int)
    assert np.abs(pixels(data) - expected).max() <= (3 if file_format == "JPEG" else 0)
    if file_format == "JPEG":  # without Adobe's mark it is taken for an inverted one too, as in browsers
        at = data.index(b"\xff\xee")
        plain = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
        assert np.array_equal(pixels(plain), pixels(data))


def test_a_lab_tiff_has_the_colours_that_little_cms_computes():
    image = Image.fromarray(COLOURS)
    profiles = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
    lab = ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    back = ImageCms.applyTransform(lab, ImageCms.buildTransform(*profiles[::-1], "LAB", "RGB"))
    assert np.abs(pixels(encode(lab, "TIFF")).astype(int) - np.asarray(back)).max() <= 2
    assert np.abs(np.asarray(back, int) - COLOURS).mean() <= 8


def test_a_ycbcr_tiff():
    image = Image.fromarray(COLOURS).convert("YCbCr")
    data = encode(image, "TIFF")
    try:
        Image.open(io.BytesIO(data)).load()
    except OSError:
        pytest.skip("this Pillow does not read what it wrote")
    assert np.array_equal(pixels(data), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["HSV", "LAB", "YCbCr", "RGBX", "RGBa", "PA"])
def test_rare_modes_of_pil_images(mode):
    if mode in ("RGBa", "PA"):
        image = Image.fromarray(COLOURS).convert("RGBA" if mode == "RGBa" else "P").convert(mode)
    elif mode == "LAB":
        image = Image.new("LAB", (9, 12), (255, 128, 128))
    else:
        image = Image.fromarray(COLOURS).convert(mode)
    assert read_image(image).size == (9, 12)
    if mode == "LAB":
        assert pixels(image).min() >= 254
    else:
        assert np.abs(pixels(image).astype(int) - image.convert("RGBA").convert("RGB")).max() == 0


# Rotation and frames


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, file_format):
    # EXIF 2.32, tag 0112: where row 0 and column 0 of what is stored belong in what is seen.
    seen = np.zeros((64, 32, 3), np.uint8)
    seen[:32, :16], seen[:32, 16:], seen[32:, :16] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    stored = {
        1: seen,
        2: seen[:, ::-1],  # row 0 is the top, column 0 the right
        3: seen[::-1, ::-1],  # the bottom, the right
        4: seen[::-1],  # the bottom, the left
        5: seen.transpose(1, 0, 2),  # row 0 is the left, column 0 the top
        6: seen.transpose(1, 0, 2)[::-1],  # the right, the top
        7: seen.transpose(1, 0, 2)[::-1, ::-1],  # the right, the bottom
        8: seen.transpose(1, 0, 2)[:, ::-1],  # the left, the bottom
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(file_format, {})
    found = pixels(encode(Image.fromarray(np.ascontiguousarray(stored)), file_format, exif=exif, **options))
    assert found.shape == seen.shape
    assert np.abs(found.astype(int) - seen).max() <= (5 if file_format == "JPEG" else 0)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage!", b"Exif\0\0II*\0\x08", b"x" * 20])
@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_damaged_exif_does_not_spoil_an_image(exif, file_format):
    image = Image.open(io.BytesIO(encode(Image.fromarray(COLOURS), file_format, exif=exif)))
    result = read_image(image)
    assert result.size == (9, 12)
    assert result is not image


def test_what_can_be_read_of_damaged_exif_counts():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = bytearray(exif.tobytes())
    data[14:16] = b"\x09\x09"  # so many entries, it claims; one follows, and Pillow warns
    assert read_image(encode(Image.fromarray(COLOURS), exif=bytes(data))).size == (12, 9)


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_first_frame_of_an_animation(tmp_path, file_format):
    Image.init()
    if file_format not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {file_format}")
    frames = [Image.new("RGB", (16, 16), (value, value, value)) for value in (10, 200, 90)]
    options = {"lossless": True} if file_format == "WEBP" else {}
    duration = {} if file_format == "TIFF" else {"duration": 10}
    data = encode(frames[0], file_format, save_all=True, append_images=frames[1:], **duration, **options)
    assert np.abs(pixels(data).astype(int) - 10).max() <= (2 if file_format == "AVIF" else 0)
    (tmp_path / "a").write_bytes(data)
    assert count_frames(tmp_path / "a") == (3 if file_format in ("GIF", "PNG", "WEBP") else 1)


# What cannot be read


def refused(source) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_are_no_images(tmp_path):
    path = tmp_path / "a.jpg"
    assert refused(path) == f"{path}: there is no such file"
    path.write_text("hello", encoding="utf-8")
    assert refused(path) == f"{path}: not an image that can be read; PNG and JPEG always can"
    path.write_bytes(b"")
    assert refused(str(path)) == f"{path}: is empty"
    assert refused(b"") == "the image: is empty"
    assert refused(tmp_path) == f"{tmp_path}: is a folder; give the path of an image file"
    assert refused(b"hello") == "the image: not an image that can be read; PNG and JPEG always can"
    right = "give a path, the bytes of a file, a PIL image or an array"
    assert refused(torch.zeros(3, 4, 4)) == f"the image: is a Tensor; {right}"
    assert refused(None) == f"the image: is a NoneType; {right}"


@pytest.mark.parametrize("suffix", ["eps", "png", "jpg"])
def test_an_eps_never_reaches_ghostscript(tmp_path, monkeypatch, suffix):
    """Ghostscript is an interpreter: a file that it opens is a program that it runs."""
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(encode(Image.fromarray(COLOURS), "EPS"))
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: pytest.fail("Ghostscript was asked"))
    message = "EPS is not read; export it as PNG or JPEG"
    assert refused(path) == f"{path}: {message}"
    assert refused(path.read_bytes()) == f"the image: {message}"
    assert count_frames(path) == 1


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF"])
def test_truncated_files(tmp_path, file_format):
    noise = Image.fromarray(RANDOM.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encode(noise, file_format)
    path = tmp_path / "cut"
    path.write_bytes(data[: len(data) * 2 // 3])
    assert refused(path).startswith(f"{path}: ")
    assert len(refused(path)) > len(f"{path}: ")


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF"])
def test_a_file_that_claims_too_many_pixels_is_refused_before_it_is_decoded(monkeypatch, file_format):
    data = encode(Image.new("L", (30_000, 1)), file_format)
    claims = data.replace((1).to_bytes(4, "big"), (30_000).to_bytes(4, "big"), 1)
    if file_format == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        claims = data[:at] + (30_000).to_bytes(2, "big") + data[at + 2 :]
    if file_format == "PNG":  # with a checksum that fits
        claims = claims[:29] + zlib.crc32(claims[12:29]).to_bytes(4, "big") + claims[33:]
    if file_format == "TIFF":
        entry = b"\x01\x01\x04\0\x01\0\0\0"
        assert data.count(entry) == 1
        claims = data.replace(entry + b"\1\0", entry + (30_000).to_bytes(2, "little"))
    monkeypatch.setattr(Image.core, "new", lambda *a: pytest.fail("memory was asked for"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no line of Pillow's beside ours
        with pytest.raises(ImageError) as caught:
            read_quietly(claims)
    size = "30,000 × 30,000 pixels"
    assert str(caught.value) == f"the image: claims {size}, more than 256,000,000; shrink it"


def test_what_pillow_calls_a_bomb_is_read(monkeypatch):
    before = Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    image = Image.fromarray(COLOURS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for file_format in ("PNG", "JPEG", "GIF", "BMP", "PPM"):
            assert read_quietly(encode(image, file_format)).size == (9, 12)
    assert Image.MAX_IMAGE_PIXELS == 60
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # more than twice as many are an error
    reason = "claims more pixels than are read of this format; shrink it, or save it as JPEG or PNG"
    assert refused(encode(image, "TIFF")) == f"the image: {reason}"
    assert before


def test_an_image_without_pixels():
    assert refused(Image.new("RGB", (0, 5))) == "the image: has no pixels, 0 x 5"


def test_files_are_closed(tmp_path, monkeypatch):
    opened = []
    really_open = io.open

    def spy(*arguments, **options):
        opened.append(really_open(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(io, "open", spy)
    good, cut, animation = tmp_path / "good.bmp", tmp_path / "cut.png", tmp_path / "two.gif"
    frames = [Image.new("L", (4, 4), value) for value in (0, 9)]
    good.write_bytes(encode(frames[0], "BMP"))
    cut.write_bytes(encode(Image.fromarray(COLOURS))[:200])
    animation.write_bytes(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    opened.clear()
    kept = read_image(good), read_image(animation)
    refused(cut)
    assert len(opened) == 3
    assert all(file.closed for file in opened)
    assert [image.size for image in kept] == [(4, 4)] * 2


# Sources


def test_paths_bytes_and_pil_images_agree(tmp_path):
    data = encode(Image.fromarray(COLOURS))
    path = tmp_path / "ä ö.png"
    path.write_bytes(data)
    for source in (path, str(path), data, bytearray(data), memoryview(data), Image.open(io.BytesIO(data))):
        assert np.array_equal(pixels(source), COLOURS)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_pil_image_is_neither_changed_nor_shared(mode):
    source = Image.fromarray(COLOURS).convert(mode)
    source.getexif()[0x0112] = 6
    before = source.tobytes()
    result = read_image(source)
    assert result.size == (12, 9)  # upright
    result.paste((1, 2, 3), (0, 0, 12, 9))
    assert (source.tobytes(), source.size, source.mode) == (before, (9, 12), mode)
    assert source.getexif()[0x0112] == 6
    plain = Image.fromarray(COLOURS)
    read_image(plain).paste((1, 2, 3), (0, 0, 9, 12))
    assert np.array_equal(plain, COLOURS)


# Squares


@pytest.mark.parametrize("turned", [False, True])
def test_square_agrees_with_cropping_the_middle_and_resizing(turned):
    shape, box = ((50, 80, 3), (15, 0, 65, 50)) if not turned else ((80, 50, 3), (0, 15, 50, 65))
    image = Image.fromarray(RANDOM.integers(0, 256, shape, dtype=np.uint8))
    expected = image.crop(box).resize((20, 20), Image.Resampling.BILINEAR)
    assert np.array_equal(square(image, 20), expected)


def test_square_of_the_right_size_is_left_alone_and_may_be_written_to():
    image = Image.fromarray(COLOURS[:9])
    result = square(image, 9)
    assert np.array_equal(result, COLOURS[:9])
    result[:] = 0
    assert np.array_equal(image, COLOURS[:9])


SHAPES = [(1, 1), (1, 10_000), (10_000, 1), (400, 300), (300, 400), (300, 100), (100, 400)]


@pytest.mark.parametrize("size", SHAPES)
def test_square_of_any_shape(size):
    image = read_image(encode(Image.new("RGB", size, (3, 4, 5))))
    assert np.array_equal(square(image, 160), np.full((160, 160, 3), (3, 4, 5)))


def test_square_of_a_large_image_is_what_resize_makes_of_the_middle():
    for width, height, size in ((300, 200, 20), (200, 301, 7), (97, 400, 1), (250, 250, 11)):
        image = Image.fromarray(RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8))
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        middle = image.crop((left, top, left + side, top + side))
        expected = middle.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
        assert np.array_equal(square(image, size), expected)


# Small ones


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((400, 300), (213, 160)),
        ((300, 400), (160, 213)),
        ((900, 300), (480, 160)),
        ((200, 800), (160, 640)),
        ((161, 161), (160, 160)),
        ((160, 500), (160, 500)),
        ((100, 50), (100, 50)),
        ((1, 1), (1, 1)),
        ((1, 300), (1, 300)),
        ((1, 10_000), (1, 2560)),
        ((10_000, 1), (2560, 1)),
        ((320, 20_000), (160, 2560)),
    ],
)
def test_shrink_keeps_the_whole_image_and_its_shape(size, expected):
    image = Image.new("RGB", size, (3, 4, 5))
    small = shrink(image, 160)
    assert small.size == expected
    assert max(small.size) <= LONGEST * 160
    assert np.array_equal(small, np.full((*expected[::-1], 3), (3, 4, 5)))


def test_shrink_agrees_with_resize_and_keeps_the_middle_of_what_is_too_long():
    image = Image.fromarray(RANDOM.integers(0, 256, (300, 401, 3), dtype=np.uint8))
    expected = image.resize((53, 40), Image.Resampling.BILINEAR, reducing_gap=3.0)
    assert np.array_equal(shrink(image, 40), expected)
    long = np.zeros((2, 100, 3), np.uint8)
    long[:, 34:66] = 9
    assert np.array_equal(shrink(Image.fromarray(long), 1), np.full((1, 16, 3), 9))
    assert np.array_equal(shrink(Image.fromarray(long), 2), long[:, 34:66])


def test_shrink_and_square_agree():
    """The middle of a stored image is what the square of the file would be."""
    image = gradient(480, 360)
    for side in (300, 64, 20):
        step = 255 / side  # of the gradient; the middle of an odd number of pixels is half a pixel beside
        assert np.abs(square(shrink(image, side), side).astype(int) - square(image, side)).max() <= step


# Shrunk while they are read


def test_at_least_shrinks_a_jpeg_but_not_below():
    smooth = gradient(400, 300)
    for mode, file_format in (("RGB", "JPEG"), ("L", "JPEG"), ("RGB", "MPO")):
        data = encode(smooth.convert(mode), file_format, quality=95)
        small = read_image(data, at_least=64)
        assert small.size == (100, 75)
        assert small.info["whole"] == (400, 300)
        whole = square(read_image(data), 64).astype(int)
        assert np.abs(square(small, 64) - whole).max() <= 5
    assert read_image(data, at_least=301).size == (400, 300)
    assert read_image(encode(smooth), at_least=64).size == (400, 300)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_at_least_shrinks_what_is_several_times_as_long(mode):
    smooth = gradient(1201, 901)
    image = smooth.convert("L" if mode == "I;16" else mode, dither=Image.Dither.NONE)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    data = encode(image, "TIFF" if mode == "CMYK" else "PNG")
    small = read_image(data, at_least=50)
    assert small.size == (201, 151)
    assert small.info["whole"] == (1201, 901)
    at_once = square(read_image(data), 50).astype(int)
    assert np.abs(square(small, 50) - at_once).max() <= (60 if mode in ("1", "P") else 3)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_is_shrunk_is_turned_too(orientation, file_format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(gradient(640, 320), file_format, exif=exif)
    whole, small = read_image(data), read_image(data, at_least=20)
    assert whole.size == small.info["whole"] == ((640, 320) if orientation < 5 else (320, 640))
    assert max(small.size) < 200
    assert np.abs(square(whole, 20).astype(int) - square(small, 20)).max() <= 12


# Threads


@pytest.mark.slow
def test_threads_read_what_one_reads():
    images = [gradient(300 + 10 * number, 200) for number in range(24)]
    formats = ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP")
    sources = [encode(image, formats[number % 6]) for number, image in enumerate(images)]
    sources[5] = sources[5][:100]

    def read(source: bytes) -> bytes:
        try:
            return read_quietly(source, at_least=40).tobytes()
        except ImageError as error:
            return str(error).encode()

    one_by_one = [read(source) for source in sources]
    with quiet(), ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, sources * 3)) == one_by_one * 3
    assert reading._turns.used == 0


def test_threads_wait_for_memory():
    """Never more than the limit at once, but one alone may take more; and all get their turn."""
    turns = Turns(100)
    sizes = [30, 80, 10, 500, 40, 60, 100, 1] * 20
    seen = []

    def work(size: int) -> None:
        with turns.taken(size):
            seen.append((turns.used, size))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, sizes))
    assert len(seen) == len(sizes)
    assert all(used <= 100 or size == 500 for used, size in seen)
    assert turns.used == 0


def test_what_fails_gives_its_memory_back():
    refused(encode(Image.fromarray(RANDOM.integers(0, 256, (64, 64, 3), dtype=np.uint8)))[:5000])
    assert reading._turns.used == 0
