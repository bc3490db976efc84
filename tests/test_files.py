"""Files are whole or not there, whoever else writes them and whatever fails."""

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import filelock
import pytest
import torch

from resnet_course.common import files
from resnet_course.common.errors import CourseError
from resnet_course.common.files import locked, put_in_place, write_atomically


def visible(folder: Path) -> list[str]:
    """The names in a folder, without the hidden files of locks."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_it_writes_into_a_folder_that_it_makes_and_returns_the_path(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    assert write_atomically(str(path), lambda file: file.write(b"new")) == path
    assert path.read_bytes() == b"new" and visible(path.parent) == ["file"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), CourseError("no")])
def test_what_fails_halfway_leaves_the_old_file_and_nothing_else(tmp_path, error):
    def fail(file):
        file.write(b"half")
        raise error

    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(type(error)):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old" and visible(tmp_path) == ["file"]


def test_a_writer_leaves_the_temporary_file_of_another_alone(tmp_path):
    """Before, the inner write deleted the file that the outer one had open: the outer one then failed."""
    path = tmp_path / "last.pt"

    def slow(file):
        write_atomically(path, lambda other: other.write(b"quick"))
        assert path.read_bytes() == b"quick"
        file.write(b"slow")

    write_atomically(path, slow)
    assert path.read_bytes() == b"slow" and visible(tmp_path) == ["last.pt"]


def test_strays_go_when_they_are_a_day_old_and_only_those_of_the_same_name(tmp_path):
    names = [".a[1].pt.old.tmp", ".a[1].pt.young.tmp", ".b.pt.old.tmp"]
    for name in names:
        (tmp_path / name).touch()
        if "old" in name:
            os.utime(tmp_path / name, (time.time() - 90_000,) * 2)
    write_atomically(tmp_path / "a[1].pt", lambda file: file.write(b"x"))
    assert visible(tmp_path) == [*names[1:], "a[1].pt"]


def fill_the_disk(file, write=lambda file: file.write(b"x" * 5000)):
    """As on a disk that is full after 3,000 bytes."""
    real, written = file.write, 0

    class Full:
        def write(self, part):
            nonlocal written
            written += len(part)
            if written > 3000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(part)

        def flush(self):
            pass

    write(Full())


@pytest.mark.parametrize(
    "write",
    [lambda f: f.write(b"x" * 5000), lambda f: torch.save(torch.zeros(5000), f)],
    ids=["bytes", "torch"],
)
def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_nothing(tmp_path, write):
    with pytest.raises(OSError) as caught:
        write_atomically(tmp_path / "last.pt", lambda file: fill_the_disk(file, write))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "last.pt"))
    assert visible(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("hide", ["no", "another error", "two others", "no context", "not at all"])
def test_the_disks_error_is_found_however_the_writer_hides_it(tmp_path, code, hide):
    def write(file):
        file.write(b"half")
        try:
            file.error = OSError(code, os.strerror(code))  # as its write notes and raises it
            raise file.error
        except OSError as error:
            if hide == "no":
                raise
            if hide == "another error":
                raise ValueError("unexpected pos 64 vs 0") from None
            if hide == "two others":
                try:
                    raise RuntimeError("file write failed") from error
                except RuntimeError:
                    raise SystemError("the writer was closed")  # noqa: B904 (as torch does)
        if hide == "no context":
            raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    with pytest.raises(OSError) as caught:
        write_atomically(tmp_path / "last.pt", write)
    assert (caught.value.errno, caught.value.filename) == (code, str(tmp_path / "last.pt"))
    assert visible(tmp_path) == []
    assert files.in_words(caught.value) == files.FULL[code]


def test_an_error_of_torch_that_is_not_the_disks_stays_what_it_is(tmp_path):
    with pytest.raises(RuntimeError, match="must match the size"):
        write_atomically(tmp_path / "x", lambda file: torch.zeros(2) + torch.zeros(3))


class Busy:
    """Path.replace as on Windows, where the target is open elsewhere for the first `times` tries."""

    def __init__(self, monkeypatch, times):
        self.replace, self.times, self.calls = Path.replace, times, 0
        monkeypatch.setattr(Path, "replace", lambda path, target: self(path, target))
        monkeypatch.setattr(files, "REPLACE_PAUSE", 0)

    def __call__(self, path, target):
        self.calls += 1
        if self.calls <= self.times:
            raise PermissionError(errno.EACCES, "Access is denied", str(path), None, str(target))
        return self.replace(path, target)


def test_a_target_that_is_open_for_a_moment_is_replaced_after_it(tmp_path, monkeypatch):
    (tmp_path / "last.pt").write_bytes(b"old")
    busy = Busy(monkeypatch, times=3)
    write_atomically(tmp_path / "last.pt", lambda file: file.write(b"new"))
    assert (tmp_path / "last.pt").read_bytes() == b"new" and busy.calls == 4


def test_a_target_that_stays_open_is_an_error_that_names_it(tmp_path, monkeypatch):
    (tmp_path / "last.pt").write_bytes(b"old")
    busy = Busy(monkeypatch, times=1000)
    with pytest.raises(PermissionError) as caught:
        write_atomically(tmp_path / "last.pt", lambda file: file.write(b"new"))
    assert caught.value.filename == str(tmp_path / "last.pt") and busy.calls == files.REPLACE_TRIES
    assert (tmp_path / "last.pt").read_bytes() == b"old" and visible(tmp_path) == ["last.pt"]


@pytest.mark.parametrize(("there", "kept"), [(b"same", True), (b"half", False)])
def test_a_whole_target_that_cannot_be_replaced_is_success(tmp_path, monkeypatch, there, kept):
    path = tmp_path / "features"
    path.write_bytes(there)
    busy = Busy(monkeypatch, times=1)
    write_atomically(path, lambda file: file.write(b"same"), lambda path: path.read_bytes() == b"same")
    assert path.read_bytes() == b"same" and visible(tmp_path) == ["features"]
    assert busy.calls == (1 if kept else 2)


def test_put_in_place_moves_a_file(tmp_path):
    (tmp_path / "part").write_bytes(b"x")
    put_in_place(tmp_path / "part", tmp_path / "file")
    assert visible(tmp_path) == ["file"]


# Locks

HOLD = """
import sys
from pathlib import Path
from resnet_course.common.files import locked
with locked(sys.argv[1]) as held:
    print("held" if held else "free", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of tmp_path / "file" until it reads a line."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "file")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_holds_against_another_process_until_it_ends(tmp_path, holder, monkeypatch, capsys):
    monkeypatch.setattr(files, "NOTICE_AFTER", 0.05)
    with locked(tmp_path / "other") as held:
        assert held
    with locked(tmp_path / "file", timeout=0.1) as held:
        assert not held
    assert f"Another process is making {tmp_path / 'file'}; waiting for it.\n" == capsys.readouterr().err
    holder.kill()  # as a crash would
    with locked(tmp_path / "file") as held:
        assert held


def test_a_lock_holds_against_another_thread(tmp_path):
    inside, most, lock = 0, 0, threading.Lock()

    def work():
        nonlocal inside, most
        with locked(tmp_path / "file") as held:
            assert held
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.01)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_lock_is_free_again_after_an_error(tmp_path):
    with pytest.raises(ValueError, match="stop"), locked(tmp_path / "file"):
        raise ValueError("stop")
    with locked(tmp_path / "file", timeout=0) as held:
        assert held


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError("flock")])
def test_where_there_are_no_locks_the_work_is_done_without(tmp_path, monkeypatch, error):
    def refuse(*arguments, **options):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with locked(tmp_path / "file") as held:
        assert not held
        write_atomically(tmp_path / "file", lambda file: file.write(b"x"))
    assert (tmp_path / "file").read_bytes() == b"x"


def test_a_folder_that_cannot_be_made_is_said_by_the_write_not_by_the_lock(tmp_path):
    (tmp_path / "home").write_bytes(b"a file where the folder should be")
    with locked(tmp_path / "home" / "file") as held:
        assert not held
        with pytest.raises(OSError, match="home"):
            write_atomically(tmp_path / "home" / "file", lambda file: None)
