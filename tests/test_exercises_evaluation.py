"""Every plausible mistake in notebook 05's exercises gets a message of its own; every right way is right."""

import math

import numpy as np
import pytest
import torch

from resnet_course.evaluation import wilson_interval
from resnet_course.exercises import evaluation as ex


@pytest.mark.parametrize("question", (ex.q1, ex.q2, ex.q3, ex.q4, ex.q5), ids=lambda question: question.name)
def test_a_value_in_place_of_a_function_is_named(question, said):
    assert "Give the function itself" in said(question, 3)


# 1


def plain(right, total):
    p = right / total
    spread = 1.96 * math.sqrt(p * (1 - p) / total)
    return p - spread, p + spread


INTERVALS = {
    "share ± z s": (plain, "share ± z × standard error"),
    "share ± z s, clipped": (
        lambda r, n: (max(0.0, plain(r, n)[0]), min(1.0, plain(r, n)[1])),
        "share ± z × standard error",
    ),
    "z of 1.645": (lambda r, n: wilson_interval(r, n, 1.645), "This covers 90 of 100 cases: z is 1.645"),
    "percents": (lambda r, n: tuple(100 * end for end in wilson_interval(r, n)), "These are percents"),
    "swapped": (lambda r, n: wilson_interval(r, n)[::-1], "The ends are swapped"),
    "z of 1": (lambda r, n: wilson_interval(r, n, 1.0), "This covers 68 of 100 cases"),
    "z of 2.58": (lambda r, n: wilson_interval(r, n, 2.58), "For 30 of 32 right it is"),
    "one number": (lambda r, n: r / n, "Return two numbers"),
}


@pytest.mark.parametrize("name", INTERVALS)
def test_a_wrong_interval_is_named(name, said):
    answer, message = INTERVALS[name]
    assert message in said(ex.q1, answer)


# 2


def counts(labels, predicted, classes):
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)


def once_each(labels, predicted, classes):
    matrix = torch.zeros(classes, classes)
    matrix[labels, predicted] += 1
    return matrix


def only_present(labels, predicted, classes):
    classes = int(max(labels.max(), predicted.max())) + 1 if len(labels) else 2
    return counts(labels, predicted, classes)


def rates(axis):
    def answer(labels, predicted, classes):
        matrix = counts(labels, predicted, classes).float()
        return matrix / matrix.sum(axis, keepdim=True)

    return answer


MATRICES = {
    "transposed": (lambda y, p, c: counts(p, y, c), "It is transposed"),
    "rates by row": (rates(1), "These are rates: every row adds up to 1"),
    "rates by column": (rates(0), "These are rates: every column adds up to 1"),
    "rates of all": (rates((0, 1)), "These are rates: every whole matrix adds up to 1"),
    "a class is dropped": (only_present, "A class without pictures needs its row and column too"),
    "once each": (once_each, "Every pair is counted once"),
    "no diagonal": (lambda y, p, c: counts(y, p, c).fill_diagonal_(0), "The diagonal is empty"),
    "a list": (lambda y, p, c: counts(y, p, c).tolist(), "Return a tensor; this is a list"),
    "something else": (lambda y, p, c: counts(y, p, c) + 1, "the counts are others"),
}


@pytest.mark.parametrize("name", MATRICES)
def test_a_wrong_matrix_is_named(name, said):
    answer, message = MATRICES[name]
    assert message in said(ex.q2, answer)


def test_a_matrix_by_index_put_is_right(said):
    def answer(labels, predicted, classes):
        matrix = torch.zeros(classes, classes, dtype=torch.int64)
        return matrix.index_put_((labels, predicted), torch.ones_like(labels), accumulate=True)

    assert said(ex.q2, answer).startswith("✓")


# 3


def by_bins(edge="right", weight="pictures", gap=abs, empty="skip", scale=1.0):
    def answer(confidence, correct, bins):
        error, used = 0.0, 0
        for n in range(bins):
            low, high = n / bins, (n + 1) / bins
            if edge == "right":
                inside = (confidence > low) & (confidence <= high)
            else:
                inside = (confidence >= low) & (confidence < high)
            if not inside.any() and empty == "skip":
                continue
            difference = (confidence[inside].mean() - correct[inside].float().mean()).item()
            error += gap(difference) * (inside.float().mean().item() if weight == "pictures" else 1)
            used += 1
        return scale * (error if weight == "pictures" else error / used if weight == "bins" else error / bins)

    return answer


ERRORS = {
    "empty bins": (by_bins(empty="divide"), "an empty bin is divided by zero"),
    "the right edge": (by_bins(edge="left"), "A confidence of exactly 1 gets lost"),
    "bins weigh the same": (by_bins(weight="bins"), "All bins count the same"),
    "all bins weigh the same": (by_bins(weight="all"), "All bins count the same"),
    "signed": (by_bins(gap=float), "Gaps above and below cancel"),
    "percents": (by_bins(scale=100.0), "These are percents"),
    "one gap": (lambda c, r, b: abs((c - r.float()).mean().item()), "This is one gap over all predictions"),
    "each picture": (
        lambda c, r, b: (c - r.float()).abs().mean().item(),
        "The gap is taken for each picture",
    ),
    "by right and wrong": (
        lambda c, r, b: sum(abs((c - r.float())[s].sum().item()) for s in (r, ~r)) / len(c),
        "The gap is taken for each picture",
    ),
    "always ten bins": (lambda c, r, b: by_bins()(c, r, 10), "take the number of bins from `bins`"),
    "something else": (lambda c, r, b: 0.5, "you have 0.5000"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_wrong_calibration_error_is_named(name, said):
    answer, message = ERRORS[name]
    assert message in said(ex.q3, answer)


def test_bins_of_equal_numbers_are_named(said):
    def answer(confidence, correct, bins):
        parts = confidence.argsort().chunk(bins)
        gaps = [len(p) * abs((confidence - correct.float())[p].mean().item()) for p in parts]
        return sum(gaps) / len(confidence)

    assert "equal numbers of pictures" in said(ex.q3, answer)


# 4


def quantile(more=1, index=-1, ranked=True, end="high", few=1.0, interpolate=False):
    def answer(scores, miss):
        part = 1 - miss if end == "high" else miss
        if interpolate:
            return torch.quantile(scores, part)
        place = math.ceil((len(scores) + more) * part - 1e-9)
        if place > len(scores):
            return few if few is not None else scores[place]
        return (scores.sort().values if ranked else scores)[place + index]

    return answer


QUANTILES = {
    "no + 1": (quantile(more=0), "the + 1 is missing"),
    "interpolated": (quantile(interpolate=True), "this lies between two scores"),
    "one too far": (quantile(index=0), "one place too far"),
    "lower end": (quantile(end="low"), "this is the lower end"),
    "not sorted": (quantile(ranked=False), "The scores are not sorted"),
    "too few": (quantile(few=0.5), "Of three scores the fourth is asked for"),
    "too few stops": (quantile(few=None), "Of three scores the fourth is asked for"),
    "one too early": (
        lambda scores, miss: quantile()(scores, miss) if len(scores) > 9 else 1.0,
        "Of 9 scores, with 10% that may miss, the place is that of the largest score",
    ),
    "something else": (lambda scores, miss: -1.0, "you have -1.0000"),
}


@pytest.mark.parametrize("name", QUANTILES)
def test_a_wrong_quantile_is_named(name, said):
    answer, message = QUANTILES[name]
    assert message in said(ex.q4, answer)


# 5


def predictor(
    evaluation=True,
    flip=False,
    scale=255,
    normal="both",
    dim=1,
    gradients=False,
    back="name",
    change=lambda inputs: inputs,
):
    def answer(model, picture, mean, std, classes):
        if evaluation:
            model.eval()
        pixels = np.array(picture)[..., ::-1].copy() if flip else np.array(picture)
        inputs = change(torch.from_numpy(pixels).permute(2, 0, 1).float()) / scale
        if normal == "both":
            inputs = (inputs - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        elif normal == "order":
            inputs = inputs / std.view(3, 1, 1) - mean.view(3, 1, 1)
        with torch.set_grad_enabled(gradients):
            probabilities = model(inputs[None]).softmax(dim)[0]
        best = probabilities.argmax()
        return (classes[best] if back == "name" else int(best)), float(probabilities[best].detach())

    return answer


PREDICTORS = {
    "training mode": (predictor(evaluation=False), "The network is in training mode"),
    "swapped": (predictor(flip=True), "The colours are swapped"),
    "swapped and not scaled": (predictor(flip=True, scale=1), "Divide by 255 first"),
    "not scaled": (predictor(scale=1), "Divide by 255 first"),
    "not normalised": (predictor(normal="no"), "The picture is not normalised"),
    "std first": (predictor(normal="order"), "Subtract the mean first"),
    "rows and columns": (
        predictor(change=lambda inputs: inputs.transpose(1, 2)),
        "not every pixel is in its place: [3, 6, 8], where the picture has [3, 8, 6]",
    ),
    "mirrored": (predictor(change=lambda inputs: inputs.flip(2)), "not every pixel is in its place"),
    "gradients": (predictor(gradients=True), "Gradients are still recorded"),
    "softmax over the batch": (predictor(dim=0), "softmax over the batch of one"),
    "a number": (predictor(back="number"), "0 is not a class name"),
    "one value": (lambda *a: predictor()(*a)[0], "Return the class name and its probability"),
    "not called": (lambda *a: ("red", 0.9), "The network was never called"),
}


@pytest.mark.parametrize("name", PREDICTORS)
def test_a_bug_that_is_left_is_named(name, said):
    answer, message = PREDICTORS[name]
    assert message in said(ex.q5, answer)


def test_the_given_function_with_all_five_bugs_is_not_accepted(said):
    five = predictor(evaluation=False, flip=True, scale=1, dim=0, gradients=True)
    assert said(ex.q5, five).startswith("✗")
