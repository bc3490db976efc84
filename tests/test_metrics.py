"""Every metric against a plain loop, on random predictions and on degenerate ones."""

import itertools
import math
from statistics import NormalDist

import pytest
import torch
import torch.nn.functional as F

from resnet_course.evaluation import Predictions, calibration, metrics

NAMES = ("a", "b", "c", "d")


def predictions(logits, labels, classes=NAMES):
    return Predictions(torch.as_tensor(logits, dtype=torch.float32), torch.as_tensor(labels), classes, "set")


def drawn(seed, count=60, rounded=False):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, 4, generator=generator)
    return predictions(
        logits.round() if rounded else logits, torch.randint(0, 4, (count,), generator=generator)
    )


def of(predicted, labels):
    """Predictions whose class is given."""
    return predictions(5.0 * F.one_hot(torch.tensor(predicted), 4), labels)


CASES = {
    "random": drawn(0),
    "ties": drawn(1, rounded=True),
    "one class": of([2, 2, 2], [2, 2, 2]),
    "all wrong": of([0, 1, 2, 3], [1, 2, 3, 0]),
    "a class is missing": of([0, 0, 1], [0, 1, 1]),
    "one image": of([3], [3]),
    "all equal": predictions(torch.zeros(5, 4), [0, 1, 2, 3, 0]),
}
each_case = pytest.mark.parametrize("found", CASES.values(), ids=CASES)


def pairs(found):
    return list(zip(found.labels.tolist(), found.predicted.tolist(), strict=True))


@each_case
def test_confusion_matrix_counts_pairs(found):
    matrix = metrics.confusion_matrix(found)
    for truth, said in itertools.product(range(4), repeat=2):
        assert matrix[truth, said] == pairs(found).count((truth, said))


@each_case
def test_class_scores_are_the_textbook_ones(found):
    for label, name in enumerate(NAMES):
        right = sum(truth == said == label for truth, said in pairs(found))
        there = sum(truth == label for truth, _ in pairs(found))
        called = sum(said == label for _, said in pairs(found))
        scores = metrics.class_scores(found)[name]
        assert scores.images == there
        assert scores.recall == (right / there if there else None)
        assert scores.precision == (right / called if called else None)
        if right:
            precision, recall = right / called, right / there
            assert scores.f1 == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-6)
        else:
            assert scores.f1 == (0 if there or called else None)


@each_case
@pytest.mark.parametrize("count", [1, 2, 4])
def test_top_accuracy_looks_among_the_highest(found, count):
    right = 0
    for row, label in zip(found.logits.tolist(), found.labels.tolist(), strict=True):
        right += label in sorted(range(4), key=lambda c: (-row[c], c))[:count]  # the first of equals
    assert metrics.top_accuracy(found, count) == pytest.approx(right / len(found), abs=1e-6)
    if count == 1:
        assert metrics.top_accuracy(found, 1) == found.accuracy


@pytest.mark.parametrize("count", [0, 5])
def test_top_accuracy_of_too_many_is_refused(count):
    with pytest.raises(ValueError, match=f"count is {count}; it must be from 1 to 4"):
        metrics.top_accuracy(CASES["random"], count)


@each_case
def test_reliability_sums_up_to_the_calibration_error(found):
    bins = calibration.reliability(found)
    assert [b.low for b in bins[1:]] == [b.high for b in bins[:-1]] and (bins[0].low, bins[-1].high) == (0, 1)
    gap = sum(b.count * abs(b.confidence - b.accuracy) for b in bins if b.count)
    assert gap / len(found) == pytest.approx(found.ece(), abs=1e-6)
    confidence = found.probabilities.max(1).values.tolist()
    for b in bins:
        members = [i for i, c in enumerate(confidence) if b.low < c <= b.high or (c > 1 and b.high == 1)]
        assert b.count == len(members)
        if members:
            assert b.accuracy == pytest.approx(sum(found.correct[members].tolist()) / len(members), abs=1e-6)
        else:
            assert b.confidence is b.accuracy is None


def test_temperature_has_the_lowest_loss_of_a_fine_grid_and_changes_no_class():
    logits = torch.randn(400, 4, generator=torch.Generator().manual_seed(2))
    labels = torch.multinomial(logits.softmax(1), 1, generator=torch.Generator().manual_seed(0))[:, 0]
    found = predictions(logits, labels)
    sure = calibration.with_temperature(found, 0.2)  # five times too sure of itself
    best = calibration.fit_temperature(sure)
    losses = {t: calibration.with_temperature(sure, t).loss for t in torch.logspace(-2, 2, 400).tolist()}
    assert calibration.with_temperature(sure, best).loss <= min(losses.values()) + 1e-5
    assert torch.equal(calibration.with_temperature(sure, best).predicted, sure.predicted)
    assert best == pytest.approx(5 * calibration.fit_temperature(found), rel=1e-2)
    with pytest.raises(ValueError, match="the temperature is 0; it must be above 0"):
        calibration.with_temperature(found, 0)


def test_temperature_corrects_what_is_too_sure():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4000, 4, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]  # calibrated by making
    sure = predictions(3 * logits, labels)
    assert calibration.fit_temperature(sure) == pytest.approx(3, abs=0.25)
    assert calibration.with_temperature(sure, calibration.fit_temperature(sure)).ece() < 0.04 < sure.ece()


@each_case
def test_coverage_answers_the_surest_first(found):
    coverage, accuracy = calibration.coverage_curve(found)
    confidence = found.probabilities.max(1).values
    order = sorted(range(len(found)), key=lambda i: -confidence[i].item())
    for k in range(len(found)):
        assert float(coverage[k]) == pytest.approx((k + 1) / len(found))
        assert float(accuracy[k]) == pytest.approx(sum(found.correct[order[: k + 1]].tolist()) / (k + 1))
    assert float(accuracy[-1]) == pytest.approx(found.accuracy)


def test_mcnemar_counts_coin_tosses():
    labels = [0] * 12
    first, second = of([0] * 9 + [1] * 3, labels), of([1] * 8 + [0] * 4, labels)
    found = metrics.mcnemar(first, second)
    assert (found.only_first_right, found.only_second_right) == (8, 3)
    tail = sum(sum(toss) >= 8 for toss in itertools.product((0, 1), repeat=11)) / 2**11
    assert found.p_value == pytest.approx(2 * tail, abs=1e-9)
    same = metrics.mcnemar(first, first)
    assert (same.only_first_right, same.only_second_right, same.p_value) == (0, 0, 1.0)
    with pytest.raises(ValueError, match="their labels differ"):
        metrics.mcnemar(first, of([0] * 12, [1] * 12))


def test_mcnemar_of_many_is_close_to_the_normal_approximation():
    right = [0] * 2000
    first = of([0] * 1050 + [1] * 950, right)
    second = of([1] * 1050 + [0] * 950, right)
    z = (100 - 1) / math.sqrt(2000)
    assert metrics.mcnemar(first, second).p_value == pytest.approx(2 * (1 - NormalDist().cdf(z)), abs=1e-3)


def test_confusable_classes_stand_together():
    matrix = torch.tensor([[90, 0, 9, 1], [0, 80, 1, 19], [8, 1, 91, 0], [2, 18, 0, 80]])
    order = metrics.confusable_order(matrix)
    assert sorted(order) == [0, 1, 2, 3]
    assert abs(order.index(1) - order.index(3)) == 1 and abs(order.index(0) - order.index(2)) == 1
    assert metrics.confusable_order(torch.tensor([[5]])) == [0]
    assert sorted(metrics.confusable_order(torch.zeros(3, 3, dtype=torch.int64))) == [0, 1, 2]
