"""The course's docstrings as reStructuredText: paragraphs, `code`, a list of what is said of each name."""

from __future__ import annotations

import re

NAME = re.compile(r"[*\w]+(, [*\w]+)*: ")
SPECIAL = re.compile(r"([\\*|_])")


def to_rst(lines: list[str]) -> None:
    """Change the lines of a docstring in place, as Sphinx's event wants it.

    A line such as "recipe: what to train." becomes an entry of a list; deeper lines belong to the line above
    them. Indented blocks stay as they are written.
    """
    changed: list[str] = []
    for line in lines:
        text = line.strip()
        deeper = line.startswith(" ") and bool(changed)
        if not text:
            changed.append("")
        elif deeper and changed[-1]:
            changed[-1] += " " + _escaped(text)
        elif deeper:
            changed.append("| ``" + text.replace("`", "'") + "``")
        elif changed and NAME.match(text):
            name, _, meaning = text.partition(": ")
            if changed and changed[-1] and not changed[-1].startswith("* "):
                changed.append("")
            changed.append(f"* ``{name}``: {_escaped(meaning)}")
        elif changed and changed[-1].startswith("* ") and changed[-1].endswith("."):
            changed += ["", _escaped(text)]  # the sentence before is at its end
        elif changed and changed[-1]:
            changed[-1] += " " + _escaped(text)
        else:
            changed.append(_escaped(text))
    lines[:] = [*changed, ""]


def _escaped(text: str) -> str:
    """With every mark of reST taken literally, but for `code`."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a single mark is no code
        return SPECIAL.sub(r"\\\1", text).replace("`", r"\`")
    return "".join(
        f"``{part}``" if place % 2 else SPECIAL.sub(r"\\\1", part) for place, part in enumerate(parts)
    )
