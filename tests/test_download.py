"""Downloads against servers on this machine that are slow, broken, silent or lying."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from urllib.parse import urlsplit

import pytest
from servers import PIECE, Mirror, serving

from resnet_course.common import download as room
from resnet_course.common.download import DownloadError, download
from resnet_course.common.files import locked

CONTENT = random.Random(0).randbytes(200_000)
LIE = random.Random(1).randbytes(200_000)
BY_HAND = "By hand: fetch file.tar.gz with a browser."


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Tenths of seconds instead of tens, and no proxy between a test and its servers."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(room, "WINDOW", 0.6)
    monkeypatch.setattr(room, "SLOWEST", 1)  # a busy machine is not what these tests are about
    monkeypatch.setattr(room, "TIMEOUT", 0.5)
    monkeypatch.setattr(room, "HURRIED_TIMEOUT", 0.25)
    monkeypatch.setattr(room, "TRIES", 3)
    monkeypatch.setattr(room, "PAUSE", 0.0)


@pytest.fixture
def hurried(monkeypatch):
    """A server below a megabyte a second is left."""
    monkeypatch.setattr(room, "SLOWEST", 1_000_000)


@pytest.fixture
def path(tmp_path):
    """Where the file goes, in a folder that does not exist yet."""
    return tmp_path / "home" / "file.tar.gz"


@pytest.fixture
def part(path):
    """Where the partial file of an earlier run lies; the folder exists."""
    path.parent.mkdir()
    return path.with_name("file.tar.gz.part")


@pytest.fixture
def get(path):
    """get(mirror or address, ...) starts the mirrors and downloads; they stop when the test ends."""
    with contextlib.ExitStack() as running:

        def get(*mirrors, **arguments):
            urls = [m if isinstance(m, str) else running.enter_context(serving(m)).url for m in mirrors]
            defaults = {"size": len(CONTENT), "checksum": md5(CONTENT), "by_hand": BY_HAND}
            return download(urls, path, **(defaults | arguments))

        yield get


class Bar:
    """Stands for a progress bar and remembers what it showed."""

    def __init__(self, interrupt_at=float("inf")):
        self.n = self.initial = 0
        self.shown = []
        self.interrupt_at = interrupt_at

    def __call__(self, **arguments):
        self.arguments = arguments
        return contextlib.nullcontext(self)

    def refresh(self):
        self.shown.append(self.n)

    def update(self, count):
        self.n += count
        self.shown.append(self.n)
        if self.n >= self.interrupt_at:
            raise KeyboardInterrupt


def md5(content):
    return "md5:" + hashlib.md5(content).hexdigest()


def visible(folder):
    """The names in a folder, without the hidden files of locks."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def host(mirror):
    return urlsplit(mirror.url).netloc


def test_downloads_and_says_where_from(get, path, capsys):
    mirror = Mirror(CONTENT)
    assert get(mirror) == path
    assert path.read_bytes() == CONTENT
    assert visible(path.parent) == ["file.tar.gz"]
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"Downloading file.tar.gz (0.2 MB) from {host(mirror)}.\n")


@pytest.mark.parametrize("digits", [8, 64])
def test_sha256_may_be_a_prefix(get, digits):
    assert get(Mirror(CONTENT), checksum="sha256:" + hashlib.sha256(CONTENT).hexdigest()[:digits])


@pytest.mark.parametrize("checksum", ["md5:", "sha256:1234567", "sha1:" + "0" * 40, "0" * 32])
def test_checksum_that_proves_nothing_is_refused(get, checksum):
    with pytest.raises(ValueError, match="it must be md5: or sha256: and at least 8 digits"):
        get(Mirror(CONTENT), checksum=checksum)


def test_good_file_is_used_without_a_request(get, part, path):
    path.write_bytes(CONTENT)
    mirror = Mirror(CONTENT)
    assert get(mirror).read_bytes() == CONTENT
    assert mirror.ranges == []


@pytest.mark.parametrize("found", [LIE, CONTENT[:-1], CONTENT + b"x", b""])
def test_wrong_file_is_said_and_replaced(get, part, path, found, capsys):
    path.write_bytes(found)
    assert get(Mirror(CONTENT)).read_bytes() == CONTENT
    assert f"{path} is not the file it should be" in capsys.readouterr().err


def test_slow_mirror_is_left_and_its_bytes_are_kept(get, capsys, hurried):
    slow, fast = Mirror(CONTENT, speed=100_000), Mirror(CONTENT)
    assert get(slow, fast).read_bytes() == CONTENT
    assert slow.ranges == [None]
    assert re.fullmatch(r"bytes=\d{4,6}-", fast.ranges[0])
    assert f"Gave up {host(slow)}: too slow, " in capsys.readouterr().err


@pytest.mark.slow
def test_slow_last_mirror_is_awaited(get, hurried):
    slow = Mirror(CONTENT, speed=200_000)
    assert get(slow).read_bytes() == CONTENT
    assert slow.ranges == [None]


def test_slow_last_mirror_is_left_by_who_is_not_patient(get, part, hurried):
    with pytest.raises(DownloadError, match=r"too slow, \d+ kB/s"):
        get(Mirror(CONTENT, speed=100_000), patient=False)
    assert 0 < part.stat().st_size < len(CONTENT)
    assert CONTENT.startswith(part.read_bytes())


def test_fast_start_does_not_excuse_a_slow_mirror(get, hurried):
    """Averaged since the beginning, four megabytes at once would allow for four slow seconds."""
    content = CONTENT * 20
    slow, fast = Mirror(content, fast_until=3_900_000, speed=50_000), Mirror(content)
    assert get(slow, fast, size=len(content), checksum=md5(content)).read_bytes() == content
    assert int(fast.ranges[0].strip("bytes=-")) >= 3_900_000


def test_slow_mirror_is_not_left_when_its_last_byte_is_there(get, monkeypatch, hurried):
    """The last piece comes after 0.7 s, when the average has long been too low."""
    monkeypatch.setattr(room, "HURRIED_TIMEOUT", 10.0)
    slow = Mirror(CONTENT, fast_until=len(CONTENT) - PIECE - 1, speed=PIECE / 0.7)
    assert get(slow, patient=False).read_bytes() == CONTENT


def test_break_is_resumed_on_the_same_mirror(get):
    mirror, other = Mirror(CONTENT, cut_after=80_000), Mirror(CONTENT)
    assert get(mirror, other).read_bytes() == CONTENT
    assert mirror.ranges == [None, "bytes=80000-", "bytes=160000-"]
    assert other.ranges == []


def test_break_without_ranges_goes_to_the_next_mirror(get, capsys):
    broken, other = Mirror(CONTENT, cut_after=60_000, resumes=False), Mirror(CONTENT)
    assert get(broken, other).read_bytes() == CONTENT
    assert broken.ranges == [None, "bytes=60000-"]
    assert other.ranges == ["bytes=60000-"]
    assert f"Gave up {host(broken)}: closed the connection after 0.1 MB." in capsys.readouterr().err


def test_mirror_that_breaks_again_and_again_is_left(get):
    broken, other = Mirror(CONTENT, cut_after=10_000), Mirror(CONTENT)
    assert get(broken, other).read_bytes() == CONTENT
    assert len(broken.ranges) == room.TRIES
    assert other.ranges == ["bytes=30000-"]


def test_last_mirror_is_tried_a_few_times(get):
    broken = Mirror(CONTENT, cut_after=60_000, resumes=False)
    with pytest.raises(DownloadError, match="closed the connection after"):
        get(broken)
    assert len(broken.ranges) == room.TRIES


def test_earlier_part_is_resumed(get, part):
    part.write_bytes(CONTENT[:150_000])
    mirror = Mirror(CONTENT)
    assert get(mirror).read_bytes() == CONTENT
    assert mirror.ranges == ["bytes=150000-"]
    assert not part.exists()


def test_complete_part_needs_no_request(get, part):
    part.write_bytes(CONTENT)
    mirror = Mirror(CONTENT)
    assert get(mirror).read_bytes() == CONTENT
    assert mirror.ranges == []


@pytest.mark.parametrize(
    ("mirror", "asked"),
    [
        (Mirror(CONTENT, resumes=False), ["bytes=150000-"]),
        (Mirror(CONTENT, resumes=416), ["bytes=150000-", None]),
        (Mirror(CONTENT, content_range="bytes 5-199999/200000"), ["bytes=150000-", None]),
        (Mirror(CONTENT, content_range="nonsense"), ["bytes=150000-", None]),
    ],
    ids=["ignored", "416", "wrong start", "nonsense"],
)
def test_refused_range_starts_from_zero(get, part, mirror, asked):
    """The part is a lie, so that anything kept of it would show."""
    part.write_bytes(LIE[:150_000])
    assert get(mirror).read_bytes() == CONTENT
    assert mirror.ranges == asked


@pytest.mark.parametrize("length", [150_000, 200_000, 300_000])
def test_lying_part_is_found_out_and_the_mirror_tried_again(get, part, length):
    part.write_bytes((LIE * 2)[:length])
    mirror, other = Mirror(CONTENT), Mirror(CONTENT)
    assert get(mirror, other).read_bytes() == CONTENT
    assert mirror.ranges[-1] is None
    assert len(mirror.ranges) == (2 if length < len(CONTENT) else 1)
    assert other.ranges == []


def test_lying_prefix_of_another_mirror_is_found_out(get):
    liar, honest = Mirror(LIE, cut_after=60_000, resumes=False), Mirror(CONTENT)
    assert get(liar, honest).read_bytes() == CONTENT
    assert honest.ranges == ["bytes=60000-", None]


def test_mirror_that_lies_from_zero_is_not_asked_twice(get, part):
    part.write_bytes(CONTENT[:150_000])
    liar, honest = Mirror(LIE, resumes=False), Mirror(CONTENT)
    assert get(liar, honest).read_bytes() == CONTENT
    assert liar.ranges == ["bytes=150000-"]


def test_start_from_zero_leaves_nothing_of_the_earlier_part(get, part):
    part.write_bytes(LIE[:150_000])
    broken, other = Mirror(CONTENT, resumes=False, cut_after=60_000), Mirror(CONTENT)
    assert get(broken, other).read_bytes() == CONTENT
    assert other.ranges == ["bytes=60000-"]


def test_wrong_bytes_of_the_right_length_are_never_trusted(get, capsys):
    liar, honest = Mirror(LIE), Mirror(CONTENT)
    assert get(liar, honest).read_bytes() == CONTENT
    assert liar.ranges == [None]
    assert honest.ranges == [None]
    assert "its bytes are not those of the file (wrong checksum)" in capsys.readouterr().err


def test_lies_alone_leave_nothing(get, path):
    with pytest.raises(DownloadError, match="wrong checksum"):
        get(Mirror(LIE))
    assert visible(path.parent) == []


def test_answer_of_unknown_length_is_read_no_further_than_the_size(get):
    assert get(Mirror(CONTENT + LIE * 100, content_length=None)).read_bytes() == CONTENT


NO_FILE = [
    (Mirror(status=99), "BadStatusLine HTTP/1.0 99"),
    (Mirror(CONTENT, status=404), "answered 404 Not Found"),
    (Mirror(CONTENT, status=503), "answered 503 Service Unavailable"),
    (Mirror(CONTENT, status=416), f"answered 416 {HTTPStatus(416).phrase}"),
    (
        Mirror(b"<html>log in", content_type="text/html; charset=utf-8"),
        "answered with a web page instead of the file",
    ),
    (Mirror(CONTENT[:-1]), "offers a file of 199,999 bytes instead of 200,000"),
    (Mirror(CONTENT * 2, cut_after=1000), "offers a file of 400,000 bytes instead of 200,000"),
    (
        Mirror(CONTENT, status=206, content_range="bytes 5-9/200000"),
        "answered with a part of the file when asked for the whole",
    ),
]


@pytest.mark.parametrize(("useless", "reason"), NO_FILE)
def test_useless_answer_goes_to_the_next_mirror_at_once(get, useless, reason, capsys):
    good = Mirror(CONTENT)
    assert get(useless, good).read_bytes() == CONTENT
    assert (len(useless.ranges), good.ranges) == (1, [None])
    assert f"Gave up {host(useless)}: {reason}.\n" in capsys.readouterr().err


def test_wrong_total_of_a_resumed_file_is_refused(get, part):
    part.write_bytes(CONTENT[:150_000])
    with pytest.raises(DownloadError, match="offers a file of 400,000 bytes instead of 200,000"):
        get(Mirror(CONTENT * 2))
    assert part.read_bytes() == CONTENT[:150_000]


@pytest.mark.parametrize(("patient", "seconds"), [(True, 0.5), (False, 0.25)])
def test_silent_server_is_left_after_the_timeout(get, patient, seconds, capsys):
    silent, good = Mirror(silent_after=0), Mirror(CONTENT)
    assert get(silent, good, patient=patient).read_bytes() == CONTENT
    assert (len(silent.ranges), good.ranges) == (1, [None])
    assert f"Gave up {host(silent)}: silent for {seconds} s.\n" in capsys.readouterr().err


def test_server_that_falls_silent_is_left_and_its_bytes_are_kept(get):
    silent, good = Mirror(CONTENT, silent_after=60_000, resumes=False), Mirror(CONTENT)
    assert get(silent, good).read_bytes() == CONTENT
    assert good.ranges == ["bytes=60000-"]


@pytest.mark.slow
def test_silent_last_mirror_is_tried_a_few_times(get):
    silent = Mirror(silent_after=0)
    with pytest.raises(DownloadError, match="silent for"):
        get(silent)
    assert len(silent.ranges) == room.TRIES


def test_when_all_fail_the_error_lists_every_reason_and_what_to_do(get, part, monkeypatch):
    resolve = socket.getaddrinfo

    def getaddrinfo(name, *arguments, **options):
        if name == "mirror.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(name, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with socket.create_server(("127.0.0.1", 0)) as free:
        refusing = f"127.0.0.1:{free.getsockname()[1]}"
    part.write_bytes(CONTENT[:120_000])
    missing, silent = Mirror(status=404), Mirror(silent_after=0)
    with pytest.raises(DownloadError) as caught:
        get(missing, f"http://{refusing}/file", silent, "http://mirror.invalid/file")
    lines = str(caught.value).splitlines()
    hosts = f"{host(missing)}, {refusing}, {host(silent)}, mirror.invalid"
    assert lines[0] == f"file.tar.gz could not be downloaded from {hosts}."
    assert lines[1] == f"  {host(missing)}: answered 404 Not Found"
    assert lines[2].startswith(f"  {refusing}: ")
    assert "refused" in lines[2]
    assert lines[3:] == [
        f"  {host(silent)}: silent for 0.5 s",
        "  mirror.invalid: Name or service not known",
        f"0.1 MB are kept in {part}; the next download goes on from there.",
        BY_HAND,
    ]
    assert part.read_bytes() == CONTENT[:120_000]


def test_interrupt_keeps_the_part_for_the_next_download(get, path, monkeypatch, hurried):
    mirror = Mirror(CONTENT, fast_until=60_000, speed=200_000)
    with monkeypatch.context() as patch:
        patch.setattr(room, "progress", Bar(interrupt_at=60_000))
        with pytest.raises(KeyboardInterrupt):
            get(mirror)
    assert not path.exists()
    kept = path.with_name("file.tar.gz.part").read_bytes()
    assert len(kept) >= 60_000
    assert CONTENT.startswith(kept)
    assert get(mirror).read_bytes() == CONTENT
    assert mirror.ranges == [None, f"bytes={len(kept)}-"]


def test_progress_starts_where_the_part_ends(get, part, monkeypatch):
    monkeypatch.setattr(room, "progress", bar := Bar())
    part.write_bytes(CONTENT[:150_000])
    get(mirror := Mirror(CONTENT))
    assert bar.arguments == {"total": len(CONTENT), "description": host(mirror), "unit": "B"}
    assert (bar.initial, bar.n) == (150_000, len(CONTENT))
    assert bar.shown[0] == 150_000
    assert bar.shown == sorted(bar.shown)


def test_progress_goes_back_when_the_server_starts_from_zero(get, part, monkeypatch, hurried):
    monkeypatch.setattr(room, "progress", bar := Bar())
    part.write_bytes(CONTENT[:199_999])
    get(Mirror(CONTENT, resumes=False, fast_until=100_000, speed=1_000_000))
    assert bar.shown[1] < bar.shown[0] == 199_999
    assert bar.n == len(CONTENT)


def test_disk_that_cannot_be_written_is_said_without_trying_other_mirrors(get, path):
    path.parent.write_text("a file where the folder should be", encoding="utf-8")
    mirror = Mirror(CONTENT)
    with pytest.raises(DownloadError, match=re.escape(f"{path} cannot be written: ")):
        get(mirror)
    assert mirror.ranges == []


# Several who want the same file


@pytest.fixture
def busy(path):
    """Someone else downloads the file: busy() ends it, having put these bytes there, if any."""
    start, end, content = threading.Event(), threading.Event(), []

    def work():
        with locked(path):
            start.set()
            end.wait()
            if content:
                path.write_bytes(*content)

    thread = threading.Thread(target=work)
    thread.start()
    start.wait()

    def finish(*found):
        content.extend(found)
        end.set()
        thread.join()

    yield finish
    finish()


def test_who_waited_finds_the_file_and_asks_nobody(get, path, busy, monkeypatch, capsys):
    monkeypatch.setattr("resnet_course.common.files.NOTICE_AFTER", 0.01)
    mirror = Mirror(CONTENT)
    threading.Timer(0.2, busy, [CONTENT]).start()
    assert get(mirror).read_bytes() == CONTENT
    assert mirror.ranges == []
    assert capsys.readouterr().err == f"Another process is making {path}; waiting for it.\n"


def test_when_the_first_fails_the_one_who_waited_goes_on_from_its_part(get, path, busy):
    mirror = Mirror(CONTENT)
    path.with_name("file.tar.gz.part").write_bytes(CONTENT[:50_000])
    threading.Timer(0.2, busy).start()
    assert get(mirror).read_bytes() == CONTENT
    assert mirror.ranges == ["bytes=50000-"]


def test_who_is_not_patient_downloads_a_copy_and_leaves_the_others_part_alone(get, path, busy):
    """The same happens on a file system without locks."""
    mirror, part = Mirror(CONTENT), path.with_name("file.tar.gz.part")
    part.write_bytes(LIE[:50_000])
    assert get(mirror, patient=False).read_bytes() == CONTENT
    assert mirror.ranges == [None]
    assert part.read_bytes() == LIE[:50_000]
    assert visible(path.parent) == ["file.tar.gz", "file.tar.gz.part"]


def test_a_copy_that_fails_leaves_nothing_and_promises_nothing(get, path, busy):
    with pytest.raises(DownloadError, match="could not be downloaded") as caught:
        get(Mirror(CONTENT, cut_after=60_000, resumes=False), patient=False)
    assert "are kept in" not in str(caught.value)
    assert visible(path.parent) == []


def test_many_at_once_all_get_the_file_and_one_downloads_it(path, hurried):
    """Before, the first to finish took the others' partial file away, and they said "cannot be written"."""
    mirror = Mirror(CONTENT, speed=1_000_000)
    with serving(mirror), ThreadPoolExecutor(4) as pool:
        options = {"size": len(CONTENT), "checksum": md5(CONTENT), "by_hand": BY_HAND}
        for found in pool.map(lambda _: download([mirror.url], path, **options), range(4)):
            assert found.read_bytes() == CONTENT
    assert mirror.ranges == [None]
