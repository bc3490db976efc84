"""The self-tests: their questions, what comes again, the widget without a browser, and the record."""

import json
from collections import Counter
from html.parser import HTMLParser

import pytest

from resnet_course.exercises import progress, questions, record, self_test


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


# The questions


def test_every_notebook_has_ten_questions_with_three_choices_and_one_right():
    counts = Counter(question.notebook for question in questions.all_questions())
    assert counts == dict.fromkeys(questions.NOTEBOOKS, 10)
    assert len({question.key for question in questions.all_questions()}) == 60
    for question in questions.all_questions():
        assert sum(choice.right for choice in question.choices) == 1, question.key
        assert len({choice.text for choice in question.choices}) == 3, question.key
        assert all(len(choice.reason) > 10 for choice in question.choices)


def test_neither_the_place_nor_the_length_gives_the_right_choice_away():
    everyone = questions.all_questions()
    places = Counter(
        next(place for place, choice in enumerate(question.choices) if choice.right) for question in everyone
    )
    assert min(places[place] for place in range(3)) >= len(everyone) // 6
    # By length alone nobody should do much better than by guessing: 20 of 60.
    longest = sum(max(question.choices, key=lambda choice: len(choice.text)).right for question in everyone)
    assert longest <= 0.4 * len(everyone)


def test_what_was_missed_comes_first_then_what_was_never_asked():
    due = [question.key for question in questions.all_questions() if question.notebook < "03"]
    answered = dict.fromkeys(due, "right") | {due[3]: "wrong", due[17]: "wrong"}
    for never in (due[5], due[25]):
        del answered[never]
    asked = [question.key for question in questions.to_recall("03", answered, seed=0)]
    assert set(asked[:2]) == {due[3], due[17]} and set(asked[2:4]) == {due[5], due[25]} and len(asked) == 5


def test_of_a_notebook_that_was_passed_over_questions_come_last():
    answered = {question.key: "right" for question in questions.of_notebook("03")}
    asked = questions.to_recall("05", answered, seed=0)
    assert {question.notebook for question in asked} == {"03"}


def test_another_seed_recalls_other_questions_of_earlier_notebooks_alone():
    drawn = [questions.to_recall("02", {}, seed) for seed in range(5)]
    assert len(set(drawn)) > 1
    assert {question.notebook for asked in drawn for question in asked} == {"00", "01"}
    assert questions.to_recall("00", {}, 0) == ()


def test_an_unknown_notebook_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"notebook is '6'; it must be one of: 00, 01, 02, 03, 04, 05"):
        self_test.before("6")
    with pytest.raises(ValueError, match="none before it"):
        self_test.earlier("00")


class Tags(HTMLParser):
    """Counts tags, and whether each is closed."""

    def __init__(self):
        super().__init__()
        self.opened, self.open = Counter(), []

    def handle_starttag(self, tag, attrs):
        self.opened[tag] += 1
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_no_kernel_and_no_script():
    asked = questions.of_notebook("01")
    tags = Tags()
    tags.feed(questions.as_html(asked, "ten <questions>"))
    assert not tags.open and tags.opened["details"] == 31 and tags.opened["li"] == 10
    assert "script" not in tags.opened
    assert "ten &lt;questions&gt;" in questions.as_html(asked, "ten <questions>")


def test_plain_text_has_letters_and_the_answers_below():
    text = questions.as_text(questions.of_notebook("00"))
    asked, answers = text.split("Answers:")
    assert asked.count("   a) ") == 10 and len(answers.strip().splitlines()) == 10
    first = questions.of_notebook("00")[0]
    letter = "abc"[next(place for place, choice in enumerate(first.choices) if choice.right)]
    assert f"1. {letter}) " in answers


# The widget


def parts(widget):
    """The widgets that show the question, take the choice, take a click and show what is said."""
    heading, text, choices, button, said = widget.children
    return heading, text, choices, button, said


def answer(widget, right):
    """Choose the right answer or a wrong one, and press the button."""
    _, text, choices, button, _ = parts(widget)
    question = next(q for q in questions.all_questions() if q.text == text.value.replace("&#x27;", "'"))
    choices.index = next(place for place, choice in enumerate(question.choices) if choice.right == right)
    assert not button.disabled
    button.click()
    return question


@pytest.mark.parametrize("explain", [True, False])
def test_the_widget_asks_all_and_counts_what_is_right(explain):
    asked, told = questions.of_notebook("00")[:3], []
    widget = self_test.asker(asked, "Three", lambda *answer: told.append(answer), explain)
    heading, _, choices, button, said = parts(widget)
    for number, right in enumerate((True, False, True), start=1):
        assert f"({number} of 3)" in heading.value and button.disabled and choices.index is None
        question = answer(widget, right)
        if explain:
            assert said.value.startswith("<strong>Right." if right else "<strong>Not quite.")
            assert ("The right answer: <em>" in said.value) != right
            assert choices.disabled, "the first answer counts"
            button.click()
        assert told[-1][0] == question and told[-1][1].right == right
    assert "2 of 3 right" in heading.value and len(told) == 3
    assert choices.layout.display == button.layout.display == "none"


def test_what_is_shown_has_a_widget_a_page_and_a_text_and_is_remembered(monkeypatch):
    shown = []
    monkeypatch.setattr(self_test, "display", lambda bundle, raw: shown.append(bundle))
    self_test.before("00")
    assert [set(bundle) for bundle in shown] == [{self_test.WIDGET, "text/html", "text/plain"}]
    asked = questions.of_notebook("00")
    for question, right in zip(asked, [True] * 4 + [False] * 6, strict=True):
        choice = next(choice for choice in question.choices if choice.right == right)
        self_test._remember(self_test.BEFORE, question, choice)
    assert progress.self_tests(progress.read(), "00") == {"questions": 10, "before": 4, "after": 0}
    missed = next(choice for choice in asked[0].choices if not choice.right)
    self_test._remember(self_test.AFTER, asked[0], missed)
    known = progress.read()
    assert known[self_test.BEFORE][asked[0].key] == "right", "what was known before stays"
    assert known[self_test.LAST][asked[0].key] == "wrong", "what was missed last comes again"
    assert asked[0].key in {question.key for question in missed_first(known)}


def missed_first(known):
    """All questions of notebook 00 that were missed last, as `to_recall` takes them from."""
    wrong = {key for key, outcome in known[self_test.LAST].items() if outcome == "wrong"}
    asked = questions.to_recall("01", known[self_test.LAST], 0)
    assert {question.key for question in asked} <= wrong, "there are more of them than are asked"
    return [question for question in questions.all_questions() if question.key in wrong]


# The record


def test_every_exercise_of_the_course_is_in_the_record():
    found = record.content()["notebooks"]
    for notebook, module in progress.MODULES.items():
        assert found[notebook]["exercises"] == dict.fromkeys(record.exercises(module), "not attempted")
        assert len(found[notebook]["exercises"]) >= 1 and found[notebook]["questions"] == 10
    assert "q1" in record.exercises("start_here")


def test_a_record_is_written_and_checked(tmp_path, capsys):
    progress.record("start_here", "q1", "right")
    path = tmp_path / "record.html"
    assert record.main(["write", str(path), "Grüße <b>"]) == 0
    assert record.main(["check", str(path)]) == 0
    assert "Grüße <b>, 1 of" in capsys.readouterr().out
    assert "Grüße &lt;b&gt;" in path.read_text(encoding="utf-8")
    assert record.check(path)["notebooks"]["00"]["exercises"] == {"q1": "right"}


def changed_data(text):
    data = json.loads(record.DATA.search(text)[1])
    data["notebooks"]["05"]["after"] = 10
    return record.DATA.sub(lambda _: f'<script type="application/json">{json.dumps(data)}</script>', text)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("0 of 1", "1 of 1"),
        lambda text: text + " ",
        lambda text: "",
        lambda text: text.replace('"date"', '"day"'),
        lambda text: text.replace("{", "["),
        changed_data,
    ],
)
def test_a_changed_record_is_refused(tmp_path, capsys, change):
    path = tmp_path / "record.html"
    record.write(path)
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(record.RecordError, match="not as the course wrote it"):
        record.check(path)
    assert record.main(["check", str(path)]) == 1


def test_a_record_of_another_version_says_so_and_no_file_too(tmp_path, monkeypatch):
    path = tmp_path / "record.html"
    record.write(path)
    path.write_text(path.read_text(encoding="utf-8").replace(record.__version__, "9.9"), encoding="utf-8")
    with pytest.raises(record.RecordError, match=r"version 9\.9"):
        record.check(path)
    with pytest.raises(record.RecordError, match="cannot be read"):
        record.check(tmp_path / "none.html")


def test_a_name_of_bytes_is_written_so_that_the_check_agrees(home, tmp_path):
    record.write(tmp_path / "r.html", "Ren\udce9")
    assert "Ren" in record.check(tmp_path / "r.html")["name"]
