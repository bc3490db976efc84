"""The course with Colab's versions, from the notebooks alone: the set-up cell fetches it from localhost.

`.ci/run` makes the environment (tests/colab-versions.txt) and names its Python; by hand:
RESNET_COURSE_TEST_COLAB=…/bin/python pytest tests/test_colab.py -m slow -n0
"""

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from retarget import COURSE, retarget, setup_cell
from test_setup_cell import Quiet

PYTHON = os.environ.get("RESNET_COURSE_TEST_COLAB")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="RESNET_COURSE_TEST_COLAB names no Python with Colab's versions"),
]
RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=None, startup_timeout=300, kernel_name="colab").execute()
nbformat.write(notebook, sys.argv[2])
"""
REPOSITORY = ("resnet_course", "notebooks", "tools", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A server on localhost that hands out the archive of the course, as GitHub does; its address."""
    served = tmp_path_factory.mktemp("served")
    handler = functools.partial(Quiet, directory=str(served))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    address = f"http://127.0.0.1:{server.server_port}/ada/course"
    copy = tmp_path_factory.mktemp("copy")
    for name in REPOSITORY:
        if (COURSE / name).is_dir():
            shutil.copytree(COURSE / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(COURSE / name, copy)
    retarget(address, copy)
    archive = served / "ada" / "course" / "archive" / "HEAD.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(path for path in copy.rglob("*") if path.is_file()):
            file.write(path, Path("course-HEAD") / path.relative_to(copy))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield address
    server.shutdown()
    thread.join()
    server.server_close()


def run(source, folder):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [PYTHON, "-c", source], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def installed():
    """Every installed distribution of Colab's Python and its version, by lower-case name."""
    source = (
        "import json\nfrom importlib.metadata import distributions\n"
        "print(json.dumps({d.name.lower(): d.version for d in distributions() if d.name}))"
    )
    return json.loads(run(source, Path.cwd()).stdout)


@pytest.fixture
def without_the_course():
    """The installed packages as they were, before and after the test."""
    before = installed()
    assert "resnet-course" not in before, "Colab's Python has the course already"
    yield before
    subprocess.run([PYTHON, "-m", "pip", "uninstall", "--yes", "--quiet", "resnet-course"], check=True)


def packages_folder():
    return Path(run("import numpy; print(numpy.__path__[0])", Path.cwd()).stdout.strip()).parent


def leave_a_leftover(folder):
    left = packages_folder() / "~umpy-2.1.1.dist-info"  # as an interrupted pip leaves it
    left.mkdir()
    (left / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 2.1.1\n", encoding="utf-8")
    return left


def lay_a_folder_beside(folder):
    beside = folder / "resnet_course"
    beside.mkdir()
    return beside


@pytest.mark.parametrize("make", [None, leave_a_leftover, lay_a_folder_beside])
def test_the_set_up_cell_adds_the_course_and_changes_no_version(address, without_the_course, tmp_path, make):
    found = make(tmp_path) if make else None
    before = installed()  # what is left over may hide what is there
    try:
        result = run(setup_cell(address), tmp_path)
        assert result.returncode == 0 and result.stdout.endswith("is ready\n"), result.stdout + result.stderr
        after = installed()
        assert {name: version for name, version in after.items() if before.get(name) != version} == {
            "resnet-course": after["resnet-course"]
        }
    finally:
        if found:
            shutil.rmtree(found)


def test_an_older_course_is_named_with_the_command(address, without_the_course, tmp_path):
    old = tmp_path / "old"
    (old / "resnet_course").mkdir(parents=True)
    (old / "resnet_course" / "__init__.py").write_text('__version__ = "0.1.0"\n', encoding="utf-8")
    (old / "pyproject.toml").write_text(
        '[project]\nname = "resnet-course"\nversion = "0.1.0"\n', encoding="utf-8"
    )
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", old], check=True)
    result = run(setup_cell(address), tmp_path)
    assert result.returncode == 1
    assert f"%pip install --upgrade resnet-course@{address}/archive/HEAD.zip" in result.stderr


def test_all_notebooks_run_from_a_read_only_folder(address, without_the_course, tmp_path, monkeypatch):
    shutil.copytree(COURSE / "notebooks", tmp_path / "notebooks")
    (tmp_path / "pyproject.toml").write_bytes((COURSE / "pyproject.toml").read_bytes())
    (tmp_path / "README.md").write_text("", encoding="utf-8")
    retarget(address, tmp_path)
    folder = tmp_path / "notebooks"
    folder.chmod(0o555)
    kernel = tmp_path / "jupyter" / "kernels" / "colab"
    kernel.mkdir(parents=True)
    command = [PYTHON, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(
        json.dumps({"argv": command, "display_name": "Colab", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("RESNET_COURSE_MODE", "reduced")
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RESNET_COURSE_THREADS", "1")  # two notebooks side by side
    assert run(setup_cell(address), tmp_path).returncode == 0

    def run_notebook(path):
        """What the cells wrote to stderr, of a run in a process of its own, as nbclient is made for."""
        done = tmp_path / path.name
        command = [sys.executable, "-c", RUN, str(path), str(done)]
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert not ended.returncode, f"{path.name}: {ended.stderr[-3000:]}"
        return {
            cell.id: output.text
            for cell in nbformat.read(done, as_version=4).cells
            for output in cell.get("outputs", ())
            if output.get("name") == "stderr"
        }

    with ThreadPoolExecutor(2) as pool:
        paths = sorted(folder.glob("*.ipynb"))
        said = dict(zip([path.stem for path in paths], pool.map(run_notebook, paths), strict=True))
    folder.chmod(0o755)
    assert len(said) == 6
    assert {name: found for name, found in said.items() if found} == {}, "nothing on stderr"
