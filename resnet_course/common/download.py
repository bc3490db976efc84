"""Downloads one file from several mirrors: resumed after a break, verified, not held up by a slow server."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import ssl
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from resnet_course.common.console import progress, say
from resnet_course.common.errors import ArgumentError, CourseError
from resnet_course.common.files import locked, put_in_place, temporary_beside

SLOWEST = 100_000  # bytes a second; a mirror below it is left while there is something better to try
WINDOW = 20.0  # seconds over which that speed is averaged
TIMEOUT = 10.0  # seconds without any sign of the server, at connecting and at every read
HURRIED_TIMEOUT = 5.0  # the same for a caller who can do without the file
TRIES = 5  # connections to one mirror
PAUSE = 1.0  # seconds before a broken connection is made again
CHUNK = 1 << 18  # bytes


@functools.cache  # to read them takes a twentieth of a second
def trusted() -> ssl.SSLContext | None:
    """Certifi's certificates where they are installed, as JupyterLab does; None: the system's.

    A Python from python.org has none on macOS until "Install Certificates.command" is run.
    """
    try:
        import certifi
    except ImportError:
        return None
    return ssl.create_default_context(cafile=certifi.where())


class DownloadError(CourseError, RuntimeError):
    """No mirror gave the file. The message lists each with its reason and says what to do by hand."""


class _GivenUp(Exception):
    """This mirror is of no use; the message is the reason."""


class _Broken(_GivenUp):
    """The connection failed; another one may get further."""


def download(
    urls: Sequence[str], path: Path, *, size: int, checksum: str, by_hand: str, patient: bool = True
) -> Path:
    """Download the one file that all `urls` offer, unless it is there already.

    The bytes are collected in `path` + ".part", which a break, an interrupt or a slow mirror leaves
    behind to be resumed. Only a file of the right size and checksum ever takes the name `path`. Of several
    processes that want the file one downloads it; the others wait for it, or, if they are not patient, do
    without its bytes after a while and download a copy of their own.

    urls: the mirrors, best first; their files are the same byte for byte.
    path: where the file goes; its folder is made. A file that is there is verified first.
    size: of the file, in bytes.
    checksum: "md5:" or "sha256:" and the hexadecimal digest, or its first digits, at least 8.
    by_hand: what the user can do when all mirrors fail: which file to fetch, where to put it.
    patient: False if the caller can do without the file: then even the last mirror may not be slow.
    Returns `path`. Raises DownloadError.
    """
    algorithm, _, digest = checksum.lower().partition(":")
    if algorithm not in ("md5", "sha256") or len(digest) < 8:
        raise ArgumentError(f"checksum is {checksum!r}; it must be md5: or sha256: and at least 8 digits")

    is_whole = partial(_is_whole, size=size, checksum=checksum)
    try:
        if is_whole(path):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as cleanup:
            alone = cleanup.enter_context(locked(path, timeout=None if patient else WINDOW))
            if is_whole(path):  # another process has been at it
                return path
            if path.exists():
                say(f"{path} is not the file it should be (wrong size or checksum); it will be replaced.")
            part = path.with_name(path.name + ".part")
            if not alone:
                part = temporary_beside(path)  # nobody else writes it, and nobody resumes it
                cleanup.callback(part.unlink, missing_ok=True)
            say(f"Downloading {path.name} ({size / 1e6:.1f} MB) from {urlsplit(urls[0]).netloc}.")
            reasons = _fetch_from_one_of(urls, part, size, checksum, patient)
            if not reasons:
                put_in_place(part, path, is_whole)
                return path
            kept = part.stat().st_size if alone else 0
            if not kept:
                part.unlink()
    except OSError as error:  # of the disk: what the network does comes as _GivenUp
        raise DownloadError(f"{path} cannot be written: {error.strerror or error}") from None
    hosts = ", ".join(urlsplit(url).netloc for url in urls)
    lines = [f"{path.name} could not be downloaded from {hosts}.", *(f"  {reason}" for reason in reasons)]
    if kept:
        lines.append(f"{kept / 1e6:.1f} MB are kept in {part}; the next download goes on from there.")
    raise DownloadError("\n".join([*lines, by_hand]))


def inspect(path: Path, *, size: int, checksum: str) -> str:
    """The state of a downloaded file: "whole", "missing", "cut short" or "damaged".

    size, checksum: as `download` takes them. Raises OSError.
    """
    if not path.exists():
        return "missing"
    with path.open("rb") as file:
        found = file.seek(0, os.SEEK_END)
        if found < size:
            return "cut short"
        return "whole" if found == size and _has_checksum(file, checksum) else "damaged"


def _is_whole(path: Path, size: int, checksum: str) -> bool:
    """Whether the file is there, with the right size and checksum."""
    return inspect(path, size=size, checksum=checksum) == "whole"


def _fetch_from_one_of(urls: Sequence[str], part: Path, size: int, checksum: str, patient: bool) -> list[str]:
    """Complete `part` from the first mirror that can, and return []; else what was wrong with each mirror."""
    reasons = []
    for number, url in enumerate(urls, start=1):
        may_leave = number < len(urls) or not patient
        try:
            _fetch(url, part, size, checksum, TIMEOUT if patient else HURRIED_TIMEOUT, may_leave)
            return []
        except _GivenUp as reason:
            reasons.append(f"{urlsplit(url).netloc}: {reason}")
            say(f"Gave up {reasons[-1]}.")
    return reasons


def _fetch(url: str, part: Path, size: int, checksum: str, timeout: float, may_leave: bool) -> None:
    """Complete `part` from one mirror and verify it. What turns out wrong is emptied."""
    part.touch()
    with part.open("r+b") as file:
        for _ in range(2):
            all_from_here = _fill(file, url, size, timeout, may_leave)
            if _has_checksum(file, checksum):
                return
            file.truncate(0)
            if all_from_here:
                break  # else what an earlier run or another mirror had left may have been wrong: once more
    raise _GivenUp("its bytes are not those of the file (wrong checksum)")


def _fill(file: BinaryIO, url: str, size: int, timeout: float, may_leave: bool) -> bool:
    """Bring `file` to `size` bytes, resuming what it holds. Returns whether all came from this mirror."""
    have = file.seek(0, os.SEEK_END)
    if have >= size:
        return False
    all_from_here, received = have == 0, 0
    marks = deque([(time.monotonic(), received)])
    chunks = _insist(url, have, size, timeout, may_leave)
    with progress(total=size, description=urlsplit(url).netloc, unit="B") as bar, closing(chunks):
        bar.n = bar.initial = bar.last_print_n = have
        bar.refresh()
        for offset, chunk in chunks:
            if offset == 0:
                file.truncate(file.seek(0))
                all_from_here = True
            file.write(chunk)
            have = offset + len(chunk)
            bar.update(have - bar.n)
            received += len(chunk)
            marks.append((time.monotonic(), received))
            if may_leave and have < size:
                _leave_if_slow(marks)
    return all_from_here


def _leave_if_slow(marks: deque[tuple[float, int]]) -> None:
    """Give the mirror up if it was slow over the last WINDOW. marks: (seconds, bytes received by then)."""
    while marks[-1][0] - marks[1][0] >= WINDOW:
        marks.popleft()
    seconds, received = (last - first for first, last in zip(marks[0], marks[-1], strict=True))
    if seconds >= WINDOW and received < SLOWEST * seconds:
        raise _GivenUp(f"too slow, {received / seconds / 1000:.0f} kB/s")


def _insist(url: str, start: int, size: int, timeout: float, may_leave: bool) -> Iterator[tuple[int, bytes]]:
    """As _receive, with a new connection when one breaks: a few times, and only as long as that helps."""
    have = furthest = start
    for tries_left in reversed(range(TRIES)):
        try:
            for offset, chunk in _receive(url, have, size, timeout):
                yield offset, chunk
                have = offset + len(chunk)
            return
        except _Broken:
            if not tries_left or (may_leave and have <= furthest):
                raise
        furthest = have
        time.sleep(PAUSE)


def _receive(url: str, start: int, size: int, timeout: float) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, bytes) of the file from `start` to its end, or from 0 if the server will not resume."""
    request = Request(url, headers={"User-Agent": "resnet-course"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        with urlopen(request, timeout=timeout, context=trusted()) as response:
            offset = _first_offset(response, size)
            if offset in (0, start):
                while offset < size:
                    # read1 returns what has come; read would wait for a whole chunk however slow it is.
                    chunk = response.read1(min(CHUNK, size - offset))
                    if not chunk:
                        raise _Broken(f"closed the connection after {offset / 1e6:.1f} MB")
                    yield offset, chunk
                    offset += len(chunk)
                return
    except HTTPError as error:
        error.close()
        if error.code != 416 or not start:
            raise _GivenUp(f"answered {error.code} {error.reason}") from None
    except (OSError, HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, TimeoutError):
            raise _Broken(f"silent for {timeout:g} s") from None
        text = getattr(cause, "strerror", None) or f"{type(cause).__name__} {cause}"
        raise _Broken(" ".join(text.split())) from None
    if not start:
        raise _GivenUp("answered with a part of the file when asked for the whole")
    yield from _receive(url, 0, size, timeout)


def _first_offset(response: HTTPResponse, size: int) -> int | None:
    """Where in the file an answer begins; None if it does not say. Raises _GivenUp if it is another file."""
    if response.headers.get_content_type() == "text/html":
        raise _GivenUp("answered with a web page instead of the file")
    offset, total = 0, response.length
    if response.status == 206:
        content_range = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        offset, total = map(int, content_range.groups()) if content_range else (None, size)
    if total not in (None, size):
        raise _GivenUp(f"offers a file of {total:,} bytes instead of {size:,}")
    return offset


def _has_checksum(file: BinaryIO, checksum: str) -> bool:
    algorithm, digest = checksum.lower().split(":")
    file.seek(0)
    found = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return found.hexdigest().startswith(digest)
