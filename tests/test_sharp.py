"""Sharp drawings: the same at every size, and as large in the picture as was asked for."""

import pytest
import torch

from resnet_course.common.errors import ArgumentError
from resnet_course.teaching.sharp import draw_oblong, draw_sharp


def width_of_shape(share, side):
    """How wide a drawn square is, in parts of the picture's side, seen against the same ground without it."""
    one, other = (draw_sharp(3, 5, each, side, classes=("circle",)).images.int() for each in (share, 0.01))
    seen = ((one - other).abs().sum(1) > 60).any(1)  # [3, side]: columns
    return seen.float().sum(1) / side


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_circle_is_as_wide_as_asked(share):
    assert width_of_shape(share, 128).tolist() == pytest.approx(
        [0.8 * share] * 3, abs=0.04
    )  # its radius is 0.8


def test_the_same_seed_draws_the_same_at_any_size_and_another_seed_others():
    large, small = (draw_sharp(10, 0, 0.5, side) for side in (128, 32))
    shrunk = torch.nn.functional.interpolate(large.images.float(), (32, 32), mode="area")
    assert (shrunk - small.images).abs().mean() < 12
    assert torch.equal(large.images, draw_sharp(10, 0, 0.5, 128).images)
    assert not torch.equal(large.images, draw_sharp(10, 1, 0.5, 128).images)
    assert large.labels.tolist() == list(range(10)) and large.stored_size == 128


def test_oblong_pictures_have_the_shape_asked_for():
    for height, width in ((64, 32), (32, 64)):
        assert [tuple(each.shape) for each in draw_oblong(2, 0, height, width)] == [(3, height, width)] * 2


@pytest.mark.parametrize("share", [0, 1.5])
def test_a_share_out_of_range_is_named(share):
    with pytest.raises(ArgumentError, match=r"share is .*above 0 and at most 1"):
        draw_sharp(1, 0, share)
