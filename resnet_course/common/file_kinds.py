"""What kind of file this is, by its content: names lie, and a download may have brought something else."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import BinaryIO

READ = 1 << 20  # bytes from the beginning in which a kind shows

# The first bytes, and what begins so. A kind is a noun, with what to do after a semicolon where that helps.
BEGINNINGS = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes"),
    (b"\x1f\x8b", "packed with gzip; unpack it first"),
    (b"BZh", "packed with bzip2; unpack it first"),
    (b"\xfd7zXZ\x00", "packed with xz; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive; unpack it first"),
    (b"\x93NUMPY", "an array of numpy"),
    (b"GGUF", "a GGUF file, a language model's"),
    (b"PAR1", "a Parquet table"),
    (b"\x89PNG\r\n\x1a\n", "an image (PNG)"),
    (b"\xff\xd8\xff", "an image (JPEG)"),
    (b"%PDF-", "a PDF document"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; git lfs pull fetches that"),
)
WEB_PAGE = "a web page; the download brought a page in place of the file"
LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # with a pickle of this number torch.save began before 2020
SAFETENSORS = (
    "a safetensors file; read it with safetensors.torch.load_file and write what comes with torch.save"
)
ONNX_FIELDS = {1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}  # of a ModelProto, which has its graph in field 7
ONNX_GRAPH, SAVED_MODEL_FIELDS = 7, {1, 2}


def foreign_kind(path: Path) -> str | None:
    """What the file is if it is surely nothing that `torch.save` wrote, as words after "it is"; else None.

    Looks at the content alone, and never at all of a large file. Raises OSError.
    """
    size = path.stat().st_size
    if not size:
        return "empty"
    if zipfile.is_zipfile(path):
        return _kind_of_zip(path)
    with path.open("rb") as file:
        begin = file.read(READ)
        for start, kind in BEGINNINGS:
            if begin.startswith(start):
                return kind
        if begin[:4] == b"PK\x03\x04":
            return "cut short: it begins as what torch.save writes, and its end is missing"
        if begin[257:262] == b"ustar":
            return "a tar archive; unpack it first"
        if begin[4:8] == b"TFL3":
            return "a TensorFlow Lite model"
        if begin.lstrip()[:1] == b"<" and b"<html" in begin[:2000].lower():
            return WEB_PAGE
        if 2 <= int.from_bytes(begin[:8], "little") <= size - 8 and begin[8:9] == b"{":
            return SAFETENSORS
        if begin[:1] == b"\x80" and LEGACY not in begin[:30]:
            return (
                "a pickle of another program; read it with that program and write what comes with torch.save"
            )
        return _kind_of_protobuf(file, size) or _kind_of_text(begin)


def _kind_of_zip(path: Path) -> str | None:
    """torch.save writes zip archives too: with one folder, and in it a data.pkl."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    inner = {name.partition("/")[2] for name in names}
    if "model.weights.h5" in names:
        return "a Keras model"
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return "a TorchScript program; load it with torch.jit.load and save its state_dict()"
    if "data.pkl" in inner:
        return None
    if any("exported_program" in name or name.startswith("models/") for name in {*names, *inner}):
        return "a program of torch.export; save the state_dict() of the network that it was made from"
    if names and all(name.endswith(".npy") for name in names):
        return "a file of numpy arrays (npz)"
    files = [name for name in names if not name.endswith("/")]
    return f"a zip archive{f', which holds {files[0]!r}' if files else ''}; unpack it first"


def _kind_of_protobuf(file: BinaryIO, size: int) -> str | None:
    """ONNX and TensorFlow, whose files have no mark: all their top fields have to be known and to fit."""
    fields, at = set(), 0
    while at < size:
        file.seek(at)
        tag, at = _number(file, at)
        value, after = _number(file, at)
        if tag is None or value is None or tag & 7 not in (0, 2):
            return None
        at = after + (value if tag & 7 == 2 else 0)
        fields.add(tag >> 3)
        if at > size or not fields <= ONNX_FIELDS:
            return None
    if 1 in fields and ONNX_GRAPH in fields:
        return "an ONNX model, which does not keep the names of the tensors; save the network's state_dict()"
    return "a TensorFlow SavedModel" if fields == SAVED_MODEL_FIELDS else None


def _kind_of_text(begin: bytes) -> str | None:
    """Words: a server's answer in place of the file, for example."""
    try:
        text = begin[:200].decode("ascii").strip()
    except UnicodeDecodeError:
        return None
    line = text.partition("\n")[0].strip()[:60]
    return f"a text file, which begins with {line!r}" if line.isprintable() and line else None


def _number(file: BinaryIO, at: int) -> tuple[int | None, int]:
    """A number as protobuf writes it, and where it ends; None for one that is none."""
    value = 0
    for place in range(10):
        byte = file.read(1)
        if not byte:
            return None, at
        value |= (byte[0] & 127) << (7 * place)
        if byte[0] < 128:
            return value, at + place + 1
    return None, at


def holds_text(path: str | os.PathLike, text: bytes) -> bool:
    """Whether the pickle in a file that `torch.save` wrote holds these bytes. Nothing is loaded."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(text in archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
    with Path(path).open("rb") as file:
        return text in file.read(READ)
