"""The three-pass proof for every notebook with exercises: untouched, strict, and strict with the solutions.

That the untouched notebook runs through as a whole is what nbval proves; here only the cells run that
the exercises are made of, so that three passes take seconds.
"""

import ast
import importlib
import json
import re
from pathlib import Path

import pytest

from resnet_course.exercises.core import ExerciseError

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("0[1-5]_*.ipynb"))
EXERCISE_CELL = re.compile(r"q\d-(stub|check)")


def code_cells(path):
    """The source of every code cell, by the cell's id, in the order of the notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return {cell["id"]: "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"}


def exercises_of(cells):
    """The module that the notebook takes as `ex`."""
    (name,) = re.findall(r"from resnet_course\.exercises import (\w+) as ex", cells["imports"])
    return importlib.import_module(f"resnet_course.exercises.{name}")


def questions_of(module):
    return {name: question for name, question in vars(module).items() if re.fullmatch(r"q\d", name)}


def run(cells, replaced):
    """Execute set-up, imports and the exercise cells in one name space, some with another source."""
    names = {}
    for cell, source in cells.items():
        if cell in ("setup", "imports") or EXERCISE_CELL.fullmatch(cell):
            exec(compile(replaced.get(cell, source), cell, "exec"), names)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path))
    monkeypatch.delenv("RESNET_COURSE_STRICT", raising=False)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def cells(request):
    return code_cells(request.param)


def test_the_notebook_holds_every_exercise_word_for_word(cells):
    questions = questions_of(exercises_of(cells))
    assert 3 <= len(questions) <= 5
    for name, question in questions.items():
        assert question.name == name
        assert cells[f"{name}-stub"] == question.stub
        assert cells[f"{name}-check"].startswith(f"ex.{name}.check(")
    assert {cell[:2] for cell in cells if EXERCISE_CELL.fullmatch(cell)} == questions.keys()


def test_untouched_it_runs_through_and_says_so(cells, capsys):
    run(cells, {})
    assert capsys.readouterr().out.count("not attempted yet") == len(questions_of(exercises_of(cells)))


def test_untouched_and_strict_it_fails(cells, monkeypatch):
    monkeypatch.setenv("RESNET_COURSE_STRICT", "1")
    with pytest.raises(ExerciseError, match="not attempted yet"):
        run(cells, {})


def test_with_the_solutions_it_passes_strict(cells, monkeypatch, capsys):
    monkeypatch.setenv("RESNET_COURSE_STRICT", "1")
    questions = questions_of(exercises_of(cells))
    run(cells, {f"{name}-stub": question.source for name, question in questions.items()})
    assert capsys.readouterr().out.count("✓ Exercise") == len(questions)


def test_no_other_cell_needs_a_stub(cells):
    stubs = [ast.parse(source) for cell, source in cells.items() if cell.endswith("-stub")]
    defined = {
        node.id if isinstance(node, ast.Name) else node.name
        for stub in stubs
        for node in ast.walk(stub)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    } - {"__init__", "forward"}
    assert defined
    for cell, source in cells.items():
        if not EXERCISE_CELL.fullmatch(cell):
            used = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
            assert not used & defined, f"cell {cell} needs {used & defined}"
