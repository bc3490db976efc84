"""Holds the files around the package together: what is installed, what is committed, who imports whom."""

import ast
import json
import re
import shutil
import subprocess
import tomllib
from importlib.util import resolve_name
from pathlib import Path

import nbformat
import pytest
import yaml  # comes with JupyterLab
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# The rooms of the package in the one direction of imports: each may use those before it.
ROOMS = (
    *("setup_cell", "repository", "settings", "console", "processes", "download"),
    *("data", "augment", "recipes", "batches"),
    *(
        "resnet",
        "stacks",
        "anatomy",
        "checkpoint",
        "transfer",
        "cpu",
        "features",
        "evaluation",
        "metrics",
        "gradcam",
        "corruptions",
        "training",
        "prediction",
        "advice",
    ),
    *("plots", "widgets", "progress", "exercises", "__main__"),
)

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


# Who imports whom


def find_wrong_imports(name: str, source: str) -> list[str]:
    """One sentence for each import of a module that runs against the direction of ROOMS.

    name: the module's full name, a package's with .__init__ at the end.
    """
    room = name.split(".")[1]
    imported = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), name.rpartition(".")[0])
            imported += [f"{module}.{alias.name}" for alias in node.names]
    targets = [full.split(".")[1] for full in imported if full.startswith("resnet_course.")]
    before = ROOMS[: ROOMS.index(room) + 1] if room in ROOMS else ()
    return [
        f"{name} imports {target}, which stands after {room} in ROOMS: imports run in one direction"
        for target in targets
        if target in ROOMS and target not in before
    ]


def modules() -> dict[str, Path]:
    """Every module of the package, by its full name."""
    paths = sorted((ROOT / "resnet_course").rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}


def test_every_module_stands_in_a_known_room():
    rooms = {name.split(".")[1] for name in modules()} - {"__init__"}
    assert rooms <= {*ROOMS}, "put the new room where it belongs in ROOMS"


@pytest.mark.parametrize("name", modules())
def test_imports_run_in_one_direction(name):
    assert find_wrong_imports(name, modules()[name].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("name", "source", "target"),
    [
        ("resnet_course.settings", "import resnet_course.training", "training"),
        ("resnet_course.settings", "def f():\n    from resnet_course.training import fit", "training"),
        ("resnet_course.settings", "from resnet_course import training", "training"),
        ("resnet_course.settings", "from .training import fit", "training"),
        ("resnet_course.data.folder", "from .. import transfer", "transfer"),
        ("resnet_course.data.__init__", "from ..batches import eval_batches", "batches"),
        ("resnet_course.repository", "from resnet_course.settings import Settings", "settings"),
        ("resnet_course.__init__", "from resnet_course.settings import Settings", "settings"),
        ("resnet_course.data.folder", "from . import images\nfrom resnet_course import console", None),
        ("resnet_course.__main__", "from resnet_course import __version__, plots", None),
        ("resnet_course.setup_cell", "import resnet_course", None),
    ],
)
def test_an_import_against_the_direction_is_named(name, source, target):
    found = find_wrong_imports(name, source)
    if target is None:
        assert found == []
    else:
        room = name.split(".")[1]
        sentence = (
            f"{name} imports {target}, which stands after {room} in ROOMS: imports run in one direction"
        )
        assert found == [sentence]
