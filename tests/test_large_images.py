"""Images of a hundred million pixels stay within a limit of memory; long texts in a PNG do no harm."""

import io
import json
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from resnet_course.data.png import MOST_TEXT, without_text
from resnet_course.data.reading import ImageError, count_frames, read_image

COLOURS = np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8)

# A phone of 108 megapixels makes images of 12,000 x 9,000 pixels, one of 200 megapixels 16,320 x 12,240.
MEASURE = """
import json, re, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from resnet_course.data.reading import quiet, read_quietly, shrink

def memory(which):
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{which}:\\s+(\\d+) kB", status)[1]) * 1024 / 1e6

def read(path):
    image = read_quietly(path, at_least=160)
    return image.info["whole"], shrink(image, 160).size

before = memory("VmRSS")
with quiet(), ThreadPoolExecutor(8) as pool:
    found = list(pool.map(read, sys.argv[1:]))
print(json.dumps([memory("VmHWM") - before, found]))
"""
MAKE_JPEGS = """
import sys
from PIL import Image
exif = Image.Exif()
exif[0x0112] = 6
Image.new("L", (16_320, 12_240)).save(f"{sys.argv[1]}/turned.jpg", exif=exif)
Image.new("YCbCr", (12_000, 9_000)).save(f"{sys.argv[1]}/progressive.jpg", progressive=True)
"""


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, bits: int, colour: int, row: bytes, *others: bytes) -> bytes:
    """A PNG file in which all rows are the same. A hundred of them are packed once, and repeated."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    rows = (b"\0" + row) * 100
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed = packer.compress(rows) + packer.flush(zlib.Z_FULL_FLUSH)
    check = 1
    for _ in range(height // 100):
        check = zlib.adler32(rows, check)
    stream = b"\x78\x01" + packed * (height // 100) + b"\x03\0" + struct.pack(">I", check)
    return b"".join((b"\x89PNG\r\n\x1a\n", header, *others, chunk(b"IDAT", stream), chunk(b"IEND", b"")))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is found elsewhere otherwise")
def test_the_largest_photographs_take_less_than_500_mb_in_eight_threads_together(tmp_path):
    width, height = 12_000, 9_000
    palette = chunk(b"PLTE", bytes(range(48))) + chunk(b"tRNS", bytes([0, 128, 255]))
    kinds = {
        "rgba": (8, 6, b"\x10\x20\x30\x80" * width),
        "grey": (16, 0, b"\x10\x20" * width),
        "palette": (8, 3, b"\1" * width, palette),
    }
    for name, options in kinds.items():
        (tmp_path / f"{name}.png").write_bytes(png(width, height, *options))
    subprocess.run([sys.executable, "-c", MAKE_JPEGS, str(tmp_path)], check=True)
    paths = sorted(map(str, tmp_path.iterdir()))
    program = [sys.executable, "-W", "error", "-c", MEASURE]
    done = subprocess.run([*program, *paths], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    taken, found = json.loads(done.stdout)
    assert found == [[[width, height], [213, 160]]] * 4 + [[[12_240, 16_320], [160, 213]]]
    assert taken < 500


# Texts in a PNG


def with_chunks(*chunks: bytes, behind: bool = False, **options) -> bytes:
    """A PNG of COLOURS with more chunks before or behind its pixels."""
    file = io.BytesIO()
    Image.fromarray(COLOURS).save(file, "PNG", **options)
    data = file.getvalue()
    at = data.index(b"IEND" if behind else b"IDAT") - 4
    return data[:at] + b"".join(chunks) + data[at:]


MEGABYTE = b"so it goes " * (1 << 20)  # eleven of them
LONG = {
    "plain": chunk(b"tEXt", b"Comment\0" + MEGABYTE),
    "packed": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(MEGABYTE)),
    "international": chunk(b"iTXt", b"Comment\0\0\0\0\0" + MEGABYTE),
    "international, packed": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(MEGABYTE)),
    "how it is turned, packed": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(MEGABYTE)),
    "what XMP says, long": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + MEGABYTE),
    "a profile of colours": chunk(b"iCCP", b"mine\0\0" + zlib.compress(MEGABYTE)),
    "a damaged one": chunk(b"zTXt", b"Raw profile type exif\0\0garbage"),
    "many": chunk(b"tEXt", b"Comment\0" + b"x" * 300_000) * 300,  # 90 MB
}


@pytest.mark.parametrize("behind", [False, True], ids=["before the pixels", "behind them"])
@pytest.mark.parametrize("name", LONG)
def test_long_texts_are_passed_over(tmp_path, name, behind):
    data = with_chunks(LONG[name], behind=behind)
    assert np.array_equal(read_image(data), COLOURS)
    (tmp_path / "a.png").write_bytes(data)
    assert np.array_equal(read_image(tmp_path / "a.png"), COLOURS)
    assert without_text(io.BytesIO(data)).read() == with_chunks()


def test_texts_that_say_how_an_image_is_turned_count():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    exif = Image.Exif()
    exif[0x0112] = 6
    old = f"\nexif\n{len(exif.tobytes()):8}\n{exif.tobytes().hex()}\n".encode()
    for text in (
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp)),
        chunk(b"tEXt", b"Raw profile type exif\0" + old),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(old)),
    ):
        data = with_chunks(LONG["packed"], text)
        assert np.array_equal(read_image(data), np.rot90(COLOURS, -1)), text[:40]


def test_a_text_is_not_unpacked_without_bound():
    bomb = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(100 * MOST_TEXT), 9))
    assert len(bomb) < MOST_TEXT
    assert without_text(io.BytesIO(with_chunks(bomb))).read() == with_chunks()


def test_a_png_without_texts_is_left_alone():
    file = io.BytesIO(with_chunks())
    assert without_text(file) is file


def test_what_is_left_of_a_png_reads_like_a_file():
    data = with_chunks(LONG["packed"], chunk(b"tEXt", b"a\0b"), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")
    expected = with_chunks(exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")
    file = without_text(io.BytesIO(data))
    for at, size in ((0, 10), (50, 40), (len(expected) - 5, 100), (3, 1), (len(expected) + 9, 4)):
        assert file.seek(at) == file.tell() == at
        assert file.read(size) == expected[at : at + size]
    assert file.seek(-4, io.SEEK_END) == len(expected) - 4
    assert file.seek(-2, io.SEEK_CUR) == len(expected) - 6


def test_a_png_with_long_texts_that_is_cut_is_damaged():
    data = with_chunks(LONG["packed"])
    for size in (20, 40, len(data) - 60):
        with pytest.raises(ImageError):
            read_image(data[:size])


def test_an_animation_with_long_texts(tmp_path):
    frames = [Image.new("RGB", (4, 4), (value, 0, 0)) for value in (10, 200)]
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    data = file.getvalue()
    at = data.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(data[:at] + LONG["packed"] + data[at:])
    assert count_frames(tmp_path / "a.png") == 2
    assert read_image(tmp_path / "a.png").getpixel((0, 0)) == (10, 0, 0)
