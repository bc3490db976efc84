"""A classroom without internet: the teacher's server and a learner's machine, both here."""

import io
import subprocess
import sys
import threading
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_setup_cell import wheel

from resnet_course.common.errors import CourseError

sys.path.insert(0, str(Path(__file__).parents[1] / "tools" / "classroom"))
import serve

JOIN = "from urllib.request import urlopen; exec(urlopen('http://127.0.0.1:{port}/join.py').read())"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What the teacher has gathered: stand-ins for the packages, and weights; there are no pictures."""
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "teacher_home"))
    monkeypatch.setenv("RESNET_COURSE_PATIENCE", "1")
    monkeypatch.setattr(serve.cifar10, "load", lambda home, patience: refuse())
    folder = tmp_path / "class"
    (folder / "wheels").mkdir(parents=True)
    wheel(folder / "wheels", "resnet_course", "9.0")
    wheel(folder / "wheels", "jupyterlab", "9.0")
    (folder / "resnet18-f37072fd.pth").write_bytes(b"weights")
    return folder


def refuse():
    raise CourseError("no network here")


@pytest.fixture
def port(folder):
    serve.gather(folder)
    server = serve.server(folder, 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def replace_in(path, name, content):
    """Give an archive another file of this name."""
    with zipfile.ZipFile(path) as archive:
        files = {each: archive.read(each) for each in archive.namelist()} | {name: content}
    with zipfile.ZipFile(path, "w") as archive:
        for each, data in files.items():
            archive.writestr(each, data)


def join(port, machine):
    machine.mkdir(exist_ok=True)
    command = [sys.executable, "-c", JOIN.format(port=port)]
    return subprocess.run(command, cwd=machine, capture_output=True, text=True, timeout=300)


def test_what_is_gathered_is_the_course_alone(folder, capsys):
    serve.gather(folder)
    names = zipfile.ZipFile(io.BytesIO((folder / "course.zip").read_bytes())).namelist()
    assert {"notebooks/00_start_here.ipynb", "resnet_course/__init__.py", "pyproject.toml"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith((".", "tests", "build"))]
    assert "without CIFAR-10" in capsys.readouterr().out


def test_without_pip_the_teacher_hears_what_to_write(folder, monkeypatch, capsys):
    (folder / "wheels").rename(folder / "other")
    monkeypatch.setattr(serve.importlib.util, "find_spec", lambda name: None)
    assert serve.main([str(folder)]) == 1
    assert "uv run --with pip" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("ensurepip"), reason="this Python comes without ensurepip")
def test_a_learner_joins_by_one_command_and_again_after_a_change(port, folder, tmp_path):
    machine = tmp_path / "learner"
    result = join(port, machine)
    assert result.returncode == 0, result.stderr
    assert "cifar-10-python.tar.gz: not on the teacher machine" in result.stdout
    here = machine / "resnet_course_class"
    assert (here / "resnet18-f37072fd.pth").read_bytes() == b"weights"
    started = subprocess.run(
        [sys.executable, here / "start.py", "site"], cwd=machine, capture_output=True, text=True, timeout=300
    )
    assert str(here / ".venv") in started.stdout, "what is started runs in the environment made for it"

    old = here / "notebooks" / "02_data_and_augmentation.ipynb"  # of an earlier edition, and not changed
    replace_in(here / "course.zip", "notebooks/02_data_and_augmentation.ipynb", b"old")
    old.write_bytes(b"old")
    changed, gone = (
        here / "notebooks" / "00_start_here.ipynb",
        here / "notebooks" / "01_residual_blocks.ipynb",
    )
    changed.write_text("changed by the learner", encoding="utf-8")
    gone.unlink()
    (here / "README.md").write_text("old", encoding="utf-8")
    (folder / "cifar-10-python.tar.gz").write_bytes(b"pictures")
    assert join(port, machine).returncode == 0
    assert changed.read_text(encoding="utf-8") == "changed by the learner" and gone.exists()
    assert (here / "README.md").read_text(encoding="utf-8") != "old" and old.read_bytes() != b"old"
    assert (here / "home" / "data" / "cifar-10-python.tar.gz").read_bytes() == b"pictures"


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("ensurepip"), reason="this Python comes without ensurepip")
def test_wheels_for_another_system_are_said(port, folder, tmp_path):
    for path in (folder / "wheels").iterdir():
        path.unlink()
    result = join(port, tmp_path / "learner")
    assert result.returncode == 1 and "the teacher's system and Python" in result.stderr
