"""Names that a console cannot write, outputs that nobody reads, disks that are full: whole commands."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_course.__main__ import main
from resnet_course.common import console

BYTES = "\udcff\udce9"  # how Python spells two bytes of a name that is not UTF-8
NAMES = ["日本語.png", "naïve–name.png", f"{BYTES}.png"]
TRAIN = ["train", "--recipe", "reduced", "--limit", "40", "--epochs", "1"]


def strict(encoding):
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")


def command(arguments, environment=(), **options):
    """A command in a process of its own, its outputs as bytes."""
    return subprocess.run(
        [sys.executable, "-m", "resnet_course", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **dict(environment)},
        check=False,
        **({"capture_output": True} | options),
    )


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """A folder whose name and whose images' names no console of the old kind can write."""
    folder = tmp_path_factory.mktemp("odd") / "фото"
    folder.mkdir()
    paths = []
    for name in NAMES:
        content = io.BytesIO()
        Image.fromarray(np.full((50, 80, 3), 90, np.uint8)).save(content, "png")
        try:
            with open(os.path.join(os.fsencode(folder), os.fsencode(name)), "xb") as file:  # noqa: PTH118, PTH123
                file.write(content.getvalue())
        except (OSError, UnicodeError):  # macOS and Windows take no name that is not UTF-8
            continue
        paths.append(os.fsdecode(os.path.join(os.fsencode(folder), os.fsencode(name))))  # noqa: PTH118
    return paths


@pytest.fixture(scope="module")
def images(tmp_path_factory, names):
    """A folder of classes with such names, each with these images."""
    folder = tmp_path_factory.mktemp("données")
    for split in ("train", "test"):
        for number, label in enumerate(["犬", "naïve", BYTES]):
            try:
                (folder / split / label).mkdir(parents=True)
            except (OSError, UnicodeError):
                continue
            for each in range(8):
                shade = np.random.default_rng([each, len(split)]).integers(
                    60 * number, 60 * number + 90, (32, 32, 3)
                )
                Image.fromarray(shade.astype(np.uint8)).save(folder / split / label / f"é{each}.png")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, images):
    """A checkpoint with these classes."""
    out = tmp_path_factory.mktemp("runs") / "größe"
    assert main([*TRAIN, "--data", f"folder:{images}", "--out", str(out)]) == 0
    return out / "best.pt"


SEVERAL = """
import sys
from resnet_course.__main__ import main
command = []
for argument in sys.argv[1:]:
    command.append(argument)
    if argument == "THEN":
        print("status", main(command[:-1]), flush=True)
        command = []
"""


def commands(environment, *several):
    """Commands one after the other in one process: stdout with their statuses, and stderr."""
    found = subprocess.run(
        [sys.executable, "-c", SEVERAL, *(word for each in several for word in (*each, "THEN"))],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        check=False,
    )
    return found.stdout, found.stderr


@pytest.mark.slow
def test_predict_goes_on_where_the_console_writes_few_characters(trained, names):
    found = command(["predict", trained, *names, "отсутствует.png"], {"PYTHONIOENCODING": "cp1252"})
    assert found.returncode == 2 and found.stdout.count(b"\n") == len(names)
    assert found.stderr.count(b"\n") == 1 and b"no such file" in found.stderr
    assert b"\\u65e5" in found.stdout and "naïve–name".encode("cp1252") in found.stdout


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_predict_goes_on_in_this_process_too(monkeypatch, trained, names, encoding):
    monkeypatch.setattr(sys, "stdout", stdout := strict(encoding))
    monkeypatch.setattr(sys, "stderr", stderr := strict(encoding))
    assert main(["predict", str(trained), *names, "отсутствует.png"]) == 2
    assert stdout.buffer.getvalue().count(b"\n") == len(names)
    assert stderr.buffer.getvalue().count(b"\n") == 1 and b"no such file" in stderr.buffer.getvalue()


@pytest.mark.slow
def test_all_go_on_where_the_system_knows_ascii_alone(tmp_path, images, names):
    out, data = tmp_path / "größe", f"folder:{images}"
    best = ["evaluate", out / "best.pt", "--data", data]
    train = [*TRAIN, "--data", data, "--out", out]
    predict = ["predict", out / "best.pt", *names]
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    stdout, stderr = commands(environment, train, best, [*best, "--json"], predict)
    assert stdout.count(b"status 0\n") == 4, stderr
    assert b"  na" in stdout and b"Traceback" not in stderr


@pytest.mark.slow
def test_doctor_goes_on_whatever_the_console_can_write(tmp_path, monkeypatch, capsys, quick_doctor):
    """In this process, with such a stream in the place of stdout: doctor measures for seconds."""
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "дом"))
    assert main(["doctor"]) == 0
    assert b"home " in stdout.buffer.getvalue() and b"\\u0434\\u043e\\u043c" in stdout.buffer.getvalue()


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("ascii", b"na\\xefve \\u65e5 \\udcff"),
        ("cp1252", b"na\xefve \\u65e5 \\udcff"),
        ("utf-8", "naïve 日 \\udcff".encode()),
    ],
)
def test_notices_from_python_are_escaped_too(monkeypatch, encoding, written):
    text = "naïve 日 \udcff"
    for function in (console.say, console.complain):
        monkeypatch.setattr(sys, "stderr", stream := strict(encoding))
        function(text)
        assert stream.buffer.getvalue().splitlines() == [written]
    monkeypatch.setattr(console, "in_notebook", lambda: True)
    monkeypatch.setattr(sys, "stdout", stream := strict(encoding))
    console.say(text)
    assert stream.buffer.getvalue().splitlines() == [written]


def test_a_bar_is_escaped_too(monkeypatch):
    monkeypatch.setattr(sys, "stderr", strict("ascii"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("RESNET_COURSE_MODE", "laptop")
    monkeypatch.setattr(console, "in_notebook", lambda: True)
    with console.progress([1], description="Reading 日 \udcff") as bar:
        assert bar.desc.startswith("Reading \\u65e5 \\udcff")


def test_the_marks_of_exercises_are_escaped_too(monkeypatch, tmp_path):
    from resnet_course.exercises import progress

    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path))
    progress.record("freezing", "q1", "right")
    monkeypatch.setattr(sys, "stdout", stream := strict("cp1252"))
    progress.show()
    stream.flush()
    assert b"1 \\u2713" in stream.buffer.getvalue()


class Gone(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("stream", [Gone(), None])
def test_a_notice_that_nobody_can_read_stops_nothing(monkeypatch, capsys, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    console.say("hello")
    console.complain("hello")
    assert capsys.readouterr().out == "", "what is no result is not among the results"
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    console.say("hello")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
@pytest.mark.parametrize("what", ["predict", "help", "both"])
def test_a_closed_pipe_ends_a_command_quietly(trained, names, what):
    arguments = {
        "predict": ["predict", trained, *names * 3],
        "both": ["predict", trained, *names * 3],
        "help": ["--help"],
    }[what]
    read, write = os.pipe()
    os.close(read)
    found = command(
        arguments,
        {"PYTHONUNBUFFERED": "1" if what == "both" else ""},
        capture_output=False,
        stdout=write,
        stderr=write if what == "both" else subprocess.PIPE,
    )
    os.close(write)
    assert found.returncode == 141
    assert what == "both" or (found.stderr.count(b"\n") <= 1 and b"roken" not in found.stderr)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_results_that_a_full_disk_cannot_take_are_one_line(trained, names):
    with Path("/dev/full").open("wb") as full:
        found = command(
            ["predict", trained, *names],
            capture_output=False,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert found.returncode == 1
    assert found.stderr == b"resnet-course: the output cannot be written: no space left on this disk\n"


LIMITED = """
import resource, sys
from resnet_course.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no limits")
def test_a_checkpoint_that_cannot_be_written_is_one_line(tmp_path):
    """A limit of the size of files stands for a disk that is full: the system refuses the bytes alike."""
    out = tmp_path / "out"
    found = subprocess.run(
        [sys.executable, "-c", LIMITED, *TRAIN, "--data", "shapes", "--out", str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    last = found.stderr.splitlines()[-1]
    assert found.returncode == 1 and "Traceback" not in found.stderr
    assert last.startswith("resnet-course: ") and "cannot be written: the file would be larger" in last
    assert not list(out.glob("*.pt")) and not list(out.glob(".*.tmp"))
