"""Writes the notebooks with every exercise solved: python tools/make_solutions.py DIR

For those who teach: the cells of the exercises hold the official solutions, all else is as it was. DIR must
not be the folder of the notebooks; existing files of the same names there are replaced.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from pathlib import Path

from resnet_course.common.files import write_atomically

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
TAKEN = re.compile(r"from resnet_course\.exercises import (\w+) as ex")
STUB = re.compile(r"(q\d+)-stub")


def solved(text: str) -> str:
    """A notebook's text with the official solution in the place of every stub.

    Raises ValueError for a stub that is no exercise's, so that no solution is left out unseen.
    """
    notebook = json.loads(text)
    modules = TAKEN.findall("".join("".join(cell["source"]) for cell in notebook["cells"]))
    for cell in notebook["cells"]:
        if match := STUB.fullmatch(cell.get("id", "")):
            if len(modules) != 1:
                raise ValueError(
                    f"the cell {cell['id']} is an exercise, but {len(modules)} modules are taken"
                )
            exercises = importlib.import_module(f"resnet_course.exercises.{modules[0]}")
            cell["source"] = getattr(exercises, match[1]).source.splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write all notebooks with solutions and print their paths. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Write the notebooks with every exercise solved.")
    parser.add_argument("folder", type=Path, metavar="DIR")
    folder = parser.parse_args(arguments).folder
    if folder.exists() and folder.samefile(NOTEBOOKS):  # whatever its case
        print(f"make_solutions: {folder} holds the notebooks themselves; give another one", file=sys.stderr)
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        text = solved(path.read_text(encoding="utf-8"))
        print(write_atomically(folder / path.name, lambda file, text=text: file.write(text.encode())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
