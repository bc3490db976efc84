"""Reading any image, squares, and sets of images."""

import builtins
import io
import pickle
import re
import warnings
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from PIL import EpsImagePlugin, Image

from resnet_course.data.images import DataError, ImageSet, concatenate, draw_stratified, split_off
from resnet_course.data.reading import FORMATS, ImageError, count_frames, read_image, square

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (12, 9, 3), dtype=np.uint8)
GREYS = COLOURS[:, :, 0]


def encode(image: Image.Image, file_format: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def pixels(source) -> np.ndarray:
    image = read_image(source)
    assert image.mode == "RGB"
    return np.asarray(image)


def grey(values) -> np.ndarray:
    """The same value in all three channels."""
    return np.stack([np.asarray(values)] * 3, axis=-1)


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


DEEP = np.array([[0, 128, 129, 257, 2570, 40_000, 65_535]], np.uint16)
SHALLOW = np.array([[0, 0, 1, 1, 10, 156, 255]], np.uint8)  # the nearest of 0..255 for each


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])  # Pillow reads a deep PPM as mode "I"
def test_sixteen_bits_are_scaled_not_clipped(file_format):
    assert np.array_equal(pixels(encode(Image.fromarray(DEEP), file_format)), grey(SHALLOW))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])
def test_a_dark_sixteen_bit_image_stays_dark(file_format):
    dark = np.full((2, 2), 200, np.uint16)
    assert np.array_equal(pixels(encode(Image.fromarray(dark), file_format)), grey(np.ones((2, 2))))


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B"])
def test_every_order_of_sixteen_bit_bytes(mode):
    image = Image.frombytes(mode, (7, 1), DEEP.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    assert np.array_equal(pixels(image), grey(SHALLOW))


def test_32_bit_integers_count_as_sixteen_bit_ones():
    wide = np.array([[-5, 0, 2570, 65_535, 1_000_000]], np.int32)
    assert np.array_equal(pixels(encode(Image.fromarray(wide), "TIFF")), grey([[0, 0, 10, 255, 255]]))


def test_float_files():
    unit = np.array([[-0.5, 0, 0.2, 1, np.nan]], np.float32)
    assert np.array_equal(pixels(encode(Image.fromarray(unit), "TIFF")), grey([[0, 0, 51, 255, 0]]))
    # What Pillow itself converts to float runs to 255.
    assert np.array_equal(pixels(Image.fromarray(GREYS).convert("F")), grey(GREYS))


def test_cmyk_jpeg_with_exif():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("CMYK", (16, 8), (10, 200, 30, 40))
    found = read_image(encode(image, "JPEG", quality=100, exif=exif))
    assert found.size == (8, 16)
    expected = image.convert("RGB").getpixel((0, 0))
    assert np.abs(np.asarray(found, int) - expected).max() <= 3


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


def test_the_first_frame_of_an_animation():
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 200, 90)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=10)
    assert (pixels(data) == 10).all()


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
    assert refused(str(path)) == f"{path}: not an image that can be read; PNG and JPEG always can"
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
    message = "not an image that can be read; PNG and JPEG always can"
    assert refused(path) == f"{path}: {message}"
    assert refused(path.read_bytes()) == f"the image: {message}"
    assert count_frames(path) == 1


WRITTEN = ["PNG", "JPEG", "MPO", "GIF", "BMP", "PPM", "WEBP", "TIFF", "JPEG2000", "ICO", "TGA", "QOI", "AVIF"]


@pytest.mark.parametrize("file_format", WRITTEN)
def test_formats_are_known_by_the_content(tmp_path, file_format):
    Image.init()
    if file_format not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {file_format}")
    plain = Image.new("RGB", (16, 16), (200, 30, 60))
    for suffix in ("png", "jpg", "eps", "txt"):
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(encode(plain, file_format))
        assert np.abs(pixels(path).astype(int) - (200, 30, 60)).max() <= 60, suffix  # GIF has a palette
        assert np.array_equal(pixels(path), pixels(path.read_bytes()))


@pytest.mark.parametrize("name", ["EPS", "WMF", "FITS", "HDF5", "GRIB", "BUFR", "MPEG", "PSD"])
def test_what_is_not_in_the_list_is_not_read(name):
    assert name not in FORMATS


def test_heif_is_read_where_its_plugin_is_registered(monkeypatch):
    """Another format's reader stands for the plugin of pillow-heif."""
    Image.init()
    data = b"\0\0\0\x18ftypheic"
    assert "PNG and JPEG always can" in refused(data)
    plugin = (lambda file, name: Image.new("RGB", (9, 12)), lambda prefix: prefix == data)
    monkeypatch.setitem(Image.OPEN, "HEIF", plugin)
    assert read_image(data).size == (9, 12)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF"])
def test_truncated_files(tmp_path, file_format):
    noise = Image.fromarray(RANDOM.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encode(noise, file_format)
    path = tmp_path / "cut"
    path.write_bytes(data[: len(data) * 2 // 3])
    assert refused(path).startswith(f"{path}: ")
    assert len(refused(path)) > len(f"{path}: ")


@pytest.mark.parametrize("limit", [100, 60], ids=["a warning of Pillow's", "an error of Pillow's"])
def test_a_decompression_bomb(monkeypatch, limit):
    data = encode(Image.new("RGB", (11, 11)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as nearly everywhere but in these tests
        assert refused(data) == f"the image: claims more than {limit} pixels; shrink it"


def test_an_image_without_pixels():
    assert refused(Image.new("RGB", (0, 5))) == "the image: has no pixels, 0 x 5"


def test_files_are_closed(tmp_path, monkeypatch):
    opened = []
    really_open = builtins.open

    def spy(*arguments, **options):
        opened.append(really_open(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(builtins, "open", spy)
    good, cut, animation = tmp_path / "good.bmp", tmp_path / "cut.png", tmp_path / "two.gif"
    frames = [Image.new("L", (4, 4), value) for value in (0, 9)]
    good.write_bytes(encode(frames[0], "BMP"))
    cut.write_bytes(encode(Image.fromarray(COLOURS))[:200])
    animation.write_bytes(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    opened.clear()
    kept = read_image(good), read_image(animation)
    refused(cut)
    assert len(opened) >= 3  # Pillow opens some a second time, to map them
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


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (COLOURS, COLOURS),
        (GREYS, grey(GREYS)),
        (GREYS.astype(np.int64), grey(GREYS)),
        (COLOURS[::-1, ::2], COLOURS[::-1, ::2]),
        (COLOURS / 255, COLOURS),
        (COLOURS.astype(np.float32) / 255 + 1e-4, COLOURS),
        ((GREYS / 255).astype(np.float16), grey(GREYS)),
        (GREYS > 99, grey((GREYS > 99) * 255)),
        (DEEP, grey(SHALLOW)),
        (DEEP.astype(">u2"), grey(SHALLOW)),
        (np.array([[[9, 9, 9, 255], [9, 9, 9, 0]]], np.uint8), [[[9] * 3, [255] * 3]]),
        (np.array([[[0.2, 0.2, 0.2, 0]]]), [[[255] * 3]]),
    ],
)
def test_arrays(array, expected):
    before = array.copy()
    result = read_image(array)
    assert np.array_equal(result, expected)
    result.paste((1, 2, 3), (0, 0, *result.size))
    assert np.array_equal(array, before)


@pytest.mark.parametrize("shape", [(5,), (4, 4, 1), (3, 8, 8), (1, 4, 4, 3), (0, 4), (4, 0, 3)])
def test_arrays_of_another_shape(shape):
    assert refused(np.zeros(shape, np.uint8)) == (
        f"the image: is an array of shape {list(shape)}; it must be [H, W], [H, W, 3] or [H, W, 4]"
    )


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[0, 300]]), "is an array of int64 from 0 to 300; its values must lie in 0..255"),
        (np.array([[-1, 3]], np.int16), "is an array of int16 from -1 to 3; its values must lie in 0..255"),
        # An array that somebody normalised, or one of 0..255 as float: guessing would predict nonsense.
        (np.array([[-2.1, 2.6]]), "is an array of float64 from -2.1 to 2.6; its values must lie in 0..1"),
        (np.array([[0.0, 255.0]]), "is an array of float64 from 0 to 255; its values must lie in 0..1"),
        (np.array([[0.5, np.nan]]), "is an array of float64 from nan to nan; its values must lie in 0..1"),
        (np.array([["a"]]), "is an array of <U1; it must be bool, integer or float"),
        (np.array([[1j]]), "is an array of complex128; it must be bool, integer or float"),
    ],
)
def test_arrays_of_other_values(array, message):
    assert refused(array) == f"the image: {message}"


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


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1)])
def test_square_of_extreme_shapes(size):
    image = read_image(encode(Image.new("RGB", size, (3, 4, 5))))
    assert np.array_equal(square(image, 160), np.full((160, 160, 3), (3, 4, 5)))


def test_at_least_shrinks_a_jpeg_but_not_below():
    x, y = np.meshgrid(np.arange(400), np.arange(300))
    smooth = np.stack([x * 255 // 399, y * 255 // 299, 255 - x * 255 // 399], -1).astype(np.uint8)
    for mode, file_format in (("RGB", "JPEG"), ("L", "JPEG"), ("RGB", "MPO")):
        data = encode(Image.fromarray(smooth).convert(mode), file_format, quality=95)
        small = read_image(data, at_least=64)
        assert small.size == (100, 75)
        whole = square(read_image(data), 64).astype(int)
        assert np.abs(square(small, 64) - whole).max() <= 5
    assert read_image(data, at_least=301).size == (400, 300)
    assert read_image(encode(Image.fromarray(smooth)), at_least=64).size == (400, 300)


# Sets


def image_set(labels, classes=("a", "b", "c")) -> ImageSet:
    """A set whose image i is filled with i."""
    labels = torch.as_tensor(labels, dtype=torch.int64)
    images = torch.arange(len(labels)).to(torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2).contiguous()
    return ImageSet(images, labels, classes, "test set")


def numbers(some: ImageSet) -> list[int]:
    return some.images[:, 0, 0, 0].tolist()


def test_a_set_is_a_dataset():
    some = image_set([0, 2, 1])
    image, label = some[1]
    assert (len(some), image.shape, image[0, 0, 0].item(), label) == (3, (3, 2, 2), 1, 2)
    batch, labels = next(iter(torch.utils.data.DataLoader(some, batch_size=3)))
    assert batch.shape == (3, 3, 2, 2)
    assert labels.tolist() == [0, 2, 1]


IMAGES, LABELS = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1])
RIGHT = "they must be torch.uint8 [N, 3, S, S], square"


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.float(), LABELS, f"images are torch.float32 [2, 3, 4, 4]; {RIGHT}"),
        (IMAGES[0], LABELS, f"images are torch.uint8 [3, 4, 4]; {RIGHT}"),
        (IMAGES[:, :, 1:], LABELS, f"images are torch.uint8 [2, 3, 3, 4]; {RIGHT}"),
        (IMAGES, LABELS[:1], "labels are torch.int64 [1]; they must be torch.int64 [2]"),
        (IMAGES.permute(0, 2, 3, 1), LABELS, f"images are torch.uint8 [2, 4, 4, 3]; {RIGHT}"),
        (IMAGES, LABELS.int(), "labels are torch.int32 [2]; they must be torch.int64 [2]"),
        (IMAGES, LABELS + 1, "a label is outside 0..1, the 2 classes"),
        (IMAGES, LABELS - 1, "a label is outside 0..1, the 2 classes"),
    ],
)
def test_a_set_that_makes_no_sense_is_refused(images, labels, message):
    with pytest.raises(DataError, match=re.escape(message)):
        ImageSet(images, labels, ("a", "b"), "test set")


def test_an_empty_set_is_allowed():
    assert len(image_set([])) == 0


def test_subset_keeps_the_order_asked_for():
    part = image_set([0, 1, 2, 0]).subset(torch.tensor([3, 1]))
    assert (numbers(part), part.labels.tolist(), part.classes) == ([3, 1], [0, 1], ("a", "b", "c"))


def test_parts_of_parts_are_what_plain_indexing_gives():
    images = torch.randint(0, 256, (50, 3, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    whole = ImageSet(images, torch.arange(50) % 5, tuple("abcde"), "noise")
    assert whole.images is images
    rest, part = split_off(whole, 0.4)
    shuffled = torch.randperm(len(rest), generator=torch.Generator().manual_seed(1))
    last = rest.subset(shuffled).limit(20).per_class(3).in_classes(tuple("edcba"))
    rows = torch.tensor([int(row) for row in last.rows.rows])
    assert torch.equal(last.labels, 4 - whole.labels[rows])
    some = torch.tensor([3, 0, 3, 14])
    for each, expected in ((whole, images), (part, images[part.rows.rows]), (last, images[rows])):
        picked = some % len(each)
        assert torch.equal(each.take(picked), expected[picked])
        assert torch.equal(each.take(slice(2, 5)), expected[2:5])
        assert torch.equal(each.take(each.labels == 1), expected[each.labels == 1])
        assert torch.equal(torch.stack([image for image, _ in each]), expected)
        assert [len(chunk) for chunk in each.chunks(4)] == [len(chunk) for chunk in expected.split(4)]
        assert torch.equal(torch.cat(list(each.chunks(4))), expected)
        assert torch.equal(each.subset(each.labels == 1).images, expected[each.labels == 1])
        assert torch.equal(each.images, expected), "the contract: one tensor"
        assert each.images is each.images, "made once"
        assert torch.equal(each.take(picked), expected[picked]), "and after that"
        assert torch.equal(pickle.loads(pickle.dumps(each)).images, expected)


def test_the_indices_of_a_part_are_its_own():
    indices = torch.tensor([3, 1])
    part = image_set([0, 1, 2, 0]).subset(indices)
    indices.zero_()
    assert numbers(part) == [3, 1]


def test_dataclasses_replace_on_a_part():
    part = image_set([0, 1, 2, 0]).subset(torch.tensor([3, 1, 2]))
    named = replace(part, classes=("x", "y", "z"), name="other")
    assert (numbers(named), named.classes, named.name) == ([3, 1, 2], ("x", "y", "z"), "other")
    assert torch.equal(replace(part, images=part.images + 1).images, part.images + 1)
    with pytest.raises(
        DataError, match=re.escape("labels are torch.int64 [1]; they must be torch.int64 [3]")
    ):
        replace(part, labels=torch.tensor([0]))
    assert repr(part) == "<test set: 3 images of 2×2 pixels, 3 classes>"


def resident() -> int:
    return psutil.Process().memory_info().rss


def test_splitting_copies_no_image():
    size = 200_000_000
    images = torch.full((size // (3 * 100 * 100), 3, 100, 100), 7, dtype=torch.uint8)
    whole = ImageSet(images, torch.arange(len(images)) % 4, tuple("abcd"), "grey")
    before = resident()
    train, test = split_off(whole, 0.2)
    test = test.subset(torch.randperm(len(test)))
    train, val = split_off(train, 0.1)
    parts = [train, val, test, train.limit(4_000), train.per_class(1_000), concatenate(train, val)]
    batches = [part.take(torch.arange(32)) for part in parts]
    assert sum(map(len, parts)) > 2 * len(whole)
    assert all((batch == 7).all() for batch in batches)
    assert resident() - before < size / 10


def test_concatenate():
    whole = image_set([0, 1, 2, 0, 1])
    first, second = whole.subset(torch.tensor([4, 1])), whole.subset(torch.tensor([0, 3, 2]))
    both = concatenate(first, second)
    assert (numbers(both), both.labels.tolist()) == ([4, 1, 0, 3, 2], [1, 1, 0, 0, 2])
    other = replace(first, images=first.images + 100)  # of another tensor
    assert numbers(concatenate(second, other)) == [0, 3, 2, 104, 101]
    assert numbers(concatenate(whole, first)) == [0, 1, 2, 3, 4, 4, 1]
    with pytest.raises(DataError, match="cannot be joined; their classes and sizes must be the same"):
        concatenate(first, replace(second, classes=tuple("xyz")))
    with pytest.raises(DataError, match="<test set: 3 images of 1×1 pixels, 3 classes> cannot be joined"):
        concatenate(first, replace(second, images=second.images[:, :, :1, :1]))


def test_per_class():
    some = image_set([0] * 10 + [1] * 3 + [2] * 10)
    part = some.per_class(4)
    assert torch.bincount(part.labels).tolist() == [4, 3, 4]
    assert numbers(part) == sorted(numbers(part))
    assert torch.equal(part.labels, some.labels[numbers(part)])
    assert numbers(part) == numbers(some.per_class(4))
    assert numbers(part) != numbers(some.per_class(4, seed=1))


@pytest.mark.parametrize("sizes", [(7, 7, 7), (100, 10, 1), (3, 0, 50)])
def test_limit_gives_exactly_what_was_asked_in_proportion(sizes):
    some = image_set(np.repeat([0, 1, 2], sizes))
    for count in range(sum(sizes) + 3):
        part = some.limit(count)
        assert len(part) == min(count, sum(sizes))
        found = torch.bincount(part.labels, minlength=3)
        assert (found - torch.tensor(sizes) * len(part) / sum(sizes)).abs().max() < 1
        assert len(set(numbers(part))) == len(part)
    assert numbers(some.limit(9)) == numbers(some.limit(9))
    assert numbers(some.limit(9)) != numbers(some.limit(9, seed=1))


def test_portions_are_exact_where_floating_point_is_not():
    labels = torch.arange(3).repeat_interleave(49)
    for count in range(0, 147, 3):
        found = torch.bincount(labels[draw_stratified(labels, 3, count, seed=0)], minlength=3)
        assert found.tolist() == [count // 3] * 3


def test_in_classes_matches_by_name():
    some = image_set([0, 1, 2], ("a", "b", "c"))
    moved = some.in_classes(("c", "x", "b", "a"))
    assert moved.labels.tolist() == [3, 2, 0]
    assert moved.classes == ("c", "x", "b", "a")
    assert some.in_classes(("a", "b", "c")) is some
    with pytest.raises(DataError, match="test set has the classes b, c, which the model was not trained on"):
        some.in_classes(("a", "x"))


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 1.0])
def test_split_off(fraction):
    some = image_set([0] * 40 + [1] * 2 + [2] * 23)
    rest, part = split_off(some, fraction)
    assert sorted(numbers(rest) + numbers(part)) == list(range(65))  # disjoint and complete
    assert numbers(rest) == sorted(numbers(rest))
    for half in (rest, part):
        assert torch.equal(half.labels, some.labels[numbers(half)])
    for label, size in enumerate((40, 2, 23)):
        expected = min(size - 1, max(1, round(size * fraction)))
        assert int((part.labels == label).sum()) == expected
    assert numbers(part) == numbers(split_off(some, fraction)[1])


def test_split_off_depends_on_the_seed():
    some = image_set([0] * 40 + [1] * 40, ("a", "b"))
    assert numbers(split_off(some, 0.2)[1]) != numbers(split_off(some, 0.2, seed=1)[1])


def test_split_off_needs_two_images_of_each_class():
    with pytest.raises(DataError, match=r"test set: the class c has 1 image\(s\); every class needs"):
        split_off(image_set([0, 0, 1, 1, 2]), 0.5)
    with pytest.raises(DataError, match=r"test set: the class b has 0 image\(s\)"):
        split_off(image_set([0, 0, 2, 2]), 0.5)
