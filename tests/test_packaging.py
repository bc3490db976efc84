"""Holds the files around the package together: what is installed, what is committed, how it is built."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml  # comes with JupyterLab
from packaging.requirements import Requirement

import resnet_course

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

README_COMMANDS = (
    "pip install uv && uv run jupyter lab notebooks/00_start_here.ipynb",
    "pip install uv && uv run pytest",
)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


PYPROJECT = tomllib.loads(read("pyproject.toml"))


def bounds(requirements: list[str]) -> dict[str, str]:
    """The version bounds of each required package, by its name."""
    parsed = [Requirement(requirement) for requirement in requirements]
    return {requirement.name: str(requirement.specifier) for requirement in parsed}


# What is installed where


def test_environment_yml_has_the_packages_and_bounds_of_pyproject():
    environment = yaml.safe_load(read("environment.yml"))
    assert environment["name"] == "resnet-course"
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    *packages, by_pip = environment["dependencies"]
    assert by_pip == {"pip": ["-e ."]}

    wanted = bounds([*PYPROJECT["project"]["dependencies"], *PYPROJECT["dependency-groups"]["dev"]])
    wanted["pytorch-cpu"] = wanted.pop("torch")
    wanted |= {"python": PYPROJECT["project"]["requires-python"], "pip": ""}
    assert bounds(packages) == wanted
    assert len(packages) == len(wanted), "a package stands twice"


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("torch", "2.11.0"),
        ("torchvision", "0.26.0"),
        ("numpy", "2.1.3"),
        ("pillow", "11.3.0"),
        ("matplotlib", "3.10.0"),
        ("ipywidgets", "7.7.1"),
    ],
)
def test_the_bounds_admit_what_colab_has(name, version):
    assert version in Requirement(name + bounds(PYPROJECT["project"]["dependencies"])[name]).specifier


def test_the_readme_gives_the_two_commands_and_ci_runs_the_second():
    fenced = re.findall(r"^```\w*\n(.*?)^```", read("README.md"), re.MULTILINE | re.DOTALL)
    lines = [line for block in fenced for line in block.splitlines()]
    assert [command for command in README_COMMANDS if command not in lines] == []
    assert f"{README_COMMANDS[1]} || status=1" in read(".ci/run").splitlines()
    assert (ROOT / "notebooks" / "00_start_here.ipynb").is_file()


def test_contributing_strips_notebooks_as_ci_verifies_them():
    (options,) = re.findall(r"nbstripout --verify (.*\.ipynb)", read(".ci/run"))
    assert f"uv run nbstripout {options}" in read("CONTRIBUTING.md")


# What is committed


def test_no_committed_file_holds_the_address_of_a_registry():
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("this is no git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    names = [name for name in listed.decode().split("\0") if (ROOT / name).is_file()]
    assert "pyproject.toml" in names
    assert "uv.lock" not in names
    hosts = [("pypi", "org"), ("pythonhosted", "org"), ("registry", "npmjs"), ("anaconda", "org")]
    registries = [".".join(host).encode() for host in hosts]  # in parts, because this file is committed too
    assert [name for name in names if any(host in (ROOT / name).read_bytes() for host in registries)] == []


def find_traces(notebook: dict) -> list[str]:
    """What a notebook must not be committed with, or lacks."""
    traces = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and cell["outputs"]:
            traces.append("a cell has outputs")
        if cell["cell_type"] == "code" and cell["execution_count"] is not None:
            traces.append("a cell has an execution count")
    if "widgets" in notebook["metadata"]:
        traces.append("the metadata hold widgets")
    if notebook["metadata"].get("kernelspec", {}).get("name") != "python3":
        traces.append("the kernelspec is not python3")
    ids = [cell.get("id") for cell in notebook["cells"]]
    if None in ids or len(set(ids)) < len(ids):
        traces.append("a cell has no id, or that of another")
    return traces


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_committed_stripped(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    nbformat.validate(notebook)
    assert find_traces(notebook) == []


@pytest.mark.parametrize(
    ("spoil", "trace"),
    [
        (lambda notebook: notebook["cells"][0].update(outputs=[{}]), "a cell has outputs"),
        (lambda notebook: notebook["cells"][1].update(execution_count=1), "a cell has an execution count"),
        (lambda notebook: notebook["metadata"].update(widgets={}), "the metadata hold widgets"),
        (lambda notebook: notebook["metadata"].clear(), "the kernelspec is not python3"),
        (lambda notebook: notebook["cells"][0].pop("id"), "a cell has no id, or that of another"),
        (lambda notebook: notebook["cells"][0].update(id="b"), "a cell has no id, or that of another"),
    ],
)
def test_every_trace_in_a_notebook_is_found(spoil, trace):
    cells = [{"cell_type": "code", "id": name, "outputs": [], "execution_count": None} for name in "ab"]
    notebook = {"cells": cells, "metadata": {"kernelspec": {"name": "python3"}}}
    assert find_traces(notebook) == []
    spoil(notebook)
    assert find_traces(notebook) == [trace]


# How the package is built: who imports whom

CONTRACT = PYPROJECT["tool"]["importlinter"]["contracts"][0]
LAYERS = [layer.split(" | ") for layer in CONTRACT["layers"]]  # from high to low
ROOMS = [room for layer in LAYERS for room in layer]


def lint_imports(root: Path) -> subprocess.CompletedProcess:
    """Hold the package in a folder to the contracts of the pyproject.toml there."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=300)


def test_imports_run_in_one_direction():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture
def empty_rooms(tmp_path):
    """A package with the course's rooms and contracts, and nothing in the rooms."""
    root = tmp_path
    shutil.copy(ROOT / "pyproject.toml", root)
    (root / "resnet_course").mkdir()
    (root / "resnet_course" / "__init__.py").touch()
    for room in ROOMS:
        if (ROOT / "resnet_course" / room).is_dir():
            (root / "resnet_course" / room).mkdir()
            (root / "resnet_course" / room / "__init__.py").touch()
            (root / "resnet_course" / room / "module.py").touch()
        else:
            (root / "resnet_course" / f"{room}.py").touch()
    return root


WRONG = {
    "settings.py": "import resnet_course.training",
    "resnet/module.py": "from resnet_course import settings",
    "inputs/module.py": "from resnet_course.recipes import x",
    "data/module.py": "def f():\n    from .. import transfer",
    "__main__.py": "def f():\n    from .teaching import x",
    "exercises/module.py": "import resnet_course.__main__",
}
RIGHT = {
    "teaching/module.py": "from resnet_course.prediction import x",
    "__main__.py": "from resnet_course.training import x",
    "inputs/module.py": "import typing\nif typing.TYPE_CHECKING:\n    import resnet_course.recipes",
}


def test_every_import_against_the_direction_is_named(empty_rooms):
    for path, source in WRONG.items():
        (empty_rooms / "resnet_course" / path).write_text(source)
    result = lint_imports(empty_rooms)
    found = re.findall(r"resnet_course\.([\w.]+) -> ", result.stdout)
    assert result.returncode == 1
    assert {*found} >= {path.removesuffix(".py").replace("/", ".") for path in WRONG}


def test_imports_with_the_direction_and_for_type_checkers_alone_are_right(empty_rooms):
    for path, source in RIGHT.items():
        (empty_rooms / "resnet_course" / path).write_text(source)
    result = lint_imports(empty_rooms)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_room_that_has_no_place_is_named(empty_rooms):
    (empty_rooms / "resnet_course" / "cellar.py").touch()
    result = lint_imports(empty_rooms)
    assert result.returncode == 1 and "cellar" in result.stdout


def test_the_readme_draws_the_layers_of_the_contract_in_at_most_eight_steps():
    (drawing,) = re.findall(r"^## How it is built\n.*?^```text\n(.*?)^```", read("README.md"), re.M | re.S)
    steps = [re.match(r"[ ↓]*(.*?)(  |$)", line)[1] for line in drawing.splitlines()]
    assert [layer for step in steps for layer in step.split(" → ")] == CONTRACT["layers"]
    assert len(steps) <= 8


# How large it is

MOST_LINES, MOST_LINES_OF_EXERCISES, MOST_OF_A_FUNCTION, MOST_OF_A_CLASS, MOST_NAMES = 300, 600, 60, 150, 16


def find_large(path: Path, source: str) -> list[str]:
    """One sentence for the file, and each function and class in it, that is longer than its bar."""
    found = []
    most = MOST_LINES_OF_EXERCISES if "exercises" in path.parts else MOST_LINES
    if (lines := source.count("\n")) > most:
        found.append(f"{path} has {lines} lines; at most {most}")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            most = MOST_OF_A_CLASS if isinstance(node, ast.ClassDef) else MOST_OF_A_FUNCTION
            if (lines := node.end_lineno - node.lineno + 1) > most:
                found.append(f"{path}: {node.name} has {lines} lines; at most {most}")
    return found


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "resnet_course").rglob("*.py")),
    ids=lambda path: path.parent.name + "/" + path.name,
)
def test_no_file_function_or_class_is_too_long_to_read(path):
    assert find_large(path.relative_to(ROOT), path.read_text(encoding="utf-8")) == []


def made_up(lines: int, head: str = "") -> str:
    """A source of so many lines: a definition, if there is a head, and its body."""
    return (f"{head}\n" if head else "") + "    pass\n".removeprefix("" if head else "    ") * (
        lines - bool(head)
    )


@pytest.mark.parametrize(
    ("path", "head", "most", "name"),
    [
        ("resnet_course/a.py", "", 300, ""),
        ("resnet_course/exercises/a.py", "", 600, ""),
        ("resnet_course/a.py", "def f():", 60, ": f"),
        ("resnet_course/a.py", "async def f():", 60, ": f"),
        ("resnet_course/a.py", "class C:", 150, ": C"),
        ("resnet_course/exercises/a.py", "class C:", 150, ": C"),
    ],
)
def test_what_is_one_line_too_long_is_found(path, head, most, name):
    path = Path(path)
    assert find_large(path, made_up(most, head)) == []
    assert find_large(path, made_up(most + 1, head)) == [f"{path}{name} has {most + 1} lines; at most {most}"]


def test_the_top_of_the_package_is_seen_at_one_glance():
    names = {path.name for path in (ROOT / "resnet_course").iterdir() if not path.name.startswith(".")}
    assert len(names - {"__init__.py", "__main__.py", "__pycache__"}) <= MOST_NAMES


# What CONTRIBUTING.md says

CHANGES = (
    *("an optimiser", "an augmentation", "another depth", "a data source", "a metric", "a widget"),
    *(
        "a recipe",
        "a device",
        "an exercise",
        "a notebook",
        "an export",
        "a command",
        "what `--minutes` chooses",
        "the report",
    ),
)


def where_to_change_what() -> dict[str, list[str]]:
    """The table of CONTRIBUTING.md: the paths named for each change."""
    (section,) = re.findall(r"^## Where to change what\n(.*?)^## ", read("CONTRIBUTING.md"), re.M | re.S)
    rows = [line.strip("|").split("|", 1) for line in section.splitlines() if line.startswith("| ")]
    path = re.compile(r"`([\w./-]+/[\w./-]*|\w+\.\w+)`")
    return {change.strip(): path.findall(files) for change, files in rows[1:]}


def test_contributing_says_where_to_make_these_changes_and_every_file_is_there():
    table = where_to_change_what()
    assert tuple(table) == CHANGES
    assert [change for change, files in table.items() if len(files) < 2] == []
    named = {file for files in table.values() for file in files}
    assert [file for file in sorted(named) if not (ROOT / file).exists()] == []


# What says which version it is


def test_all_that_names_the_version_names_the_same():
    version = tomllib.loads(read("pyproject.toml"))["project"]["version"]
    assert resnet_course.__version__ == version
    assert f"\nversion: {version}\n" in read("CITATION.cff")
    assert re.search(r"^## (.*)$", read("CHANGELOG.md"), re.M)[1] == version
