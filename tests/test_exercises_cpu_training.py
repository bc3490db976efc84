"""Every plausible mistake in notebook 04's exercises gets a message of its own; every right way is right."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_course.exercises import cpu_training as ex


@pytest.mark.parametrize("question", (ex.q3, ex.q4, ex.q5), ids=lambda question: question.name)
def test_a_value_in_place_of_a_function_is_named(question, said):
    assert "Give the function itself" in said(question, 3)


RIGHT_LINES = {"A": 2, "B": 8, "C": 5, "D": 3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"A": 6},
            "Loop A: line 6 is not the slow one; a backward pass is needed. Ask of every line how many",
        ),
        ({"A": 1}, "Loop A: line 1 is not the slow one; it costs next to nothing"),
        ({"B": 2}, "Loop B: line 2 is not the slow one; it scales 128 pictures, no more"),
        ({"C": 4}, "Loop C: line 4 is not the slow one; no_grad saves time. Ask which result is the same"),
        ({"D": 1}, "Loop D: line 1 is not the slow one; it only points to what is in memory"),
        ({"D": 12}, "Loop D: 12 is not a line number"),
        ({"D": "3"}, "Loop D: '3' is not a line number"),
    ],
)
def test_a_wrong_line_is_excused_and_a_question_helps(change, message, said):
    assert message in said(ex.q1, RIGHT_LINES | change)


def test_an_answer_of_another_kind_is_named(said):
    assert "Give a dict with a line number" in said(ex.q1, [2, 8, 5, 3])
    assert "B is missing" in said(ex.q1, {"A": 2})
    assert "Give a dict with (threads, workers)" in said(ex.q2, 3)


# 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A": (2, 2)}, "A: 2 workers are too many. Who has work"),
        ({"A": (1, 0)}, "A: 1 threads are too few"),
        ({"B": (8, 2)}, "B: 8 threads are too many. One worker delivers"),
        ({"B": (6, 1)}, "B: 1 workers are too few"),
        ({"C": (64, 0)}, "C: 64 threads are too many. The quota"),
        ({"D": (8, 0)}, "D: 8 threads are too many. All threads of both"),
        ({"D": 4}, "D: give two whole numbers"),
        ({"D": (4.0, 0)}, "D: give two whole numbers"),
    ],
)
def test_wrong_numbers_are_named_with_the_reason(change, message, said):
    right = {"A": (2, 0), "B": (6, 2), "C": (2, 0), "D": (4, 0)}
    assert message in said(ex.q2, right | change)


# 3


def convolution(flip=False, swap=False, mix=False, order=True, pad=True, own=True):
    def answer(inputs, weight, stride, padding):
        if not own:
            return F.conv2d(inputs, weight, stride=stride, padding=padding)
        weight = weight.flip(2, 3) if flip else weight.transpose(2, 3) if swap else weight
        outputs, channels, kernel, _ = weight.shape
        padding = padding if pad else 0
        columns = F.unfold(inputs, kernel, stride=stride, padding=padding)  # [N, C * k * k, places]
        h, w = ((side + 2 * padding - kernel) // stride + 1 for side in inputs.shape[2:])
        if not order:
            columns = columns.unflatten(1, (channels, -1)).transpose(1, 2).flatten(1, 2)
        product = weight.reshape(outputs, -1) @ columns.transpose(0, 1).flatten(1)  # [O, N * places]
        if mix:
            return product.view(len(inputs), outputs, h, w)
        return product.view(outputs, len(inputs), h, w).transpose(0, 1)

    return answer


def by_hand(inputs, weight, stride, padding):
    columns = F.unfold(inputs, weight.shape[-1], stride=stride, padding=padding)[:, None]
    h, w = ((side + 2 * padding - weight.shape[-1]) // stride + 1 for side in inputs.shape[2:])
    return (weight.flatten(1)[None, :, :, None] * columns).sum(2).unflatten(2, (h, w))


CONVOLUTIONS = {
    "PyTorch's": (convolution(own=False), "This calls PyTorch's own convolution"),
    "turned round": (convolution(flip=True), "the kernel is turned round"),
    "swapped": (convolution(swap=True), "rows and columns of the kernel are swapped"),
    "mixed": (convolution(mix=True), "pictures and output channels are mixed"),
    "order": (convolution(order=False), "come in another order than those of the weight"),
    "no padding": (convolution(pad=False), "the shape should be [2, 4, 5, 4], and is [2, 4, 3, 2]"),
    "a list": (lambda *arguments: convolution()(*arguments).tolist(), "this is a list"),
    "three only": (
        lambda inputs, weight, *more: convolution()(inputs, weight[:, :, :3, :3], *more),
        "Inputs 7 × 6, kernel 5, stride 1, padding 2: the shape should be",
    ),
    "picture by picture": (
        lambda inputs, *more: torch.cat([convolution()(one[None], *more) for one in inputs]),
        "comes from 2 matrix products",
    ),
    "by hand": (by_hand, "comes from 0 matrix products"),
    "something else": (lambda *arguments: 2 * convolution()(*arguments), "the largest difference from"),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_wrong_convolution_is_named(name, said):
    answer, message = CONVOLUTIONS[name]
    assert message in said(ex.q3, answer)


def test_a_convolution_by_unfold_is_right(said):
    assert said(ex.q3, convolution()).startswith("✓")


# 4


def cosine(progress):
    return 0.5 * (1 + math.cos(math.pi * progress))


SCHEDULES = {
    "off by one: from zero": (
        lambda k, n, w: (k - 1) / w if k <= w and w else cosine((k - w) / (n - w)),
        "off by one",
    ),
    "off by one: w + 1": (
        lambda k, n, w: k / (w + 1) if k <= w else cosine((k - w) / (n - w)),
        "should get 1, and gets 0.952",
    ),
    "never zero": (
        lambda k, n, w: k / w if k <= w else cosine((k - w - 1) / (n - w)),
        "never reaches 0",
    ),
    "to a tenth": (
        lambda k, n, w: k / w if k <= w else 0.1 + 0.9 * cosine((k - w) / (n - w)),
        "the last step gets 0.1000: it never reaches 0",
    ),
    "a whole period": (
        lambda k, n, w: k / w if k <= w else cosine(2 * (k - w) / (n - w)),
        "it restarts",
    ),
    "restarts halfway": (
        lambda k, n, w: k / w if k <= w else cosine((2 * (k - w) / (n - w)) % 1 if k < n else 1),
        "it restarts",
    ),
    "the cosine alone": (
        lambda k, n, w: k / w if k <= w else math.cos(math.pi * (k - w) / (n - w)),
        "add 1 and halve",
    ),
    "not halved": (
        lambda k, n, w: k / w if k <= w else 1 + math.cos(math.pi * (k - w) / (n - w)),
        "its highest value is 1",
    ),
    "a straight line": (
        lambda k, n, w: k / w if k <= w else 1 - (k - w) / (n - w),
        "falls in a straight line",
    ),
    "no warm-up": (lambda k, n, w: cosine((k - 1) / (n - 1)), "there is no warm-up"),
    "over all steps": (
        lambda k, n, w: k / w if k <= w else cosine(k / n),
        "step 21 should get 0.9996",
    ),
    "a string": (lambda k, n, w: "1", "Return a number; this is a str"),
    "divides by zero": (lambda k, n, w: min(k / w, cosine((k - w) / (n - w))), "ZeroDivisionError"),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_wrong_schedule_is_named_by_its_shape(name, said):
    answer, message = SCHEDULES[name]
    assert message in said(ex.q4, answer)


# 5


def refuse(model):
    if any(isinstance(module, nn.BatchNorm2d) and module.training for module in model.modules()):
        raise ValueError("BatchNorm")


def step(inside=(), zero="before", divide="pictures", check=refuse):
    def my_step(model, optimizer, parts):
        check(model)
        if zero == "before":
            optimizer.zero_grad()
        total = sum(len(labels) for _, labels in parts)
        for inputs, labels in parts:
            if zero == "each":
                optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            (loss * {"no": 1, "parts": 1 / len(parts), "pictures": len(labels) / total}[divide]).backward()
            if "step" in inside:
                optimizer.step()
        if "step" not in inside and "none" not in inside:
            optimizer.step()

    return my_step


def at_once(model, optimizer, parts):
    refuse(model)
    optimizer.zero_grad()
    inputs, labels = (torch.cat(column) for column in zip(*parts, strict=True))
    F.cross_entropy(model(inputs), labels).backward()
    optimizer.step()


def one_backward_pass(model, optimizer, parts):
    refuse(model)
    optimizer.zero_grad()
    pictures = sum(len(labels) for _, labels in parts)
    sum(F.cross_entropy(model(x), y, reduction="sum") for x, y in parts).div(pictures).backward()
    optimizer.step()


def by_sums(model, optimizer, parts):
    refuse(model)
    optimizer.zero_grad()
    for x, y in parts:
        F.cross_entropy(model(x), y, reduction="sum").backward()
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad /= sum(len(labels) for _, labels in parts)
    optimizer.step()


STEPS = {
    "not averaged": (step(divide="no"), "added and not averaged"),
    "step inside": (step(inside=("step",)), "optimizer.step() runs after every part"),
    "step inside, averaged": (
        step(inside=("step",), divide="parts"),
        "optimizer.step() runs after every part",
    ),
    "step and zero inside": (
        step(inside=("step",), zero="each", divide="no"),
        "optimizer.step() runs after every part",
    ),
    "zero inside": (step(zero="each"), "Only the last part counts"),
    "a part counts as a part": (step(divide="parts"), "With parts of equal size it is right"),
    "never zeroed": (step(zero="never"), "Gradients of an earlier step are still there"),
    "no step": (step(inside=("none",)), "The weights have not moved"),
    "the large batch": (at_once, "12 pictures go through the model at once"),
    "one backward pass": (one_backward_pass, "backward() comes after the last part"),
    "BatchNorm not noticed": (step(check=lambda model: None), "Right for networks without BatchNorm"),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_wrong_accumulation_is_named(name, said):
    answer, message = STEPS[name]
    assert message in said(ex.q5, answer)


def test_a_batchnorm_in_eval_mode_is_to_be_accepted(said):
    def too_strict(model):
        if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
            raise ValueError("BatchNorm")

    assert "in eval mode uses stored statistics" in said(ex.q5, step(check=too_strict))


def test_who_asks_the_network_in_place_of_the_batchnorm_is_told_so(said):
    def of_the_network(model):
        if model.training and any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
            raise ValueError("BatchNorm")

    assert "Ask the BatchNorm itself" in said(ex.q5, step(check=of_the_network))


def test_another_right_way_is_right(said):
    assert said(ex.q5, by_sums).startswith("✓")
