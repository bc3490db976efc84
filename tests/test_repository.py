import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from retarget import (
    COURSE,
    SETUP_ID,
    RepositoryError,
    colab_link,
    find_problems,
    read_address,
    retarget,
    setup_cell,
)

ADA = "https://github.com/ada/resnet-course"


def notebook(address, name="00_start_here.ipynb"):
    """A notebook as Jupyter writes it, with things in it that nobody may touch."""
    title = f"# Grüße, 残差\n\n{colab_link(name, address)}\n\nAfter this notebook you can …"
    cells = [
        {"cell_type": "markdown", "id": "title", "metadata": {}, "source": title.splitlines(keepends=True)},
        {
            "cell_type": "code",
            "execution_count": None,
            "id": SETUP_ID,
            "metadata": {"tags": ["a"]},
            "outputs": [],
            "source": setup_cell(address).splitlines(keepends=True),
        },
        {
            "cell_type": "markdown",
            "id": "last",
            "metadata": {},
            "source": ["See https://github.com/OWNER/NAME\n"],
        },
    ]
    return {
        "cells": cells,
        "metadata": {"kernelspec": {"name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def write(path: Path, notebook: dict) -> None:
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")


@pytest.fixture
def clone(tmp_path):
    """A copy of the course's own files, with two notebooks of our own, all at the placeholder's address."""
    shutil.copy(COURSE / "pyproject.toml", tmp_path)
    placeholder = "https://github.com/OWNER/NAME"
    project = (tmp_path / "pyproject.toml").read_text(encoding="utf-8")
    project = project.replace(f'"{read_address()}"', f'"{placeholder}"')
    (tmp_path / "pyproject.toml").write_text(project, encoding="utf-8", newline="\n")
    readme = (
        f"# Course\n{colab_link('00_start_here.ipynb', placeholder)}\n\n`git clone {placeholder}`\n"
        "then `python tools/retarget.py OWNER/NAME`, as https://github.com/pytorch/vision never did\n"
    )
    (tmp_path / "README.md").write_text(readme, encoding="utf-8", newline="\n")
    (tmp_path / "notebooks").mkdir()
    for name in ("00_start_here.ipynb", "01_next.ipynb"):
        write(tmp_path / "notebooks" / name, notebook(placeholder, name))
    return tmp_path


def test_every_notebook_of_the_course_has_the_link_and_the_set_up_cell_of_its_address():
    assert find_problems() == []


def test_the_link_opens_the_notebook_in_colab():
    assert colab_link("02_data.ipynb", ADA) == (
        "[Open in Colab]"
        "(https://colab.research.google.com/github/ada/resnet-course/blob/main/notebooks/02_data.ipynb)"
    )


def test_the_set_up_cell_differs_from_its_template_in_the_address_alone():
    template = (COURSE / "tools" / "set-up-cell.py").read_text(encoding="utf-8").splitlines()
    cell = setup_cell(ADA).splitlines()
    differing = [pair for pair in zip(template, cell, strict=True) if len(set(pair)) == 2]
    assert differing == [('ADDRESS = "https://github.com/OWNER/NAME"', f'ADDRESS = "{ADA}"')]


def test_retarget_changes_every_address_and_not_one_other_byte(clone):
    before = {path: path.read_bytes() for path in clone.rglob("*.*") if path.is_file()}
    changed = retarget("ada/resnet-course", clone)
    assert sorted(changed) == sorted(before)
    assert sorted(clone.rglob("*.*")) == sorted([*before]), "a temporary file was left behind"
    assert find_problems(clone) == []
    assert read_address(clone) == ADA
    for name in ("00_start_here.ipynb", "01_next.ipynb"):
        write(clone / "expected.json", notebook(ADA, name))
        assert (clone / "notebooks" / name).read_bytes() == (clone / "expected.json").read_bytes()
    project = clone / "pyproject.toml"
    assert project.read_bytes() == before[project].replace(
        b"github.com/OWNER/NAME", b"github.com/ada/resnet-course"
    )
    assert (clone / "README.md").read_text(encoding="utf-8") == (
        f"# Course\n{colab_link('00_start_here.ipynb', ADA)}\n\n`git clone {ADA}`\n"
        "then `python tools/retarget.py OWNER/NAME`, as https://github.com/pytorch/vision never did\n"
    )


def test_a_local_address_is_taken_to_try_the_set_up_cell(clone):
    local = "http://127.0.0.1:8123/ada/resnet-course"
    retarget(local, clone)
    assert read_address(clone) == local and find_problems(clone) == []
    text = (clone / "notebooks" / "01_next.ipynb").read_text(encoding="utf-8")
    assert f'ADDRESS = \\"{local}\\"' in text and "github/ada/resnet-course/blob" in text


def test_it_runs_as_a_script_without_the_course_being_installed(clone):
    (clone / "tools").mkdir()
    for name in ("retarget.py", "set-up-cell.py"):
        shutil.copy(COURSE / "tools" / name, clone / "tools")
    command = [sys.executable, "-S", clone / "tools" / "retarget.py"]  # -S: no installed package at all
    result = subprocess.run([*command, "ada/resnet-course"], capture_output=True, text=True, timeout=300)
    assert (result.returncode, result.stderr) == (0, "")
    assert str(clone / "README.md") in result.stdout.splitlines()
    assert read_address(clone) == ADA
    result = subprocess.run([*command, "nonsense"], capture_output=True, text=True, timeout=300)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "repository is 'nonsense'; it must be OWNER/NAME" in result.stderr


def test_the_template_of_the_set_up_cell_cannot_be_imported_but_is_checked_by_ruff():
    """Its text runs when it is imported, so that its name must not be one for Python."""
    template = COURSE / "tools" / "set-up-cell.py"
    assert template.is_file() and not template.stem.isidentifier()


def test_retarget_to_the_same_address_changes_nothing(clone):
    retarget("ada/resnet-course", clone)
    assert retarget("ada/resnet-course", clone) == []


def tamper_link(cells):
    cells[0]["source"][2] = colab_link("07_other.ipynb", ADA) + "\n"


def tamper_setup_cell(cells):
    cells[1]["source"].insert(3, "import this\n")


def tamper_address(cells):
    cells[1]["source"] = setup_cell(ADA).splitlines(keepends=True)


@pytest.mark.parametrize("tamper", [tamper_link, tamper_setup_cell, tamper_address])
def test_tampering_is_noticed_and_retarget_repairs_it(clone, tamper):
    assert find_problems(clone) == []
    path = clone / "notebooks" / "01_next.ipynb"
    intact, tampered = path.read_bytes(), json.loads(path.read_bytes())
    tamper(tampered["cells"])
    write(path, tampered)
    assert find_problems(clone) == [
        "01_next.ipynb: the link to Colab or the set-up cell is not that of https://github.com/OWNER/NAME"
    ]
    assert retarget("OWNER/NAME", clone) == [path]
    assert path.read_bytes() == intact


def test_a_link_of_another_repository_in_the_readme_is_noticed(clone):
    (clone / "README.md").write_text(colab_link("00_start_here.ipynb", ADA), encoding="utf-8")
    assert find_problems(clone) == [
        "README.md: the link to Colab or the set-up cell is not that of https://github.com/OWNER/NAME"
    ]


def drop_link(cells):
    del cells[0]["source"][2]


def drop_setup_id(cells):
    cells[1]["id"] = "c0ffee"


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        (
            drop_link,
            r"01_next.ipynb: the first Markdown cell has 0 links to Colab; it must have this line, once: \[",
        ),
        (drop_setup_id, r"01_next.ipynb: 0 code cells have the id 'setup'; one must, with the text of "),
    ],
)
def test_a_notebook_without_link_or_set_up_cell_is_named_and_nothing_is_written(clone, drop, message):
    path = clone / "notebooks" / "01_next.ipynb"
    incomplete = json.loads(path.read_bytes())
    drop(incomplete["cells"])
    write(path, incomplete)
    before = {path: path.read_bytes() for path in clone.rglob("*.*") if path.is_file()}
    with pytest.raises(RepositoryError, match=message):
        retarget("ada/resnet-course", clone)
    assert {path: path.read_bytes() for path in clone.rglob("*.*") if path.is_file()} == before
    assert len(find_problems(clone)) == 1


@pytest.mark.parametrize(
    "wrong",
    ["", "ada", "ada/", "/ada", "a/b/c", ADA, "ada/course.git", "ada lovelace/course", "ada/course\n"],
)
def test_anything_but_owner_and_name_is_refused(clone, wrong):
    with pytest.raises(RepositoryError, match="it must be OWNER/NAME, such as ada/resnet-course") as refusal:
        retarget(wrong, clone)
    assert repr(wrong) in str(refusal.value)
    assert read_address(clone) == "https://github.com/OWNER/NAME"


@pytest.mark.parametrize("project", [None, "[build-system]\n", '[project]\nname = "another"\n'])
def test_outside_a_clone_it_says_so(tmp_path, project):
    if project is not None:
        (tmp_path / "pyproject.toml").write_text(project, encoding="utf-8")
    with pytest.raises(RepositoryError, match="is no clone of the course: it has no pyproject"):
        retarget("ada/resnet-course", tmp_path)


@pytest.mark.parametrize(
    "address", ["http://github.com/a/b", "https://example.org/a/b", "https://github.com/a"]
)
def test_an_address_that_is_none_at_github_is_refused(tmp_path, address):
    project = f'[project]\nname = "resnet-course"\n[project.urls]\nRepository = "{address}"\n'
    (tmp_path / "pyproject.toml").write_text(project, encoding="utf-8")
    with pytest.raises(RepositoryError, match=r"it must be https://github\.com/OWNER/NAME"):
        read_address(tmp_path)
