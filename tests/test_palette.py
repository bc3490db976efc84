"""Every figure can be read on white and on dark, and by people with any kind of colour vision."""

import itertools
import json
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from figure_kinds import KINDS
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from parameters import some_are_slow

from resnet_course.common.errors import ArgumentError
from resnet_course.plots import palette

WHITE, DARK = "#ffffff", "#111111"  # JupyterLab's backgrounds of outputs
REPOSITORY = Path(__file__).parents[1]

# What is left of linear RGB without one kind of cones: Machado, Oliveira, Fernandes, "A Physiologically-based
# Model for Simulation of Color Vision Deficiency", 2009, severity 1.
VISIONS = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(color):
    values = np.array(to_rgb(color))
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """WCAG 2.2's contrast ratio, 1 to 21."""
    high, low = sorted(
        (float(linear(color) @ [0.2126, 0.7152, 0.0722]) for color in (one, other)), reverse=True
    )
    return (high + 0.05) / (low + 0.05)


def lab(color, vision):
    """CIELAB, in which a distance of about 2 is just seen."""
    relative = (TO_XYZ @ np.clip(VISIONS[vision] @ linear(color), 0, 1)) / TO_XYZ.sum(1)
    x, y, z = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def nearest(ones, others, vision):
    return min(
        (float(np.linalg.norm(lab(a, vision) - lab(b, vision))), a, b)
        for a, b in itertools.product(ones, others)
        if a != b
    )


ROLES = [style.color for style in palette.ROLES.values()]
SERIES = list(dict.fromkeys(style.color for style in palette.SERIES))


def test_the_measures_are_the_published_ones():
    assert contrast("black", "white") == pytest.approx(21) and contrast("#777777", "white") < 4.5
    assert contrast("#767676", "white") > 4.5  # the darkest grey that is too pale, and the palest that is not
    assert lab("red", "all cones") == pytest.approx([53.24, 80.09, 67.20], abs=0.1)
    assert all(lab("white", vision) == pytest.approx([100, 0, 0], abs=0.1) for vision in VISIONS)


@pytest.mark.parametrize("color", [*ROLES, *SERIES])
@pytest.mark.parametrize("background", [WHITE, DARK])
def test_lines_have_three_to_one_on_both_backgrounds(color, background):
    assert contrast(color, background) >= 3


@pytest.mark.parametrize("vision", VISIONS)
def test_colours_are_told_apart_with_every_colour_vision(vision):
    assert nearest(ROLES, ROLES, vision)[0] > 15
    assert nearest(SERIES, SERIES, vision)[0] > 15
    assert nearest(ROLES, SERIES, vision)[0] > 10


def test_a_colour_stands_for_one_thing():
    assert len(set(ROLES)) == len(palette.ROLES) and not set(ROLES) & set(SERIES)


def test_nothing_is_told_apart_by_colour_alone():
    for styles in (palette.ROLES.values(), palette.SERIES):
        assert len({style.marker for style in styles}) == len(styles)
        assert len({style.hatch for style in styles}) == len(styles)
    mixed = palette.styles(["plain", "pretrained", "fc", "layer4", "all", "x", "y"]).values()
    assert len({style.marker for style in mixed}) == len({style.hatch for style in mixed}) == 7


def test_named_things_keep_their_style_and_too_many_are_refused():
    assert palette.styles(["x", "skips"])["skips"] == palette.styles(["skips"])["skips"] == palette.COURSE
    assert palette.styles(["x", "layer4", "fc"])["x"] not in palette.styles(["layer4", "fc"]).values()
    with pytest.raises(ArgumentError, match=r"^15 things are to be drawn in one figure, and at most 12"):
        palette.styles(map(str, range(15)))


@pytest.mark.parametrize("kind", some_are_slow(KINDS, quick=[*KINDS][::8]))
@pytest.mark.parametrize("background", [WHITE, DARK])
def test_in_every_figure_text_has_four_and_a_half_to_one_and_lines_three(kind, background):
    dark = {**plt.style.library["dark_background"], "axes.facecolor": DARK, "figure.facecolor": DARK}
    with matplotlib.rc_context(dark if background == DARK else {}):
        figure = KINDS[kind](0.5)
        figure.set_layout_engine("none")  # colours do not depend on the places, which take longest
        figure.canvas.draw()
        for text in figure.findobj(Text):
            if text.get_text() and text.get_visible() and text not in cells(figure):
                assert contrast(text.get_color(), background) >= 4.5, text
        for axis in figure.axes:
            for line in axis.lines:
                dot = (line.get_color(), line.get_markeredgecolor()) == ("black", "white")  # with a rim
                on = WHITE if dot else background
                assert contrast(line.get_color(), on) >= 3, line
            for bar in axis.patches:
                drawn = bar.get_facecolor() if bar.get_facecolor()[3] else bar.get_edgecolor()
                assert contrast(drawn[:3], background) >= 3, bar
    plt.close("all")


def cells(figure):
    """Texts that stand on a coloured cell of their own."""
    return [text for axis in figure.axes if axis.images for text in axis.texts]


def test_text_on_a_cell_can_be_read():
    figure = KINDS["confusion"](0.5)
    for axis in figure.axes:
        for text in axis.texts:
            column, row = text.get_position()
            (image,) = axis.images
            cell = image.to_rgba(image.get_array()[row, column])
            assert contrast(text.get_color(), cell[:3]) >= 4.5
    plt.close("all")


def test_no_notebook_draws_a_figure_that_is_not_described():
    for path in sorted((REPOSITORY / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            for call in ("plt.subplots", "plt.figure", "plt.plot", "plt.imshow", "plt.bar", "color="):
                assert cell["cell_type"] != "code" or call not in source, (path.name, cell["id"])
