"""Which format a file has: told by its content, whatever its name."""

import importlib.util
import io
import struct
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from resnet_course.data import formats
from resnet_course.data.formats import DAMAGED, FORMATS, HEAD, NOT_READ, RAW, identify
from resnet_course.data.reading import ImageError, count_frames, open_image, read_image

RED = (200, 30, 60)
WRITTEN = ["PNG", "JPEG", "MPO", "GIF", "BMP", "PPM", "WEBP", "TIFF", "JPEG2000", "ICO", "QOI", "AVIF"]
NAMES = ["a.png", "a.jpg", "a.pjpeg", "a.jpg_large", "a.JPG.bak", "a", "a.dat", "a.eps", "a.txt", "a.nef.png"]


def written(file_format: str, **options) -> bytes:
    Image.init()
    if file_format not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {file_format}")
    file = io.BytesIO()
    Image.new("RGB", (16, 16), RED).save(file, file_format, **options)
    return file.getvalue()


def refused(source) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What is read


@pytest.mark.parametrize("file_format", WRITTEN)
def test_formats_are_known_by_the_content(tmp_path, file_format):
    data = written(file_format)
    for name in NAMES:
        assert identify(data[:HEAD], name) == ("JPEG" if file_format == "MPO" else file_format), name
        path = tmp_path / name
        path.write_bytes(data)
        found = np.asarray(read_image(path), int)
        assert np.abs(found - RED).max() <= 60, name  # GIF has a palette
    assert np.array_equal(found, read_image(data))


@pytest.mark.parametrize("options", [{}, {"compression": "tga_rle"}])
def test_a_tga_is_known_by_its_name_or_read_when_it_is_asked_for(tmp_path, options):
    data = written("TGA", **options)
    assert identify(data, "a.tga") == identify(data, "a.TGA") == "TGA"
    assert identify(data, "a") is None
    assert identify(data, "a.png") == DAMAGED
    for name in ("a.tga", "a.png", "a"):
        (tmp_path / name).write_bytes(data)
        assert read_image(tmp_path / name).getpixel((3, 3)) == RED
    assert read_image(data).getpixel((3, 3)) == RED
    assert identify(b"hello, this is not a TGA file", "a.tga") == DAMAGED


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
@pytest.mark.parametrize("plain", [False, True])
def test_every_kind_of_ppm(mode, plain):
    pixels = np.random.default_rng(0).integers(0, 2, (4, 5, 3), dtype=np.uint8) * 255
    image = Image.fromarray(pixels).convert(mode)
    file = io.BytesIO()
    image.save(file, "PPM")
    data = file.getvalue()
    if plain:
        numbers = np.asarray(image).astype(int) if mode != "1" else 1 - np.asarray(image).astype(int)
        maximum = "" if mode == "1" else "255\n"
        letter = {"1": "P1", "L": "P2", "RGB": "P3"}[mode]
        data = f"{letter}\n# made\n5 4\n{maximum}{' '.join(map(str, numbers.flat))}\n".encode()
    assert identify(data, "") == "PPM"
    assert np.array_equal(read_image(data), image.convert("RGB"))


def test_a_float_map():
    data = b"Pf\n2 1\n-1.0\n" + struct.pack("<2f", 0.2, 1)
    assert identify(data, "") == "PPM"
    assert read_image(data).getpixel((0, 0)) == (51, 51, 51)


def test_bigtiff():
    data = written("TIFF", big_tiff=True)
    assert identify(data, "") == "TIFF"
    assert read_image(data).getpixel((3, 3)) == RED


# What is no picture

TEXTS = [
    b"P1 is a priority; P2 another",
    b"P1 10 20 people came",
    b"P5 10 20 30 and so on, for many lines more than these\n" * 300,
    b"P6 1 1 255 x",
    b"P3 10 20 255",
    b"BM is a magazine of 1990, not a bitmap; and so it goes on and on",
    b"GIF89a is the name of a format",
    b"II*",
    b"{}",
    b"id,label\n1,cat\n",
    b"<!DOCTYPE html><html><body><svg width='9'></svg></body></html>",
    b"<?xml version='1.0'?><annotation><folder>a</folder></annotation>",
    b"qoif, qoif, qoif, qoif!",
    "übermäßig".encode("utf-16"),
    b"",
    b"\0" * 5000,
    b"\0\0\1\xba" + bytes(100),  # MPEG
    b"\0\0\1\0" + bytes(100),
    b"\0\0\1\0\1\0\1\0" + bytes(100),
    b"\0\0\0\x18ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(100),
    b"\0\0\0\x14ftypqt  \0\0\2\0qt  " + bytes(100),
    b"RIFF\x24\0\0\0WAVEfmt " + bytes(100),
    b"RIFF\x24\0\0\0AVI LIST" + bytes(100),
    b"SQLite format 3\0" + bytes(100),
    b"PK\3\4" + bytes(100),
    b"\xff\xd8\xff",
    b"\xff\x0a" + bytes(100),
    b"\x89PNG\r\n",
]


@pytest.mark.parametrize("data", TEXTS, ids=lambda data: repr(data[:16]))
def test_what_is_no_picture_is_overlooked_unless_it_is_named_like_one(data):
    for name in ("a", "a.txt", "a.mp4", "a.json", "Thumbs.db", "a.jpg_large"):
        assert identify(data[:HEAD], name) is None, name
    for name in ("a.png", "a.JPG", "a.tif", "a.webp", "a.heic", "a.tga", "a.nef", "a.gif", "a.bmp"):
        assert identify(data[:HEAD], name) == ("JPEG XL" if data[:2] == b"\xff\x0a" else DAMAGED), name


@pytest.mark.parametrize("data", [b"P5 10 20 30", b"P5 10 20 255 \1\2\3"])
def test_a_ppm_that_is_cut_is_damaged(data):
    assert identify(data, "a.pgm") == DAMAGED
    assert identify(data, "a") is None


def test_random_bytes_are_no_picture():
    random = np.random.default_rng(0)
    for _ in range(3000):
        assert identify(random.bytes(100), "a") is None


@pytest.mark.parametrize(
    "start", [b"<!-- a -->", b"<!--", b"<?xml>", b"P1 ", b"P1 1 1 ", b"P1\n#\n", b" ", b"P2\n#"]
)
def test_no_content_takes_long(start):
    """Expressions that go back and forth could take for ever."""
    began = time.perf_counter()
    for end in (b"", b"x", b"\n"):
        identify((start * HEAD)[: HEAD - 1] + end, "a")
        identify(start + (b"# 1\n" * HEAD)[: HEAD - len(start) - 1] + end, "a")
    assert time.perf_counter() - began < 1


# What is known and not read

SVG = "http://www.w3.org/2000/svg"
OTHERS = {
    "PSD": b"8BPS\0\1" + bytes(20),
    "SVG": f"<?xml version='1.0'?>\n<!-- <html> -->\n<!DOCTYPE svg>\n<svg xmlns='{SVG}'>".encode(),
    "PDF": b"%PDF-1.7\n",
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "XCF": b"gimp xcf v011\0",
    "EXR": b"\x76\x2f\x31\x01\2\0\0\0",
    "DICOM": bytes(128) + b"DICM\2\0",
    "FITS": b"SIMPLE  =                    T",
    "DDS": b"DDS \x7c\0\0\0",
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n",
    "JPEG XR": b"II\xbc\x01",
    "NIfTI": bytes(344) + b"n+1\0",
    "CUR": b"\0\0\2\0\1\0\x20\x20\0\0\1\0\1\0\x30\1\0\0\x16\0\0\0" + bytes(304),
    "PAM": b"P7\nWIDTH 4\nHEIGHT 4\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n",
    "PFM": b"PF\n2 2\n-1.0\n" + bytes(48),
    "Radiance HDR": b"#?RADIANCE\n",
    "CorelDRAW": b"RIFF\x24\0\0\0CDRAvrsn",
    RAW: b"FUJIFILMCCD-RAW 0201",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_are_named_with_a_remedy(tmp_path, name):
    for file_name in ("a.jpg", "a", "a.txt"):
        assert identify(OTHERS[name], file_name) == name, file_name
        path = tmp_path / file_name
        path.write_bytes(OTHERS[name])
        assert refused(path) == f"{path}: {name} is not read; {NOT_READ[name]}"
    assert refused(OTHERS[name]) == f"the image: {name} is not read; {NOT_READ[name]}"


def test_formats_that_are_told_by_their_name_too():
    assert identify(b"%PDF-1.7\n", "a.ai") == "Illustrator"
    assert identify(b"\x1f\x8b\x08", "a.svgz") == "SVG"
    assert identify(b"\x0a\x05\x01\x08", "a.pcx") == "PCX"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mimetype", "application/x-krita")
    assert identify(file.getvalue(), "a") == "Krita"


def tiff(*entries: tuple[int, int, int], order: str = "<") -> bytes:
    """The head of a TIFF with these entries: tag, type, value."""
    packed = b"".join(
        struct.pack(f"{order}HHIHxx" if kind == 3 else f"{order}HHII", tag, kind, 1, value)
        for tag, kind, value in entries
    )
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(f"{order}HIH", 42, 8, len(entries)) + packed + bytes(200)


@pytest.mark.parametrize("order", ["<", ">"])
def test_raw_files_of_cameras_are_not_taken_for_a_tiff(order):
    """Pillow would open the small preview in them."""
    plain = tiff((256, 4, 9), (257, 4, 9), order=order)
    assert identify(plain, "a.tif") == identify(plain, "a.lsm") == identify(plain, "a") == "TIFF"
    for name in ("a.NEF", "a.arw", "a.dng", "a.pef", "a.srw", "a.cr2", "a.3fr", "a.iiq"):
        assert identify(plain, name) == RAW
    for entry in ((254, 4, 1), (262, 3, 32803), (262, 3, 34892), (50706, 1, 4)):
        assert identify(tiff((256, 4, 9), entry, order=order), "a") == RAW
    for entry in ((254, 4, 0), (262, 3, 1)):
        assert identify(tiff((256, 4, 9), entry, order=order), "a") == "TIFF"


@pytest.mark.parametrize(
    "head",
    [
        b"IIRO\x08",
        b"IIU\0\x18",
        b"II*\0\x10\0\0\0CR\2",
        b"\0MRM",
        b"FOVb",
        b"II\x1a\0\0\0HEAPCCDR",
        b"\0\0\0\x18ftypcrx ",
    ],
)
def test_marks_of_cameras(head):
    assert identify(head + bytes(64), "a") == identify(head + bytes(64), "a.jpg") == RAW


def test_a_raw_file_that_tells_so_only_at_its_end(tmp_path):
    """The directory of a TIFF may lie behind the pixels, beyond the bytes that `identify` sees."""
    file = io.BytesIO()
    Image.new("RGB", (90, 90)).save(file, "TIFF", tiffinfo={50706: b"\1\4\0\0"})
    data = file.getvalue()
    at = struct.unpack_from("<I", data, 4)[0]
    moved = data[:4] + struct.pack("<I", len(data)) + data[8:] + data[at : at + 2 + 12 * data[at] + 4]
    assert identify(moved[:HEAD], "a.tif") == "TIFF"
    (tmp_path / "a.tif").write_bytes(moved)
    assert refused(tmp_path / "a.tif").endswith("a.tif: camera raw is not read; export it as JPEG")


def test_a_picture_that_is_named_like_a_raw_file_is_read():
    assert identify(written("JPEG"), "a.nef") == "JPEG"


@pytest.mark.parametrize("name", ["EPS", "WMF", "FITS", "HDF5", "GRIB", "BUFR", "MPEG", "PSD"])
def test_what_is_not_in_the_list_is_not_read(name):
    assert name not in FORMATS


def test_no_name_is_both_read_and_not():
    assert not set(FORMATS) & set(NOT_READ)


# Readers that may be missing

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"hevc", b"mif1", b"msf1"])
def test_heif_without_its_reader(monkeypatch, brand):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    data = HEIC.replace(b"heic", brand)
    for name in ("a.heic", "a.jpg", "a"):
        assert identify(data, name) == "HEIC"
    assert refused(data) == "the image: HEIC is not read; install pillow-heif, then start again"


def test_heif_is_read_with_a_reader_that_somebody_registered(monkeypatch):
    """Another format's reader stands for the plugin of pillow-heif."""
    plugin = (lambda file, name: Image.new("RGB", (9, 12)), None)
    monkeypatch.setitem(Image.OPEN, "HEIF", plugin)
    assert identify(HEIC, "a.heic") == "HEIF"
    assert read_image(HEIC).size == (9, 12)


@pytest.mark.slow
def test_pillow_heif_is_registered_with_the_first_such_file(tmp_path):
    """A module stands for pillow-heif. In a process of its own, because Pillow keeps what is registered."""
    (tmp_path / "pillow_heif.py").write_text(
        "from PIL import Image\n"
        "def register_heif_opener():\n"
        "    Image.register_open('HEIF', lambda file, name: Image.new('RGB', (9, 12)))\n",
        encoding="utf-8",
    )
    program = f"""
import sys
from resnet_course.data.formats import identify
from resnet_course.data.reading import read_image
assert identify({HEIC!r}, "a.heic") == "HEIF"
assert "pillow_heif" not in sys.modules
assert read_image({HEIC!r}).size == (9, 12)
"""
    path = [str(tmp_path), *sys.path]
    subprocess.run([sys.executable, "-c", f"import sys; sys.path[:] = {path!r}\n{program}"], check=True)


def test_avif_without_its_reader(monkeypatch):
    data = b"\0\0\0\x1cftypavif\0\0\0\0mif1avif"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert refused(data) == "the image: AV1 is not read; install Pillow 11.3 or later, then start again"


def test_a_pillow_that_lacks_a_library(monkeypatch):
    data = written("WEBP")
    monkeypatch.setattr(formats.features, "check", lambda name: False)
    assert refused(data) == (
        "the image: is WEBP, which this Pillow was built without; install Pillow from PyPI"
    )


def test_opening_reads_the_size_and_closes_the_file(tmp_path):
    path = tmp_path / "a.dat"
    path.write_bytes(written("PNG"))
    with open_image(path) as image:
        assert (image.format, image.size, image.mode) == ("PNG", (16, 16), "RGB")
    path.unlink()
    assert count_frames(path) == 1
