"""Outlier scores against their formulas; the curve of every threshold against all pairs."""

import math
from statistics import NormalDist

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from resnet_course.evaluation import outliers


def test_outlier_scores_are_their_formulas():
    logits = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    assert outliers.maximum_softmax(logits).tolist() == pytest.approx([1 / (1 + math.exp(-1)), 0.5])
    assert outliers.negative_energy(logits)[1] == pytest.approx(math.log(2))
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    known = torch.randn(400, 3, generator=generator) * torch.tensor([1.0, 5.0, 0.1]) + labels[:, None] * 20.0
    queries = torch.tensor([[0.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 5.0]])
    near, wide, off = outliers.negative_mahalanobis(queries, known, labels).tolist()
    assert near > wide > off, "five along the wide direction is near, five along the narrow one is far"
    means = torch.stack([known[labels == c].mean(0) for c in (0, 1)]).double()
    within = known.double() - means[labels]
    inverse = torch.linalg.inv(within.T @ within / 400)
    gap = queries[1].double() - means[0]
    assert -wide == pytest.approx(float((gap @ inverse @ gap).sqrt()), rel=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_roc_area_is_the_share_of_pairs_in_the_right_order(seed):
    generator = torch.Generator().manual_seed(seed)
    known = torch.randn(40, generator=generator).mul(3).round() + 1  # with ties
    unknown = torch.randn(30, generator=generator).mul(3).round()
    false, true, area = outliers.roc_curve(known, unknown)
    order = [(a > b) + 0.5 * (a == b) for a in known.tolist() for b in unknown.tolist()]
    assert area == pytest.approx(sum(order) / len(order), abs=1e-6)
    assert (float(false[0]), float(true[0]), float(false[-1]), float(true[-1])) == (0, 0, 1, 1)
    for threshold in known.unique().tolist():
        shares = [(scores >= threshold).double().mean().item() for scores in (unknown, known)]
        assert any(
            shares == pytest.approx([a, b]) for a, b in zip(false.tolist(), true.tolist(), strict=True)
        )


def test_roc_curve_has_a_point_for_every_threshold_and_no_other():
    known, unknown = torch.tensor([3.0, 2.0, 2.0, 0.5]), torch.tensor([2.0, 1.0, 1.0, 1.0, -1.0])
    false, true, area = outliers.roc_curve(known, unknown)
    assert false.tolist() == pytest.approx([0, 0, 0.2, 0.8, 0.8, 1])
    assert true.tolist() == pytest.approx([0, 0.25, 0.75, 0.75, 1, 1])
    assert area == pytest.approx((4 * 5 - (2 * 0.5 + 4)) / 20)
    assert false.dtype == true.dtype == torch.float64
    assert outliers.roc_curve(torch.ones(3), torch.ones(2))[2] == 0.5, "all equal: chance"
    infinite = outliers.roc_curve(torch.tensor([float("inf"), 1.0]), torch.tensor([-float("inf"), 0.0]))
    assert infinite[2] == 1


class LargestTensor(TorchDispatchMode):
    """Notes the most numbers that any operation's result holds."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return result


def test_roc_curve_of_many_scores_takes_no_more_memory_than_a_few_copies_of_them():
    generator = torch.Generator().manual_seed(0)
    known, unknown = (torch.randn(200_000, generator=generator) + shift for shift in (1, 0))
    with LargestTensor() as largest:
        area = outliers.roc_curve(known, unknown)[2]
    assert largest.numbers <= 400_001
    # Two normal distributions, one standard deviation apart.
    assert area == pytest.approx(NormalDist().cdf(1 / math.sqrt(2)), abs=5e-3)


def test_scores_that_have_no_order_are_refused():
    known = torch.randn(40)
    with pytest.raises(ValueError, match="40 known and 0 unknown"):
        outliers.roc_curve(known, torch.zeros(0))
    with pytest.raises(ValueError, match="not a number"):
        outliers.roc_curve(known, torch.tensor([float("nan")]))


def test_features_without_any_spread_have_finite_distances():
    labels = torch.arange(6) % 2
    same = labels[:, None].float().expand(6, 4)  # within a class all images have the same features
    found = outliers.negative_mahalanobis(torch.cat([same, torch.full((1, 4), 0.5)]), same, labels)
    assert found.isfinite().all() and found[:6].max() <= 0 and found[6] < found[:6].min()


@pytest.mark.parametrize("neighbours", [1, 7, 100])
def test_neighbour_distance_is_that_to_the_kth_nearest(neighbours):
    generator = torch.Generator().manual_seed(0)
    features, known = torch.randn(9, 5, generator=generator), torch.randn(30, 5, generator=generator)
    scaled = [[value / math.hypot(*row) for value in row] for row in known.tolist()]
    for row, score in zip(
        features.tolist(),
        outliers.negative_neighbour_distance(features, known, neighbours).tolist(),
        strict=True,
    ):
        own = [value / math.hypot(*row) for value in row]
        assert -score == pytest.approx(
            sorted(math.dist(own, other) for other in scaled)[min(neighbours, 30) - 1], abs=1e-4
        )


@pytest.mark.parametrize("accepted", [0.5, 0.95, 1.0])
def test_false_positives_are_counted_at_the_threshold_that_accepts_enough(accepted):
    generator = torch.Generator().manual_seed(0)
    known, unknown = torch.randn(100, generator=generator) + 1, torch.randn(80, generator=generator)
    threshold = known.sort(descending=True).values[math.ceil(accepted * 100) - 1]
    wanted = (unknown >= threshold).double().mean().item()
    assert outliers.false_positive_rate(known, unknown, accepted) == pytest.approx(wanted)


def test_the_interval_of_an_area_covers_it():
    truth, covered = NormalDist().cdf(1 / math.sqrt(2)), 0
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        known, unknown = torch.randn(80, generator=generator) + 1, torch.randn(60, generator=generator)
        low, high = outliers.auroc_interval(outliers.roc_curve(known, unknown)[2], 80, 60)
        covered += low <= truth <= high
    assert 180 <= covered <= 199, "95% of 200, give or take"
    assert outliers.auroc_interval(1.0, 10, 10) == (1, 1)
