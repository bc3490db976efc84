"""PNG files as they are without their texts and colour profiles."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from typing import BinaryIO

MOST_TEXT = 1 << 18  # bytes of a text that is kept, and is unpacked to four times that at most
TURNING = (b"Raw profile type exif", b"XML:com.adobe.xmp")  # texts that may say how an image is turned


def without_text(file: BinaryIO) -> BinaryIO:
    """A PNG file as a reader would see it without its texts and its colour profile.

    Pillow refuses an image of which a text, which nobody asked for, is longer than a megabyte unpacked. Texts
    that say how the image is turned stay if they are short. What is left out is not read, let alone unpacked.
    """
    pieces, start, at = [], 0, 8
    size = file.seek(0, io.SEEK_END)
    while at + 8 <= size:
        file.seek(at)
        head = file.read(8)  # a chunk: length, kind, content, checksum
        kind, length = head[4:], int.from_bytes(head[:4], "big")
        end = at + 12 + length
        if kind == b"iCCP" or (kind in (b"tEXt", b"zTXt", b"iTXt") and not _is_wanted(file, kind, length)):
            pieces.append((start, at))
            start = end
        at = end
    if not pieces:
        return file
    return io.BufferedReader(_Pieces(file, [*pieces, (start, max(start, size))]))


def _is_wanted(file: BinaryIO, kind: bytes, length: int) -> bool:
    if length > MOST_TEXT:
        return False
    key, _, rest = file.read(length).partition(b"\0")
    if kind == b"iTXt":  # is it packed, how, language\0, translated key\0, text
        packed, rest = rest[:1] == b"\1", rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    else:
        packed, rest = kind == b"zTXt", rest[1:]
    if key not in TURNING:
        return False
    try:
        return not packed or len(zlib.decompressobj().decompress(rest, 4 * MOST_TEXT)) < 4 * MOST_TEXT
    except zlib.error:
        return False


class _Pieces(io.RawIOBase):
    """Parts of a file, each from one byte to another, as one file."""

    def __init__(self, file: BinaryIO, pieces: Sequence[tuple[int, int]]) -> None:
        self.file, self.pieces, self.at = file, pieces, 0
        self.size = sum(end - start for start, end in pieces)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence])
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: memoryview) -> int:
        skip = self.at
        for start, end in self.pieces:
            if skip < end - start:
                self.file.seek(start + skip)
                data = self.file.read(min(len(buffer), end - start - skip))
                buffer[: len(data)] = data
                self.at += len(data)
                return len(data)
            skip -= end - start
        return 0
