"""What notebooks say about intervals, and the interval of a mean."""

import pytest
import torch

from resnet_course.teaching.intervals import interval_text, mean_interval, verdict


def test_intervals_are_said_in_percent_or_in_points():
    assert interval_text((0.8012, 0.9)) == "80.1 to 90.0%"
    assert interval_text((-0.0051, 0.02), signed=True) == "-0.5 to +2.0 points"


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((-0.1, 0.1), "no difference is shown"),
        ((0.0, 0.1), "no difference is shown"),
        ((0.01, 0.1), "a difference is shown"),
        ((-0.2, -0.1), "a difference is shown"),
    ],
)
def test_an_interval_that_includes_nothing_shows_no_difference(interval, said):
    assert verdict(interval) == said


def test_the_interval_of_a_mean_covers_it():
    covered = 0
    for seed in range(200):
        values = torch.randn(50, generator=torch.Generator().manual_seed(seed)) + 3
        low, high = mean_interval(values)
        assert (low + high) / 2 == pytest.approx(values.mean().item(), abs=1e-5)
        covered += low <= 3 <= high
    assert 180 <= covered <= 199, "95% of 200, give or take"
    assert mean_interval(torch.tensor([0.5])) == (-1, 1)


def test_the_interval_of_few_values_is_students():
    low, high = mean_interval(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    error = (5 / 3) ** 0.5 / 4**0.5  # of the mean: their standard deviation over the root of their number
    assert (high - low) / 2 == pytest.approx(3.182 * error, abs=0.001), "3 degrees of freedom; 1.96 for many"
