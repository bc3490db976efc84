"""Progress is remembered, and no file, however broken, stops a learner."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from resnet_course.exercises import progress


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_what_was_right_once_stays_right(home):
    progress.record("blocks", "q1", "wrong")
    progress.record("blocks", "q1", "right")
    progress.record("blocks", "q1", "wrong")
    progress.record("blocks", "q2", "not attempted")
    assert progress.read() == {"blocks": {"q1": "right", "q2": "not attempted"}}
    assert json.loads((home / "progress.json").read_text(encoding="utf-8")) == progress.read()


def test_notebooks_side_by_side_lose_nothing():
    questions = [f"q{number}" for number in range(30)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(lambda question: progress.record("blocks", question, "right"), questions))
    assert progress.read() == {"blocks": dict.fromkeys(questions, "right")}


def test_show_is_a_small_table_in_the_order_of_the_course(capsys):
    progress.show()
    assert capsys.readouterr().out == "no exercise tried yet\n"
    progress.record("freezing", "q2", "wrong")
    progress.record("freezing", "q1", "right")
    progress.record("augmentation", "q1", "not attempted")
    progress.record("questions after", "03 forward", "right")
    progress.show()
    first, second, legend = capsys.readouterr().out.splitlines()
    assert first.split() == ["notebook", "02", "1", "·"]
    assert " ".join(second.split()) == "notebook 03 1 ✓ 2 ✗ questions of 10: 1 after"
    assert legend == progress.LEGEND


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"3", b'{"a": 1}', b'{"a": {"q1": []}}', b"\xff\xfe\x00", b"null"]
)
def test_a_broken_file_starts_again(home, capsys, content):
    home.mkdir()
    (home / "progress.json").write_bytes(content)
    progress.record("blocks", "q1", "right")
    assert "It starts again" in capsys.readouterr().err
    assert progress.read() == {"blocks": {"q1": "right"}}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("MODE", "fast", "mode is 'fast'"), ("HOME", "~nobody-of-this-name/home", "home directory")],
)
def test_settings_that_name_no_home_are_said_and_passed_over(monkeypatch, capsys, name, value, reason):
    monkeypatch.setenv(f"RESNET_COURSE_{name}", value)
    progress.record("blocks", "q1", "right")
    progress.show()
    printed = capsys.readouterr()
    assert reason in printed.err and "no exercise tried yet" in printed.out


def test_a_folder_in_the_files_place_is_said_and_passed_over(home, capsys):
    (home / "progress.json").mkdir(parents=True)
    progress.record("blocks", "q1", "right")
    printed = capsys.readouterr().err
    assert "cannot be read" in printed and "cannot be saved" in printed
    assert not [*home.glob("*.tmp"), *home.glob(".*.tmp")], "no temporary file is left"


def test_an_unknown_outcome_is_passed_over(home):
    home.mkdir()
    (home / "progress.json").write_text('{"blocks": {"q1": "brilliant", "q2": "right"}}', encoding="utf-8")
    assert progress.read() == {"blocks": {"q2": "right"}}


def test_a_home_that_cannot_be_written_is_said_and_passed_over(home, capsys):
    home.write_text("a file where the folder should be", encoding="utf-8")
    progress.record("blocks", "q1", "right")
    progress.show()
    printed = capsys.readouterr()
    assert "Your progress cannot be saved" in printed.err and "no exercise tried yet" in printed.out
