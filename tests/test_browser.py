"""All notebooks in JupyterLab, in a real browser, as a learner uses them. `.ci/run` runs these tests.

They want a Chromium on this machine, and Playwright: `uv run --with playwright pytest tests/test_browser.py -m slow -n0`
"""

import os
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api")

from jupyterlab import Lab, find_chromium, text_of  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium and no Chrome on this machine"),
]
NOTEBOOKS = ("00", "01", "02", "03", "04", "05")
WITH_WIDGETS = {"if not settings.reduced:": "if True:"}  # the cells with a widget; and nothing else, see below


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """One server and one browser for all tests here."""
    lab = Lab(tmp_path_factory.mktemp("jupyterlab"))
    yield lab
    lab.close()


def problems(notebook):
    """What a run of all cells left that it should not: by the cell, an error, a warning, or no run at all."""
    found = {}
    for name, cell in notebook.cells().items():
        kinds = {output.get("name", output["output_type"]) for output in cell["outputs"]}
        if kinds & {"error", "stderr"}:
            found[name] = text_of(cell["outputs"])
        elif cell["execution_count"] is None and cell["source"]:
            found[name] = "it did not run"
    return found


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_all_cells_run_and_all_figures_are_described(lab, name):
    with lab.opened(name) as notebook:
        notebook.do("notebook:run-all-cells")
        assert problems(notebook) == {}
        alts = notebook.page.locator(".jp-OutputArea-output img").evaluate_all("all => all.map(one => one.alt)")
        assert alts and [alt for alt in alts if len(alt) <= 40] == []
        if folder := os.environ.get("RESNET_COURSE_SCREENSHOTS"):
            notebook.take_screenshots(Path(folder))
        if name in ("00", "03"):
            notebook.do("notebook:run-all-cells")
            assert problems(notebook) == {}, "when all cells run once more in the same kernel"
