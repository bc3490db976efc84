"""The three-pass proof for every notebook with exercises: untouched, strict, and strict with the solutions.

That the untouched notebook runs through as a whole is what nbval proves; here only the cells run that
the exercises are made of, so that three passes take seconds.
"""

import ast
import importlib
import json
import re
from pathlib import Path

import make_solutions
import pytest
from exercise_harness import MODULES, questions_of

from resnet_course.exercises.core import ExerciseError

FOLDER = Path(__file__).parents[1] / "notebooks"
EXERCISE_CELL = re.compile(r"q\d-(stub|check)")
TAKEN = re.compile(r"from resnet_course\.exercises import (\w+) as ex")

pytestmark = pytest.mark.usefixtures("exercise_home")


def code_cells(path):
    """The source of every code cell, by the cell's id, in the order of the notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return {cell["id"]: "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"}


def exercises_of(cells):
    """The module that the notebook takes as `ex`."""
    (name,) = TAKEN.findall(cells["imports"])
    return importlib.import_module(f"resnet_course.exercises.{name}")


def with_exercises(folder):
    """The notebooks in a folder that have exercises, by any sign of them: a cell or an import."""
    return [
        path
        for path in sorted(folder.glob("*.ipynb"))
        for cells in [code_cells(path)]
        if any(map(EXERCISE_CELL.fullmatch, cells)) or any(map(TAKEN.search, cells.values()))
    ]


def run(cells, replaced):
    """Execute set-up, imports and the exercise cells in one name space, some with another source."""
    names = {}
    for cell, source in cells.items():
        if cell in ("setup", "imports") or EXERCISE_CELL.fullmatch(cell):
            exec(compile(replaced.get(cell, source), cell, "exec"), names)


@pytest.fixture(params=with_exercises(FOLDER), ids=lambda path: path.stem)
def cells(request):
    return code_cells(request.param)


def test_every_module_of_exercises_has_its_notebook():
    taken = [exercises_of(code_cells(path)) for path in with_exercises(FOLDER)]
    assert sorted(module.__name__ for module in taken) == sorted(module.__name__ for module in MODULES)


def test_a_notebook_of_any_number_is_looked_at(tmp_path):
    for name, cell in {"06_more": "q1-stub", "12_last": "q2-check", "00_none": "imports"}.items():
        notebook = {"cells": [{"cell_type": "code", "id": cell, "source": "pass"}]}
        (tmp_path / f"{name}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    assert [path.stem for path in with_exercises(tmp_path)] == ["06_more", "12_last"]


def test_the_notebook_holds_every_exercise_word_for_word(cells):
    questions = questions_of(exercises_of(cells))
    assert 1 <= len(questions) <= 9
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


def test_the_command_for_teachers_writes_all_solutions(tmp_path, capsys):
    assert make_solutions.main([str(tmp_path / "solved")]) == 0
    assert len(capsys.readouterr().out.split()) == len(list(FOLDER.glob("*.ipynb")))
    for path in with_exercises(FOLDER):
        before, after = code_cells(path), code_cells(tmp_path / "solved" / path.name)
        changed = {cell for cell in before if before[cell] != after[cell]}
        questions = questions_of(exercises_of(before))
        assert changed == {f"{name}-stub" for name in questions}
        assert all(after[f"{name}-stub"] == question.source for name, question in questions.items())


def test_the_notebooks_themselves_are_never_solved(capsys):
    before = {path: path.read_bytes() for path in FOLDER.glob("*.ipynb")}
    assert make_solutions.main([str(FOLDER)]) == 2 and "give another one" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in FOLDER.glob("*.ipynb")}


def test_a_stub_that_belongs_to_no_exercise_is_refused():
    cell = {"cell_type": "code", "id": "q1-stub", "source": "..."}
    with pytest.raises(ValueError, match="q1-stub is an exercise, but 0 modules are taken"):
        make_solutions.solved(json.dumps({"cells": [cell]}))


def test_no_other_cell_needs_a_stub(cells):
    stubs = [ast.parse(source) for cell, source in cells.items() if cell.endswith("-stub")]
    defined = set()
    for node in (node for stub in stubs for node in stub.body):
        targets = node.targets if isinstance(node, ast.Assign) else []
        defined |= {target.id for target in targets}
        defined |= {node.name} if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else set()
    assert defined
    for cell, source in cells.items():
        if not EXERCISE_CELL.fullmatch(cell):
            used = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
            assert not used & defined, f"cell {cell} needs {used & defined}"
