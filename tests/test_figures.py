"""Prose quotes no figure that no run produced.

A number with a unit in README.md or in a notebook's Markdown carries the name of its source, in a comment
that readers do not see: `93%<!-- laptop.test_accuracy_percent -->` is held against
benchmarks/results.json, rounded as it is written; `95%<!-- by definition -->` is no measurement.
Of a cell of a strategy table, `flowers.head.350`, the mean of its draws counts.
"""

import json
import re
import statistics
from pathlib import Path

import pytest

from resnet_course.training import planning

ROOT = Path(__file__).parents[1]
RESULTS = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
CELLS = {
    table: {
        strategy: {count: statistics.mean(draws) for count, draws in row.items()}
        for strategy, row in planning.strategy_table(table)["rows"].items()
    }
    for table in planning.TABLES
}
SOURCES = RESULTS | CELLS
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
UNITS = r"%|ms|seconds?|minutes?|hours?|GB|MB|kB|points|times"
FIGURE = re.compile(
    rf"(?<![\w.])(?P<number>\d[\d,]*(?:\.\d+)?)\s?(?:{UNITS})(?!\w)\**(?:<!-- (?P<source>[^>]*?) -->)?"
)


def texts():
    """Every piece of prose: where it stands, and its text without code."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        yield path.name, CODE.sub("", path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                yield f"{path.name}, cell {cell['id']}", CODE.sub("", "".join(cell["source"]))


def problem(figure):
    """What is wrong with one quoted figure; None if nothing."""
    number, source = figure["number"].replace(",", ""), figure["source"]
    if source is None:
        return f"{figure[0]!r} names no source"
    if source == "by definition":
        return None
    value = SOURCES
    for part in source.split("."):
        if not isinstance(value, dict) or part not in value:
            return f"{figure[0]!r}: there is no {source}"
        value = value[part]
    decimals = len(number.partition(".")[2])
    measured = f"{value:.{decimals}f}"
    return None if measured == number else f"{figure[0]!r}: {source} is {value}"


def test_every_figure_in_prose_is_one_that_a_benchmark_measured():
    problems = [
        f"{where}: {found}" for where, text in texts() for f in FIGURE.finditer(text) if (found := problem(f))
    ]
    assert not problems, "\n".join(problems)


def test_every_result_states_its_conditions():
    for name, result in RESULTS.items():
        missing = {"date", "machine", "torch", "torchvision", "data", "weights"} - result["conditions"].keys()
        assert not missing, f"{name} does not say its {missing}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It takes 7 minutes.", "names no source"),
        ("It takes 3.5 hours<!-- nothing.here -->.", "there is no nothing.here"),
        ("The 95% interval<!-- by definition -->", "names no source"),
        ("The 95%<!-- by definition --> interval", None),
    ],
)
def test_the_check_itself(text, expected):
    found = problem(FIGURE.search(text))
    assert (found is None) if expected is None else expected in found


def test_the_check_compares_as_written(monkeypatch):
    monkeypatch.setitem(SOURCES, "x", {"minutes": 4.96})
    assert problem(FIGURE.search("5 minutes<!-- x.minutes -->")) is None
    assert problem(FIGURE.search("**5.0 minutes**<!-- x.minutes -->")) is None
    assert "x.minutes is 4.96" in problem(FIGURE.search("4 minutes<!-- x.minutes -->"))
