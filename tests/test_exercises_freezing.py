"""Every plausible mistake in notebook 03's exercises gets a message of its own; every right way is right."""

import math

import numpy as np
import pytest
import torch
from exercise_harness import answer_of
from parameters import some_are_slow
from torch import nn

from resnet_course.exercises import freezing as ex

PARTS = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]


@pytest.mark.parametrize("question", (ex.q1, ex.q2, ex.q3), ids=lambda question: question.name)
def test_a_value_in_place_of_a_function_is_named(question, said):
    assert "Give the function itself" in said(question, 3)


# 1


def before(model, train_from):
    return [getattr(model, name) for name in PARTS[: PARTS.index(train_from)]]


def pin(module):
    module.train = lambda mode=True: module


def right(model, train_from):
    for part in before(model, train_from):
        part.requires_grad_(False).eval()
        pin(part)


def only_parameters(model, train_from):
    for part in before(model, train_from):
        part.requires_grad_(False)


def undone_by_train(model, train_from):
    only_parameters(model, train_from)
    for part in before(model, train_from):
        part.eval()


def all_frozen(model, train_from):
    right(model, train_from)
    model.requires_grad_(False)


def nothing(model, train_from):
    for part in before(model, train_from):
        part.eval()
        pin(part)


def one_too_many(model, train_from):
    right(model, train_from)
    if train_from != "fc":
        getattr(model, train_from).requires_grad_(False)


def one_too_few(model, train_from):
    right(model, PARTS[max(2, PARTS.index(train_from) - 1)])


def without_stem(model, train_from):
    for part in before(model, train_from)[2:]:
        part.requires_grad_(False).eval()
        pin(part)


def convolutions_only(model, train_from):
    for part in before(model, train_from):
        part.eval()
        pin(part)
        for module in part.modules():
            if isinstance(module, nn.Conv2d):
                module.requires_grad_(False)


def no_momentum(model, train_from):
    only_parameters(model, train_from)
    for part in before(model, train_from):
        for module in part.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.0


def whole_network_ignores_train(model, train_from):
    only_parameters(model, train_from)
    model.eval()
    pin(model)


def every_batchnorm(model, train_from):
    right(model, train_from)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            pin(module)


FREEZES = {
    only_parameters: "with or without gradients",
    undone_by_train: "after the next model.train()",
    all_frozen: "the head (fc) is frozen too",
    nothing: "no parameter is frozen",
    one_too_many: "is the first part to train",
    one_too_few: "can still learn",
    without_stem: "from conv1 and bn1 on",
    convolutions_only: "BatchNorm has weights and biases too",
    no_momentum: "does not use them",
    whole_network_ignores_train: "the dropout is still off",
    every_batchnorm: "is still in eval mode",
}


@pytest.mark.parametrize("answer", FREEZES, ids=lambda answer: answer.__name__)
def test_every_mistake_in_freezing_is_named(answer, said):
    assert FREEZES[answer] in said(ex.q1, answer)


class Wrapped(nn.Module):
    """Keeps its frozen part out of the reach of train()."""

    def __init__(self, part):
        super().__init__()
        self.part = part.eval()

    def train(self, mode=True):
        return self

    def forward(self, x):
        return self.part(x)


def returns_the_model(model, train_from):
    right(model, train_from)
    return model


def by_a_train_of_the_model(model, train_from):
    only_parameters(model, train_from)

    def train(mode=True):
        nn.Module.train(model, mode)
        for part in before(model, train_from):
            part.eval()
        return model

    model.train = train
    model.train()


@pytest.mark.parametrize("answer", [right, returns_the_model, by_a_train_of_the_model])
def test_other_right_ways_to_freeze_are_right(answer, said):
    assert said(ex.q1, answer).startswith("✓")


# 2

SIZES = {
    "pictures * channels * side * side * number": "multiply by the views",
    "pictures * views * channels * side * side": "Multiply by the bytes of each",
    "pictures * views * channels * side * side * 4": "not four",
    "pictures * views * channels * side * number": "side × side",
    "pictures * views * side * side * number": "a map of its own",
    "pictures * views * channels * side * side * number * 8": "not in bits",
    "pictures * views * channels * (size // shrunk) ** 2 * number": "rounded up",
    "pictures * views * channels * (size / shrunk) ** 2 * number": "rounded up",
    "pictures * views * (channels * side * side if part != 'fc' else 512 * up(size, 32) ** 2) * number": (
        "the maps are averaged"
    ),
    "pictures * views * {'layer1': 64, 'layer2': 128, 'layer3': 256, 'layer4': 512, 'fc': 512}[part]"
    " * up(size, {'layer1': 4, 'layer2': 8, 'layer3': 16, 'layer4': 32, 'fc': size}[part]) ** 2 * number": (
        "Kept is what goes into it"
    ),
    "None": "returns NoneType",
    "'many'": "returns str",
    "12345": "averaged to one number each",
    "pictures * views * channels * side * side * number + (part == 'layer3')": "go into layer3",
}


@pytest.mark.parametrize("formula", SIZES)
def test_every_mistake_in_the_size_is_named(formula, said):
    answer = answer_of(f"""
def up(a, b): return -(-a // b)
def answer(pictures, views, size, part, number):
    channels = {{"layer1": 64, "layer2": 64, "layer3": 128, "layer4": 256, "fc": 512}}[part]
    shrunk = {{"layer1": 4, "layer2": 4, "layer3": 8, "layer4": 16, "fc": size}}[part]
    side = up(size, shrunk)
    return {formula}
""")
    assert SIZES[formula] in said(ex.q2, answer)


@pytest.fixture(scope="module")
def network():
    from resnet_course.resnet import resnet18

    return resnet18(1)


@pytest.mark.parametrize("train_from", ["layer1", "layer2", "layer3", "layer4", "fc"])
@pytest.mark.parametrize("size", some_are_slow([32, 96, 100, 225], quick=[100]))
def test_the_right_size_is_the_size_of_the_file(network, train_from, size, tmp_path):
    from dataclasses import replace

    from resnet_course.data import ImageSet
    from resnet_course.features import cache_features
    from resnet_course.recipes import REDUCED
    from resnet_course.transfer import freeze

    pictures = ImageSet(
        torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), ("a",), "black"
    )
    recipe = replace(REDUCED, image_size=size, train_from=train_from, augmentation="flip")
    found = cache_features(freeze(network, train_from), pictures, recipe, tmp_path, views=2)
    assert math.prod(found.file.shape) * found.file.dtype.itemsize == answer_of(ex.q2.source)(
        2, 2, size, train_from, 2
    )


# 3

DEPTH = {"fc": 0, "layer4": 1, "layer3": 2, "layer2": 3, "layer1": 4, "conv1": 5, "bn1": 5}


def groups(model, rate, layer_decay, decay, **changed):
    """Right groups, but for what `changed` says."""
    depth = changed.get("depth", DEPTH)
    factor = changed.get("factor", layer_decay)
    found = [
        {
            "params": [p],
            "lr": rate * factor ** depth[name.partition(".")[0]],
            "weight_decay": decay if changed.get("decays", lambda n, p: p.ndim > 1)(name, p) else 0.0,
        }
        for name, p in model.named_parameters()
        if changed.get("takes", lambda name, p: p.requires_grad)(name, p)
    ]
    return found + found[: changed.get("twice", 0)]


def changed(**changes):
    return lambda *arguments: groups(*arguments, **changes)


def by_part(model, rate, layer_decay, decay):
    """Two groups a part."""
    return [
        {
            "params": [
                p for p in getattr(model, part).parameters() if p.requires_grad and (p.ndim > 1) == many
            ],
            "lr": rate * layer_decay**depth,
            "weight_decay": decay * many,
        }
        for part, depth in DEPTH.items()
        for many in (True, False)
    ]


GROUPS = (
    (lambda *_: None, "Is a return missing?"),
    (changed(twice=1), "is listed twice"),
    (changed(takes=lambda name, p: True), "is frozen and does not belong"),
    (changed(takes=lambda name, p: p.requires_grad and "bias" not in name), "is in no group"),
    (changed(takes=lambda name, p: p.requires_grad and "downsample" not in name), "is in no group"),
    (changed(takes=lambda name, p: p.requires_grad and name[:3] not in ("bn1", "con")), "is in no group"),
    (changed(factor=1.0), "has the same rate as the head"),
    (changed(factor=2.0), "learns faster than the head"),
    (changed(depth={**DEPTH, "layer3": 3}), "layer3 two, and so on"),
    (changed(depth={name: 1 + depth for name, depth in DEPTH.items()}), "The head (fc) should have"),
    (changed(depth={name: 5 - depth for name, depth in DEPTH.items()}), "The head (fc) should have"),
    (changed(depth={**DEPTH, "conv1": 6}), "conv1 and bn1 are five"),
    (changed(decays=lambda name, p: True), "should not be"),
    (changed(decays=lambda name, p: "bias" not in name), "is a BatchNorm weight and is decayed"),
    (changed(decays=lambda name, p: p.ndim > 1 or name == "fc.bias"), "is a bias and is decayed"),
    (changed(decays=lambda name, p: False), "should have the weight decay 0.1"),
    (lambda m, r, d, w: [{"params": list(m.parameters()), "weight_decay": w}], "is frozen"),
    (lambda m, r, d, w: [{"params": [p for p in m.parameters() if p.requires_grad]}], "needs the keys"),
    (lambda m, r, d, w: [{"lr": r}], "has no 'params'"),
    (lambda m, r, d, w: [{"params": [n for n, _ in m.named_parameters()]}], "names, perhaps"),
)  # fmt: skip


@pytest.mark.parametrize(("answer", "message"), GROUPS, ids=[message for _, message in GROUPS])
def test_every_mistake_in_the_groups_is_named(answer, message, said):
    assert message in said(ex.q3, answer)


def test_other_right_groups_are_right(said):
    assert said(ex.q3, by_part).startswith("✓")


# 4


def test_every_wrong_strategy_is_explained(said):
    solution = answer_of(ex.q4.source)
    for letter, (right, why) in ex.RIGHT.items():
        for other in ex.STRATEGIES:
            if other not in right:
                text = said(ex.q4, {**solution, letter: other})
                assert f"{letter}: {other!r} is not the best choice. {why}" in text
    assert said(ex.q4, {**solution, "E": "head"}).startswith("✓")
    assert "is not one of the strategies" in said(ex.q4, {**solution, "A": "layer 4"})
    assert "B is missing" in said(ex.q4, {"A": "head"})
    assert "not a list" in said(ex.q4, ["head"])


# 1, 2 and 3 once more: what is legal, and what only looks frozen


def test_statistics_that_are_thrown_away_are_named(said):
    def without_statistics(model, train_from):
        parts = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]
        for name in parts[: parts.index(train_from)]:
            part = getattr(model, name).requires_grad_(False)
            for module in part.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.track_running_stats, module.running_mean, module.running_var = False, None, None

    assert "has lost its stored mean and variance" in said(ex.q1, without_statistics)


def test_numpys_numbers_are_numbers(said):
    solution = answer_of(ex.q2.source)
    assert said(ex.q2, lambda *asked: np.int64(solution(*asked))).startswith("✓")


def test_a_bare_parameter_is_a_legal_group(said):
    solution = answer_of(ex.q3.source)

    def bare(*arguments):
        return [{**group, "params": group["params"][0]} for group in solution(*arguments)]

    assert said(ex.q3, bare).startswith("✓")


# 5

WEIGHTS = {
    "sizes": "The largest class has the largest weight",
    "1 / sizes": "the scale is not",
    "(len(labels) / (num_classes * sizes))[labels]": "one weight a picture",
    "len(labels) / (num_classes * torch.bincount(labels, minlength=num_classes))": "not finite",
    "(len(labels) / sizes).sqrt()": "Weight times size",
    "len(labels) / (num_classes * sizes[sizes > 9])": "one number a class",
    "None": "Is a return missing?",
}
BEGIN_WEIGHTS = "sizes = torch.bincount(labels, minlength=num_classes).clamp(min=1)"


def weights(formula):
    return answer_of(f"def answer(labels, num_classes):\n    {BEGIN_WEIGHTS}\n    return {formula}\n")


@pytest.mark.parametrize(("formula", "message"), WEIGHTS.items())
def test_every_mistake_in_the_weights_is_named(formula, message, said):
    text = said(ex.q5, weights(formula))
    assert text.startswith("✗") and message in text


@pytest.mark.parametrize("end", ["", ".tolist()", ".numpy()"])
def test_right_weights_are_right_in_any_form(end, said):
    assert said(ex.q5, weights(f"(len(labels) / (num_classes * sizes)){end}")).startswith("✓")


# 6


@pytest.mark.parametrize("letter", "ABCDE")
def test_every_wrong_diagnosis_of_curves_is_explained(letter, said):
    right, why = ex.CURVES[letter]
    for other in set(ex.DIAGNOSES) - {right}:
        text = said(ex.q6, {**answer_of(ex.q6.source), letter: other})
        assert text.startswith("✗") and f"{letter}: {other!r} is not the first thing to do. {why}" in text
    assert "is not one of the first steps" in said(ex.q6, dict.fromkeys("ABCDE", "pray"))
