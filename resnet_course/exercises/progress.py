"""Remembers in one small file which exercises are solved. Trouble with the file never stops a learner."""

from __future__ import annotations

import json
from pathlib import Path

from resnet_course.common.console import print_escaped, say
from resnet_course.common.files import locked, write_atomically
from resnet_course.settings import Settings

MARKS = {"right": "✓", "wrong": "✗", "not attempted": "·"}
PATIENCE = 5.0  # seconds to wait for another notebook that writes


def record(module: str, question: str, outcome: str) -> None:
    """Remember how an exercise went last. What was right once stays right.

    module: such as "residual_blocks". question: such as "q1". outcome: a key of `MARKS`.
    """
    try:
        with locked(_path(), timeout=PATIENCE):  # notebooks side by side write the same file
            known = read()
            if known.get(module, {}).get(question) in ("right", outcome):
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


def show() -> None:
    """Print a small table: a line for each notebook with exercises, a mark for each exercise tried."""
    known = read()
    for module, questions in sorted(known.items()):
        marks = "  ".join(f"{name} {MARKS[outcome]}" for name, outcome in sorted(questions.items()))
        solved = sum(outcome == "right" for outcome in questions.values())
        print_escaped(f"{module:20} {marks}   {solved} of {len(questions)} solved")
    if not known:
        print_escaped("no exercise tried yet")


def _path() -> Path:
    return Settings.from_env().home / "progress.json"
