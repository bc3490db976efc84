"""Remembers in one small file which exercises are solved. Trouble with the file never stops a learner."""

from __future__ import annotations

import json
from pathlib import Path

from resnet_course.common.console import print_escaped, say
from resnet_course.common.files import locked, write_atomically
from resnet_course.exercises import questions
from resnet_course.settings import Settings

MARKS = {"right": "✓", "wrong": "✗", "not attempted": "·"}
LEGEND = "✓ solved, ✗ tried, · not attempted"
# The exercises of each notebook are in a module of this room.
MODULES = {
    "00": "start_here",
    "01": "residual_blocks",
    "02": "augmentation",
    "03": "freezing",
    "04": "cpu_training",
    "05": "evaluation",
}
PATIENCE = 5.0  # seconds to wait for another notebook that writes


def record(module: str, question: str, outcome: str, keep_right: bool = True) -> None:
    """Remember how an exercise or a question of a self-test went last.

    module: such as "residual_blocks". question: such as "q1". outcome: a key of `MARKS`.
    keep_right: what was right once stays right.
    """
    try:
        with locked(_path(), timeout=PATIENCE):  # notebooks side by side write the same file
            known = read()
            last = known.get(module, {}).get(question)
            if last == outcome or (last == "right" and keep_right):
                return
            known.setdefault(module, {})[question] = outcome
            text = json.dumps(known, indent=1, sort_keys=True) + "\n"
            write_atomically(_path(), lambda file: file.write(text.encode()))
    except Exception as error:
        say(f"(Your progress cannot be saved: {error}. Everything else works.)")


def read() -> dict[str, dict[str, str]]:
    """What is recorded, by module and question; empty if there is no file that can be read."""
    try:
        known = json.loads(_path().read_text(encoding="utf-8"))
        return {
            str(module): {str(name): outcome for name, outcome in questions.items() if outcome in MARKS}
            for module, questions in known.items()
        }
    except FileNotFoundError:
        return {}
    except Exception as error:  # whatever a foreign file holds, and whatever the settings say
        say(f"(Your progress so far cannot be read: {error}. It starts again.)")
        return {}


def self_tests(known: dict[str, dict[str, str]], notebook: str) -> dict[str, int]:
    """How many questions a notebook has, and how many were answered rightly before and after reading it."""
    counts = {"questions": len(questions.of_notebook(notebook))}
    for when in ("before", "after"):
        answers = known.get(f"questions {when}", {})
        counts[when] = sum(
            answers.get(question.key) == "right" for question in questions.of_notebook(notebook)
        )
    return counts


def show() -> None:
    """Print a table in the order of the course: a line for each notebook in which something was tried."""
    known = read()
    for notebook, module in MODULES.items():
        marks = {name: MARKS[outcome] for name, outcome in sorted(known.get(module, {}).items())}
        line = "  ".join(f"{name.removeprefix('q')} {mark}" for name, mark in marks.items())
        counts = self_tests(known, notebook)
        asked = [f"{counts[when]} {when}" for when in ("before", "after") if counts[when]]
        if asked:
            line += f"   questions of {counts['questions']}: {', '.join(asked)}"
        if line:
            print_escaped(f"notebook {notebook}   {line}")
    print_escaped(LEGEND if known else "no exercise tried yet")


def _path() -> Path:
    return Settings.from_env().home / "progress.json"
