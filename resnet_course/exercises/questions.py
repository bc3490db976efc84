"""The questions of the self-tests, as data, as plain text and as HTML that needs no kernel.

They are asked at the start and at the end of a notebook, and again in later ones: recall strengthens memory
more than reading does (Roediger and Karpicke 2006, Psychological Science 17).
"""

from __future__ import annotations

import functools
import random
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from importlib import resources

NOTEBOOKS = ("00", "01", "02", "03", "04", "05")
RECALLED = 5  # questions from earlier notebooks at the start of one


@dataclass(frozen=True)
class Choice:
    """One of the answers to choose from, and what to say to whoever chose it."""

    text: str
    reason: str
    right: bool

    @property
    def verdict(self) -> str:
        """One or two words on this choice."""
        return "Right." if self.right else "Not quite."


@dataclass(frozen=True)
class Question:
    """A question with three choices, in an order that is the same everywhere.

    notebook: "00" to "05". name: unlike all others of its notebook.
    """

    notebook: str
    name: str
    text: str
    choices: tuple[Choice, ...]

    @property
    def key(self) -> str:
        """The name under which an answer is remembered, such as "00 splits"."""
        return f"{self.notebook} {self.name}"


@functools.cache
def all_questions() -> tuple[Question, ...]:
    """Every question of the course, in the order of the notebooks."""
    text = resources.files(__package__).joinpath("questions.toml").read_text(encoding="utf-8")
    return tuple(map(_question, tomllib.loads(text)["question"]))


def _question(entry: Mapping) -> Question:
    answers = [(*entry["right"], True), *((*wrong, False) for wrong in entry["wrong"])]
    choices = [Choice(*answer) for answer in answers]
    random.Random(entry["notebook"] + entry["name"]).shuffle(choices)  # else the right one would come first
    return Question(entry["notebook"], entry["name"], entry["text"], tuple(choices))


def of_notebook(notebook: str) -> tuple[Question, ...]:
    """The ten questions about a notebook. Raises ValueError if there is no such notebook."""
    if notebook not in NOTEBOOKS:
        raise ValueError(f"notebook is {notebook!r}; it must be one of: {', '.join(NOTEBOOKS)}")
    return tuple(question for question in all_questions() if question.notebook == notebook)


def to_recall(notebook: str, answered: Mapping[str, str], seed: int) -> tuple[Question, ...]:
    """Five questions about the notebooks before this one: what was missed last, then what was never asked.

    Of a notebook that was passed over, none of whose questions was answered, questions come last.

    answered: "right" or "wrong" by `Question.key`, the last answer to each.
    seed: draws where several questions are equally due.
    Returns none for the first notebook.
    """
    of_notebook(notebook)
    due = [question for question in all_questions() if question.notebook < notebook]
    random.Random(f"{seed} {notebook}").shuffle(due)
    begun = {key[:2] for key in answered}

    def rank(question: Question) -> int:
        never_asked = 1 if question.notebook in begun else 3
        return {"wrong": 0, "right": 2}.get(answered.get(question.key, ""), never_asked)

    due.sort(key=rank)
    return tuple(due[:RECALLED])


def as_text(questions: Iterable[Question]) -> str:
    """The questions with letters for the choices, and the answers with their reasons below."""
    asked, answers = [], []
    for number, question in enumerate(questions, start=1):
        asked.append(f"{number}. {question.text}")
        for letter, choice in zip("abc", question.choices, strict=True):
            asked.append(f"   {letter}) {choice.text}")
            answers += [f"{number}. {letter}) {choice.reason}"] if choice.right else []
    return "\n".join([*asked, "", "Answers:", *answers])


def as_html(questions: Iterable[Question], title: str) -> str:
    """A folded list; a click on a choice opens what to say to it. It needs no kernel and no script."""
    items = []
    for question in questions:
        choices = "".join(
            f"<details><summary>{escape(choice.text)}</summary>"
            f"<p><strong>{choice.verdict}</strong> {escape(choice.reason)}</p></details>"
            for choice in question.choices
        )
        items.append(f"<li><p>{escape(question.text)}</p>{choices}</li>")
    return f"<details class='self-test'><summary>{escape(title)}</summary><ol>{''.join(items)}</ol></details>"
