"""Minutes of every notebook and of its sections, by mode, as nbclient runs it, and the kernel's peak memory.

The minutes begin with the kernel's start. Memory is read as Linux tells it.

uv run python benchmarks/notebooks.py --mode laptop --data … --weights … --data-is … --weights-are …
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from record import RESULTS, parser, record

NOTEBOOKS = RESULTS.parents[1] / "notebooks"


def main() -> None:
    """Run the notebooks one after another; record each as soon as it is done."""
    arguments = parser(__doc__)
    arguments.add_argument("--mode", required=True, choices=("reduced", "laptop", "full"))
    arguments.add_argument("--executed", type=Path, help="a folder for the notebooks with their outputs")
    arguments.add_argument("notebooks", nargs="*", help="names such as 00_start_here; all, if none is given")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as home:
        names = {"MODE": options.mode, "DATA": options.data, "WEIGHTS": options.weights, "HOME": home}
        os.environ.update({f"RESNET_COURSE_{name}": value for name, value in names.items()})
        for path in sorted(NOTEBOOKS.glob("*.ipynb")):
            if not options.notebooks or path.stem in options.notebooks:
                measured = run(path, options.executed)
                record(f"notebook_{path.stem}_{options.mode}", measured, options.data_is, options.weights_are)


def run(path: Path, executed: Path | None) -> dict[str, Any]:
    """Execute a notebook and return its minutes and seconds, those of each section, and its peak memory.

    executed: a folder for what was run so far, cells with their outputs, also where a cell fails.
    """
    notebook, began, gigabytes = nbformat.read(path, as_version=4), {}, []
    sections = sections_of(notebook.cells)
    minutes = dict.fromkeys(sorted(set(sections)), 0.0)

    def begin(cell: Any, cell_index: int) -> None:
        began[cell_index] = time.perf_counter()

    def end(cell: Any, cell_index: int, execute_reply: Any) -> None:
        minutes[sections[cell_index]] += (time.perf_counter() - began[cell_index]) / 60
        status = Path(f"/proc/{client.km.provisioner.pid}/status").read_text(encoding="ascii")
        gigabytes.append(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024 / 1e9)

    client = NotebookClient(
        notebook,
        timeout=4 * 3600,  # of a cell: nbclient can miss the end of one with a widget (its issue 312)
        startup_timeout=300,
        resources={"metadata": {"path": NOTEBOOKS}},
        on_cell_start=begin,
        on_cell_executed=end,
    )
    start = time.perf_counter()
    try:
        client.execute()
    finally:
        if executed:
            executed.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, executed / path.name)
    seconds = time.perf_counter() - start
    by_section = {f"section_{number}": round(each, 2) for number, each in minutes.items()}
    return {
        "minutes": round(seconds / 60, 2),
        "seconds": round(seconds, 1),
        "minutes_of": by_section,
        "peak_memory_gigabytes": round(max(gigabytes), 2),
    }


def sections_of(cells: list[Any]) -> list[int]:
    """The number of the section in which each cell stands, from "## 3. …" or "## Part 3 …"; at first 0."""
    number, numbers = 0, []
    for cell in cells:
        found = re.search(r"^## (?:Part )?(\d+)", cell.source, re.MULTILINE)
        if cell.cell_type == "markdown" and found:
            number = int(found[1])
        numbers.append(number)
    return numbers


if __name__ == "__main__":
    main()
