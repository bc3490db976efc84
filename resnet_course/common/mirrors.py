"""Which mirrors of a file answer now: all are asked at once, and one deadline decides for all together."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from resnet_course.common.download import SLOWEST, DownloadError, trusted
from resnet_course.common.files import write_atomically

ENOUGH = 200_000  # bytes that tell how fast a mirror is
REMEMBERED = 3600  # seconds for which a network that did not answer is not asked again

_unreachable: dict[str, str] = {}  # of this process: by the first mirror, why none can be used


def answering(urls: Sequence[str], seconds: float, home: Path) -> list[str]:
    """The same mirrors, that one first which was the first to send ENOUGH bytes, and not slowly.

    Names that nobody resolves, refused and silent connections, slow servers and web pages in the place of the
    file are all told within the deadline. That none can be used is remembered: in this process, and in `home`
    for an hour.

    urls: of one file. seconds: the deadline for all of them. home: the course's folder.
    Raises DownloadError, in one line, if none can be used.
    """
    key = urls[0]
    if reason := _unreachable.get(key) or _remembered(home, key):
        _unreachable[key] = reason
        raise DownloadError(reason)
    answers: queue.Queue[tuple[str, str]] = queue.Queue()
    for url in urls:
        # A name server can be silent for longer than any timeout, so nobody waits for these threads to end.
        threading.Thread(target=lambda url=url: answers.put((url, _try(url, seconds))), daemon=True).start()
    until, reasons = time.monotonic() + seconds, dict.fromkeys(urls, f"silent for {seconds:g} s")
    for _ in urls:
        try:
            url, reason = answers.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        if not reason:
            return [url, *(other for other in urls if other != url)]
        reasons[url] = reason
    reason = "; ".join(f"{urlsplit(url).netloc}: {why}" for url, why in reasons.items())
    _unreachable[key] = reason
    _remember(home, key, reason)
    raise DownloadError(reason)


def _try(url: str, seconds: float) -> str:
    """Why a mirror cannot be used; "" if it can."""
    try:
        request = Request(url, headers={"User-Agent": "resnet-course"})
        with urlopen(request, timeout=seconds, context=trusted()) as response:
            if response.headers.get_content_type() == "text/html":
                return "answered with a web page instead of the file"
            began, have = time.monotonic(), 0
            while have < ENOUGH and (chunk := response.read1(ENOUGH - have)):
                have += len(chunk)
            speed = have / max(1e-9, time.monotonic() - began)
        return "" if speed >= SLOWEST else f"too slow, {speed / 1000:.0f} kB/s"
    except HTTPError as error:
        error.close()
        return f"answered {error.code} {error.reason}"
    except Exception as error:  # in a thread of its own, where a traceback would only frighten
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, TimeoutError):
            return f"silent for {seconds:g} s"
        text = getattr(cause, "strerror", None) or f"{type(cause).__name__} {cause}"
        return " ".join(text.split())


def _note(home: Path) -> Path:
    return home / "unreachable.json"


def _remembered(home: Path, key: str) -> str:
    """Why no mirror could be used, if that is less than an hour ago."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(_note(home).read_text(encoding="utf-8"))[key]
        age = time.time() - found["time"]
        if 0 <= age < REMEMBERED:
            return f"{found['reason']} ({age / 60:.0f} minutes ago)"
    return ""


def _remember(home: Path, key: str, reason: str) -> None:
    known = {}
    with suppress(OSError, ValueError):
        known = json.loads(_note(home).read_text(encoding="utf-8"))
    known = {**(known if isinstance(known, dict) else {}), key: {"time": time.time(), "reason": reason}}
    with suppress(OSError):  # a home that cannot be written only forgets
        write_atomically(_note(home), lambda file: file.write(json.dumps(known, indent=1).encode()))
