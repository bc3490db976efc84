"""Every figure states its finding, names its axes, and draws what it was given."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from figure_kinds import KINDS, ONLY_IMAGES, bins, history, images, predictions
from PIL import Image

from resnet_course import plots
from resnet_course.common.errors import ArgumentError
from resnet_course.data import shapes
from resnet_course.plots.palette import MUTED, VALIDATION
from resnet_course.prediction import Prediction
from resnet_course.training import History


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def test_every_kind_of_figure_is_among_the_examples():
    assert set(KINDS) == set(plots.__all__) - {"finish", "subplots", "to_array"}


def test_every_figure_is_described_in_words_and_numbers(kind):
    alt = KINDS[kind](0.5).alt
    assert alt.endswith(".") and 40 < len(alt) < 600 and "\n" not in alt
    assert any(character.isdigit() for character in alt)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused_and_named(kind, value):
    if kind in ONLY_IMAGES:
        pytest.skip("it draws whole numbers")
    with pytest.raises(ArgumentError, match=rf"^plots\.{kind}: .+ is {value}; only finite numbers") as caught:
        KINDS[kind](value)
    assert "\n" not in str(caught.value) and not plt.get_fignums(), "nothing is left half-drawn"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.history(History(), "shapes"),
        lambda: plots.training_errors({(8, True): History()}, "deeper"),
        lambda: plots.losses({"one": {"training": [], "validation": []}}, "losses"),
        lambda: plots.lines({"one": {}}, "lines", "x", "y"),
        lambda: plots.panels({"panel": {"one": {}}}, "panels", "x", "y"),
    ],
)
def test_after_a_training_without_an_epoch_the_message_says_what_to_do(draw):
    with pytest.raises(ArgumentError, match=r"is empty, .* run the cell of that training again"):
        draw()


def test_the_message_says_which_value_is_not_finite():
    with pytest.raises(ArgumentError, match=r"bars: x → b is nan"):
        plots.bars({"x": {"a": 1.0, "b": float("nan")}}, "title", "metres")
    with pytest.raises(ArgumentError, match=r"lines: one → 10\[1\] is nan"):
        plots.lines({"one": {10: [0.1, float("nan")]}}, "title", "x", "y")
    weights = torch.zeros(4, 3, 2, 2)
    weights[2, 1, 0, 1] = float("inf")
    with pytest.raises(ArgumentError, match=r"filters: weights\[2, 1, 0, 1\] is inf"):
        plots.filters(weights, "edges")


def test_the_description_has_the_main_numbers():
    figure = plots.bars({"x": {"a": 1.0, "b": 2.5}}, "title", "metres", line=0.5)
    assert figure.alt == "title. Bars of metres. x: a 1 and b 2.5. A line across marks 0.5."
    figure = plots.lines({"one": {10: [0.2, 0.4], 1000: 0.6}}, "two\nlines", "x", "y", percent=True)
    assert figure.alt == "two lines. Lines of y against x: one from 30% at 10 to 60% at 1,000."
    figure = plots.confusion(torch.tensor([[8, 2], [0, 9]]), ("cat", "dog"), "title")
    assert figure.alt.endswith("17 of 19 images are right; most often cat is called dog (2 times).")
    assert "no image is wrong" in plots.confusion(torch.eye(2).long(), ("cat", "dog"), "title").alt


def test_samples_have_a_row_for_each_class():
    figure = plots.samples(shapes.draw(50, 0), per_class=3)
    assert [axis.get_ylabel() for axis in figure.axes] == list(shapes.CLASSES)
    assert "shapes: 10 classes, 50 images" in figure.get_suptitle()


def test_names_with_dollars_are_no_formulas():
    names = ("5 $ to 10 $", "$\\frac$")
    drawn = shapes.draw(4, 0, shapes.CLASSES[:2])
    for figure in (
        plots.samples(drawn.relabelled(drawn.labels, names)),
        plots.confusion(torch.eye(2, dtype=torch.int64), names, names[1]),
        plots.bars({names[0]: {names[1]: 1.0}}, names[0], names[1]),
    ):
        figure.canvas.draw()


def test_samples_of_many_classes_show_the_first():
    figure = plots.samples(shapes.draw(60, 0, list(shapes.SHAPES)), per_class=2)
    assert len(figure.axes) == 20
    assert "30 classes (the first 20 are shown), 60 images" in figure.get_suptitle()


def test_history_shows_both_losses_and_both_accuracies():
    figure = plots.history(history(), "shapes")
    assert [axis.get_ylabel() for axis in figure.axes] == ["loss (nats)", "accuracy"]
    assert all(len(axis.lines) == 2 and axis.get_xlabel() == "epoch" for axis in figure.axes)
    assert "50.0% of the validation images are right; 1 min 2 s" in figure.get_suptitle()


def test_the_wrong_predictions_come_first():
    figure = plots.predictions(shapes.draw(20, 0), predictions(), rows=2, columns=4)
    titles = [axis.get_title() for axis in figure.axes]
    assert [title[0] for title in titles] == list("✗✗✗✓✓✓✓✓")
    assert "3 of 20 predictions are wrong" in figure.get_suptitle()


def test_a_prediction_takes_whatever_the_classifier_takes(tmp_path):
    pixels = np.zeros((40, 60, 3), np.uint8)
    path = tmp_path / "cat.png"
    Image.fromarray(pixels).save(path)
    said = Prediction("ring", 0.75, {"ring": 0.75, "star": 0.25})
    for picture in (pixels, path, str(path), path.read_bytes(), Image.open(path)):
        figure = plots.prediction(picture, torch.zeros(3, 32, 32, dtype=torch.uint8), said)
        assert figure.axes[0].get_title() == "your image, 60 × 40 pixels"
        assert "says ring, and gives it 75%" in figure.get_suptitle()


def test_a_large_picture_is_shown_smaller_with_its_true_size():
    said = Prediction("ring", 0.75, {"ring": 0.75, "star": 0.25})
    pixels = np.zeros((3100, 3600), np.uint8)
    figure = plots.prediction(pixels, torch.zeros(3, 32, 32, dtype=torch.uint8), said)
    assert figure.axes[0].get_title() == "your image, 3600 × 3100 pixels"
    assert figure.axes[0].images[0].get_array().shape == (1550, 1800, 3)


def test_training_errors_put_plain_left_and_skips_right():
    figure = plots.training_errors({(8, False): history(), (38, True): history((0.8, 0.2))}, "deeper")
    left, right = figure.axes
    assert left.lines[0].get_ydata().tolist() == pytest.approx([0.9, 0.5])
    assert right.lines[0].get_ydata().tolist() == pytest.approx([0.8, 0.2])
    assert left.get_ylabel() == "training error" and figure.get_suptitle() == "deeper"


def test_training_errors_can_have_a_line_for_guessing():
    figure = plots.training_errors({(8, False): history(), (8, True): history()}, "deeper", chance=0.9)
    for axis in figure.axes:
        assert list(axis.lines[-1].get_ydata()) == [0.9, 0.9]
    assert figure.alt.endswith("A line across marks guessing, 90%.")


def test_gradient_norms_can_leave_out_what_is_too_small_to_compare():
    norms = {"before": {"a": {"conv1": 1e-20, "fc": 1.0}}}
    assert plots.gradient_norms(norms, "levels", lowest=1e-6).axes[0].get_ylim()[0] == 1e-6
    assert plots.gradient_norms(norms, "levels").axes[0].get_ylim()[0] < 1e-19


def test_feature_maps_of_a_part_share_one_scale():
    maps = torch.stack([torch.zeros(4, 4), torch.full((4, 4), 5.0), torch.ones(4, 4)])[None]
    figure = plots.feature_maps(shapes.draw(1, 0).images[0], {"layer1": maps}, "where", channels=3)
    scales = {axis.images[0].get_clim() for axis in figure.axes[1:] if axis.images}
    assert scales == {(0.0, 5.0)}


def test_gradient_norms_have_a_line_for_each_network_on_a_logarithmic_scale():
    norms = {"a": {"conv1": 1.0, "fc": 10.0}, "b": {"conv1": 2.0, "fc": 1.0}}
    figure = plots.gradient_norms({"before": norms, "after": {"a": norms["a"]}}, "levels")
    assert [len(axis.lines) for axis in figure.axes] == [2, 1]
    assert all(axis.get_yscale() == "log" for axis in figure.axes)
    assert figure.axes[0].lines[1].get_ydata().tolist() == [2.0, 1.0]


def test_no_network_is_left_out_and_each_has_its_own_look():
    norms = {"conv1": 1.0, "fc": 10.0}
    names = ["plain", "skips", *map(str, range(8))]
    figure = plots.gradient_norms({"a": dict.fromkeys(names, norms), "b": {"7": norms}}, "many")
    many, one = figure.axes
    assert len(many.lines) == 10
    assert len({(line.get_color(), line.get_marker(), line.get_linestyle()) for line in many.lines}) == 10
    assert one.lines[0].get_color() == many.lines[-1].get_color(), "the same network, the same colour"


def test_bars_of_many_groups_are_all_drawn_or_refused():
    groups = {str(n): {"a": 1.0 + n} for n in range(12)}
    (axis,) = plots.bars(groups, "title", "metres").axes
    assert [bar.get_height() for bar in axis.patches] == [1.0 + n for n in range(12)]
    assert len({bar.get_hatch() for bar in axis.patches}) == 12
    with pytest.raises(ArgumentError, match=r"^13 things .* at most 12"):
        plots.bars({**groups, "one more": {"a": 1.0}}, "title", "metres")


def test_values_on_bars_are_never_powers_of_ten_from_a_thousand_on():
    figure = plots.bars({"x": {"a": 26_900.4, "b": 999.6, "c": -2_500.0, "d": 0.0123}}, "title", "metres")
    written = ["26,900", "1,000", "-2,500", "0.0123"]
    assert [text.get_text() for text in figure.axes[0].texts] == written
    assert all(one in figure.alt for one in written)


def test_a_constant_filter_is_drawn_grey():
    weights = torch.randn(4, 3, 7, 7)
    weights[1] = 0.0
    figure = plots.filters(weights, "edges")
    assert (figure.axes[1].images[0].get_array() == 0.5).all()
    assert "1 of them have one value throughout" in figure.alt


def test_more_than_two_depths_have_a_look_each():
    figure = plots.training_errors({(depth, True): history() for depth in (8, 14, 20, 38)}, "deeper")
    assert len({line.get_marker() for line in figure.axes[1].lines}) == 4


def test_filters_and_feature_maps_have_an_image_each():
    figure = plots.filters(torch.randn(20, 3, 7, 7), "edges", columns=8)
    assert sum(len(axis.images) for axis in figure.axes) == 20
    maps = {"conv1": torch.rand(1, 16, 8, 8), "layer1": torch.rand(1, 16, 4, 4)}
    figure = plots.feature_maps(torch.zeros(3, 32, 32, dtype=torch.uint8), maps, "where", channels=5)
    assert sum(len(axis.images) for axis in figure.axes) == 2 * 5 + 1


def test_bars_leave_a_gap_where_a_group_has_no_value():
    figure = plots.bars({"x": {"a": 1.0, "b": 2.0}, "y": {"b": 3.0}}, "title", "metres", line=0.5)
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "b"]
    assert [bar.get_height() for bar in axis.patches] == [1.0, 2.0, 3.0]
    assert axis.get_ylabel() == "metres" and axis.lines[0].get_ydata()[0] == 0.5


def test_rows_may_differ_in_number_and_size():
    wide, narrow = torch.zeros(3, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    figure = plots.rows({"small": wide, "large": narrow}, "sizes")
    assert sum(len(axis.images) for axis in figure.axes) == 4
    assert [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()] == ["small", "large"]


def test_accuracy_against_seconds_joins_what_no_other_choice_beats():
    runs = {
        "fast": [(1.0, 0.5), (1.0, 0.7)],
        "slow": [(4.0, 0.8)],
        "slower and worse": [(5.0, 0.7)],
        "as slow and worse": [(4.0, 0.75)],
    }
    figure = plots.accuracy_against_seconds(runs, "choices", front=True)
    (axis,) = figure.axes
    (front,) = (line for line in axis.lines if line.get_linestyle() == "--")
    assert front.get_xdata().tolist() == [1.0, 4.0]
    assert front.get_ydata().tolist() == pytest.approx([0.6, 0.8])
    assert {text.get_text() for text in axis.texts} == set(runs)
    bars = [segment[:, 1].tolist() for bar in axis.containers for segment in bar[2][0].get_segments()]
    assert bars[0] == pytest.approx([0.5, 0.7])


def test_spreads_show_every_run_and_put_the_best_mean_on_top():
    figure = plots.spreads({"good": [(2.0, 0.8), (4.0, 0.9)], "bad": [(1.0, 0.3), (1.0, 0.5)]}, "two")
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["bad (1.0 s)", "good (3.0 s)"]
    dots = [line.get_xdata().tolist() for line in axis.lines if line.get_marker() == MUTED.marker]
    means = [float(line.get_xdata()[0]) for line in axis.lines if line.get_marker() == VALIDATION.marker]
    assert dots == [[0.3, 0.5], [0.8, 0.9]] and means == pytest.approx([0.4, 0.85])


def test_lines_go_through_the_means_with_a_bar_from_least_to_most():
    series = {"one": {10: [0.2, 0.4], 100: [0.6]}, "two": {10: 0.1, 100: 0.2}}
    (axis,) = plots.lines(series, "title", "x", "y", percent=True, logarithmic=True).axes
    drawn = {bar.get_label(): bar for bar in axis.containers}
    assert drawn["one"][0].get_ydata().tolist() == pytest.approx([0.3, 0.6])
    assert drawn["two"][0].get_xdata().tolist() == [10, 100]
    (segments,) = drawn["one"][2]
    assert [s[:, 1].tolist() for s in segments.get_segments()] == [pytest.approx([0.2, 0.4]), [0.6, 0.6]]
    assert axis.get_xscale() == "log" and [t.get_text() for t in axis.get_xticklabels()] == ["10", "100"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("x", "y")


def test_lines_have_looks_for_many_names_and_refuse_more():
    series = {str(n): {0: n, 1: n} for n in range(12)}
    figure = plots.lines(series, "many", "x", "y")
    assert len(figure.axes[0].containers) == len(figure.legends[0].get_texts()) == 12
    with pytest.raises(ArgumentError, match=r"^13 things .* at most 12"):
        plots.lines({**series, "one more": {0: 1}}, "many", "x", "y")


def test_a_waterfall_shows_what_is_left_and_how_many_times_less():
    (axis,) = plots.waterfall({"all": 600.0, "half": 300.0, "slower": 360.0}, "title").axes
    assert axis.get_xlabel() == "minutes for all epochs"
    assert [text.get_text() for text in axis.texts] == ["10.0 min", "5.0 min  (÷ 2.0)", "6.0 min  (÷ 0.8)"]
    assert [bar.get_width() for bar in axis.patches[1::2]] == [10, 5, 6]
    (axis,) = plots.waterfall({"all": 60.0, "less": 6.0}, "title").axes
    assert axis.get_xlabel() == "seconds for all epochs"


@pytest.mark.slow
def test_a_confusion_matrix_of_many_classes_has_names_that_can_be_read_and_no_numbers():
    matrix = 3 * torch.eye(100, dtype=torch.int64)
    matrix[2, 5] = 1
    figure = plots.confusion(matrix, [f"class {n}" for n in range(100)], "title")
    axis, scale = figure.axes
    assert not axis.texts and scale.get_ylabel() == "share of the true class"
    assert axis.images[0].get_array()[2, 5] == 0.25 and axis.images[0].get_array()[2, 2] == 0
    figure.canvas.draw()
    heights = [label.get_window_extent() for label in axis.get_yticklabels()]
    widths = [label.get_window_extent() for label in axis.get_xticklabels()]
    assert len(heights) == len(widths) == 100
    assert all(below.y1 <= above.y0 for above, below in itertools.pairwise(heights)), "one over another"
    assert all(left.x1 <= right.x0 for left, right in itertools.pairwise(widths))
    assert "most often class 2 is called class 5 (1 times)" in figure.alt


def test_a_confusion_matrix_is_drawn_as_shares_of_classes_that_say_how_many_they_are():
    matrix = torch.tensor([[6, 2], [0, 4]])
    (axis,) = plots.confusion(matrix, ("cat", "dog"), "title").axes
    assert [text.get_text() for text in axis.texts] == ["75", "25", "", "100"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["cat (8)", "dog (4)"]
    assert axis.get_ylabel() == "true class" and axis.get_xlabel() == "predicted class"


def test_confidence_intervals_are_drawn_where_they_are():
    intervals = {"one": {10: (0.1, 0.4), 100: (0.3, 0.5)}}
    figure = plots.lines({"one": {10: 0.2, 100: 0.4}, "two": {10: 0.3}}, "t", "x", "y", intervals=intervals)
    (band,) = figure.axes[0].collections
    assert {(10.0, 0.1), (10.0, 0.4), (100.0, 0.3), (100.0, 0.5)} <= set(
        map(tuple, band.get_paths()[0].vertices)
    )
    assert "confidence intervals" in figure.alt
    figure = plots.bars({"x": {"a": 1.0, "b": 2.0}}, "t", "metres", intervals={"x": {"b": (1.5, 3.0)}})
    (line,) = (each for each in figure.axes[0].collections)
    assert line.get_segments()[0][:, 1].tolist() == [1.5, 3.0] and "confidence intervals" in figure.alt
    with pytest.raises(ArgumentError, match="bars: x → b"):
        plots.bars({"x": {"b": 2.0}}, "t", "metres", intervals={"x": {"b": (float("nan"), 3.0)}})


def test_panels_share_axes_and_a_line_looks_the_same_in_all():
    groups = {name: {"one": {0: 0.9, 5: 0.2}, "two": {0: 0.8, 5: 0.6}} for name in "abcd"}
    figure = plots.panels(groups, "t", "x", "y", {"a": {"one": {0: (0.8, 1.0), 5: (0.1, 0.3)}}})
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in shown] == list("abcd")
    assert {axis.get_ylim() for axis in shown} == {shown[0].get_ylim()}
    assert {axis.lines[1].get_color() for axis in shown} == {shown[0].lines[1].get_color()}
    assert [len(axis.collections) for axis in shown] == [1, 0, 0, 0]
    assert "a, one: from 90% to 20%" in figure.alt


def test_reliability_draws_the_bins_that_hold_something():
    upper, _, lower, _ = plots.reliability({"a": bins(), "b": bins()}, "title").axes
    assert [bar.get_height() for bar in upper.patches] == [0.75]
    assert [bar.get_height() for bar in lower.patches] == [4]


def test_a_gallery_and_heat_maps_have_a_caption_for_each_image():
    figure = plots.gallery(images(5), list("abcde"), "title", columns=4)
    assert [axis.get_title() for axis in figure.axes][:5] == list("abcde") and len(figure.axes) == 8
    figure = plots.heat_maps(
        images(5), {"one": torch.rand(5, 4, 4), "two": torch.rand(5, 4, 4)}, list("abcde"), "t"
    )
    assert len(figure.axes) == 15 and [axis.get_ylabel() for axis in figure.axes][::5] == [
        "image",
        "one",
        "two",
    ]


@pytest.mark.parametrize("draw", [plots.gallery, lambda *a: plots.heat_maps(a[0], {}, *a[1:])])
def test_a_caption_too_few_is_refused(draw):
    with pytest.raises(ArgumentError, match="5 images and 4 captions"):
        draw(images(5), list("abcd"), "title")


def test_a_prediction_among_many_classes_says_that_it_shows_the_first():
    said = Prediction("0", 0.5, {"0": 0.5} | {str(n): 0.01 for n in range(1, 51)})
    bars = plots.prediction(np.zeros((8, 8, 3), np.uint8), images()[0], said).axes[2]
    assert len(bars.patches) == 10 and bars.get_xlabel() == "probability of the first 10 of 51 classes"


def test_an_answer_that_is_none_names_the_most_probable_class():
    said = Prediction("unknown", 0.35, {"ring": 0.35, "star": 0.33, "heart": 0.32})
    figure = plots.prediction(np.zeros((8, 8, 3), np.uint8), images()[0], said)
    assert figure.get_suptitle() == "The network does not know: even ring has only 35%"
