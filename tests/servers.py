"""HTTP servers on this machine that misbehave on request: downloads are tested without a network."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn

PIECE = 4096  # bytes that a throttled server sends at once


@dataclass
class Mirror:
    """What a server offers and how it misbehaves; while it runs, `ranges` collects what it was asked for.

    content: the bytes it serves.
    status: anything but 200 is answered with an empty page.
    resumes: True; False ignores Range headers (answers 200), 416 refuses them.
    cut_after: bytes after which each connection is broken off.
    silent_after: bytes after which nothing more comes although the connection stays; 0: not even an answer.
    speed: bytes a second, None for as fast as it goes.
    fast_until: bytes that are sent at once before `speed` counts.
    content_type, content_length: the headers; content_length None leaves it out.
    content_range: the Content-Range header to send instead of the right one.
    """

    content: bytes = b""
    status: int = 200
    resumes: bool | int = True
    cut_after: int | None = None
    silent_after: int | None = None
    speed: float | None = None
    fast_until: int = 0
    content_type: str = "application/gzip"
    content_length: int | None = -1
    content_range: str | None = None
    url: str = ""
    ranges: list[str | None] = field(default_factory=list)


class _Server(ThreadingMixIn, TCPServer):
    mirror: Mirror
    stopped: threading.Event

    def handle_error(self, request, client_address) -> None:
        """A client that hangs up is expected here."""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        mirror, stopped = self.server.mirror, self.server.stopped
        asked = self.headers.get("Range")
        mirror.ranges.append(asked)
        if mirror.silent_after == 0:
            stopped.wait()
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and mirror.resumes is True else 0
        status = 416 if asked and mirror.resumes == 416 else 206 if start else mirror.status
        body = mirror.content[start:] if status < 300 else b""
        self.send_response(status)
        self.send_header("Content-Type", mirror.content_type)
        if mirror.content_length is not None:
            self.send_header(
                "Content-Length", str(len(body) if mirror.content_length < 0 else mirror.content_length)
            )
        if status == 206:
            size = len(mirror.content)
            self.send_header("Content-Range", mirror.content_range or f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        if mirror.speed is None:
            self.wfile.write(body[: mirror.cut_after][: mirror.silent_after])
        else:
            self.wfile.write(body[: mirror.fast_until])
            for offset in range(mirror.fast_until, len(body), PIECE):
                self.wfile.write(body[offset : offset + PIECE])
                if stopped.wait(PIECE / mirror.speed):
                    return
        if mirror.silent_after:
            stopped.wait()

    def log_message(self, *arguments) -> None:
        """Keep the test's output clean."""


@contextmanager
def serving(mirror: Mirror):
    """Run `mirror` on a free port of 127.0.0.1 and set its url; all its threads have ended afterwards."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.mirror, server.stopped = mirror, threading.Event()
        mirror.url = f"http://127.0.0.1:{server.server_address[1]}/file.tar.gz?download=1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield mirror
        finally:
            server.stopped.set()
            server.shutdown()
            thread.join()
