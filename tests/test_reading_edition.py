"""The reading edition: how docstrings become pages, and the pages themselves in a browser.

`.ci/run` builds the pages and runs the tests of them; by hand:
RESNET_COURSE_TEST_SITE=build/site uv run --with playwright --with axe-playwright-python
    pytest tests/test_reading_edition.py -m slow -n0
"""

import os
import re
import sys
from pathlib import Path

import pytest
from jupyterlab_harness import find_chromium

COURSE = Path(__file__).parents[1]
SITE = os.environ.get("RESNET_COURSE_TEST_SITE")
NOTEBOOKS = sorted(path.stem for path in (COURSE / "notebooks").glob("*.ipynb"))

sys.path.insert(0, str(COURSE / "tools" / "reading_edition"))
from docstrings import to_rst  # noqa: E402

slow = [
    pytest.mark.slow,
    pytest.mark.skipif(not SITE, reason="RESNET_COURSE_TEST_SITE names no folder with the pages"),
]
in_browser = [*slow, pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine")]


def rst(text):
    lines = text.split("\n")
    to_rst(lines)
    return lines[:-1]


@pytest.mark.parametrize(
    ("docstring", "wanted"),
    [
        ("Checkpoints: one file that is enough.", ["Checkpoints: one file that is enough."]),
        ("What `fit` does.\nIt goes on.", ["What ``fit`` does. It goes on."]),
        ("One.\n\nname: the *best*_ one|.", ["One.", "", r"* ``name``: the \*best\*\_ one\|."]),
        (
            "One.\n\na, b: two numbers,\n    both odd.\nReturns c.",
            ["One.", "", "* ``a, b``: two numbers, both odd.", "", "Returns c."],
        ),
        ("One.\n\n    code here", ["One.", "", "| ``code here``"]),
        ("A lone ` mark.", [r"A lone \` mark."]),
    ],
)
def test_docstrings_become_paragraphs_and_lists(docstring, wanted):
    assert rst(docstring) == wanted


class Pages:
    """The built pages in one browser."""

    def __init__(self, browser):
        self.browser = browser

    def opened(self, path, scheme="light", query=""):
        page = self.browser.new_context(color_scheme=scheme).new_page()
        page.goto((Path(SITE) / path).resolve().as_uri() + query)
        return page


@pytest.fixture(scope="module")
def pages():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        yield Pages(browser)
        browser.close()


@pytest.mark.parametrize("name", NOTEBOOKS)
class TestNotebookPages:
    pytestmark = slow

    def test_it_asks_no_server_and_describes_every_figure(self, name):
        html = (Path(SITE) / "notebooks" / f"{name}.html").read_text(encoding="utf-8")
        assert re.findall(r'<(?:script|img|link|iframe)[^>]*(?:src|href)="(?:https?:)?//', html) == []
        figures = re.findall(r"<img[^>]*>", html)
        assert len(figures) > 4
        assert [image[:80] for image in figures if len(re.findall(r'alt="([^"]{40,})"', image)) != 1] == []

    def test_its_questions_are_there_before_and_after(self, name):
        html = (Path(SITE) / "notebooks" / f"{name}.html").read_text(encoding="utf-8")
        assert html.count("class='self-test'") == (2 if name.startswith("00") else 3)


PAGES = ["index", "docs/glossary", "docs/teaching", "reference/training"]
PAGES += [f"notebooks/{name}" for name in NOTEBOOKS[::2]]  # axe takes up to twenty seconds for one


@pytest.mark.parametrize(
    ("path", "scheme"), [*((path, "light") for path in PAGES), ("index", "dark"), (PAGES[4], "dark")]
)
class TestAxe:
    pytestmark = in_browser

    def test_axe_finds_nothing_serious(self, pages, path, scheme):
        axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
        page = pages.opened(f"{path}.html", scheme)
        found = axe.run(page).response["violations"]
        page.context.close()
        assert {each["id"]: each["nodes"][0]["html"] for each in found if each["impact"] in SERIOUS} == {}


SERIOUS = ("serious", "critical")


class TestUse:
    pytestmark = in_browser

    def test_a_click_on_a_choice_says_whether_it_is_right(self, pages):
        page = pages.opened(f"notebooks/{NOTEBOOKS[0]}.html")
        test = page.locator("details.self-test").last
        test.locator("> summary").click()
        choices = test.locator("li").first.locator("details")
        assert choices.count() == 3
        for number in range(3):
            choices.nth(number).locator("summary").click()
        said = choices.locator("strong").all_text_contents()
        assert sorted(said) == ["Not quite.", "Not quite.", "Right."]
        choices.first.locator("p").wait_for()

    def test_the_search_finds_a_page_without_a_server(self, pages):
        page = pages.opened("search.html", query="?q=degradation")
        page.wait_for_selector("#search-results li a")
        found = page.locator("#search-results li a").all_text_contents()
        assert any("Residual blocks" in title for title in found)

    def test_a_term_leads_into_the_glossary(self, pages):
        page = pages.opened(f"notebooks/{NOTEBOOKS[0]}.html")
        page.locator('a[href$="glossary.html#transfer-learning"]').first.click()
        # The address changes before the page is there.
        page.wait_for_url("**/docs/glossary.html#transfer-learning")
        page.locator("#transfer-learning").wait_for()

    def test_formulas_are_there_without_a_script(self, pages):
        page = pages.opened("notebooks/04_training_on_cpu.html")
        assert page.locator("math").count() >= 2
