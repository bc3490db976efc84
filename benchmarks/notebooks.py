"""Minutes of every notebook, by mode, as nbclient runs it: from the kernel's start to its last cell.

uv run python benchmarks/notebooks.py --mode laptop --data … --weights … --data-is … --weights-are …
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from record import RESULTS, parser, record

NOTEBOOKS = RESULTS.parents[1] / "notebooks"


def main() -> None:
    """Run the notebooks one after another and record the minutes of each."""
    arguments = parser(__doc__)
    arguments.add_argument("--mode", required=True, choices=("reduced", "laptop", "full"))
    arguments.add_argument("--executed", type=Path, help="a folder for the notebooks with their outputs")
    arguments.add_argument("notebooks", nargs="*", help="names such as 00_start_here; all, if none is given")
    options = arguments.parse_args()
    seconds = {}
    with tempfile.TemporaryDirectory() as home:
        names = {"MODE": options.mode, "DATA": options.data, "WEIGHTS": options.weights, "HOME": home}
        os.environ.update({f"RESNET_COURSE_{name}": value for name, value in names.items()})
        for path in sorted(NOTEBOOKS.glob("*.ipynb")):
            if options.notebooks and path.stem not in options.notebooks:
                continue
            notebook = nbformat.read(path, as_version=4)
            start = time.perf_counter()
            NotebookClient(notebook, timeout=None, resources={"metadata": {"path": NOTEBOOKS}}).execute()
            seconds[path.stem] = time.perf_counter() - start
            if options.executed:
                options.executed.mkdir(parents=True, exist_ok=True)
                nbformat.write(notebook, options.executed / path.name)
    for name, value in seconds.items():
        measured = {"minutes": round(value / 60, 2), "seconds": round(value, 1)}
        record(f"notebook_{name}_{options.mode}", measured, options.data_is, options.weights_are)


if __name__ == "__main__":
    main()
