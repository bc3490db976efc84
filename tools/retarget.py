"""Sets the repository's address: python tools/retarget.py OWNER/NAME

An address such as http://localhost:8000/OWNER/NAME is taken too, to try the set-up cell with a local server.

pyproject.toml holds it; the README and every notebook's link to Colab and set-up cell repeat it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from pathlib import Path

COURSE = Path(__file__).resolve().parents[1]  # the top folder, in a clone
GITHUB = "https://github.com/"
# No picture: that would be broken wherever there is no network.
LINK = "[Open in Colab]("
COLAB = "https://colab.research.google.com/github/"
SETUP_ID = "setup"  # the id of the set-up cell in every notebook

_OWNER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+(?<!\.git)")
_LOCAL = re.compile(r"http://(?:localhost|127\.0\.0\.1):\d+/")
_HOST = re.compile(f"{re.escape(GITHUB)}|{_LOCAL.pattern}")
_ADDRESS_LINE = re.compile(r"^Repository *=.*$", re.MULTILINE)
_README_LINK = re.compile(rf"(?:(?<={re.escape(COLAB)})|(?<=git clone {re.escape(GITHUB)}))[\w-]+/[\w.-]+")


class RepositoryError(ValueError):
    """The address or a notebook is wrong. The message says what was found and what would be right."""


def read_address(root: Path = COURSE) -> str:
    """The address of the repository, such as "https://github.com/ada/resnet-course".

    root: the top folder of a clone.
    Raises RepositoryError if it is no clone of the course, or if the address is none at GitHub.
    """
    try:
        project = tomllib.loads(_read(root / "pyproject.toml"))["project"]
    except (FileNotFoundError, KeyError):
        project = {}
    if project.get("name") != "resnet-course":
        raise RepositoryError(f"{root} is no clone of the course: it has no pyproject.toml of resnet-course")
    address = project.get("urls", {}).get("Repository", "")
    if not _HOST.match(address) or not _OWNER_NAME.fullmatch(_owner_name(address)):
        raise RepositoryError(f"pyproject.toml: Repository is {address!r}; it must be {GITHUB}OWNER/NAME")
    return address


def _owner_name(address: str) -> str:
    """What stands behind the host: OWNER/NAME."""
    return _HOST.sub("", address, count=1)


def colab_link(notebook_name: str, address: str) -> str:
    """The Markdown line that opens a notebook in Colab.

    notebook_name: the file's name, such as "00_start_here.ipynb".
    address: what `read_address` returns.
    """
    return f"{LINK}{COLAB}{_owner_name(address)}/blob/main/notebooks/{notebook_name})"


def setup_cell(address: str) -> str:
    """The source of the set-up cell: set-up-cell.py with this address in it."""
    template = _read(Path(__file__).with_name("set-up-cell.py"))
    return template.replace(f'"{GITHUB}OWNER/NAME"', f'"{address}"').strip()


def retarget(owner_name: str, root: Path = COURSE) -> list[Path]:
    """Set the address in pyproject.toml and repeat it in the notebooks and in README.md.

    owner_name: "OWNER/NAME" of the repository at GitHub, or the address of a copy on this machine.
    root: the top folder of a clone.
    Returns the files that changed.
    Raises RepositoryError, before anything is written, for anything but OWNER/NAME, outside a clone, and for
    a notebook without a link to Colab or a set-up cell.
    """
    if not _OWNER_NAME.fullmatch(_LOCAL.sub("", owner_name, count=1)):
        raise RepositoryError(
            f"repository is {owner_name!r}; it must be OWNER/NAME, such as ada/resnet-course"
        )
    read_address(root)
    address = owner_name if _LOCAL.match(owner_name) else GITHUB + owner_name
    texts = {path: _retargeted(path, address) for path in _files(root)}
    changed = [path for path, text in texts.items() if text != _read(path)]
    for path in changed:
        unfinished = path.with_name(f"{path.name}.unfinished")
        unfinished.write_text(texts[path], encoding="utf-8", newline="\n")
        unfinished.replace(path)
    return changed


def find_problems(root: Path = COURSE) -> list[str]:
    """One sentence for each file whose link to Colab or set-up cell is not that of pyproject.toml's address.

    root: the top folder of a clone.
    Raises RepositoryError if it is no clone of the course.
    """
    address = read_address(root)
    problems = []
    for path in _files(root):
        try:
            if _retargeted(path, address) != _read(path):
                problems.append(f"{path.name}: the link to Colab or the set-up cell is not that of {address}")
        except RepositoryError as error:
            problems.append(str(error))
    return problems


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _files(root: Path) -> list[Path]:
    """The files that hold the address."""
    return [root / "pyproject.toml", root / "README.md", *sorted((root / "notebooks").glob("*.ipynb"))]


def _retargeted(path: Path, address: str) -> str:
    """The text that a file has once it repeats `address`."""
    text = _read(path)
    if path.name == "pyproject.toml":
        return _ADDRESS_LINE.sub(f'Repository = "{address}"', text)
    if path.name == "README.md":
        return _README_LINK.sub(_owner_name(address), text)

    notebook = json.loads(text)
    title = next((cell for cell in notebook["cells"] if cell["cell_type"] == "markdown"), {"source": ""})
    lines = "".join(title["source"]).split("\n")
    links = [number for number, line in enumerate(lines) if line.startswith(LINK)]
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    setups = [cell for cell in code if cell.get("id") == SETUP_ID]
    if len(links) != 1:
        found = f"{path.name}: the first Markdown cell has {len(links)} links to Colab"
        raise RepositoryError(f"{found}; it must have this line, once: {colab_link(path.name, address)}")
    if len(setups) != 1:
        found = f"{path.name}: {len(setups)} code cells have the id {SETUP_ID!r}"
        raise RepositoryError(f"{found}; one must, with the text of tools/set-up-cell.py")
    lines[links[0]] = colab_link(path.name, address)
    title["source"] = "\n".join(lines).splitlines(keepends=True)
    setups[0]["source"] = setup_cell(address).splitlines(keepends=True)
    if notebook == json.loads(text):
        return text
    # As Jupyter and nbstripout write it, so that nothing but the two cells changes.
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Retarget this clone and print the files that changed. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Set the repository's address, here and in all notebooks.")
    parser.add_argument("repository", metavar="OWNER/NAME")
    try:
        changed = retarget(parser.parse_args(arguments).repository)
    except (RepositoryError, OSError) as error:
        print(f"retarget: {error}", file=sys.stderr)
        return 2
    print(*changed, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
