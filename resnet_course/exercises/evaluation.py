"""Exercises of notebook 05: interval, confusion matrix, calibration error, conformal quantile, five bugs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from resnet_course.evaluation import wilson_interval
from resnet_course.exercises.core import Exercise, Mistake, must_be_function

MODULE = "evaluation"


# 1: interval


def check_interval(answer: Callable[[int, int], tuple[float, float]]) -> None:
    """Compare with Wilson's interval, and recognise the other ones."""
    must_be_function(answer, "ex.q1.check(my_interval)")
    for right, total in ((30, 32), (500, 1000), (0, 10), (10, 10)):
        found = answer(right, total)
        if not (isinstance(found, tuple | list) and len(found) == 2):
            raise Mistake("Return two numbers: the lower and the upper end.")
        low, high = (float(end) for end in found)
        wanted = wilson_interval(right, total)
        here = f"For {right} of {total} right"
        if all(math.isclose(a, b, abs_tol=2e-4) for a, b in zip((low, high), wanted, strict=True)):
            continue
        if all(math.isclose(a, 100 * b, abs_tol=0.02) for a, b in zip((low, high), wanted, strict=True)):
            raise Mistake("These are percents. Return shares, from 0 to 1.")
        if math.isclose(low, wanted[1], abs_tol=2e-4) and math.isclose(high, wanted[0], abs_tol=2e-4):
            raise Mistake("The ends are swapped: the lower one comes first.")
        share = right / total
        plain = 1.96 * math.sqrt(share * (1 - share) / total)
        clipped = max(0.0, share - plain), min(1.0, share + plain)
        if math.isclose(high - low, 2 * plain, abs_tol=2e-4) or (
            math.isclose(low, clipped[0], abs_tol=2e-4) and math.isclose(high, clipped[1], abs_tol=2e-4)
        ):
            raise Mistake(
                f"{here} this is share ± z × standard error. It goes above 1 for few pictures, and says ± 0 "
                "if all are right. Wilson's formula does not."
            )
        for z, covered in ((1.0, 68), (1.645, 90)):
            other = wilson_interval(right, total, z)
            if all(math.isclose(a, b, abs_tol=2e-4) for a, b in zip((low, high), other, strict=True)):
                raise Mistake(f"This covers {covered} of 100 cases: z is {z}. For 95 of 100 it is 1.96.")
        raise Mistake(
            f"{here} it is {wanted[0]:.4f} to {wanted[1]:.4f}, and you have {low:.4f} to {high:.4f}."
        )


q1 = Exercise(
    MODULE,
    "q1",
    stub='''
def my_interval(right, total):
    """Wilson's 95% interval for an accuracy: (low, high), shares from 0 to 1.

    With p = right / total, n = total and z = 1.96:
    centre = (p + z²/(2n)) / (1 + z²/n), and to both sides z × sqrt(p(1 − p)/n + z²/(4n²)) / (1 + z²/n).
    """
    raise NotImplementedError
''',
    hints=(
        "Compute 1 + z²/n once; both parts are divided by it.",
        "spread = z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5",
    ),
    source='''
import math


def my_interval(right, total):
    """Wilson's 95% interval for an accuracy: (low, high), shares from 0 to 1.

    With p = right / total, n = total and z = 1.96:
    centre = (p + z²/(2n)) / (1 + z²/n), and to both sides z × sqrt(p(1 − p)/n + z²/(4n²)) / (1 + z²/n).
    """
    p, z = right / total, 1.96
    below = 1 + z * z / total
    centre = (p + z * z / (2 * total)) / below
    spread = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / below
    return centre - spread, centre + spread
''',
    checker=check_interval,
    praise="Now every accuracy that you quote can have its interval.",
)


# 2: confusion matrix

LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 2])
SAID = torch.tensor([0, 0, 1, 1, 2, 2, 2, 2, 0, 2])


def _counts(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)


def check_confusion(answer: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """Compare on small sets, with a class that is absent, and recognise what is transposed or normalised."""
    must_be_function(answer, "ex.q2.check(my_confusion_matrix)")
    for labels, predicted, classes in ((LABELS, SAID, 3), (LABELS, SAID, 5), (SAID[:0], SAID[:0], 2)):
        matrix = answer(labels, predicted, classes)
        if not isinstance(matrix, Tensor):
            raise Mistake(f"Return a tensor; this is a {type(matrix).__name__}.")
        wanted = _counts(labels, predicted, classes)
        if matrix.shape != wanted.shape:
            absent = (
                " A class without pictures needs its row and column too: minlength." if classes == 5 else ""
            )
            shapes = f"should be {list(wanted.shape)}, and is {list(matrix.shape)}"
            raise Mistake(f"With {classes} classes the shape {shapes}.{absent}")
        _name_matrix(matrix, wanted)


def _name_matrix(matrix: Tensor, wanted: Tensor) -> None:
    """Raise the Mistake that a wrong matrix looks like."""
    matrix, wanted = matrix.double(), wanted.double()
    if torch.equal(matrix, wanted):
        return
    if torch.equal(matrix, wanted.T):
        raise Mistake("It is transposed: the row is the true class, the column the predicted one.")
    for axis, what in ((0, "column"), (1, "row"), ((0, 1), "whole matrix")):
        rates = (wanted / wanted.sum(axis, keepdim=True)).nan_to_num()
        if torch.allclose(matrix.nan_to_num(), rates, atol=1e-6):
            raise Mistake(
                f"These are rates: every {what} adds up to 1. Counts are asked for. (To see what becomes of "
                "each true class, every row would have to add up to 1.)"
            )
    if torch.allclose(matrix, wanted - wanted.diag().diag()):
        raise Mistake("The diagonal is empty: right predictions belong into the matrix too.")
    if torch.allclose(matrix, (wanted > 0).double()):
        raise Mistake(
            "Every pair is counted once, however often it occurs. matrix[labels, predicted] += 1 does that: "
            "of equal places only one counts. Take bincount, or index_put_ with accumulate=True."
        )
    raise Mistake(
        f"For true classes {LABELS.tolist()} and predictions {SAID.tolist()} the counts are others."
    )


q2 = Exercise(
    MODULE,
    "q2",
    stub='''
def my_confusion_matrix(labels, predicted, classes):
    """How often each true class was predicted as each class, without a loop.

    labels, predicted: int64 [N], from 0 on. classes: how many there are, also those without a picture.
    Returns counts [classes, classes]: the row is the true class, the column the predicted one.
    """
    raise NotImplementedError
''',
    hints=(
        "Give every pair (true, predicted) a number of its own, and count the numbers.",
        "labels * classes + predicted is such a number; torch.bincount counts.",
        "torch.bincount(numbers, minlength=classes**2).view(classes, classes)",
    ),
    source='''
import torch


def my_confusion_matrix(labels, predicted, classes):
    """How often each true class was predicted as each class, without a loop.

    labels, predicted: int64 [N], from 0 on. classes: how many there are, also those without a picture.
    Returns counts [classes, classes]: the row is the true class, the column the predicted one.
    """
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)
''',
    checker=check_confusion,
    praise="No class is lost, and each pair is counted as often as it occurs.",
)


# 3: expected calibration error


def _error(confidence: Tensor, correct: Tensor, bins: int, *, right: bool = True) -> float:
    place = (confidence.double() * bins).ceil().long() - 1 if right else (confidence.double() * bins).long()
    keep = (place >= 0) & (place < bins)
    gaps = torch.zeros(bins, dtype=torch.float64)
    gaps.index_add_(0, place[keep], (confidence.double() - correct.double())[keep])
    return float(gaps.abs().sum() / len(confidence))


def check_calibration(answer: Callable[[Tensor, Tensor, int], float]) -> None:
    """Compare on random confidences, on empty bins and on the edges of bins."""
    must_be_function(answer, "ex.q3.check(my_calibration_error)")
    confidence = torch.rand(400) * 0.9 + 0.05
    too_sure = confidence > 0.6  # there, and too unsure below: gaps of both signs
    correct = torch.rand(400) < confidence + torch.where(too_sure, -0.25, 0.25)
    found = float(answer(confidence, correct, 10))
    if not math.isfinite(found):
        raise Mistake("It is not a number: an empty bin is divided by zero. Leave empty bins out.")
    wanted = _error(confidence, correct, 10)
    if not math.isclose(found, wanted, abs_tol=1e-4):
        _name_error(found, wanted, confidence, correct)
    if not math.isclose(answer(confidence, correct, 4), _error(confidence, correct, 4), abs_tol=1e-4):
        raise Mistake("With 10 bins it is right, with 4 it is not: take the number of bins from `bins`.")
    few = torch.tensor([0.95, 0.92, 0.35])
    found = float(answer(few, torch.tensor([True, True, False]), 10))
    if not math.isfinite(found):
        raise Mistake(
            "With three pictures it is not a number: an empty bin is divided by zero. Leave it out."
        )
    if not math.isclose(found, _error(few, torch.tensor([True, True, False]), 10), abs_tol=1e-4):
        raise Mistake("With three pictures and seven empty bins it is wrong: an empty bin weighs nothing.")
    sure = torch.tensor([1.0, 1.0, 0.55, 0.55])
    wrong = torch.tensor([False, False, True, True])
    found = float(answer(sure, wrong, 10))
    if not math.isclose(found, _error(sure, wrong, 10), abs_tol=1e-4):
        raise Mistake(
            "A confidence of exactly 1 gets lost. The last bin must contain its right edge: it is where the "
            "surest predictions are."
        )
    edge = torch.tensor([0.5, 0.5, 0.45, 0.45])
    if not math.isclose(float(answer(edge, wrong, 2)), _error(edge, wrong, 2), abs_tol=1e-4):
        raise Mistake("A confidence on the edge between two bins belongs into the lower one: (low, high].")


def _name_error(found: float, wanted: float, confidence: Tensor, correct: Tensor) -> None:
    """Raise the Mistake that a wrong error looks like."""
    gap = abs(float((confidence - correct.float()).mean()))
    if math.isclose(found, gap, abs_tol=1e-4):
        raise Mistake(
            "This is one gap over all predictions. Too sure here and too unsure there cancel: use bins."
        )
    if math.isclose(found, float((confidence - correct.float()).abs().mean()), abs_tol=1e-4):
        raise Mistake(
            "The gap is taken for each picture, or for right and wrong ones. Bins go by confidence, and the "
            "means within a bin come before the gap."
        )
    place = (confidence.double() * 10).ceil().long() - 1
    members = [place == n for n in range(10) if (place == n).any()]
    each = [abs(float((confidence - correct.float())[inside].mean())) for inside in members]
    if math.isclose(found, sum(each) / 10, abs_tol=1e-4) or math.isclose(
        found, sum(each) / len(each), abs_tol=1e-4
    ):
        raise Mistake("All bins count the same. Weight each gap with the share of pictures in its bin.")
    if math.isclose(found, max(each), abs_tol=1e-4):
        raise Mistake("This is the largest gap. The expected one is the mean, weighted by pictures.")
    signed = sum(float((confidence - correct.float())[inside].sum()) for inside in members) / len(confidence)
    if math.isclose(found, signed, abs_tol=1e-4):
        raise Mistake("Gaps above and below cancel: take the absolute value of each bin's gap.")
    by_rank = confidence.argsort().chunk(10)
    equal = sum(len(r) * abs(float((confidence - correct.float())[r].mean())) for r in by_rank) / len(
        confidence
    )
    if math.isclose(found, equal, abs_tol=1e-4):
        raise Mistake("Your bins hold equal numbers of pictures. Here they are equal ranges of confidence.")
    if math.isclose(found, 100 * wanted, rel_tol=1e-3):
        raise Mistake("These are percents. Return a share, from 0 to 1.")
    raise Mistake(f"For 400 random predictions in 10 bins it is {wanted:.4f}, and you have {found:.4f}.")


q3 = Exercise(
    MODULE,
    "q3",
    stub='''
def my_calibration_error(confidence, correct, bins):
    """The expected calibration error, 0 to 1.

    confidence: float [N], above 0 and up to 1. correct: bool [N]. bins: how many equal ranges of confidence,
    each without its left edge and with its right one. In each: |mean confidence − accuracy|, weighted with
    the share of the pictures in it.
    """
    raise NotImplementedError
''',
    hints=(
        "A loop over the bins is fine: inside = (confidence > low) & (confidence <= high).",
        "Skip a bin with no picture. The weight is inside.float().mean().",
        "gap = (confidence[inside].mean() - correct[inside].float().mean()).abs()",
    ),
    source='''
def my_calibration_error(confidence, correct, bins):
    """The expected calibration error, 0 to 1.

    confidence: float [N], above 0 and up to 1. correct: bool [N]. bins: how many equal ranges of confidence,
    each without its left edge and with its right one. In each: |mean confidence − accuracy|, weighted with
    the share of the pictures in it.
    """
    error = 0.0
    for n in range(bins):
        inside = (confidence > n / bins) & (confidence <= (n + 1) / bins)
        if inside.any():
            gap = (confidence[inside].mean() - correct[inside].float().mean()).abs()
            error += float(inside.float().mean() * gap)
    return error
''',
    checker=check_calibration,
    praise="Empty bins, edges and weights: the three places where this number goes wrong.",
)


# 4: conformal quantile


def _place(count: int, miss: float, more: int = 1) -> int:
    return math.ceil((count + more) * (1 - miss) - 1e-9)


def check_quantile(answer: Callable[[Tensor, float], float]) -> None:
    """Compare at several sizes, and recognise another place in the order."""
    must_be_function(answer, "ex.q4.check(my_quantile)")
    for count, miss in ((19, 0.1), (100, 0.1), (57, 0.25), (9, 0.1)):
        scores = torch.rand(count, dtype=torch.float64)
        found, ranked = float(answer(scores.clone(), miss)), scores.sort().values
        wanted = float(ranked[_place(count, miss) - 1])
        if not math.isclose(found, wanted, abs_tol=1e-6):
            _name_place(found, scores, miss, wanted)
    try:
        found = float(answer(torch.tensor([0.1, 0.5, 0.3]), 0.1))
    except IndexError:
        found = math.nan
    if found != 1:
        raise Mistake(
            "Of three scores the fourth is asked for: three pictures cannot promise nine of ten. Return 1 "
            "then, so that every class belongs to the set."
        )


def _name_place(found: float, scores: Tensor, miss: float, wanted: float) -> None:
    """Raise the Mistake that a wrong quantile looks like."""
    ranked, place = scores.sort().values, _place(len(scores), miss)
    here = f"Of {len(scores)} scores, with {miss:.0%} that may miss,"
    if math.isclose(found, float(ranked[_place(len(scores), miss, 0) - 1]), abs_tol=1e-6):
        raise Mistake(f"{here} the + 1 is missing: the new picture counts too, and it may be the worst.")
    if math.isclose(found, float(torch.quantile(scores, 1 - miss)), abs_tol=1e-6):
        raise Mistake(f"{here} this lies between two scores. Take the score itself at the place, rounded up.")
    if place == len(scores) and found == 1:
        raise Mistake(f"{here} the place is that of the largest score. Return 1 only where it lies beyond.")
    if place < len(scores) and math.isclose(found, float(ranked[place]), abs_tol=1e-6):
        raise Mistake(f"{here} this is one place too far: the first place has the index 0.")
    low = (ranked[_place(len(scores), 1 - miss) - 1], torch.quantile(scores, miss))
    if any(math.isclose(found, float(value), abs_tol=1e-6) for value in low):
        raise Mistake(f"{here} this is the lower end. Most of the scores must lie below: 1 - miss of them.")
    if math.isclose(found, float(scores[place - 1]), abs_tol=1e-6):
        raise Mistake("The scores are not sorted.")
    raise Mistake(f"{here} it is {wanted:.4f}, and you have {found:.4f}.")


q4 = Exercise(
    MODULE,
    "q4",
    stub='''
def my_quantile(scores, miss):
    """The conformal quantile: the score at place ceil((N + 1) * (1 - miss)), the lowest score first.

    scores: float [N], 1 minus the probability of the true class, of calibration pictures. miss: the part of
    the sets that may miss the truth. Where N is too small for that place, return 1: each class is in the set.
    """
    raise NotImplementedError
''',
    hints=(
        "math.ceil gives the place; it counts from 1.",
        "scores.sort().values[place - 1], if place is at most len(scores).",
    ),
    source='''
import math


def my_quantile(scores, miss):
    """The conformal quantile: the score at place ceil((N + 1) * (1 - miss)), the lowest score first.

    scores: float [N], 1 minus the probability of the true class, of calibration pictures. miss: the part of
    the sets that may miss the truth. Where N is too small for that place, return 1: each class is in the set.
    """
    place = math.ceil((len(scores) + 1) * (1 - miss) - 1e-9)  # 1e-9: 0.9 is not exact
    return float(scores.sort().values[place - 1]) if place <= len(scores) else 1.0
''',
    checker=check_quantile,
    praise="One number, and the sets hold the truth as often as you asked for.",
)


# 5: five bugs


class _Watched(nn.Module):
    """A tiny network that keeps what it was given and how."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.weight = nn.Parameter(torch.tensor([[2.0, 0, 0], [0, 2.0, 0], [0, 0, 2.0]]))
        self.seen: list[tuple[Tensor, bool, bool]] = []

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.ndim != 4 or inputs.shape[1] != 3:
            raise ValueError(f"expected inputs [N, 3, H, W], got {list(inputs.shape)}")
        self.seen.append((inputs.detach().clone(), self.training, torch.is_grad_enabled()))
        return self.dropout(inputs.mean((2, 3)) @ self.weight)


MEAN, STD = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4])
CLASSES = ("red", "green", "blue")
COLOUR = torch.tensor([200, 60, 40])  # the mean of the picture's red, green and blue, 0 to 255


def check_predictor(answer: Callable[..., Any]) -> None:
    """Let it predict with a watched network, and see which of the five bugs is still there."""
    must_be_function(answer, "ex.q5.check(my_predict_one)")
    rows, columns = 2 * np.arange(8)[:, None, None] - 7, 6 * np.arange(6)[None, :, None] - 15  # means of 0
    pixels = (COLOUR.numpy() + rows + columns).astype(np.uint8)
    model = _Watched().train()
    found = answer(model, Image.fromarray(pixels), MEAN, STD, CLASSES)
    if not model.seen:
        raise Mistake("The network was never called.")
    inputs, training, gradients = model.seen[-1]
    if training:
        raise Mistake(
            "The network is in training mode: dropout draws, BatchNorm uses the batch. Call eval()."
        )
    _check_inputs(inputs, torch.from_numpy(pixels))
    if gradients:
        raise Mistake(
            "Gradients are still recorded, which costs memory and time: with torch.inference_mode()."
        )
    if not (isinstance(found, tuple | list) and len(found) == 2):
        raise Mistake("Return the class name and its probability.")
    label, confidence = found[0], float(found[1])
    logits = model.eval()(inputs)[0].detach()
    wanted = logits.softmax(0)
    if math.isclose(confidence, 1.0):
        raise Mistake("The probability is 1 whatever the picture: softmax over the batch of one. Take dim=1.")
    if label not in CLASSES:
        raise Mistake(f"{label!r} is not a class name; they are: {', '.join(CLASSES)}.")
    if label != CLASSES[int(wanted.argmax())]:
        raise Mistake(
            f"It says {label!r}, but the highest logit is that of {CLASSES[int(wanted.argmax())]!r}."
        )
    if not math.isclose(confidence, float(wanted.max()), abs_tol=1e-5):
        raise Mistake(f"The probability should be {float(wanted.max()):.4f}, and is {confidence:.4f}.")


def _check_inputs(inputs: Tensor, pixels: Tensor) -> None:
    values = COLOUR / 255
    wanted, got = (values - MEAN) / STD, inputs[0].mean((1, 2))
    if torch.allclose(got, wanted, atol=1e-3):
        whole = ((pixels / 255 - MEAN) / STD).permute(2, 0, 1)
        if inputs[0].shape == whole.shape and torch.allclose(inputs[0], whole, atol=1e-3):
            return
        raise Mistake(
            f"The colours are right, but not every pixel is in its place: {list(inputs[0].shape)}, where the "
            f"picture has {list(whole.shape)}. Rows and columns stay as they are: permute(2, 0, 1)."
        )
    if torch.allclose(got, (values.flip(0) - MEAN) / STD, atol=1e-3):
        raise Mistake(
            "The colours are swapped: the network gets blue, green, red. PIL gives red, green, blue."
        )
    swapped = ((values.flip(0) * 255) - MEAN) / STD
    if torch.allclose(got, (values * 255 - MEAN) / STD, atol=1e-2) or torch.allclose(got, swapped, atol=1e-2):
        raise Mistake("The numbers go from 0 to 255 into the normalisation. Divide by 255 first.")
    if torch.allclose(got, values, atol=1e-3) or torch.allclose(got, values.flip(0), atol=1e-3):
        raise Mistake("The picture is not normalised: subtract the mean, then divide by the std.")
    if torch.allclose(got, values / STD - MEAN, atol=1e-3):
        raise Mistake("Subtract the mean first, then divide by the std.")
    flat = F.mse_loss(got, wanted)
    raise Mistake(
        f"What the network sees is wrong: means of the channels {got.tolist()} (off by {flat:.2f})."
    )


BUGS = '''
# Five bugs. Write it anew without them; the arguments and what is returned stay.
#
# def predict_one(model, picture, mean, std, classes):
#     """The class of a PIL picture and its probability."""
#     pixels = torch.from_numpy(np.array(picture)[..., ::-1].copy()).permute(2, 0, 1)
#     inputs = (pixels.float() - mean.view(3, 1, 1)) / std.view(3, 1, 1)
#     probabilities = model(inputs[None]).softmax(0)[0]
#     best = probabilities.argmax()
#     return classes[best], float(probabilities[best])
#
# picture: upright, in RGB and of the right size already. mean, std: float [3], of values from 0 to 1.
'''

q5 = Exercise(
    MODULE,
    "q5",
    stub=BUGS
    + """def my_predict_one(model, picture, mean, std, classes):
    raise NotImplementedError
""",
    hints=(
        "Two are about the mode of the network and about gradients. Two about the numbers that it sees.",
        "[..., ::-1] turns the last axis around. And which values do mean and std belong to?",
        "softmax(0) of a batch of one divides each number by itself.",
    ),
    source="""
import numpy as np
import torch

"""
    + BUGS
    + """def my_predict_one(model, picture, mean, std, classes):
    model.eval()
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    inputs = (pixels.float() / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.inference_mode():
        probabilities = model(inputs[None]).softmax(1)[0]
    best = probabilities.argmax()
    return classes[best], float(probabilities[best])
""",
    checker=check_predictor,
    praise="Mode, gradients, colours, scale, softmax: each of the five gives a number that looks plausible.",
)
