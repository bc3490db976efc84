"""Differences of paired runs and of answers, and cross-validation, with intervals that cover the truth."""

import math
import statistics

import pytest
import torch

from resnet_course.evaluation.summaries import (
    cross_validated,
    difference_of_answers,
    paired_difference,
    student,
)


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(1, 12.706), (4, 2.776), (10, 2.228), (30, 2.042), (1000, 1.962)]
)
def test_the_quantiles_are_those_of_the_table(degrees, quantile):
    assert student(degrees) == pytest.approx(quantile, abs=1e-3)


def test_what_a_seed_does_to_both_cancels():
    luck = [0.0, 0.2, -0.1, 0.05]
    found = paired_difference([0.62 + each for each in luck], [0.6 + each for each in luck])
    assert found.mean == pytest.approx(0.02) and found.margin < 1e-9 and found.clear
    assert str(found) == "+2.0 points (95% interval +2.0 to +2.0)"


def test_a_difference_within_its_interval_is_not_told_apart():
    found = paired_difference([0.5, 0.7, 0.6], [0.6, 0.6, 0.5])
    assert found.margin == pytest.approx(4.303 * statistics.stdev([-0.1, 0.1, 0.1]) / math.sqrt(3))
    assert not found.clear and str(found).endswith("not told apart")


def test_one_pair_has_no_interval():
    found = paired_difference([0.7], [0.6])
    assert not found.clear and str(found) == "+10.0 points (one run: no interval)"


def test_the_interval_of_pairs_covers_the_truth_in_95_of_100_cases():
    draws = torch.randn(2_000, 5, generator=torch.Generator().manual_seed(0)).double() + 0.3
    found = [paired_difference(row, [0.0] * 5) for row in draws.tolist()]
    covered = sum(abs(each.mean - 0.3) <= each.margin for each in found) / len(found)
    assert 0.935 < covered < 0.965


def test_only_images_count_on_which_the_answers_disagree():
    first, second = torch.ones(100, dtype=torch.bool), torch.ones(100, dtype=torch.bool)
    second[:9] = False
    first[:1], second[:1] = False, True
    found = difference_of_answers(first, second)  # 8 gained, 1 lost
    assert found.mean == pytest.approx(0.07)
    assert found.margin == pytest.approx(1.96 * math.sqrt(0.09 - 0.07**2) / 10) and found.clear


def test_cross_validation_is_wider_than_if_its_folds_were_independent():
    accuracies = [0.7, 0.8, 0.75, 0.72, 0.78] * 3
    mean, margin = cross_validated(accuracies, folds=5)
    alone = student(14) * statistics.stdev(accuracies) / math.sqrt(15)
    assert mean == pytest.approx(0.75) and margin == pytest.approx(alone * math.sqrt(1 + 15 / 4))
