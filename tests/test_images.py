"""Reading any picture, squares, and sets of pictures."""

import builtins
import io
import re
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from resnet_course.data.images import DataError, ImageSet, draw_stratified, split_off
from resnet_course.data.reading import ImageError, read_image, square

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (12, 9, 3), dtype=np.uint8)
GREYS = COLOURS[:, :, 0]


def encode(picture: Image.Image, file_format: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def pixels(source) -> np.ndarray:
    picture = read_image(source)
    assert picture.mode == "RGB"
    return np.asarray(picture)


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
    picture = Image.fromarray(colours).convert(mode)
    picture.putalpha(Image.fromarray(alpha))
    found = pixels(encode(picture, file_format))
    share = alpha[..., None] / 255
    assert np.abs(found - (colours * share + 255 * (1 - share))).max() <= 1
    assert (found[0] == 255).all()
    assert np.array_equal(found[1], colours[1])


def test_palette_without_transparency():
    picture = Image.fromarray(COLOURS).quantize(8)
    assert np.array_equal(pixels(encode(picture)), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize(
    ("transparency", "first", "second"),
    [(1, [255, 0, 0], [255, 255, 255]), (b"\x00\xff", [255, 255, 255], [0, 255, 0])],
    ids=["one index", "an alpha for each"],
)
def test_palette_with_transparency(transparency, first, second):
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.putpixel((1, 0), 1)
    assert pixels(encode(picture, transparency=transparency)).tolist() == [[first, second]]


def test_a_transparent_colour_of_a_png_becomes_white():
    picture = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert pixels(encode(picture, transparency=(1, 2, 3))).tolist() == [[[255, 255, 255], [4, 5, 6]]]
    picture = Image.fromarray(np.array([[7, 8]], np.uint8))
    assert pixels(encode(picture, transparency=7)).tolist() == [[[255, 255, 255], [8, 8, 8]]]


DEEP = np.array([[0, 128, 129, 257, 2570, 40_000, 65_535]], np.uint16)
SHALLOW = np.array([[0, 0, 1, 1, 10, 156, 255]], np.uint8)  # the nearest of 0..255 for each


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])  # Pillow reads a deep PPM as mode "I"
def test_sixteen_bits_are_scaled_not_clipped(file_format):
    assert np.array_equal(pixels(encode(Image.fromarray(DEEP), file_format)), grey(SHALLOW))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])
def test_a_dark_sixteen_bit_picture_stays_dark(file_format):
    dark = np.full((2, 2), 200, np.uint16)
    assert np.array_equal(pixels(encode(Image.fromarray(dark), file_format)), grey(np.ones((2, 2))))


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B"])
def test_every_order_of_sixteen_bit_bytes(mode):
    picture = Image.frombytes(mode, (7, 1), DEEP.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    assert np.array_equal(pixels(picture), grey(SHALLOW))


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
    picture = Image.new("CMYK", (16, 8), (10, 200, 30, 40))
    found = read_image(encode(picture, "JPEG", quality=100, exif=exif))
    assert found.size == (8, 16)
    expected = picture.convert("RGB").getpixel((0, 0))
    assert np.abs(np.asarray(found, int) - expected).max() <= 3


@pytest.mark.parametrize("mode", ["HSV", "LAB", "YCbCr", "RGBX", "RGBa", "PA"])
def test_rare_modes_of_pil_pictures(mode):
    if mode in ("RGBa", "PA"):
        picture = Image.fromarray(COLOURS).convert("RGBA" if mode == "RGBa" else "P").convert(mode)
    elif mode == "LAB":
        picture = Image.new("LAB", (9, 12), (255, 128, 128))
    else:
        picture = Image.fromarray(COLOURS).convert(mode)
    assert read_image(picture).size == (9, 12)
    if mode == "LAB":
        assert pixels(picture).min() >= 254
    else:
        assert np.abs(pixels(picture).astype(int) - picture.convert("RGBA").convert("RGB")).max() == 0


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
def test_damaged_exif_does_not_spoil_a_picture(exif, file_format):
    picture = Image.open(io.BytesIO(encode(Image.fromarray(COLOURS), file_format, exif=exif)))
    result = read_image(picture)
    assert result.size == (9, 12)
    assert result is not picture


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


def test_files_that_are_no_pictures(tmp_path):
    path = tmp_path / "a.jpg"
    assert refused(path) == f"{path}: there is no such file"
    path.write_text("hello", encoding="utf-8")
    assert refused(path) == f"{path}: not a picture that can be read; PNG and JPEG always can"
    path.write_bytes(b"")
    assert refused(str(path)) == f"{path}: not a picture that can be read; PNG and JPEG always can"
    assert refused(tmp_path) == f"{tmp_path}: is a folder; give the path of a picture file"
    assert refused(b"hello") == "the picture: not a picture that can be read; PNG and JPEG always can"
    right = "give a path, the bytes of a file, a PIL picture or an array"
    assert refused(torch.zeros(3, 4, 4)) == f"the picture: is a Tensor; {right}"
    assert refused(None) == f"the picture: is a NoneType; {right}"


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
        assert refused(data) == f"the picture: claims more than {limit} pixels; shrink it"


def test_a_picture_without_pixels():
    assert refused(Image.new("RGB", (0, 5))) == "the picture: has no pixels, 0 x 5"


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
    assert [picture.size for picture in kept] == [(4, 4)] * 2


# Sources


def test_paths_bytes_and_pil_pictures_agree(tmp_path):
    data = encode(Image.fromarray(COLOURS))
    path = tmp_path / "ä ö.png"
    path.write_bytes(data)
    for source in (path, str(path), data, bytearray(data), memoryview(data), Image.open(io.BytesIO(data))):
        assert np.array_equal(pixels(source), COLOURS)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_pil_picture_is_neither_changed_nor_shared(mode):
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
        f"the picture: is an array of shape {list(shape)}; it must be [H, W], [H, W, 3] or [H, W, 4]"
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
    assert refused(array) == f"the picture: {message}"


# Squares


@pytest.mark.parametrize("turned", [False, True])
def test_square_agrees_with_cropping_the_middle_and_resizing(turned):
    shape, box = ((50, 80, 3), (15, 0, 65, 50)) if not turned else ((80, 50, 3), (0, 15, 50, 65))
    picture = Image.fromarray(RANDOM.integers(0, 256, shape, dtype=np.uint8))
    expected = picture.crop(box).resize((20, 20), Image.Resampling.BILINEAR)
    assert np.array_equal(square(picture, 20), expected)


def test_square_of_the_right_size_is_left_alone_and_may_be_written_to():
    picture = Image.fromarray(COLOURS[:9])
    result = square(picture, 9)
    assert np.array_equal(result, COLOURS[:9])
    result[:] = 0
    assert np.array_equal(picture, COLOURS[:9])


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1)])
def test_square_of_extreme_shapes(size):
    picture = read_image(encode(Image.new("RGB", size, (3, 4, 5))))
    assert np.array_equal(square(picture, 160), np.full((160, 160, 3), (3, 4, 5)))


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
    """A set whose picture i is filled with i."""
    labels = torch.as_tensor(labels, dtype=torch.int64)
    images = torch.arange(len(labels)).to(torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2).contiguous()
    return ImageSet(images, labels, classes, "test set")


def numbers(pictures: ImageSet) -> list[int]:
    return pictures.images[:, 0, 0, 0].tolist()


def test_a_set_is_a_dataset():
    pictures = image_set([0, 2, 1])
    picture, label = pictures[1]
    assert (len(pictures), picture.shape, picture[0, 0, 0].item(), label) == (3, (3, 2, 2), 1, 2)
    batch, labels = next(iter(torch.utils.data.DataLoader(pictures, batch_size=3)))
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


def test_per_class():
    pictures = image_set([0] * 10 + [1] * 3 + [2] * 10)
    part = pictures.per_class(4)
    assert torch.bincount(part.labels).tolist() == [4, 3, 4]
    assert numbers(part) == sorted(numbers(part))
    assert torch.equal(part.labels, pictures.labels[numbers(part)])
    assert numbers(part) == numbers(pictures.per_class(4))
    assert numbers(part) != numbers(pictures.per_class(4, seed=1))


@pytest.mark.parametrize("sizes", [(7, 7, 7), (100, 10, 1), (3, 0, 50)])
def test_limit_gives_exactly_what_was_asked_in_proportion(sizes):
    pictures = image_set(np.repeat([0, 1, 2], sizes))
    for count in range(sum(sizes) + 3):
        part = pictures.limit(count)
        assert len(part) == min(count, sum(sizes))
        found = torch.bincount(part.labels, minlength=3)
        assert (found - torch.tensor(sizes) * len(part) / sum(sizes)).abs().max() < 1
        assert len(set(numbers(part))) == len(part)
    assert numbers(pictures.limit(9)) == numbers(pictures.limit(9))
    assert numbers(pictures.limit(9)) != numbers(pictures.limit(9, seed=1))


def test_shares_are_exact_where_floating_point_is_not():
    labels = torch.arange(3).repeat_interleave(49)
    for count in range(0, 147, 3):
        found = torch.bincount(labels[draw_stratified(labels, 3, count, seed=0)], minlength=3)
        assert found.tolist() == [count // 3] * 3


def test_in_classes_matches_by_name():
    pictures = image_set([0, 1, 2], ("a", "b", "c"))
    moved = pictures.in_classes(("c", "x", "b", "a"))
    assert moved.labels.tolist() == [3, 2, 0]
    assert moved.classes == ("c", "x", "b", "a")
    assert pictures.in_classes(("a", "b", "c")) is pictures
    with pytest.raises(DataError, match="test set has the classes b, c, which the model was not trained on"):
        pictures.in_classes(("a", "x"))


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 1.0])
def test_carve(fraction):
    pictures = image_set([0] * 40 + [1] * 2 + [2] * 23)
    rest, part = split_off(pictures, fraction)
    assert sorted(numbers(rest) + numbers(part)) == list(range(65))  # disjoint and complete
    assert numbers(rest) == sorted(numbers(rest))
    for half in (rest, part):
        assert torch.equal(half.labels, pictures.labels[numbers(half)])
    for label, size in enumerate((40, 2, 23)):
        expected = min(size - 1, max(1, round(size * fraction)))
        assert int((part.labels == label).sum()) == expected
    assert numbers(part) == numbers(split_off(pictures, fraction)[1])


def test_carve_depends_on_the_seed():
    pictures = image_set([0] * 40 + [1] * 40, ("a", "b"))
    assert numbers(split_off(pictures, 0.2)[1]) != numbers(split_off(pictures, 0.2, seed=1)[1])


def test_carve_needs_two_pictures_of_each_class():
    with pytest.raises(DataError, match=r"test set: the class c has 1 picture\(s\); every class needs"):
        split_off(image_set([0, 0, 1, 1, 2]), 0.5)
    with pytest.raises(DataError, match=r"test set: the class b has 0 picture\(s\)"):
        split_off(image_set([0, 0, 2, 2]), 0.5)
