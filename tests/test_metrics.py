"""Every metric against a plain loop, on random predictions and on degenerate ones."""

import itertools
import math
from statistics import NormalDist

import pytest
import torch
import torch.nn.functional as F

from resnet_course.evaluation import (
    Predictions,
    calibration,
    metrics,
    selective,
    uncertainty,
    wilson_interval,
)

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
def test_macro_recall_and_the_worst_class(found):
    recalls = {name: scores.recall for name, scores in metrics.class_scores(found).items() if scores.images}
    assert metrics.macro_recall(found) == pytest.approx(sum(recalls.values()) / len(recalls))
    name, recall, interval = metrics.worst_class(found)
    assert recall == recalls[name] == min(recalls.values())
    images = metrics.class_scores(found)[name].images
    assert interval == wilson_interval(round(recall * images), images)


@each_case
def test_brier_score_is_the_mean_squared_distance(found):
    total = 0.0
    for row, label in zip(found.probabilities.tolist(), found.labels.tolist(), strict=True):
        total += sum((value - (place == label)) ** 2 for place, value in enumerate(row))
    assert metrics.brier_score(found) == pytest.approx(total / len(found), abs=1e-6)


@each_case
@pytest.mark.parametrize("bins", [4, 15])
def test_bins_of_equal_mass_hold_equal_numbers_in_order(found, bins):
    filled = calibration.reliability(found, bins, equal_mass=True)
    ranked = sorted(
        zip(found.probabilities.max(1).values.tolist(), found.correct.tolist(), strict=True),
        key=lambda pair: pair[0],
    )
    assert sum(b.count for b in filled) == len(found)
    assert max(b.count for b in filled) - min(b.count for b in filled) <= 1
    start, error = 0, 0.0
    for b in filled:
        members = ranked[start : start + b.count]
        start += b.count
        assert b.confidence == pytest.approx(sum(c for c, _ in members) / b.count, abs=1e-6)
        assert b.accuracy == pytest.approx(sum(r for _, r in members) / b.count, abs=1e-6)
        error += b.count * abs(b.confidence - b.accuracy)
    assert found.ece(bins, equal_mass=True) == pytest.approx(error / len(found), abs=1e-6)


def calibrated(count, seed=0):
    """Predictions whose labels are drawn with the probabilities that they state."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, 4, generator=generator)
    return predictions(logits, torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0])


@pytest.mark.parametrize("equal_mass", [False, True])
def test_the_baseline_is_what_calibrated_networks_show(equal_mass):
    of_100 = [calibrated(100, seed).ece(10, equal_mass) for seed in range(60)]
    expected = sum(calibration.ece_without_error(calibrated(100, s), 10, equal_mass) for s in range(5)) / 5
    assert expected == pytest.approx(sum(of_100) / 60, rel=0.1)
    assert calibration.ece_without_error(calibrated(10_000), 10, equal_mass) < expected / 5
    certain = predictions(torch.eye(4) * 200, [0, 1, 2, 3])
    some = calibrated(100, 1)
    middle, high = (calibration.ece_without_error(some, 10, equal_mass, quantile=q) for q in (0.5, 0.95))
    assert middle < high and abs(middle - calibration.ece_without_error(some, 10, equal_mass)) < 0.01
    assert calibration.ece_without_error(certain, 10, equal_mass) == 0


def test_overconfidence_has_a_sign_and_an_interval_that_covers():
    covered = 0
    for seed in range(200):
        found = calibrated(300, seed)
        gap, (low, high) = calibration.overconfidence(found)
        confidence = found.probabilities.max(1).values.double()
        assert gap == pytest.approx(float(confidence.mean()) - found.accuracy, abs=1e-6)
        covered += low <= 0 <= high
    assert 180 <= covered <= 199, "95% of 200, give or take"
    sure = calibration.with_temperature(calibrated(2000), 0.3)
    assert calibration.overconfidence(sure)[1][0] > 0.1
    unsure = calibration.with_temperature(calibrated(2000), 3.0)
    assert calibration.overconfidence(unsure)[1][1] < -0.1


def test_bootstrap_agrees_with_wilson_and_repeats():
    found = drawn(0, count=400)
    low, high = uncertainty.bootstrap_interval(lambda drawn: drawn.accuracy, found, draws=1000)
    assert (low, high) == pytest.approx(found.interval(), abs=0.015)
    assert (low, high) == uncertainty.bootstrap_interval(lambda d: d.accuracy, found, draws=1000)
    assert (low, high) != uncertainty.bootstrap_interval(metrics.brier_score, found, draws=100)
    narrow = uncertainty.bootstrap_interval(lambda d: d.accuracy, found, draws=1000, level=0.5)
    assert low < narrow[0] < found.accuracy < narrow[1] < high
    perfect = of([1, 2], [1, 2])
    assert uncertainty.bootstrap_interval(lambda d: d.accuracy, perfect, draws=20) == (1, 1)


@each_case
def test_the_area_under_risk_and_coverage_is_the_mean_risk(found):
    confidence = found.probabilities.max(1).values
    order = sorted(range(len(found)), key=lambda i: -confidence[i].item())
    risks = [1 - sum(found.correct[order[: k + 1]].tolist()) / (k + 1) for k in range(len(found))]
    assert selective.area_under_risk_coverage(found) == pytest.approx(sum(risks) / len(risks), abs=1e-9)


@pytest.mark.parametrize("coverage", [0.01, 0.5, 0.8, 1.0])
def test_a_threshold_answers_the_part_that_was_asked_for(coverage):
    found = drawn(3, count=200)
    threshold = selective.threshold_for(found, coverage)
    answered = (found.probabilities.max(1).values >= threshold).sum()
    assert int(answered) == math.ceil(coverage * 200)


@pytest.mark.parametrize("wrong", [0, -1, 1.5])
def test_a_coverage_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=f"the coverage is {wrong}; it must be above 0 and up to 1"):
        selective.threshold_for(CASES["random"], wrong)


@pytest.mark.parametrize("miss", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
def test_prediction_sets_hold_the_truth_as_often_as_promised(miss, temperature):
    """Whether the network is calibrated or not; on average over calibration and new images."""
    held = []
    for seed in range(40):
        known, new = (
            calibration.with_temperature(calibrated(200, seed + offset), temperature) for offset in (0, 1000)
        )
        quantile = selective.conformal_quantile(known, miss)
        sets = selective.prediction_sets(new.probabilities, quantile)
        held.append(sets.gather(1, new.labels[:, None]).double().mean().item())
    assert 1 - miss - 0.02 < sum(held) / 40 < 1 - miss + 0.03


def test_the_conformal_quantile_is_the_score_at_its_place():
    found = drawn(0, count=19)
    scores = sorted(
        1 - row[label] for row, label in zip(found.probabilities.tolist(), found.labels.tolist(), strict=True)
    )
    assert selective.conformal_quantile(found, 0.1) == pytest.approx(scores[18 - 1], abs=1e-6)
    assert selective.conformal_quantile(found, 0.01) == 1, "19 images cannot promise 99%"
    assert selective.prediction_sets(found.probabilities, 1.0).all()
    with pytest.raises(ValueError, match="the part that may miss is 1; it must be above 0 and below 1"):
        selective.conformal_quantile(found, 1)


@each_case
def test_coverage_answers_the_surest_first(found):
    coverage, accuracy = selective.coverage_curve(found)
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


def test_the_interval_of_a_difference_covers_it():
    """Two networks of which each errs on its own, and both on the same images."""
    truth, covered = 0.1, 0
    for seed in range(300):
        generator = torch.Generator().manual_seed(seed)
        kind = torch.multinomial(torch.tensor([0.6, 0.05, 0.15, 0.2]), 200, True, generator=generator)
        zero = [0] * 200
        first = of((~((kind == 0) | (kind == 1))).long().tolist(), zero)
        second = of((~((kind == 0) | (kind == 2))).long().tolist(), zero)
        found = metrics.mcnemar(first, second)
        assert found.difference == pytest.approx(second.accuracy - first.accuracy, abs=1e-9)
        low, high = found.interval
        assert -1 <= low <= found.difference <= high <= 1
        covered += low <= truth <= high
    assert 275 <= covered <= 296, "95% of 300, give or take"
    low, high = metrics.mcnemar(first, first).interval
    assert low < 0 < high, "no image differs, and of 200 that is no proof that none would"


def test_churn_counts_what_changes_whatever_is_right():
    first, second = of([0, 1, 2, 3], [0, 0, 0, 0]), of([0, 2, 2, 0], [0, 0, 0, 0])
    assert metrics.churn(first, second) == 0.5
    assert metrics.churn(first, first) == 0
    with pytest.raises(ValueError, match="their labels differ"):
        metrics.churn(first, of([0, 1, 2, 3], [1, 1, 1, 1]))


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


def test_the_difference_between_two_sets_is_newcombes():
    """His example: 56 of 70 against 48 of 80 right, 0.2 with 0.0524 to 0.3339."""
    first = of([1] * 48 + [2] * 32, [1] * 80)
    second = of([1] * 56 + [2] * 14, [1] * 70)
    found, (low, high) = uncertainty.difference_between_sets(first, second)
    assert (found, low, high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    found, ends = uncertainty.difference_between_sets(second, first)
    assert (found, *ends) == pytest.approx((-0.2, -0.3339, -0.0524), abs=5e-5)
