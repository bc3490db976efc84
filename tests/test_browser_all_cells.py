"""All cells of each notebook in JupyterLab, in a real browser; how to run these tests: see test_browser."""

import os
from pathlib import Path

import pytest
from jupyterlab_harness import find_chromium, problems, with_widgets

pytest.importorskip("playwright.sync_api")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium and no Chrome on this machine"),
]
NOTEBOOKS = ("00", "01", "02", "03", "04", "05")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_all_cells_run_figures_are_described_and_controls_named(lab, name):
    with lab.opened(name, change=with_widgets) as notebook:
        notebook.do("notebook:run-all-cells")
        assert problems(notebook) == {}
        alts = notebook.page.locator(".jp-OutputArea-output img").evaluate_all("all => all.map(a => a.alt)")
        assert alts and [alt for alt in alts if len(alt) <= 40] == []
        assert notebook.unnamed_controls() == []
        if folder := os.environ.get("RESNET_COURSE_TEST_SCREENSHOTS"):
            notebook.take_screenshots(Path(folder))
        if name == "00":
            notebook.do("notebook:run-all-cells")
            assert problems(notebook) == {}, "when all cells run once more in the same kernel"
