"""Builds the reading edition: the whole course as HTML pages, with all outputs, for any web server or a disk.

uv run --group pages python tools/reading_edition/build.py [--out site] [--executed DIR] [--jobs 2]

It runs every notebook first, with the variables of the course (RESNET_COURSE_MODE=reduced: minutes), or
takes those that were run already from DIR. The pages need no kernel and no network. Sphinx makes them, with
MyST-NB and the theme Furo: all three are maintained, and the search works from a disk too.
"""

from __future__ import annotations

import argparse
import pkgutil
import re
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from sphinx.cmd.build import main as sphinx

import resnet_course

HERE = Path(__file__).parent
COURSE = HERE.parents[1]
WIDGET = "application/vnd.jupyter.widget-view+json"
ANCHOR = re.compile(r'<a id="([^"]+)"></a>\*\*([^*]+)\*\*')


def main(arguments: list[str] | None = None) -> int:
    """Run the notebooks, gather the sources of all pages, build them. Returns 1 if there is a warning."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=COURSE / "build" / "site")
    parser.add_argument("--executed", type=Path, help="a folder of notebooks that were run already")
    parser.add_argument("--jobs", type=int, default=1, help="so many notebooks run side by side")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "source"
        (source / "notebooks").mkdir(parents=True)
        paths = sorted((COURSE / "notebooks").glob("*.ipynb"))
        with ThreadPoolExecutor(options.jobs) as pool:
            executed = pool.map(lambda path: _run(path, options.executed), paths)
            for path, notebook in zip(paths, executed, strict=True):
                nbformat.write(readable(notebook), source / "notebooks" / path.name)
        gather(source)
        status = sphinx(["-q", "-W", "--keep-going", "-c", str(HERE), str(source), str(options.out)])
    for page in options.out.rglob("*.html"):
        page.write_text(accessible(page.read_text(encoding="utf-8")), encoding="utf-8")
    return status


def _run(path: Path, executed: Path | None) -> nbformat.NotebookNode:
    """The notebook with its outputs. Raises nbclient's CellExecutionError where a cell fails."""
    if executed:
        return nbformat.read(executed / path.name, as_version=4)
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": path.parent}}
    NotebookClient(notebook, timeout=None, startup_timeout=300, resources=where).execute()
    return notebook


def readable(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without what only works with a kernel; cells that JupyterLab folds are folded on the page too."""
    for cell in notebook.cells:
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            cell.metadata["tags"] = ["hide-input"]
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if "text/html" in o.get("data", ()) or not _is_widget(o)]
    return notebook


def _is_widget(output: nbformat.NotebookNode) -> bool:
    return WIDGET in output.get("data", ())


def accessible(page: str) -> str:
    """A page of Sphinx with what it lacks: a level for headings, a way by keyboard into what scrolls."""
    return page.replace('role="heading">', 'role="heading" aria-level="2">').replace(
        "<pre>", '<pre tabindex="0">'
    )


def gather(source: Path) -> None:
    """Put everything beside the notebooks that the pages are made of: texts, drawings, the reference."""
    shutil.copytree(COURSE / "docs", source / "docs")
    glossary = source / "docs" / "glossary.md"
    text = glossary.read_text(encoding="utf-8")
    glossary.write_text(ANCHOR.sub(r"[**\2**]{#\1}", text), encoding="utf-8")  # MyST knows such targets
    shutil.copy(HERE / "index.md", source)
    (source / "reference").mkdir()
    for room, modules in rooms().items():
        (source / "reference" / f"{room}.md").write_text(_page(room, modules), encoding="utf-8")


def rooms() -> dict[str, list[tuple[str, bool]]]:
    """By the name of each room of the package, its modules, and whether each is a package itself."""
    found: dict[str, list[tuple[str, bool]]] = {}
    for module in pkgutil.walk_packages(resnet_course.__path__, "resnet_course."):
        room = module.name.split(".")[1]
        if room != "__main__":
            found.setdefault(room, []).append((module.name, module.ispkg))
    return found


def _page(room: str, modules: list[tuple[str, bool]]) -> str:
    parts = [f"# {room}\n"]
    for module, is_package in modules:
        heading = f"## {module.removeprefix('resnet_course.')}\n\n" if len(modules) > 1 else ""
        members = (
            "" if is_package else "   :members:\n"
        )  # what it only passes on is described where it is made
        parts.append(f"{heading}```{{eval-rst}}\n.. automodule:: {module}\n{members}```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
