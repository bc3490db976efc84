"""`drift_p_value`: whether a batch looks to the network like the images that it was judged on."""

import pytest
import torch
from torch import Tensor

from resnet_course.common.errors import ArgumentError
from resnet_course.evaluation import drift_p_value
from resnet_course.evaluation.drift import _distances, _members


def probabilities(count: int, seed: int, sharpness: float = 1.0) -> Tensor:
    logits = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
    return (sharpness * logits).softmax(1)


def distance(first: Tensor, second: Tensor) -> float:
    rows = torch.cat([first, second])
    return float(_distances(rows, _members(len(first), len(rows))[None]))


def plain_distance(first: Tensor, second: Tensor) -> float:
    """Every value of every column as a threshold, one after the other."""
    found = 0.0
    for one, other in zip(first.T, second.T, strict=True):
        for value in torch.cat([one, other]).tolist():
            gap = (one <= value).double().mean() - (other <= value).double().mean()
            found = max(found, abs(float(gap)))
    return found


@pytest.mark.parametrize("decimals", [1, 6], ids=["with equal values", "without"])
def test_the_distance_is_that_of_a_plain_count(decimals):
    first, second = (
        probabilities(40, 0).round(decimals=decimals),
        probabilities(15, 1).round(decimals=decimals),
    )
    assert distance(first, second) == pytest.approx(plain_distance(first, second))
    assert distance(first, first) == 0
    assert distance(torch.zeros(5, 1), torch.ones(7, 1)) == 1


def test_images_of_the_same_kind_are_called_different_as_often_as_the_level_says():
    known = probabilities(200, 0)
    found = torch.tensor([drift_p_value(known, probabilities(50, seed), 99) for seed in range(1, 121)])
    assert 0.01 <= (found <= 0.05).double().mean() <= 0.1
    assert 0.4 <= found.mean() <= 0.6 and found.min() >= 1 / 100


def test_other_images_are_noticed_and_more_of_them_sooner():
    known = probabilities(200, 0)
    found = [drift_p_value(known, probabilities(count, 1, sharpness=2.0), 199) for count in (10, 40, 160)]
    assert found[0] > found[2] == 1 / 200
    same_answers = torch.full((30, 4), 0.25)
    assert drift_p_value(same_answers, same_answers) == 1


def test_the_seed_decides():
    known, batch = probabilities(60, 0), probabilities(20, 1)
    assert drift_p_value(known, batch, seed=3) == drift_p_value(known, batch, seed=3)


@pytest.mark.parametrize("shapes", [((0, 3), (5, 3)), ((5, 3), (0, 3)), ((5, 3), (5, 4))], ids=str)
def test_tables_that_cannot_be_compared_are_refused(shapes):
    with pytest.raises(ArgumentError, match=r"known is .* and batch .*must be"):
        drift_p_value(*(torch.zeros(shape) for shape in shapes))
