"""Which formats of images there are: told by the content of a file, hardly ever by its name."""

from __future__ import annotations

import importlib
import importlib.util
import re
import struct
from contextlib import suppress
from pathlib import PurePath

from PIL import Image, features

from resnet_course.data.signatures import (
    DAMAGED,
    LIBRARIES,
    MARKS,
    NOT_READ,
    PICTURE_NAME,
    PLUGINS,
    RAW,
    RAW_NAME,
    TGA_NAME,
)

__all__ = ["DAMAGED", "FORMATS", "HEAD", "NOT_READ", "RAW", "identify"]

FORMATS = tuple(PLUGINS)
HEAD = 4096  # bytes of a file that tell its format
RAW_TAGS = (254, 262, 50706)  # entries of a TIFF that tell whether it is a camera's


def identify(head: bytes, name: str) -> str | None:
    """The format of a file, told by its first bytes.

    head: the first HEAD bytes, or fewer where the file is shorter.
    name: the file's name, or "". It decides only what content cannot: TGA has no mark, a camera's raw file
        may look like any TIFF, and what is named like a picture is expected to be one.
    Returns a name of FORMATS, to be read; a name of NOT_READ, to be reported with its remedy: among them
    DAMAGED, for a name of a picture with other content; or None, for what is no picture.
    """
    suffix = PurePath(name).suffix.lower().lstrip(".")
    found = next((whose for at, mark, whose in MARKS if head.startswith(mark, at)), None)
    found = found or _by_structure(head, suffix)
    if found == "TIFF" and (RAW_NAME.fullmatch(suffix) or _is_raw(head)):
        found = RAW
    if found is None and TGA_NAME.fullmatch(suffix) and looks_like_tga(head):
        found = "TGA"
    if found is None and PICTURE_NAME.fullmatch(suffix):
        found = DAMAGED
    if found == "HEIF" and not _heif_can_be_read():
        found = "HEIC"
    if found == "AVIF" and not _avif_can_be_read():
        found = "AV1"
    return found


def _by_structure(head: bytes, suffix: str) -> str | None:
    """The formats whose mark alone could be chance."""
    if head[:6] in (b"GIF87a", b"GIF89a") and not _is_text(head):
        return "GIF"
    if head[:3] == b"\xff\xd8\xff" and len(head) > 3 and head[3] >= 0xC0:
        return "JPEG"
    if head[:2] == b"BM" and _is_bmp(head):
        return "BMP"
    if head[:4] == b"RIFF" and head[8:15] == b"WEBPVP8":
        return "WEBP"
    if head[:4] in (b"II*\0", b"MM\0*") or head[:6] in (b"II+\0\x08\0", b"MM\0+\0\x08"):
        return "TIFF"
    if head[:4] == b"qoif" and head[12:13] in (b"\3", b"\4") and head[13:14] in (b"\0", b"\1"):
        return "QOI"
    if head[:4] in (b"\0\0\1\0", b"\0\0\2\0") and _is_icon(head):
        return "ICO" if head[2] == 1 else "CUR"
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if head[:1] == b"P":
        return _netpbm(head, suffix)
    if head[:2] == b"\xff\x0a" and PICTURE_NAME.fullmatch(suffix):
        return "JPEG XL"
    return _drawing(head, suffix)


def _drawing(head: bytes, suffix: str) -> str | None:
    """Formats of drawings, and those that only their name and a short mark tell."""
    if head[:5] == b"%PDF-":
        return "Illustrator" if suffix == "ai" else "PDF"
    if head[:4] == b"%!PS":
        return "Illustrator" if suffix == "ai" else "EPS"
    if suffix == "svgz" and head[:2] == b"\x1f\x8b":
        return "SVG"
    # (?>...)*+ never goes back: else a file of many comments would take for ever.
    before = rb"(\xef\xbb\xbf)?(?><\?xml[^>]*>|<!--.*?-->|<!DOCTYPE\s+svg[^>\[]*(\[.*?\]\s*)?>|\s)*+"
    if re.match(before + rb"<(svg:)?svg[\s>]", head, re.DOTALL):
        return "SVG"
    if head[:4] == b"RIFF" and head[8:11] == b"CDR":
        return "CorelDRAW"
    if suffix == "pcx" and head[:1] == b"\x0a" and head[2:3] == b"\1":
        return "PCX"
    if suffix in ("sgi", "rgb", "rgba", "bw") and head[:2] == b"\x01\xda":
        return "SGI"
    if suffix == "xbm" and head[:8] == b"#define ":
        return "XBM"
    return None


def _is_bmp(head: bytes) -> bool:
    with suppress(struct.error):
        size = struct.unpack_from("<I", head, 14)[0]
        planes, bits = struct.unpack_from("<HH", head, 22 if size == 12 else 26)
        return size in (12, 40, 52, 56, 64, 108, 124) and planes == 1 and bits in (1, 2, 4, 8, 16, 24, 32)
    return False


def _is_icon(head: bytes) -> bool:
    with suppress(struct.error):
        count = struct.unpack_from("<H", head, 4)[0]
        reserved, size, offset = struct.unpack_from("<3xB4xII", head, 6)
        fits = 12 <= size < 1 << 26 and 6 + 16 * count <= offset < 1 << 26
        return 1 <= count <= 256 and reserved == 0 and fits
    return False


def _by_brand(head: bytes) -> str | None:
    """What a file of the MPEG-4 family is: most of them are videos."""
    length = struct.unpack(">I", head[:4])[0]
    first, *others = [head[at : at + 4] for at in (8, *range(16, min(length, len(head), 256), 4))]
    if first in (b"avif", b"avis") or (first in (b"mif1", b"msf1") and b"avif" in others):
        return "AVIF"
    if first in (b"mif1", b"msf1") or re.fullmatch(rb"he[iv][cxms]", first):
        return "HEIF"
    return RAW if first == b"crx " else None  # Canon's; the rest are videos


def _netpbm(head: bytes, suffix: str) -> str | None:
    """PBM, PGM or PPM: two letters, then numbers, and then so many pixels; text may begin like that too."""
    if head[:3] in (b"PF\n", b"PF\r"):
        return "PFM"
    if re.match(rb"P7\r?\n(#.*\n)*(WIDTH|HEIGHT|DEPTH|MAXVAL|TUPLTYPE) ", head):
        return "PAM"
    gap = rb"(?:\s|#[^\r\n]*[\r\n])+"
    if re.match(rb"Pf" + gap + rb"\d{1,9}" + gap + rb"\d{1,9}" + gap + rb"-?[\d.]+(e[+-]?\d+)?\s", head):
        return "PPM"
    parts = re.match(rb"P([1-6])" + gap + rb"([1-9]\d{0,9})" + gap + rb"([1-9]\d{0,9})", head)
    if not parts:
        return None
    kind, width, height = map(int, parts.groups())
    rest = head[parts.end() :]
    if kind not in (1, 4):
        maximum = re.match(gap + rb"([1-9]\d{0,4})(?=\s)", rest)
        if not maximum or int(maximum[1]) > 65535:
            return None
        rest = rest[maximum.end() :]
    if kind <= 3:
        return "PPM" if re.fullmatch(rb"(?>[\d\s]+|#[^\r\n]*)*+", rest) and rest.strip() else None
    if not rest[:1].isspace():
        return None
    row = -(-width // 8) if kind == 4 else width * (3 if kind == 6 else 1)
    whole = len(head) == HEAD or len(rest) > row * height
    return "PPM" if whole and (not _is_text(rest) or suffix in ("ppm", "pgm", "pbm", "pnm")) else None


def _is_text(data: bytes) -> bool:
    return re.fullmatch(rb"[\t\n\r -~]*", data) is not None


def looks_like_tga(head: bytes) -> bool:
    """Whether the first 18 bytes could be the header of a TGA file, which has no mark."""
    if len(head) < 18:
        return False
    palette, kind, width, height, bits, flags = struct.unpack_from("<xBB9xHHBB", head)
    kinds = (1, 9) if palette == 1 else (2, 3, 10, 11) if palette == 0 else ()
    return kind in kinds and min(width, height) > 0 and bits in (1, 8, 15, 16, 24, 32) and flags < 64


def _is_raw(head: bytes) -> bool:
    """Whether a TIFF says in its first directory that it is a camera's, as far as `head` reaches.

    Pillow would open one and give the small preview.
    """
    if head[8:10] == b"CR":
        return True
    order = "<" if head[:2] == b"II" else ">"
    with suppress(struct.error):
        if struct.unpack_from(f"{order}H", head, 2)[0] != 42:
            return False
        at = struct.unpack_from(f"{order}I", head, 4)[0]
        for entry in range(struct.unpack_from(f"{order}H", head, at)[0]):
            tag, kind, _, value = struct.unpack_from(f"{order}HHI4s", head, at + 2 + 12 * entry)
            number = struct.unpack(f"{order}Hxx" if kind == 3 else f"{order}I", value)[0]
            if is_raw_tag(tag, number):
                return True
    return False


def is_raw_tag(tag: int, value: object) -> bool:
    """Whether an entry of a TIFF's first directory says: a preview, or what a sensor measured."""
    if tag == 254:  # bit 0: "a reduced-resolution version of another image in this file"
        return isinstance(value, int) and value & 1 == 1
    return tag == 50706 or (tag == 262 and value in (32803, 34892))  # DNG's version; a filter array, linear


def _heif_can_be_read() -> bool:
    return "HEIF" in Image.OPEN or importlib.util.find_spec("pillow_heif") is not None


def _avif_can_be_read() -> bool:
    return importlib.util.find_spec("PIL._avif") is not None


def load_plugin(name: str) -> None:
    """Make Pillow able to open a format of FORMATS. Raises ImportError where its reader is not installed.

    Only the one module is imported: all of Pillow's take a second on a slow machine.
    """
    if name not in Image.OPEN:
        if name == "HEIF":
            importlib.import_module("pillow_heif").register_heif_opener()
        else:
            importlib.import_module(f"PIL.{PLUGINS[name]}ImagePlugin")
    if name in LIBRARIES and not features.check(LIBRARIES[name]):
        raise ImportError(f"is {name}, which this Pillow was built without; install Pillow from PyPI")
