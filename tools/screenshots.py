"""Makes the two screenshots of README: the prediction explorer, and a page of the reading edition.

It wants a Chromium, Playwright, and a folder of the reading edition, and shows drawn shapes alone, since the
pictures of CIFAR-10 are not ours to pass on:
RESNET_COURSE_MODE=reduced RESNET_COURSE_DATA=shapes \
  uv run --group pages python tools/reading_edition/build.py --out site
uv run --with playwright python tools/screenshots.py site
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
EXPLORER = ("setup", "imports", "load", "network", "network-more", "network-print", "network-print-2")
PAGE = "notebooks/01_residual_blocks.html"
WIDTH = 420  # pixels of the explorer
VIEW = {"width": 1100, "height": 720}  # pixels


def explorer(lab, path: Path) -> None:
    """The explorer of notebook 05 with a damaged picture, as the output of its cell."""
    from jupyterlab_harness import with_widgets
    from playwright.sync_api import expect

    with lab.opened("05", (*EXPLORER, "photo-ways", "explorer"), with_widgets) as notebook:
        notebook.do("notebook:run-all-cells")
        output = notebook.output_of("explorer")
        figure = output.get_by_role("img")
        before = figure.get_attribute("src")
        output.get_by_role("combobox", name="damage").select_option("occlusion")
        expect(figure).not_to_have_attribute("src", before)
        expect(output).to_contain_text("%")
        notebook.page.wait_for_timeout(1000)  # milliseconds, until the figure is laid out
        with Image.open(io.BytesIO(output.screenshot())) as whole:
            whole.crop((0, 0, WIDTH, whole.height)).save(path)  # to the right it is empty


def page(lab, site: Path, path: Path) -> None:
    """The first drawing of notebook 01 in the reading edition, with what stands around it."""
    view = lab.browser.new_page(viewport=VIEW)
    view.goto((site / PAGE).resolve().as_uri())
    view.locator("article .cell_output img, article .cell_output svg").first.scroll_into_view_if_needed()
    view.screenshot(path=path)


def main() -> None:
    """Write both into docs."""
    sys.path.insert(0, str(ROOT / "tests"))
    from jupyterlab_harness import Lab

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        lab = Lab(Path(home))
        try:
            explorer(lab, DOCS / "explorer.png")
            page(lab, Path(sys.argv[1]), DOCS / "reading_edition.png")
        finally:
            lab.close()


if __name__ == "__main__":
    main()
