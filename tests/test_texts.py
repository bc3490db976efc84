"""Names of classes in any script, with dollar signs, and such as are no text, in every kind of figure."""

import json
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from figure_kinds import KINDS, history, images
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager, rc_context
from matplotlib.text import Text
from parameters import some_are_slow

from resnet_course import plots
from resnet_course.data import ImageSet, shapes
from resnet_course.evaluation import Predictions
from resnet_course.plots import texts
from resnet_course.prediction import Prediction

SCRIPTS = {
    "Chinese": "雪豹",
    "Japanese": "ユキヒョウ",
    "Korean": "눈표범",
    "Arabic": "نمر الثلوج",
    "Hebrew": "נמר",
    "Devanagari": "तेंदुआ",
    "Thai": "เสือดาว",
    "Emoji": "🐆👩‍🚀❤️🇫🇷",
    "Tangut": "𗀀",
    "private": "\ue000\uf8ff",
    "control": "a\tb\x07",
    "bytes": "\udcff\udce9",
    "mixed": "雪 naïve \udcff $5_bill$",
}
FORMULAS = [
    "$5_bill$",
    "x_1^2",
    "$",
    "$$",
    "a$b$c",
    r"\frac$\nonsense$",
    r"$\alpha$",
    r"\$5",
    "_hidden",
    "$^$",
]


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(texts, "_said", [])
    texts._fonts_with.cache_clear()
    yield
    plt.close("all")


def figures_of_images(name):
    """Those that the notebooks show of a learner's own images, with this name in every place."""
    classes = (name, f"{name} 2")
    labels = torch.arange(8) % 2
    said = Prediction(name, 0.75, {name: 0.75, f"{name} 2": 0.25})
    yield plots.samples(ImageSet(images(8), labels, classes, name), 8)
    yield plots.prediction(np.zeros((8, 8, 3), np.uint8), images()[0], said)
    yield plots.confusion(torch.tensor([[8, 2], [1, 9]]), classes, name)


def figures_with(name):
    """Every figure that shows names."""
    classes = (name, f"{name} 2")
    labels = torch.arange(8) % 2
    image_set = ImageSet(images(8), labels, classes, name)
    norms = {name: {"conv1": 1.0, "fc": 10.0}}
    yield from figures_of_images(name)
    yield plots.predictions(image_set, Predictions(torch.eye(2)[1 - labels] * 5, labels, classes, name), 1, 2)
    yield plots.bars({name: {name: 1.0, "b": 2.0}, "y": {"b": 3.0}}, name, name)
    yield plots.lines({name: {10: [0.2, 0.4], 1000: [0.6]}}, name, name, name, logarithmic=True)
    yield plots.gallery(images(2), list(classes), name)
    yield plots.heat_maps(images(2), {name: torch.rand(2, 4, 4)}, list(classes), name)
    yield plots.rows({name: images(2)}, name)
    yield plots.gradient_norms({name: norms}, name)
    yield plots.waterfall({name: 600.0, "half": 300.0}, name)
    yield plots.spreads({name: [(2.0, 0.8)], "bad": [(1.0, 0.5)]}, name)
    yield plots.accuracy_against_seconds({name: [(1.0, 0.5)], "slow": [(4.0, 0.8)]}, name)
    yield plots.history(history(), name)


def shown(figure):
    """The bundle that a notebook gets, as the bytes of its file."""
    return json.dumps(figure._repr_mimebundle_(), ensure_ascii=False).encode()


def drawn(figures):
    """All figures, each drawn as a notebook draws it, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in figures:
            figure.set_dpi(40)
            assert len(shown(figure)) > 3000
            yield figure
            plt.close(figure)


@pytest.mark.parametrize("script", some_are_slow(SCRIPTS, quick=[*SCRIPTS][::8]))
def test_a_name_in_any_script_is_drawn_without_a_warning_and_with_one_notice_at_most(script, capsys):
    assert len(list(drawn(figures_of_images(SCRIPTS[script])))) == 3
    assert capsys.readouterr().err.count("No installed font has") <= 1


@pytest.mark.slow
def test_every_figure_draws_such_names(capsys):
    assert len(list(drawn(figures_with("雪\udcff$5_b$")))) == 14
    assert capsys.readouterr().err.count("No installed font has") <= 1


def not_read_as_formula(figure, name):
    texts = [text for text in figure.findobj(Text) if name in text.get_text()]
    return texts and not any(text.get_parse_math() for text in texts)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_name_is_no_formula(name):
    figure = plots.confusion(torch.tensor([[8, 2], [1, 9]]), (name, f"{name} 2"), name)
    assert not_read_as_formula(figure, name)
    figure.canvas.draw()


@pytest.mark.slow
def test_a_name_is_no_formula_in_any_figure():
    for figure in figures_with("$5_bill$"):
        assert not_read_as_formula(figure, "$5_bill$")
        plt.close(figure)


def test_a_name_with_an_underscore_in_front_stays_in_the_legend():
    figure = plots.bars({"_a": {"x": 1.0}, "b": {"x": 2.0}}, "title", "metres")
    assert [text.get_text().strip() for text in figure.legends[0].get_texts()] == ["_a", "b"]
    figure = plots.lines({"_a": {0: 1, 1: 2}, "b": {0: 1}}, "title", "x", "y")
    assert [text.get_text().strip() for text in figure.axes[0].get_legend().get_texts()] == ["_a", "b"]


def test_powers_on_a_logarithmic_axis_stay_formulas():
    figure = KINDS["gradient_norms"](0.5)
    figure.canvas.draw()
    labels = [label for label in figure.axes[0].get_yticklabels() if "$" in label.get_text()]
    assert labels and all(label.get_parse_math() for label in labels)


def test_what_the_font_lacks_comes_from_another_that_is_installed(capsys):
    """matplotlib brings STIXGeneral, which has a character that DejaVu Sans lacks."""
    (other,) = (entry for entry in texts._fonts() if entry.name == "STIXGeneral")
    own = texts._characters(font_manager.findfont("DejaVu Sans"))
    character = chr(min(code for code in texts._characters(other.fname) - own if code > 0x1D00))
    figure = plots.gallery(images(1), [f"a {character}"], "title", columns=1)
    title = figure.axes[0].title
    assert title.get_fontfamily()[0] == "sans-serif" and len(title.get_fontfamily()) == 2
    assert ord(character) in texts._of_family(title.get_fontfamily()[1])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plt.Figure.draw(figure, figure.canvas.get_renderer())  # without what keeps warnings back
    assert not [warning for warning in caught if "Glyph" in str(warning.message)]
    assert figure._suptitle.get_fontfamily() == ["sans-serif"], "what needs no other font gets none"
    assert capsys.readouterr().err == ""


def font_with(path, name, characters):
    """A font whose characters are all squares."""
    names = [".notdef", *(f"u{ord(each):04X}" for each in characters)]
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for point in ((100, 700), (700, 700), (700, 0)):
        pen.lineTo(point)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(each): glyph for each, glyph in zip(characters, names[1:], strict=True)})
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (800, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": name, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


def test_as_few_fonts_as_are_needed_come_from_those_that_are_installed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    for name, characters in (("Course Noto Snow", "雪豹"), ("Course Korean", "눈표범"), ("A", "雪")):
        font_manager.fontManager.addfont(font_with(tmp_path / f"{name}.ttf", name, characters))
    texts._fonts.cache_clear()
    try:
        figure = plots.confusion(torch.tensor([[8, 2], [1, 9]]), ("雪豹", "눈표범 a"), "雪豹 and 눈")
        labels = figure.axes[0].get_xticklabels()
        assert labels[0].get_fontfamily() == ["sans-serif", "Course Noto Snow"]
        assert labels[1].get_fontfamily() == ["sans-serif", "Course Korean"]
        assert figure._suptitle.get_fontfamily() == ["sans-serif", "Course Noto Snow", "Course Korean"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            plt.Figure.draw(figure, figure.canvas.get_renderer())  # without what keeps warnings back
        assert capsys.readouterr().err == ""
    finally:
        texts._fonts.cache_clear()
        texts._of_family.cache_clear()


def test_a_font_that_the_learner_has_chosen_is_looked_at_too(monkeypatch):
    asked = []
    monkeypatch.setattr(texts, "_of_family", lambda name: asked.append(name) or frozenset([0x96EA]))
    with rc_context({"font.family": ["sans-serif", "DejaVu Serif"]}):
        figure = plots.gallery(images(1), ["雪"], "title", columns=1)
    assert figure.axes[0].title.get_fontfamily() == ["sans-serif", "DejaVu Serif"] and asked


def test_what_no_font_has_is_said_once(capsys):
    for _ in range(3):
        plots.gallery(images(1), ["a 𗀀"], "title", columns=1)
        plots.gallery(images(1), ["a 𗀁"], "title", columns=1)
    assert capsys.readouterr().err.count("No installed font has the characters 𗀀") == 1


def test_lone_surrogates_are_escaped_and_ticks_keep_their_places_and_angles():
    figure = plots.confusion(torch.tensor([[8, 2], [1, 9]]), ("a", "\udcff"), "title \udcfe")
    labels = figure.axes[0].get_xticklabels()
    assert [label.get_text() for label in labels] == ["a", "\\udcff"]
    assert {label.get_rotation() for label in labels} == {45.0}
    assert figure.axes[0].get_xticks().tolist() == [0, 1]
    assert figure.get_suptitle() == "title \\udcfe" and "\\udcff" in figure.alt
    figure.alt.encode()


def test_a_font_that_cannot_be_read_is_passed_over(tmp_path):
    (tmp_path / "bad.ttf").write_bytes(b"no font")
    assert texts._characters(str(tmp_path / "bad.ttf")) == frozenset()
    assert texts._of_family("No Such Font") == frozenset()


def test_plain_figures_look_at_no_font(monkeypatch):
    monkeypatch.setattr(texts, "_of_family", lambda name: pytest.fail("looked"))
    plots.samples(shapes.draw(50, 0), per_class=3)
