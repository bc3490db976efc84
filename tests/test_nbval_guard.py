"""Runs pytest, as the course configures it, on small notebooks that go wrong in every way known."""

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LATER = "later = 1"

QUICK = {  # run with a cell time-out of ten minutes; who waited for it would be stopped after five
    "passes": [
        "import os\nfrom pathlib import Path\nimport matplotlib.pyplot as plt",
        "plt.plot([1, 2])\nplt.show()",
        "assert 'inline' in plt.get_backend()",
        "assert os.environ['RESNET_COURSE_MODE'] == 'reduced' and 'RESNET_COURSE_DATA' not in os.environ",
        "assert os.environ['RESNET_COURSE_TEST_IMAGES'] == 'kept'",
        "assert os.environ['RESNET_COURSE_WEIGHTS'] == 'none'",
        "for home in ('RESNET_COURSE_HOME', 'TORCH_HOME'):\n    Path(os.environ[home]).mkdir()",
        "# NBVAL_RAISES_EXCEPTION\n1 / 0",
    ],
    "raises": ["1 / 0", LATER],
    "dies": [LATER, "import os\nos._exit(1)", LATER, LATER],
    "magic": ["%nosuchmagic\nprint('never reached')", LATER],
}
SLOW = {  # run with a cell time-out of two seconds
    "endless": ["while True:\n    pass", LATER],
    "calm": ["import time\ntry:\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    kept = True", LATER],
}
PASSED, SKIPPED = ("passed", ""), "skipped"

pytestmark = pytest.mark.slow  # two times pytest, and six kernels


def write_notebook(path: Path, sources: list[str]) -> None:
    kind = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [{**kind, "id": f"cell-{number}", "source": source} for number, source in enumerate(sources)]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook), encoding="utf-8")


def start_pytest(
    folder: Path, notebooks: dict[str, list[str]], cell_timeout: int, *more: str
) -> subprocess.Popen:
    """Start pytest on notebooks in a folder configured as the course is, for a user with an empty home."""
    for name in ("home", "temporary"):
        (folder / name).mkdir()
    for name in ("pyproject.toml", "conftest.py"):
        shutil.copy(ROOT / name, folder)
    for name, sources in notebooks.items():
        write_notebook(folder / f"{name}.ipynb", sources)
    own = ("RESNET_COURSE_", "TORCH_", "MPL", "IPYTHON", "JUPYTER_", "XDG_", "PYTEST_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    environment |= dict.fromkeys(("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"), str(folder / "home"))
    environment |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder / "temporary"))
    environment["RESNET_COURSE_MODE"], environment["RESNET_COURSE_DATA"] = "full", "cifar10"
    environment["RESNET_COURSE_TEST_IMAGES"], environment["RESNET_COURSE_TEST_WEIGHTS"] = "kept", "none"
    words = ["-p", "no:cacheprovider", "--color=no", "--junitxml=report.xml"]
    words += [f"--nbval-cell-timeout={cell_timeout}", *more]
    words += [f"{name}.ipynb" for name in notebooks]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of a quick and a slow run, which go on at the same time, and what they printed."""
    folders = [tmp_path_factory.mktemp("quick"), tmp_path_factory.mktemp("slow")]
    processes = [start_pytest(folders[0], QUICK, 600), start_pytest(folders[1], SLOW, 2, "-n0")]
    try:
        printed = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return dict(zip(folders, printed, strict=True))


@pytest.fixture(scope="module")
def cells(runs):
    """For each notebook its cells: what became of each, with what message."""
    found = {}
    for folder, printed in runs.items():
        assert (folder / "report.xml").is_file(), printed
        for case in ElementTree.parse(folder / "report.xml").iter("testcase"):
            outcome, message = PASSED
            for child in case:
                if child.tag in ("failure", "skipped", "error"):
                    outcome, message = child.tag, f"{child.get('message')} {child.text}"
            found.setdefault(case.get("classname").split(".")[0], []).append((outcome, message))
    return found


def test_a_notebook_passes_in_reduced_mode_with_figures_inline(cells):
    assert cells["passes"] == [PASSED] * 8


@pytest.mark.parametrize(
    ("notebook", "number", "message"),
    [
        ("raises", 0, "ZeroDivisionError"),
        ("dies", 1, "the kernel died in this cell"),
        ("magic", 0, "UsageError: Line magic function `%nosuchmagic` not found"),
        ("endless", 0, "Timeout of 2 seconds exceeded"),
        ("calm", 0, "Timeout of 2 seconds exceeded"),
    ],
)
def test_a_cell_that_goes_wrong_fails_and_those_after_it_are_skipped(cells, notebook, number, message):
    before, (outcome, told), after = (
        cells[notebook][:number],
        cells[notebook][number],
        cells[notebook][number + 1 :],
    )
    assert before == [PASSED] * number
    assert outcome == "failure"
    assert message in told
    assert [outcome for outcome, _ in after] == [SKIPPED] * len(after)
    assert after and all(f"Cell {number} of this notebook failed" in told for _, told in after)


def test_nothing_is_left_in_the_home_or_the_temporary_folder_of_the_user(runs):
    for folder in runs:
        assert [*(folder / "home").rglob("*")] == []
        assert [*(folder / "temporary").glob("resnet_course*")] == []
