"""A claim is checked where the pictures can show it; elsewhere one line says why they cannot."""

from dataclasses import replace

import pytest
import torch

from resnet_course.data import shapes
from resnet_course.teaching.claims import better_than, can_show


def pictures(*counts):
    labels = torch.repeat_interleave(torch.tensor(counts))
    drawn = shapes.draw(len(labels), 0, shapes.CLASSES[: len(counts)])
    return replace(drawn.relabelled(labels, drawn.classes), name="folder pets")


def test_enough_pictures_can_show_it(capsys):
    assert can_show("it is so", pictures(20, 30), at_least=50, of_each=20)
    assert can_show("it is so", pictures(90, 10), at_least=100), "an uneven set, where only the number counts"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("counts", "needs", "reason"),
    [
        ((5, 4), {"at_least": 10}, "that takes at least 10 pictures, and you have 9"),
        ((5, 4), {"of_each": 5}, "that takes at least 5 pictures of each class, and ring has 4"),
        ((40, 10), {"of_each": 5}, "circle has 40 pictures and ring 10"),
        ((3, 0), {"of_each": 1}, "and ring has 0"),
    ],
)
def test_one_line_says_why_not(capsys, counts, needs, reason):
    assert not can_show("it is so", pictures(*counts), **needs)
    said = capsys.readouterr().out
    assert (
        said.count("\n") == 1
        and said.startswith("Not checked in this run, that it is so: ")
        and reason in said
    )


def test_drawn_shapes_can_always_show_it(capsys):
    assert can_show("it is so", shapes.draw(3, 0), at_least=1_000, of_each=100)
    assert capsys.readouterr().out == ""


def test_better_than_guessing_is_half_as_often_again_and_can_be_reached():
    assert better_than(0.1) == pytest.approx(0.15), "ten equal classes"
    assert better_than(0.01) == pytest.approx(0.015), "a hundred"
    for chance in (0.2, 0.5, 0.9, 1.0):
        assert chance <= better_than(chance) <= 1
