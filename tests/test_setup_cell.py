"""Runs the set-up cell of the notebooks: in a clone, where the course is installed, and quite alone."""

import functools
import http.server
import io
import os
import shutil
import subprocess
import sys
import threading
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from retarget import COURSE, setup_cell

import resnet_course

SYMLINKS = os.name != "nt"  # what `python -m venv` does by itself
PLACEHOLDER = "https://github.com/OWNER/NAME"
READY = f"resnet_course {resnet_course.__version__} is ready\n"

# The archive of a stand-in for the course: its build only hands over a wheel, so that nothing is downloaded.
BUILD_SYSTEM = '[build-system]\nrequires = []\nbuild-backend = "hand_over"\nbackend-path = ["."]\n'
HAND_OVER = """
import shutil
from pathlib import Path

def build_wheel(folder, config_settings=None, metadata_directory=None):
    return Path(shutil.copy(next(Path(".").glob("*.whl")).resolve(), folder)).name
"""


def wheel(folder: Path, name: str, version: str, *requires: str) -> Path:
    """A wheel with one module that knows its version."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    files = {
        f"{name}/__init__.py": f"__version__ = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(file, text)
    return path


def course_archive(folder: Path, *requires: str) -> bytes:
    """The zip archive of a repository that holds the stand-in for the course, needing `requires`."""
    path = wheel(folder, "resnet_course", "9.0", *requires)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("NAME-HEAD/pyproject.toml", BUILD_SYSTEM)
        files.writestr("NAME-HEAD/hand_over.py", HAND_OVER)
        files.write(path, f"NAME-HEAD/{path.name}")
    path.unlink()
    return archive.getvalue()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def repository(tmp_path):
    """Where the archive of a repository can be laid, and the address that a local server gives it."""
    archive = tmp_path / "served" / "archive" / "HEAD.zip"
    archive.parent.mkdir(parents=True)
    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield archive, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def python_in(folder: Path) -> Path:
    """The Python of the virtual environment in a folder."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """A Python of its own that has nothing installed."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=SYMLINKS)
    return python_in(folder)


@pytest.fixture(scope="module")
def environment_with_pip(tmp_path_factory):
    """A virtual environment that has pip alone."""
    if not find_spec("ensurepip"):
        pytest.skip("this Python comes without ensurepip, so that no pip can be had without a network")
    folder = tmp_path_factory.mktemp("pip") / "venv"
    venv.create(folder, symlinks=SYMLINKS, with_pip=True)
    return folder


@pytest.fixture
def python(tmp_path, environment_with_pip):
    """A Python with pip, torch 1.0+cpu, and what real machines have: odd versions, leftovers, duplicates."""
    python = python_in(shutil.copytree(environment_with_pip, tmp_path / "venv", symlinks=True))
    packages = Path(run(python, "import site; print(site.getsitepackages()[-1])", tmp_path).stdout.strip())
    (packages / "second.pth").write_text("second\n")
    (packages / "leftover-1.0.dist-info").mkdir()
    for folder, name, version in [
        (packages, "torch", "1.0+cpu"),
        (packages / "second", "Torch", "0.5"),
        (packages, "odd", "2.22.1ubuntu1"),
    ]:
        with zipfile.ZipFile(wheel(tmp_path, name, version)) as archive:
            archive.extractall(folder)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "torch", "2.0")
    wheel(wheels, "missing", "1.0")
    wheel(wheels, "missing", "3.0", "torch>=2")
    return python


def run(python, source: str, folder: Path) -> subprocess.CompletedProcess:
    """Run a source in a folder, in an environment whose pip finds packages in `wheels` beside it alone."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))
    }
    environment |= {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder / "wheels"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_CACHE_DIR": "1",
        "PYTHONNOUSERSITE": "1",
    }
    return subprocess.run(
        [python, "-c", source], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def installed(python, folder: Path) -> set[str]:
    """Every distribution that this Python finds, as name==version."""
    source = (
        "from importlib.metadata import distributions\nfor d in distributions(): print(d.name, d.version)"
    )
    return {"==".join(line.split()) for line in run(python, source, folder).stdout.splitlines()}


def test_the_cell_is_short_and_has_no_shell_magic():
    lines = [
        line for line in setup_cell(PLACEHOLDER).splitlines() if line and not line.strip().startswith("#")
    ]
    assert len(lines) <= 36
    assert not any(line.lstrip().startswith(("!", "%")) for line in lines)
    compile("\n".join(lines), "set-up cell", "exec")  # plain Python


@pytest.mark.parametrize("inside", ["notebooks", "."])
def test_in_a_clone_it_finds_the_course_above_the_notebook(bare_python, inside):
    result = run(bare_python, setup_cell(PLACEHOLDER) + "\nprint(resnet_course.__file__)", COURSE / inside)
    expected = READY + f"{COURSE / 'resnet_course' / '__init__.py'}\n"
    assert (result.stdout, result.stderr, result.returncode) == (expected, "", 0)


def test_where_the_course_is_installed_there_is_nothing_to_do(tmp_path):
    result = run(sys.executable, setup_cell(PLACEHOLDER), tmp_path)
    assert (result.stdout, result.stderr, result.returncode) == (READY, "", 0)


def test_alone_and_without_an_address_it_says_what_to_do(bare_python, tmp_path):
    result = run(bare_python, setup_cell(PLACEHOLDER), tmp_path)
    assert result.stderr.splitlines()[-1] == (
        "RuntimeError: this notebook has no address yet: open it in the notebooks folder of the course"
    )
    assert len(result.stderr.splitlines()) <= 5  # one frame, no wall
    assert (result.stdout, result.returncode) == ("", 1)


@pytest.mark.slow
def test_alone_it_installs_the_course_and_what_is_missing_and_changes_nothing_else(
    python, tmp_path, repository
):
    archive, address = repository
    archive.write_bytes(course_archive(tmp_path, "torch>=1.0", "missing>=1.0"))
    before = installed(python, tmp_path)
    (tmp_path / "resnet_course").mkdir()  # as a clone of that name leaves it: no package
    result = run(python, setup_cell(address), tmp_path)
    said = "adding the course, which takes up to a minute …\nresnet_course 9.0 is ready\n"
    assert (result.stdout, result.stderr, result.returncode) == (said, "", 0)
    # missing 3.0 is newer, but would have moved torch to 2.0
    assert installed(python, tmp_path) == before | {"resnet_course==9.0", "missing==1.0"}
    assert "torch==1.0+cpu" in before


@pytest.mark.slow
@pytest.mark.parametrize("there", [True, False])
def test_what_an_interrupted_pip_left_changes_nothing(python, tmp_path, repository, there):
    archive, address = repository
    archive.write_bytes(course_archive(tmp_path, "torch>=1.0", "missing>=1.0"))
    wheel(tmp_path / "wheels", "torch", "1.0+cpu")  # pip does not see the real one beside it, and fetches it
    site = Path(
        run(python, "import sysconfig; print(sysconfig.get_path('purelib'))", tmp_path).stdout.strip()
    )
    left = site / ("~orch-0.9.dist-info" if there else "~one-0.9.dist-info")
    left.mkdir()
    (left / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {'torch' if there else 'gone'}\nVersion: 0.9\n"
    )
    try:
        result = run(python, setup_cell(address), tmp_path)
        assert result.stdout.endswith("resnet_course 9.0 is ready\n"), result.stdout
        assert "torch==1.0+cpu" in installed(python, tmp_path)
    finally:
        shutil.rmtree(left)


def test_an_older_course_is_named_with_the_command(tmp_path):
    old = tmp_path / "resnet_course"
    old.mkdir()
    (old / "__init__.py").write_text('__version__ = "0.1.0"\n')
    result = run(sys.executable, setup_cell("https://github.com/ada/course"), tmp_path)
    assert result.returncode == 1 and "resnet_course 0.1.0 is too old for this notebook" in result.stderr
    assert (
        "%pip install --upgrade resnet-course@https://github.com/ada/course/archive/HEAD.zip" in result.stderr
    )


def test_the_notebooks_need_the_version_that_they_come_with():
    assert f'NEEDED = "{resnet_course.__version__}"' in setup_cell(PLACEHOLDER)


@pytest.mark.slow
def test_what_cannot_be_had_changes_nothing_and_says_what_to_do(python, tmp_path, repository):
    archive, address = repository
    archive.write_bytes(course_archive(tmp_path, "torch>=2.0", "missing>=1.0"))
    before = installed(python, tmp_path)
    result = run(python, setup_cell(address), tmp_path)
    assert installed(python, tmp_path) == before
    assert "torch>=2.0" in result.stdout
    assert "torch===1.0+cpu" in result.stdout
    assert_says_what_to_do(result, address)

    archive.unlink()
    result = run(python, setup_cell(address), tmp_path)
    assert "404" in result.stdout
    assert_says_what_to_do(result, address)


def test_without_pip_it_says_what_to_do(bare_python, tmp_path):
    result = run(bare_python, setup_cell("http://127.0.0.1:9"), tmp_path)
    assert "No module named pip" in result.stdout
    assert_says_what_to_do(result, "http://127.0.0.1:9")


def assert_says_what_to_do(result, address):
    assert result.stderr.splitlines()[-1] == (
        "RuntimeError: pip could not add the course: check the network and restart, or get " + address
    )
    assert len(result.stderr.splitlines()) <= 5
    assert len(result.stdout) <= 1501
    assert result.returncode == 1
