"""The self-tests in a notebook: ten questions at its start and its end, and five from earlier notebooks.

Each is a widget that asks one question after the other. Beside it lie the same questions as HTML and as plain
text, for a page or a program without a kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import ipywidgets
from IPython.display import display

from resnet_course.exercises import progress, questions
from resnet_course.exercises.questions import Choice, Question
from resnet_course.settings import Settings

BEFORE, AFTER, LAST = "questions before", "questions after", "questions"  # in the file of the progress
WIDGET = "application/vnd.jupyter.widget-view+json"


def before(notebook: str) -> None:
    """Show the ten questions before you read: they are counted, and explained at the end.

    notebook: "00" to "05". Raises ValueError for another.
    """
    asked = questions.of_notebook(notebook)
    _show(asked, "Before you read: ten questions. What do you know already?", BEFORE, explain=False)


def after(notebook: str) -> None:
    """Show the ten questions after reading, with a reason for every choice; missed ones come again.

    notebook: "00" to "05". Raises ValueError for another.
    """
    _show(questions.of_notebook(notebook), "Now the ten questions again", AFTER)


def earlier(notebook: str) -> None:
    """Show five questions from earlier notebooks, those first that you missed.

    notebook: "01" to "05". Raises ValueError for another.
    """
    answered = progress.read().get(LAST, {})
    asked = questions.to_recall(notebook, answered, Settings.from_env().seed)
    if not asked:
        raise ValueError(f"notebook is {notebook!r}; there is none before it to recall")
    _show(asked, "Five questions from the notebooks before", LAST)


def _show(asked: tuple[Question, ...], title: str, kind: str, explain: bool = True) -> None:
    widget = asker(asked, title, lambda question, choice: _remember(kind, question, choice), explain)
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    bundle = {WIDGET: view, "text/html": questions.as_html(asked, title)}
    display({**bundle, "text/plain": questions.as_text(asked)}, raw=True)


def _remember(kind: str, question: Question, choice: Choice) -> None:
    outcome = "right" if choice.right else "wrong"
    for module in {kind, LAST}:
        progress.record(module, question.key, outcome, keep_right=False)


def asker(
    asked: tuple[Question, ...], title: str, answered: Callable[[Question, Choice], None], explain: bool
) -> ipywidgets.Widget:
    """A widget that asks the questions one by one, and says at the end how many were right.

    answered: is called with every question and the choice that was taken.
    explain: say at once whether it was right, and why.
    """
    heading, text, said = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.HTML()
    wide = ipywidgets.Layout(width="auto")
    choices = ipywidgets.RadioButtons(options=[""], layout=wide)
    button = ipywidgets.Button(description="Answer", disabled=True)
    state = {"at": 0, "right": 0, "open": True}

    def ask() -> None:
        question = asked[state["at"]]
        heading.value = f"<strong>{escape(title)}</strong> ({state['at'] + 1} of {len(asked)})"
        text.value, said.value = escape(question.text), ""
        choices.options = [(choice.text, number) for number, choice in enumerate(question.choices)]
        choices.index, choices.disabled = None, False
        button.description, button.disabled, state["open"] = "Answer", True, True

    def take() -> None:
        question, choice = asked[state["at"]], asked[state["at"]].choices[choices.index]
        state["right"] += choice.right
        answered(question, choice)
        state.update(at=state["at"] + 1, open=False)
        if explain:
            right = next(each for each in question.choices if each.right)
            said.value = f"<strong>{choice.verdict}</strong> {escape(choice.reason)}"
            if not choice.right:
                said.value += f"<br>The right answer: <em>{escape(right.text)}</em> {escape(right.reason)}"
            button.description, choices.disabled = "Next", True
        else:
            go_on()

    def go_on() -> None:
        if state["at"] < len(asked):
            ask()
            return
        heading.value = f"<strong>{state['right']} of {len(asked)} right.</strong>"
        text.value = "" if explain else "The reasons stand at the end of this notebook."
        said.value = ""
        choices.layout.display = button.layout.display = "none"

    button.on_click(lambda _: take() if state["open"] else go_on())
    choices.observe(lambda change: setattr(button, "disabled", change["new"] is None), names="index")
    ask()
    return ipywidgets.VBox([heading, text, choices, button, said])
