"""What learners do in JupyterLab, in a real browser: stops, exercises, widgets. `.ci/run` runs these tests.

They want a Chromium on this machine, and Playwright:
uv run --with playwright pytest tests/test_browser.py -m slow -n0
"""

import re

import pytest
from image_files import encode
from jupyterlab_harness import find_chromium, problems, text_of, with_widgets
from PIL import Image

from resnet_course.exercises import start_here
from resnet_course.exercises.questions import of_notebook

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium and no Chrome on this machine"),
]
playwright.expect.set_options(timeout=120_000)  # milliseconds

# The stop button, at the training of notebook 00

AFTER = ("curves", "curves-check", "test", "grid", "control-figure", "classifier", "own", "recap")
# Above a cell that trains: for a minute each step takes up to so many seconds more, so that a stop finds the
# training where a test wants it however slow the machine is.
SLOW_STEPS = """
import time
from torch.nn.modules.module import register_module_forward_pre_hook

def wait(module, _, end=time.monotonic() + 60):
    try:
        if type(module).__name__ == "ResNet" and module.training:
            time.sleep(max(0, min({seconds}, end - time.monotonic())))
    except KeyboardInterrupt:
        waiting.remove()
        raise

waiting = register_module_forward_pre_hook(wait)
"""


def press_stop_while(notebook, cell, seen):
    """Run a cell, and press the stop button as soon as its output holds a text; "": at once. Its outputs."""
    notebook.select(cell)
    notebook.start("notebook:run-cell")
    notebook.wait_for_text(cell, seen)
    notebook.press_stop()
    notebook.wait()
    return notebook.cells()[cell]["outputs"]


@pytest.fixture(scope="module")
def trained(lab):
    """Notebook 00 after a run of all its cells."""
    with lab.opened("00") as notebook:
        notebook.do("notebook:run-all-cells")
        yield notebook


def test_a_stop_in_the_middle_of_a_training_leaves_all_cells_below_working(trained):
    source = trained.cells()["train"]["source"]
    trained.write("train", SLOW_STEPS.format(seconds=0.5) + source)
    said = text_of(press_stop_while(trained, "train", seen="epoch 1/"))
    assert "epoch 1/3" in said and "stopped by hand" in said and "epoch 3/3" not in said
    trained.write("train", source)
    trained.select("curves")
    trained.do("notebook:run-all-below")
    assert problems(trained) == {}


@pytest.mark.parametrize("cell", ["train", "control"])
@pytest.mark.parametrize("seconds", [0.5, 60], ids=["in the first epoch", "before the first step ends"])
def test_a_stop_at_the_start_of_a_training_says_what_to_do(trained, cell, seconds):
    source = trained.cells()[cell]["source"]
    trained.write(cell, SLOW_STEPS.format(seconds=seconds) + source)
    outputs = press_stop_while(trained, cell, seen="")
    assert "stopped by hand" in text_of(outputs)
    below = AFTER[AFTER.index("control-figure") if cell == "control" else 0 :]
    said = [output for outputs in [outputs, *map(trained.run, below)] for output in outputs]
    errors = [text_of([output]) for output in said if output["output_type"] == "error"]
    assert [error for error in errors if not re.search("run (this|the) cell.* again", error)] == []
    assert errors or seconds < 60, "no step was finished, so that there is nothing to go on with"
    trained.write(cell, source)
    trained.select(cell)
    trained.do("notebook:run-all-below")
    assert problems(trained) == {}


USUAL = (
    "def mean_over_classes(answers, labels):\n    return sum(map(int.__eq__, answers, labels)) / len(labels)"
)


def test_an_exercise_names_the_mistake_and_praises_what_is_right(trained):
    for source, expected in (
        (USUAL, "That is the usual accuracy"),
        (start_here.q1.source, start_here.q1.praise),
    ):
        trained.write("q1-stub", source.strip())
        trained.run("q1-stub")
        assert expected in text_of(trained.run("q1-check"))


def test_after_a_restart_a_cell_in_the_middle_works_when_all_above_ran(trained):
    trained.restart()
    assert text_of(trained.run("batch")).startswith("NameError")
    trained.do("notebook:run-all-above")
    assert "right: anything from" in text_of(trained.run("batch"))


# Widgets, by mouse and by keyboard; each control is found by the name that a screen reader tells


def press_arrow_up(notebook, field):
    """Click the upper one of the two small arrows of a field with a number."""
    field.hover()
    box = field.bounding_box()
    notebook.page.mouse.click(box["x"] + box["width"] - 8, box["y"] + box["height"] / 3)


def test_the_gradient_explorer_follows_its_controls(lab):
    cells = ("setup", "imports", "load", "batch", "gradients-widget")
    with lab.opened("01", cells, with_widgets) as notebook:
        notebook.do("notebook:run-all-cells")
        output = notebook.output_of("gradients-widget")
        figure = output.get_by_role("img")

        def expect(title):
            playwright.expect(figure).to_have_attribute("alt", re.compile(f"^{title}"))

        expect("20 layers, skips, BatchNorm")
        output.get_by_role("combobox", name="layers").select_option("14")
        expect("14 layers, skips, BatchNorm")
        output.get_by_role("checkbox", name="skips").click()
        expect("14 layers, plain, BatchNorm")
        output.get_by_role("checkbox", name="BatchNorm").click()
        expect("14 layers, plain, no BatchNorm")


def test_the_prediction_explorer_follows_mouse_keyboard_and_uploads(lab):
    network = ("network", "network-more", "network-print", "network-print-2")
    cells = ("setup", "imports", "load", *network, "photo-ways", "explorer")
    with lab.opened("05", cells, with_widgets) as notebook:
        notebook.do("notebook:run-all-cells")
        output = notebook.output_of("explorer")
        image = output.get_by_role("spinbutton", name="image")

        def changes(act, *arguments):
            """Whether the figure becomes another one."""
            figure = output.get_by_role("img")
            before = figure.get_attribute("src")
            act(*arguments)
            playwright.expect(figure).not_to_have_attribute("src", before)

        def upload(name, content):
            with notebook.page.expect_file_chooser() as chooser:
                output.get_by_role("button", name="or a file").click()
            chooser.value.set_files({"name": name, "mimeType": "image/png", "buffer": content})

        changes(press_arrow_up, notebook, image)
        changes(image.press, "ArrowUp")
        upload("text.png", b"no image")
        playwright.expect(output).to_contain_text("not an image")
        changes(upload, "red.png", encode(Image.new("RGB", (50, 40), "red")))
        playwright.expect(output).not_to_contain_text("not an image")
        changes(output.get_by_role("combobox", name="damage").select_option, "occlusion")
        threshold = output.get_by_role("spinbutton", name="sure from")
        threshold.fill("1")
        threshold.press("Enter")
        dont_know = re.compile("I don't know")
        playwright.expect(output.get_by_role("img")).to_have_attribute("alt", dont_know)
        changes(press_arrow_up, notebook, image)


def test_the_questions_are_answered_by_mouse_and_by_keyboard(lab):
    with lab.opened("01", ("setup", "imports", "questions-after"), with_widgets) as notebook:
        notebook.do("notebook:run-all-cells")
        output = notebook.output_of("questions-after")
        choices, answer = output.get_by_role("radio"), output.get_by_role("button", name="Answer")
        for number, question in enumerate(of_notebook("01")[:2], start=1):
            playwright.expect(output).to_contain_text(f"({number} of 10)")
            playwright.expect(output).to_contain_text(question.text)
            playwright.expect(answer).to_be_disabled()
            right = next(place for place, choice in enumerate(question.choices) if choice.right)
            following = output.get_by_role("button", name="Next")
            if number == 1:
                choices.nth(right).click()
                answer.click()
                playwright.expect(output).to_contain_text(f"Right. {question.choices[right].reason}")
                following.click()
            else:
                wrong = (right + 1) % 3
                choices.nth(wrong).press("Space")
                playwright.expect(answer).to_be_enabled()  # a click waits for that, a key does not
                answer.press("Enter")
                playwright.expect(output).to_contain_text(f"Not quite. {question.choices[wrong].reason}")
                following.press("Enter")
        playwright.expect(output).to_contain_text("(3 of 10)")
