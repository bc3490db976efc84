"""The machinery of the exercises: not attempted, wrong, right; hints; errors in the learner's own code."""

import pytest
import torch
from exercise_harness import QUESTIONS, answer_of

from resnet_course.exercises import progress
from resnet_course.exercises.core import Exercise, ExerciseError, Mistake

pytestmark = pytest.mark.usefixtures("exercise_home")


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: f"{question.module}-{question.name}")
def test_every_stub_is_not_attempted_and_every_solution_is_right(question, said):
    assert "not attempted yet" in said(question, answer_of(question.stub))
    assert said(question, answer_of(question.source)).startswith("✓")
    assert 1 <= len(question.hints) <= 3


def check_double(answer):
    if answer(2) != 4:
        raise Mistake(f"The double of 2 is 4, not {answer(2)}.")


@pytest.fixture
def exercise():
    return Exercise(
        "numbers",
        "q3",
        stub="def double(x):\n    raise NotImplementedError\n",
        hints=("Add.", "Add x to x."),
        source="\ndef double(x):\n    return x + x\n",
        checker=check_double,
        praise="Twice as much.",
    )


def untouched(x):
    raise NotImplementedError


def learners(source):
    """A function as the learner's cell makes it."""
    names = {"torch": torch}
    exec(compile(source, "<cell>", "exec"), names)
    return names["double"]


CASES = {
    "right": (lambda x: 2 * x, "✓ Exercise 3: right. Twice as much.", "right"),
    "wrong": (lambda x: x, "✗ Exercise 3: not yet. The double of 2 is 4, not 2.", "wrong"),
    "untouched function": (untouched, "· Exercise 3: not attempted yet.", "not attempted"),
    "untouched value": (..., "· Exercise 3: not attempted yet.", "not attempted"),
    "untouched dict": ({"a": ..., "b": ...}, "· Exercise 3: not attempted yet.", "not attempted"),
    "dict begun": (
        {"a": 1, "b": ..., "c": ...},
        "✗ Exercise 3: not yet. There is no answer yet for b, c.",
        "wrong",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_three_outcomes(exercise, capsys, case):
    answer, text, outcome = CASES[case]
    assert exercise.check(answer) is None, "a bare last line in a cell shows nothing"
    assert capsys.readouterr().out.startswith(text)
    assert progress.read() == {"numbers": {"q3": outcome}}


@pytest.mark.parametrize("case", CASES)
def test_strict_raises_for_all_but_right(exercise, monkeypatch, capsys, case):
    monkeypatch.setenv("RESNET_COURSE_STRICT", "1")
    answer, text, outcome = CASES[case]
    if outcome == "right":
        exercise.check(answer)
        assert capsys.readouterr().out.startswith(text)
    else:
        with pytest.raises(ExerciseError) as error:
            exercise.check(answer)
        assert str(error.value).startswith(text)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (
            "def double(x):\n    y = 1\n    return y / 0",
            "line 3 of double\n  ZeroDivisionError: division by zero",
        ),
        ("def double(x):\n    return torch.zeros(2) @ torch.zeros(3)", "line 2 of double\n  RuntimeError: "),
        ("def double(x):\n    raise KeyError", "line 2 of double\n  KeyError"),
        ("def double(x, y):\n    return x", "TypeError: double() missing 1 required"),
    ],
)
def test_an_exception_is_shortened_to_the_learners_own_line(exercise, capsys, source, text):
    exercise.check(learners(source))
    printed = capsys.readouterr().out
    assert printed.startswith("✗ Exercise 3: not yet. Your code stopped") and text in printed
    assert "Traceback" not in printed and printed.count("\n") <= 2


def test_a_library_that_lacks_something_is_no_untouched_stub(exercise, capsys):
    exercise.check(learners("def double(x):\n    raise NotImplementedError('no such thing on this device')"))
    assert "no such thing" in capsys.readouterr().out


def test_anything_at_all_can_be_checked(exercise, capsys):
    for answer in (None, 3, "text", [], object()):
        exercise.check(answer)
        printed = capsys.readouterr().out
        assert printed.startswith("✗ Exercise 3: not yet. Your code stopped") and "TypeError" in printed


def test_the_learners_random_numbers_stay_as_they_were(exercise):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    exercise.check(lambda x: 2 * x + 0 * float(torch.rand(1)))
    assert torch.equal(torch.rand(1), expected)


def test_hints_say_more_one_by_one_and_then_point_to_the_solution(exercise, capsys):
    for expected in (
        "Hint 1 of 2: Add.",
        "Hint 2 of 2: Add x to x.",
        "There are no more hints. ex.q3.solution()",
    ):
        exercise.hint()
        assert capsys.readouterr().out.startswith(expected)
    exercise.solution()
    assert capsys.readouterr().out == "def double(x):\n    return x + x\n"
