"""What all exercises share: stub, hints, solution, and a check that names the mistake."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import torch

from resnet_course.common.console import print_escaped
from resnet_course.common.seeding import seeded
from resnet_course.exercises import progress

# Code in these folders is not the learner's: Python's library, the installed packages, this package.
LIBRARIES = (Path(os.__file__).parent, Path(torch.__file__).parents[1], Path(__file__).parents[1])


class Mistake(Exception):
    """Raised by a checker for a wrong answer. The message speaks to the learner and names the mistake."""


def must_be_function(answer: Any, call: str) -> None:
    """Raise Mistake if the answer is not the function itself."""
    if not callable(answer):
        raise Mistake(f"Give the function itself, without calling it: {call}.")


def must_be_dict(answer: Any, value: str, keys: Iterable[str]) -> None:
    """Raise Mistake if the answer is not a dict with all `keys`. value: what stands behind each, in words."""
    if not isinstance(answer, dict):
        raise Mistake(
            f"Give a dict with {value} for each of {', '.join(keys)}; not a {type(answer).__name__}."
        )
    for key in keys:
        if key not in answer:
            raise Mistake(f"{key} is missing. There must be: {', '.join(keys)}.")


class NotAttempted(Exception):
    """Raised by a checker for an answer that is still the stub."""


class ExerciseError(AssertionError):
    """An exercise is not solved, and RESNET_COURSE_STRICT=1 asks for that to be an error."""


class Exercise:
    """One question: `check(answer)`, `hint()`, `solution()`.

    module, name: such as "residual_blocks" and "q1".
    stub: the source that stands in the notebook. hints: one to three, each says more than the one before.
    source: the source of the official solution.
    checker: takes the learner's answer; raises Mistake if it is wrong.
    praise: what a right answer means.
    """

    def __init__(
        self,
        module: str,
        name: str,
        *,
        stub: str,
        hints: tuple[str, ...],
        source: str,
        checker: Callable[[Any], None],
        praise: str,
    ) -> None:
        self.module, self.name = module, name
        self.stub, self.hints, self.source = stub.strip("\n"), hints, source.strip("\n")
        self.checker, self.praise = checker, praise
        self.hints_given = 0

    def check(self, answer: Any) -> None:
        """Say whether the answer is right, and if it is not, why.

        Raises ExerciseError for any answer but the right one if RESNET_COURSE_STRICT is 1; else nothing.
        """
        outcome, message = self._judge(answer)
        text = f"{progress.MARKS[outcome]} Exercise {self.name.removeprefix('q')}: {message}"
        if outcome != "right" and os.environ.get("RESNET_COURSE_STRICT") == "1":
            raise ExerciseError(text)
        print_escaped(text)
        progress.record(self.module, self.name, outcome)

    def hint(self) -> None:
        """Print the next hint."""
        if self.hints_given == len(self.hints):
            print_escaped(f"There are no more hints. ex.{self.name}.solution() shows one way to do it.")
            return
        self.hints_given += 1
        print_escaped(f"Hint {self.hints_given} of {len(self.hints)}: {self.hints[self.hints_given - 1]}")

    def solution(self) -> None:
        """Print the official solution. There may be others."""
        print_escaped(self.source)

    def _judge(self, answer: Any) -> tuple[str, str]:
        untouched = (
            "not attempted",
            f"not attempted yet. Fill in the cell above; ex.{self.name}.hint() helps.",
        )
        if answer is ...:
            return untouched
        if isinstance(answer, dict) and (open_keys := [key for key, value in answer.items() if value is ...]):
            still = f"not yet. There is no answer yet for {', '.join(map(str, open_keys))}."
            return untouched if len(open_keys) == len(answer) else ("wrong", still)
        try:
            with seeded(0), torch.enable_grad():
                self.checker(answer)
        except NotAttempted:
            return untouched
        except Mistake as mistake:
            return "wrong", f"not yet. {mistake}"
        except Exception as error:
            if isinstance(error, NotImplementedError) and not str(error):
                return self._stopped_by_stub(error) or untouched
            return "wrong", f"not yet. {shortened(error)}"
        return "right", f"right. {self.praise}"

    def _stopped_by_stub(self, error: NotImplementedError) -> tuple[str, str] | None:
        """What to say if the learner has written something and left the stub's last line; else None."""
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_names in {code.co_names for code in _codes(compile(self.stub, "stub", "exec"))}:
            return None
        where = frame.f_code.co_name
        return "wrong", f"not yet. A raise NotImplementedError is left in {where}; take that line away."


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A compiled source and every function in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def shortened(error: Exception) -> str:
    """An exception inside the learner's code, in one or two lines: their own line, and what went wrong."""
    message = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    own = [
        frame for frame in traceback.extract_tb(error.__traceback__) if not _is_library(Path(frame.filename))
    ]
    if not own:
        return f"Your code stopped with {message.rstrip(': ')}"
    frame = own[-1]
    line = f": {frame.line}" if frame.line else ""
    return f"Your code stopped in line {frame.lineno} of {frame.name}{line}\n  {message.rstrip(': ')}"


def _is_library(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in LIBRARIES)
