"""A page that says what was done in the course, and a command by which anyone can check it.

python -m resnet_course.exercises.record write my-record.html "Ada Lovelace"
python -m resnet_course.exercises.record check my-record.html
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import re
import sys
from html import escape
from pathlib import Path
from typing import Any

from resnet_course import __version__
from resnet_course.common.console import print_escaped, printable
from resnet_course.common.errors import CourseError
from resnet_course.common.files import write_atomically
from resnet_course.exercises import progress
from resnet_course.exercises.core import Exercise

DATA = re.compile(r'<script type="application/json">(.*?)</script>', re.DOTALL)
TITLE = "ResNet-18 transfer learning on a CPU: what was done"
HEADS = ("notebook", "exercises solved", "questions before", "questions after")
STYLE = (
    "body{font-family:sans-serif;max-width:45em;margin:2em auto;line-height:1.5}"
    "table{border-collapse:collapse}td,th{border:1px solid #888;padding:.3em .8em;text-align:left}"
)


class RecordError(CourseError):
    """A file is no record that this version of the course has written. The message says what is wrong."""


def exercises(module: str) -> list[str]:
    """The names of all exercises in a module of this room, such as ["q1", "q2"]."""
    members = vars(importlib.import_module(f"resnet_course.exercises.{module}")).values()
    return sorted({member.name for member in members if isinstance(member, Exercise)})


def content(name: str = "") -> dict[str, Any]:
    """For each notebook, the exercises by outcome and the right answers before and after it.

    name: of the learner, as they give it.
    """
    known, notebooks = progress.read(), {}
    for notebook, module in progress.MODULES.items():
        outcomes = {name: known.get(module, {}).get(name, "not attempted") for name in exercises(module)}
        counts = progress.self_tests(known, notebook)
        notebooks[notebook] = {"exercises": outcomes} | counts
    date = datetime.datetime.now().astimezone().date().isoformat()
    return {"version": __version__, "name": printable(name), "date": date, "notebooks": notebooks}


def write(path: Path | str, name: str = "") -> None:
    """Write the record of this home folder as one HTML page. Raises OSError if it cannot be written."""
    write_atomically(Path(path), lambda file: file.write(_page(content(name)).encode()))
    print_escaped(f"written: {path}")


def check(path: Path | str) -> dict[str, Any]:
    """The content of a record. Raises RecordError if a word of its page is not as this version wrote it."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} cannot be read: {error}") from error
    try:
        said = json.loads(DATA.search(text)[1])
        version, same = said["version"], _page(said) == text
    except (KeyError, TypeError, ValueError, AttributeError):
        version, same = __version__, False
    if version != __version__:
        raise RecordError(f"{path} was written by version {version}; check it with that one")
    if not same:
        raise RecordError(f"{path} is not as the course wrote it; ask for the file itself, unchanged")
    return said


def _page(said: dict[str, Any]) -> str:
    rows = []
    for notebook, found in said["notebooks"].items():
        solved = sum(outcome == "right" for outcome in found["exercises"].values())
        which = ", ".join(
            f"{name.removeprefix('q')} {progress.MARKS[outcome]}"
            for name, outcome in found["exercises"].items()
        )
        cells = (
            notebook,
            f"{solved} of {len(found['exercises'])} ({which})",
            f"{found['before']} of {found['questions']}",
            f"{found['after']} of {found['questions']}",
        )
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    data = json.dumps(said, indent=1, sort_keys=True).replace("<", "\\u003c")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{TITLE}</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>{TITLE}</h1>\n"
        f"<p>{escape(said['name'])}</p>\n"
        f"<p>In the course <em>resnet_course</em>, version {escape(said['version'])}, "
        f"until {escape(said['date'])}. {escape(progress.LEGEND)}.</p>\n"
        f"<table><thead><tr>{heads}</tr></thead><tbody>\n" + "\n".join(rows) + "\n</tbody></table>\n"
        "<p>To check that this page is as the course wrote it: "
        "<code>python -m resnet_course.exercises.record check FILE</code>. "
        "That cannot show who solved the exercises.</p>\n"
        f'<script type="application/json">{data}</script>\n</body></html>\n'
    )


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns its exit status: 0, or 1 if a record is not as it was written."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("action", choices=("write", "check"))
    parser.add_argument("file", type=Path)
    parser.add_argument("name", nargs="?", default="", help="of the learner, to stand on the page")
    options = parser.parse_args(arguments)
    try:
        if options.action == "write":
            write(options.file, options.name)
        else:
            said = check(options.file)
            solved = [o for n in said["notebooks"].values() for o in n["exercises"].values()]
            found = f"{solved.count('right')} of {len(solved)} exercises solved, {said['date']}"
            print_escaped(f"as the course wrote it: {said['name'] or 'no name'}, {found}")
    except (CourseError, OSError) as error:
        print_escaped(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
