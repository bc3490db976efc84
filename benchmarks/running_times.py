"""Writes docs/running_times.md from results.json: how long the cells of each section run. Measures nothing.

uv run python benchmarks/running_times.py
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from record import RESULTS, recorded

from notebooks import NOTEBOOKS
from resnet_course.common.files import write_atomically

PAGE = RESULTS.parents[1] / "docs" / "running_times.md"
INTRODUCTION = """# How long the cells run

Made by `python benchmarks/running_times.py` from `benchmarks/results.json`; change nothing here. Measured by
`benchmarks/notebooks.py` in laptop mode, each notebook from the start of its kernel on.

- Machine: {cores}; {instructions}.
- Pictures: {data}.
- Weights: {weights}.

Reading and exercises come on top: the beginning of each notebook says how much. Section 0 is what stands
before the first one: imports, loading, and what is downloaded or decoded once.
"""


def page() -> str:
    """The page, from results.json."""
    measured = {path: recorded(f"notebook_{path.stem}_laptop") for path in sorted(NOTEBOOKS.glob("*.ipynb"))}
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    timed = [f"notebook_{path.stem}_laptop" for path, found in measured.items() if "minutes_of" in found]
    if not timed:
        raise SystemExit("no notebook was timed by section: run benchmarks/notebooks.py")
    name = timed[0]
    conditions = results[name]["conditions"]
    same = ("machine", "instructions", "data", "weights")
    if len({tuple(results[each]["conditions"].get(what) for what in same) for each in timed}) > 1:
        raise SystemExit(f"the notebooks were timed under different conditions: {', '.join(same)} must agree")
    cores = conditions["machine"].rsplit(", ", 2)[1]
    lines = [INTRODUCTION.format(cores=cores, **conditions)]
    for path, found in measured.items():
        lines += _of(path.stem, _titles(path), found)
    return "\n".join(lines) + "\n"


def _of(name: str, titles: dict[int, str], found: dict[str, Any]) -> Iterator[str]:
    yield f"## {titles[-1]}\n"
    if "minutes_of" not in found:
        yield "This edition was not timed.\n"
        return
    yield f"| section | minutes |\n|---|---|\n| all of {name[:2]} | {found['minutes']:.1f} |"
    for section, minutes in found["minutes_of"].items():
        number = int(section.removeprefix("section_"))
        yield f"| {number} {titles.get(number, '')} | {minutes:.1f} |"
    yield ""


def _titles(path: Path) -> dict[int, str]:
    """The titles of a notebook's sections by their numbers; -1: of the notebook, 0: of what comes first."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    sections = re.findall(r"^## (?:Part )?(\d+)\W+(.+)$", text, re.MULTILINE)
    title = re.search(r"^# (.+)$", text, re.MULTILINE)[1]
    return {-1: title, 0: "before the first section"} | {int(number): name for number, name in sections}


def main() -> None:
    """Write the page."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    write_atomically(PAGE, lambda file: file.write(page().encode()))


if __name__ == "__main__":
    main()
