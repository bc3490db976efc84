"""Whether a file can be had now: networks that refuse, hang, are silent or slow, or show a log-in page."""

from __future__ import annotations

import random
import socket
import time

import pytest
from servers import Mirror, serving

from resnet_course.common import mirrors
from resnet_course.common.download import DownloadError
from resnet_course.common.mirrors import answering

CONTENT = random.Random(0).randbytes(300_000)
PATIENCE = 0.5
HANGS = 3  # seconds, of a name server


@pytest.fixture(autouse=True)
def nothing_decided(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(mirrors, "_unreachable", {})


def timed(urls, home, patience=PATIENCE):
    began = time.monotonic()
    try:
        return answering(urls, patience, home), time.monotonic() - began
    except DownloadError as error:
        return str(error), time.monotonic() - began


def test_the_first_that_answers_comes_first(tmp_path):
    with serving(Mirror(silent_after=0)) as mute, serving(Mirror(CONTENT)) as good:
        urls, seconds = timed([mute.url, good.url], tmp_path, patience=20)  # a busy machine may take one
        assert urls == [good.url, mute.url] and seconds < 20
        assert not (tmp_path / "unreachable.json").exists()


@pytest.fixture
def refused():
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/file"


WRONG = {
    "silent": (Mirror(silent_after=0), "silent for 0.5 s"),
    "falls silent": (Mirror(CONTENT, silent_after=9_000), "silent for 0.5 s"),
    "slow": (Mirror(CONTENT, speed=20_000), ""),
    "log-in page": (Mirror(b"<html>", content_type="text/html"), "answered with a web page"),
    "gone": (Mirror(status=404), "answered 404"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_of_no_use_is_told_within_the_deadline(tmp_path, name):
    mirror, reason = WRONG[name]
    with serving(mirror) as one, serving(Mirror(silent_after=0)) as other:
        said, seconds = timed([one.url, *(f"{other.url}{number}" for number in range(9))], tmp_path)
    assert reason in said and "\n" not in said
    assert seconds < 9 * PATIENCE, "one deadline for all"


def test_where_all_refuse_nobody_waits(tmp_path, refused):
    said, seconds = timed([refused, refused + "2"], tmp_path, patience=20)
    assert "refused" in said.lower() and seconds < 20


def test_a_name_server_that_hangs_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(HANGS))
    said, seconds = timed(["http://nowhere.invalid/file"], tmp_path)
    assert "nowhere.invalid: silent for 0.5 s" in said and seconds < HANGS


def test_it_is_decided_once_a_process_and_remembered_for_an_hour(tmp_path, refused, monkeypatch):
    timed([refused], tmp_path)

    def forbidden(*_, **__):
        raise AssertionError("nobody may be asked again")

    monkeypatch.setattr(mirrors, "_try", forbidden)
    monkeypatch.setattr(mirrors.threading, "Thread", forbidden)
    said, _ = timed([refused], tmp_path)
    assert "refused" in said.lower() and "minutes ago" not in said
    monkeypatch.setattr(mirrors, "_unreachable", {})  # as in another process
    said, _ = timed([refused], tmp_path)
    assert said.endswith("(0 minutes ago)")
    monkeypatch.setattr(mirrors, "_unreachable", {})
    monkeypatch.setattr(mirrors, "REMEMBERED", 0)
    with pytest.raises(AssertionError):
        timed([refused], tmp_path)


@pytest.mark.parametrize("damage", ["", "[]", '{"x": 1}', "{"])
def test_a_damaged_note_is_as_good_as_none(tmp_path, refused, damage):
    (tmp_path / "unreachable.json").write_text(damage)
    assert "refused" in timed([refused], tmp_path)[0].lower()
    assert refused in (tmp_path / "unreachable.json").read_text()


def test_a_home_that_cannot_be_written_only_forgets(tmp_path, refused):
    (tmp_path / "file").touch()
    assert "refused" in timed([refused], tmp_path / "file")[0].lower()
