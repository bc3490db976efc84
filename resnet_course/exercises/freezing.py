"""Exercises of notebook 03: freezing, the size of a cache, rates, a strategy, class weights, curves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_course.exercises.core import Exercise, Mistake, must_be_dict, must_be_function
from resnet_course.resnet import ResNet, resnet18
from resnet_course.transfer import freeze, split_at

MODULE = "freezing"


# 1: freeze for good


def _network() -> ResNet:
    """A small ResNet-18 in training mode, whose BatchNorm statistics are not those of any batch here."""
    model = resnet18(3, width=8, dropout=0.5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.8, 1.2)
    return model.train()


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _moved(model: nn.Module, before: dict[str, Tensor]) -> list[str]:
    """The tensors that changed. BatchNorm's counter of batches does not count: nothing depends on it."""
    return [
        name
        for name, tensor in model.state_dict().items()
        if not torch.equal(tensor, before[name]) and not name.endswith("num_batches_tracked")
    ]


def check_freeze(answer: Callable[[ResNet, str], Any]) -> None:
    """Freeze small networks with it, train them, and compare every tensor with what it was."""
    must_be_function(answer, "ex.q1.check(my_freeze)")
    for train_from in ("layer3", "fc", "layer1", "layer4"):
        model = _network()
        returned = answer(model, train_from)
        if isinstance(returned, nn.Module):
            model = returned
        trunk, head = split_at(model, train_from)
        _check_parameters(trunk, head, train_from)
        _check_statistics(model, trunk, head, train_from)


def _check_parameters(trunk: nn.Module, head: nn.Module, train_from: str) -> None:
    free = [name for name, p in trunk.named_parameters() if p.requires_grad]
    stopped = [name for name, p in head.named_parameters() if not p.requires_grad]
    called = f"my_freeze(model, {train_from!r})"
    if stopped and "fc.weight" in stopped:
        raise Mistake(f"After {called} the head (fc) is frozen too, so nothing can learn the new classes.")
    if stopped:
        raise Mistake(
            f"After {called} the parameter {stopped[0]} is frozen. {train_from} is the first part to train: "
            "freeze only what comes before it."
        )
    if not free:
        return
    if len(free) == sum(1 for _ in trunk.parameters()):
        raise Mistake(f"After {called} no parameter is frozen. Set requires_grad to False.")
    modules = {name.rpartition(".")[0] for name in free}
    if all(isinstance(trunk.get_submodule(name), nn.BatchNorm2d) for name in modules):
        raise Mistake(
            f"After {called} {free[0]} can still learn. BatchNorm has weights and biases too, which take "
            "gradients like any others."
        )
    if any(isinstance(module, nn.BatchNorm2d) for module in trunk.modules()) and not any(
        isinstance(trunk.get_submodule(name), nn.Conv2d) for name in modules
    ):
        raise Mistake(f"After {called} {free[0]} can still learn.")
    raise Mistake(
        f"After {called} {free[0]} can still learn. Everything before {train_from} must be frozen, "
        "from conv1 and bn1 on."
    )


def _train(model: nn.Module, call_train: bool) -> None:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1)
    for _ in range(2):
        if call_train:
            model.train()
        loss = F.cross_entropy(model(torch.randn(6, 3, 32, 32)), torch.randint(0, 3, (6,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _check_stored(trunk: nn.Module, train_from: str) -> None:
    """Frozen BatchNorm must still have statistics: without them it normalises with those of the batch."""
    for name, module in trunk.named_modules():
        if isinstance(module, nn.BatchNorm2d) and (module.running_mean is None or module.running_var is None):
            raise Mistake(
                f"After my_freeze(model, {train_from!r}) the BatchNorm {name} has lost its stored mean and "
                "variance: it would normalise with those of the batch, in eval mode too. Keep them."
            )


def _check_statistics(model: nn.Module, trunk: nn.Module, head: nn.Module, train_from: str) -> None:
    _check_stored(trunk, train_from)
    before = _state(trunk)
    _train(model, call_train=False)
    if moved := _moved(trunk, before):
        raise Mistake(
            f"The parameters stay, but {moved[0]} moves while the head is trained. BatchNorm updates its "
            "statistics in training mode, with or without gradients: put the frozen parts into eval mode."
        )
    _train(model, call_train=True)
    if moved := _moved(trunk, before):
        raise Mistake(
            f"{moved[0]} moves after the next model.train(), which puts every part back into training mode. "
            "Make the frozen parts ignore it: give each a train method of its own."
        )
    x = torch.randn(6, 3, 32, 32)
    model.train()
    with torch.no_grad():
        in_training = trunk(x)
        for module in trunk.modules():
            module.training = False
        same = torch.allclose(in_training, trunk(x), atol=1e-5)
    if not same:
        raise Mistake(
            "The statistics stay, but in training mode the frozen BatchNorm does not use them: it still "
            "normalises with those of the batch. Frozen BatchNorm must be in eval mode."
        )
    model.train()
    if not model.dropout.training:
        raise Mistake(
            "After model.train() the dropout is still off. Only the frozen parts may ignore train()."
        )
    for name, module in head.named_modules():
        if isinstance(module, nn.BatchNorm2d) and not module.training:
            raise Mistake(
                f"After model.train() the BatchNorm {name} is still in eval mode, though it is behind "
                f"{train_from}: what is trained must be in training mode."
            )


q1 = Exercise(
    MODULE,
    "q1",
    stub='''
def my_freeze(model, train_from):
    """Freeze all before `train_from` ("layer1" … "layer4" or "fc"): nothing in it may move again.

    The parts of a ResNet, in order: conv1, bn1, layer1, layer2, layer3, layer4, fc.
    """
    raise NotImplementedError
''',
    hints=(
        "Two things move: parameters (requires_grad) and BatchNorm's statistics (training mode).",
        "getattr(model, 'layer1') is a part; part.requires_grad_(False) and part.eval() act on all of it.",
        "The next model.train() calls part.train(True) on every part. You can replace that method: "
        "part.train = lambda mode=True: part",
    ),
    source='''
def my_freeze(model, train_from):
    """Freeze all before `train_from` ("layer1" … "layer4" or "fc"): nothing in it may move again.

    The parts of a ResNet, in order: conv1, bn1, layer1, layer2, layer3, layer4, fc.
    """
    parts = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]
    for name in parts[: parts.index(train_from)]:
        part = getattr(model, name)
        part.requires_grad_(False)
        part.eval()
        part.train = lambda mode=True, part=part: part
''',
    checker=check_freeze,
    praise="No gradient, no statistics, and no later train() can move it.",
)


# 2: how large is the cache

# What goes into each part: channels, and how often the side was halved, rounded up.
CHANNELS = {"layer1": 64, "layer2": 64, "layer3": 128, "layer4": 256, "fc": 512}
ROUNDED = "Half of an odd side is rounded up: 25 becomes 13."
HALVED = {"layer1": 2, "layer2": 2, "layer3": 3, "layer4": 4}


def _cache_bytes(pictures: int, views: int, image_size: int, train_from: str, bytes_per_number: int) -> int:
    side = 1 if train_from == "fc" else math.ceil(image_size / 2 ** HALVED[train_from])
    return pictures * views * CHANNELS[train_from] * side * side * bytes_per_number


def check_cache_bytes(answer: Callable[[int, int, int, str, int], int]) -> None:
    """Compare sizes for every part, for sides that can be halved evenly and for one that cannot."""
    must_be_function(answer, "ex.q2.check(cache_bytes)")
    for image_size in (64, 128, 100):
        for train_from in ("fc", "layer4", "layer3", "layer2", "layer1"):
            asked = (7, 3, image_size, train_from, 2)
            right, found = _cache_bytes(*asked), answer(*asked)
            if isinstance(found, bool) or not isinstance(found, int | float | np.integer | np.floating):
                raise Mistake(f"It should return a number and returns {type(found).__name__}.")
            if found != right:
                raise Mistake(
                    f"For 7 pictures, 3 views, {image_size} pixels, {train_from}, 2 bytes a number it should "
                    f"be {right:,} bytes, and is {found:,}. {_size_mistake(found, asked)}"
                )


def _size_mistake(found: float, asked: tuple[int, int, int, str, int]) -> str:
    _, views, image_size, train_from, bytes_per_number = asked
    right = _cache_bytes(*asked)
    reasons = {
        right / views: "Every view of a picture is kept: multiply by the views.",
        right / bytes_per_number: "You count numbers. Multiply by the bytes of each.",
        right * 2: "A number takes the given bytes, not four.",
        right * 8: "The answer should be in bytes, not in bits.",
        right / CHANNELS[train_from]: "Each of the channels has a number or a map of its own.",
    }
    if train_from == "fc":
        maps = math.ceil(image_size / 32) ** 2
        reasons[right * maps] = "Before fc the maps are averaged: one number a channel is left."
        advice = "Before fc stand 512 channels, averaged to one number each."
    else:
        side = math.ceil(image_size / 2 ** HALVED[train_from])
        one_map = right / side**2
        # The same for the part that comes after: twice the channels and half the side, but for layer1.
        after = right if train_from == "layer1" else one_map * 2 * math.ceil(side / 2) ** 2
        for size, reason in (
            (one_map * side, "A map has a height and a width: side × side."),
            (after, f"That is what comes out of {train_from}. Kept is what goes into it."),
            (one_map * (image_size // 2 ** HALVED[train_from]) ** 2, ROUNDED),
            (one_map * (image_size / 2 ** HALVED[train_from]) ** 2, ROUNDED),
        ):
            reasons[size] = reason  # fc, asked first, has ruled the general ones out
        maps = f"{CHANNELS[train_from]} channels of {side} × {side}"
        advice = f"At {image_size} pixels, {maps} go into {train_from}."
    return next((reason for size, reason in reasons.items() if math.isclose(found, size)), advice)


q2 = Exercise(
    MODULE,
    "q2",
    stub='''
def cache_bytes(pictures, views, image_size, train_from, bytes_per_number):
    """How many bytes the features take that go into `train_from` ("layer1" … "layer4" or "fc").

    A picture's side is halved twice before layer1, and once in each of layer2, layer3 and layer4, rounded up.
    The channels after the stem and the layers: 64, 64, 128, 256, 512. Before fc the maps are averaged.
    """
    raise NotImplementedError
''',
    hints=(
        "First find what goes into the part: how many channels, and how many pixels a side.",
        "Into layer4 go 256 channels, and the side was halved four times: math.ceil(image_size / 16).",
        "pictures × views × channels × side × side × bytes_per_number; before fc the side is 1.",
    ),
    source='''
def cache_bytes(pictures, views, image_size, train_from, bytes_per_number):
    """How many bytes the features take that go into `train_from` ("layer1" … "layer4" or "fc").

    A picture's side is halved twice before layer1, and once in each of layer2, layer3 and layer4, rounded up.
    The channels after the stem and the layers: 64, 64, 128, 256, 512. Before fc the maps are averaged.
    """
    channels = {"layer1": 64, "layer2": 64, "layer3": 128, "layer4": 256, "fc": 512}[train_from]
    shrunk = {"layer1": 4, "layer2": 4, "layer3": 8, "layer4": 16, "fc": image_size}[train_from]
    side = -(-image_size // shrunk)
    return pictures * views * channels * side * side * bytes_per_number
''',
    checker=check_cache_bytes,
    praise="Now you know before you start whether the disk is large enough.",
)


# 3: groups for the optimiser

DEPTH = {"fc": 0, "layer4": 1, "layer3": 2, "layer2": 3, "layer1": 4, "bn1": 5, "conv1": 5}


def check_groups(answer: Callable[[ResNet, float, float, float], list[dict]]) -> None:
    """Compare rate and decay of every parameter, for networks that are frozen to different depths."""
    must_be_function(answer, "ex.q3.check(my_groups)")
    for train_from in ("layer2", "all", "fc"):
        model = freeze(resnet18(3, width=8), train_from)
        groups = answer(model, 0.01, 0.5, 0.1)
        if not isinstance(groups, list | tuple) or not all(isinstance(group, dict) for group in groups):
            raise Mistake(
                f"It should return a list of dicts and returns {type(groups).__name__}. Is a return missing?"
            )
        _check_members(model, groups)
        if not all({"params", "lr", "weight_decay"} <= group.keys() for group in groups):
            raise Mistake("Each group needs the keys 'params', 'lr' and 'weight_decay'.")
        group_of = {id(parameter): group for group in groups for parameter in group["params"]}
        for name, parameter in reversed(list(model.named_parameters())):  # the head first: it sets the scale
            if parameter.requires_grad:
                group = group_of[id(parameter)]
                _check_group(name, parameter, float(group["lr"]), group["weight_decay"])


def _check_members(model: nn.Module, groups: list[dict]) -> None:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    seen: set[int] = set()
    for group in groups:
        if "params" not in group:
            raise Mistake("A group has no 'params'. Its keys are 'params', 'lr' and 'weight_decay'.")
        one = isinstance(group["params"], Tensor)  # PyTorch takes a single parameter without a list too
        group["params"] = [group["params"]] if one else list(group["params"])
        for parameter in group["params"]:
            if not isinstance(parameter, nn.Parameter):
                raise Mistake("'params' should hold parameters, and holds something else: names, perhaps?")
            name = names[id(parameter)]
            if not parameter.requires_grad:
                raise Mistake(f"{name} is frozen and does not belong into a group.")
            if id(parameter) in seen:
                raise Mistake(f"{name} is listed twice. It would be moved by two groups.")
            seen.add(id(parameter))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in seen:
            raise Mistake(f"{name} is in no group, so it would never learn. Did you think of all parts?")


def _check_group(name: str, parameter: nn.Parameter, rate: float, decay: float) -> None:
    part = name.partition(".")[0]
    right = 0.01 * 0.5 ** DEPTH[part]
    if not math.isclose(rate, right, rel_tol=1e-6):
        if part == "fc":
            raise Mistake(f"The head (fc) should have the full rate, 0.01 here, and has {rate:g}.")
        if math.isclose(rate, 0.01, rel_tol=1e-6):
            raise Mistake(f"{name} has the same rate as the head. Earlier parts learn more slowly.")
        if rate > 0.01:
            raise Mistake(f"{name} learns faster than the head. Multiply with layer_decay, do not divide.")
        raise Mistake(
            f"{name} should have the rate {right:g} (0.01 × 0.5 to the power {DEPTH[part]}), not {rate:g}. "
            "layer4 is one step before the head, layer3 two, and so on; conv1 and bn1 are five."
        )
    if parameter.ndim == 1 and decay:
        kind = "a bias" if name.endswith("bias") else "a BatchNorm weight"
        raise Mistake(f"{name} is {kind} and is decayed. Parameters with one dimension should not be.")
    if parameter.ndim > 1 and decay != 0.1:
        raise Mistake(f"{name} should have the weight decay 0.1, and has {decay:g}.")


q3 = Exercise(
    MODULE,
    "q3",
    stub='''
def my_groups(model, learning_rate, layer_decay, weight_decay):
    """A list of {"params": [...], "lr": ..., "weight_decay": ...} with every trainable parameter once.

    fc learns at learning_rate, layer4 at learning_rate × layer_decay, layer3 at × layer_decay², and so on;
    conv1 and bn1 together come before layer1. Parameters with one dimension (BatchNorm, biases) get no decay.
    """
    raise NotImplementedError
''',
    hints=(
        "model.named_parameters() gives names such as 'layer3.0.bn1.weight': the part comes first.",
        "A group may hold a single parameter: one dict for each is fine.",
        "depth = {'fc': 0, 'layer4': 1, …, 'conv1': 5, 'bn1': 5}; leave out what has requires_grad False.",
    ),
    source='''
def my_groups(model, learning_rate, layer_decay, weight_decay):
    """A list of {"params": [...], "lr": ..., "weight_decay": ...} with every trainable parameter once.

    fc learns at learning_rate, layer4 at learning_rate × layer_decay, layer3 at × layer_decay², and so on;
    conv1 and bn1 together come before layer1. Parameters with one dimension (BatchNorm, biases) get no decay.
    """
    depth = {"fc": 0, "layer4": 1, "layer3": 2, "layer2": 3, "layer1": 4, "conv1": 5, "bn1": 5}
    return [
        {
            "params": [parameter],
            "lr": learning_rate * layer_decay ** depth[name.split(".")[0]],
            "weight_decay": weight_decay if parameter.ndim > 1 else 0.0,
        }
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]
''',
    checker=check_groups,
    praise="Every trainable parameter once, the early parts slowly, and only the weights decayed.",
)


# 4: which strategy

STRATEGIES = ("head", "layer4 and head", "all, discriminative rates", "from scratch")
RIGHT: dict[str, tuple[tuple[str, ...], str]] = {
    "A": (
        ("head",),
        "Two seconds are enough for the head on features and for nothing else; "
        "and photographs are what the trunk knows.",
    ),
    "B": (
        ("all, discriminative rates",),
        "The pictures are unlike the photographs that the network knows, so more than the last stage should "
        "change, the early layers a little; and there are enough pictures and enough time for it.",
    ),
    "C": (
        ("from scratch",),
        "The pretrained first layer takes three channels. One can repeat its filters for twelve, but here "
        "there is enough to learn everything anew, for light that no photograph shows.",
    ),
    "D": (
        ("layer4 and head",),
        "There is enough to adapt the last stage, and the time is too short to send the pictures through "
        "the whole network again and again: the trunk is computed once.",
    ),
    "E": (
        ("layer4 and head", "head"),
        "The trunk knows such photographs. Start from the head; with ten minutes layer4 can follow on "
        "cached features. So few do not show in section 9 that all layers are better, and they take longer.",
    ),
}


def check_strategies(answer: Any) -> None:
    """Compare each choice with the one that the description allows."""
    must_be_dict(answer, "a strategy", RIGHT)
    for letter, (right, why) in RIGHT.items():
        said = answer[letter]
        if said not in STRATEGIES:
            raise Mistake(f"{letter}: {said!r} is not one of the strategies: {', '.join(STRATEGIES)}.")
        if said not in right:
            raise Mistake(f"{letter}: {said!r} is not the best choice. {why}")


STORIES = """
# The strategies: "head" and "layer4 and head" (both on cached features), "all, discriminative rates",
# "from scratch". Each is used at least once.
#
# A: at a fair visitors photograph 3 things 15 times each; two seconds later a program must know them.
# B: 60,000 pictures from a thermal camera, grey in three channels; an hour on a machine with a GPU.
# C: 400,000 satellite pictures with 12 channels from infrared to ultraviolet; a machine with GPUs for a week.
# D: 40 everyday things in a workshop, 400 photographs of each; five minutes on a laptop.
# E: ten kinds of parts from a shop, 60 photographs of each; ten minutes on a laptop.
"""

q4 = Exercise(
    MODULE,
    "q4",
    stub=STORIES
    + """chosen = {"A": ..., "B": ..., "C": ..., "D": ..., "E": ...}
""",
    hints=(
        "Ask of each: how many pictures a class, how much like ImageNet's photographs, how much time?",
        "One has other channels than the first layer takes. One has time for nothing but the head.",
    ),
    source=STORIES
    + """chosen = {
    "A": "head",
    "B": "all, discriminative rates",
    "C": "from scratch",
    "D": "layer4 and head",
    "E": "layer4 and head",
}
""",
    checker=check_strategies,
    praise="Pictures, likeness to what the trunk has learned from, and time decide.",
)


# 5: weights for the classes


def check_class_weights(answer: Callable[[Tensor, int], Tensor]) -> None:
    """Compare ratio and scale of the weights, on classes of uneven size and with one that is empty."""
    must_be_function(answer, "ex.q5.check(class_weights)")
    for sizes in ((60, 30, 10), (8, 1, 7, 0)):
        labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
        found = answer(labels, len(sizes))
        found = torch.as_tensor(found) if isinstance(found, list | tuple | np.ndarray) else found
        if not isinstance(found, Tensor):
            raise Mistake(
                f"It should return a tensor and returns {type(found).__name__}. Is a return missing?"
            )
        if found.shape == labels.shape and len(labels) != len(sizes):
            raise Mistake("That is one weight a picture, as a sampler takes it. The loss wants one a class.")
        if found.shape != (len(sizes),):
            raise Mistake(
                f"It should return one number a class, {len(sizes)}, and returns {list(found.shape)}."
            )
        if not found.isfinite().all():
            raise Mistake("A weight is not finite: an empty class counts as one picture, .clamp(min=1).")
        _check_weights(found.double(), torch.tensor(sizes).double())


def _check_weights(found: Tensor, sizes: Tensor) -> None:
    there, even = sizes > 0, sizes.sum() / len(sizes)
    product = (found * sizes)[there]
    if torch.allclose(product, even.expand_as(product), rtol=1e-4):
        return
    if torch.allclose(product, product[0].expand_as(product), rtol=1e-4):
        raise Mistake(
            "The ratio is right, the scale is not: a class of average size should have the weight 1. "
            "Multiply by N / C. (F.cross_entropy divides by its batch's weights, so there it has no effect.)"
        )
    if torch.allclose(found[there] / found[0], sizes[there] / sizes[0], rtol=1e-4):
        raise Mistake("The largest class has the largest weight. It should be the smallest one: divide.")
    raise Mistake(
        f"For {[int(n) for n in sizes]} pictures yours are {[round(w, 3) for w in found.tolist()]}. "
        "Weight times size should be N / C for all classes; divide with /, not with //."
    )


q5 = Exercise(
    MODULE,
    "q5",
    stub='''
def class_weights(labels, num_classes):
    """Weights for F.cross_entropy(..., weight=weights): float [num_classes].

    labels: int64 [N]. All classes count alike; one of average size, N / num_classes, has the weight 1.
    A class without pictures has a finite weight.
    """
    raise NotImplementedError
''',
    hints=(
        "torch.bincount(labels, minlength=num_classes) counts the pictures of each class.",
        "A weight is the average size divided by the size of the class.",
    ),
    source='''
def class_weights(labels, num_classes):
    """Weights for F.cross_entropy(..., weight=weights): float [num_classes].

    labels: int64 [N]. All classes count alike; one of average size, N / num_classes, has the weight 1.
    A class without pictures has a finite weight.
    """
    sizes = torch.bincount(labels, minlength=num_classes).clamp(min=1)
    return len(labels) / (num_classes * sizes)
''',
    checker=check_class_weights,
    praise="Every class weighs as much as every other.",
)


# 6: read the curves

DIAGNOSES = ("larger rate", "smaller rate", "more pictures or augmentation", "check the labels", "nothing")
CURVES: dict[str, tuple[str, str]] = {
    "A": ("more pictures or augmentation", "Training is learned by heart, and validation gets worse."),
    "B": ("larger rate", "Both fall together, slowly, and are far from their end."),
    "C": ("smaller rate", "The loss jumps and grows on both: the steps are too large."),
    "D": (
        "check the labels",
        "Training falls below guessing (2.30), validation never does: what is learned does not hold there. "
        "The labels or the pictures of one split are not what they should be.",
    ),
    "E": ("nothing", "Both have fallen, both are level, and they are close: there is nothing to mend."),
}


def check_curves(answer: Any) -> None:
    """Compare each first step with the one that the curves ask for."""
    must_be_dict(answer, "a first step", CURVES)
    for letter, (right, why) in CURVES.items():
        said = answer[letter]
        if said not in DIAGNOSES:
            raise Mistake(f"{letter}: {said!r} is not one of the first steps: {', '.join(DIAGNOSES)}.")
        if said != right:
            raise Mistake(f"{letter}: {said!r} is not the first thing to do. {why}")


LOSSES = """
# The first steps, each used once: "larger rate", "smaller rate", "more pictures or augmentation",
# "check the labels", "nothing". Ten classes; the loss in nats after epochs 1, 2, 4, 8 and 16:
#
# A: training 1.60 0.90 0.30 0.05 0.01   validation 1.50 1.10 1.05 1.25 1.60
# B: training 2.30 2.29 2.27 2.23 2.15   validation 2.30 2.29 2.28 2.24 2.17
# C: training 4.10 2.90 6.80 3.70 9.20   validation 5.00 3.10 7.70 3.30 11.0
# D: training 2.25 2.05 1.70 1.30 1.00   validation 2.31 2.36 2.45 2.60 2.90
# E: training 1.40 0.80 0.50 0.42 0.41   validation 1.35 0.85 0.58 0.52 0.52
"""

q6 = Exercise(
    MODULE,
    "q6",
    stub=LOSSES
    + """diagnoses = {"A": ..., "B": ..., "C": ..., "D": ..., "E": ...}
""",
    hints=(
        "Ask first: does training fall? Then: does validation follow?",
        "Guessing among ten classes costs ln 10 = 2.30. Who is never better than that on validation?",
    ),
    source=LOSSES
    + """diagnoses = {
    "A": "more pictures or augmentation",
    "B": "larger rate",
    "C": "smaller rate",
    "D": "check the labels",
    "E": "nothing",
}
""",
    checker=check_curves,
    praise="Training says whether it learns; validation says whether what is learned holds.",
)
