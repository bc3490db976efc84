"""Exercises of notebook 01: the sum, the block, a stage, counting layers, naming the problem."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from resnet_course.exercises.core import Exercise, Mistake
from resnet_course.resnet import BasicBlock, ResNet, resnet18, stage

MODULE = "residual_blocks"

Way = Callable[[Tensor], Tensor]


def close(found: Tensor, expected: Tensor) -> bool:
    """Whether two tensors agree up to rounding: to 1e-4 of the largest value expected."""
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        return False
    return bool((found - expected).abs().max() <= 1e-4 * expected.abs().max())


def must_be_tensor(found: Any) -> None:
    """Raise Mistake for a function that forgot to return."""
    if not isinstance(found, Tensor):
        raise Mistake(f"It should return a tensor and returns {type(found).__name__}. Is a return missing?")


def gradient(output: Tensor, source: Tensor) -> Tensor:
    """The gradient that the output's sum of squares sends back to `source`; 0 if none arrives there."""
    total = output.square().sum()
    return torch.autograd.grad(total, source, retain_graph=True, materialize_grads=True)[0]


def compare_ways_back(found: Tensor, leaf: Tensor, residual: Way, shortcut: Way) -> None:
    """Raise Mistake unless the gradient comes back to the input through F and through the skip."""
    if not found.requires_grad:
        raise Mistake("The values are right, but no gradient flows back. Is there a no_grad() or a detach()?")
    cut = {
        "The values are right, but the skip is detached: no gradient flows back through it. "
        "That way back is what a residual block is for.": torch.relu(
            residual(leaf) + shortcut(leaf).detach()
        ),
        "The values are right, but F(x) is detached: no gradient flows back through it, "
        "so it could not learn.": torch.relu(residual(leaf).detach() + shortcut(leaf)),
    }
    own = gradient(found, leaf)
    if close(own, gradient(torch.relu(residual(leaf) + shortcut(leaf)), leaf)):
        return
    for message, output in cut.items():
        if close(own, gradient(output, leaf)):
            raise Mistake(message)
    raise Mistake(
        "The values are right, but the gradient of the input is not. Is there a detach() somewhere?"
    )


# 1: the sum

Residual = Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor]

WRONG_SUMS: dict[str, Residual] = {
    "The ReLU comes before the sum. Add the input first; the ReLU is last.": (
        lambda x, f: torch.relu(f(x)) + x
    ),
    "There is no ReLU after the sum.": lambda x, f: f(x) + x,
    "The input is missing: that is a plain block. Add x to f(x) before the ReLU.": (
        lambda x, f: torch.relu(f(x))
    ),
    "There is a ReLU before the sum as well as after it. Only the one after it belongs there.": (
        lambda x, f: torch.relu(torch.relu(f(x)) + x)
    ),
    "f(x) alone is only the residual. Add x, then apply the ReLU.": lambda x, f: f(x),
    "f and x are multiplied. A residual block adds them.": lambda x, f: torch.relu(f(x) * x),
    "x is subtracted. A residual block adds it.": lambda x, f: torch.relu(f(x) - x),
    "f gets relu(x). It should get x itself.": lambda x, f: torch.relu(f(torch.relu(x)) + x),
    "f is applied twice. Once is enough.": lambda x, f: torch.relu(f(f(x)) + x),
}


def check_sum(answer: Residual) -> None:
    """Compare with relu(f(x) + x) for a random linear f, values and gradients."""
    if not callable(answer):
        raise Mistake("Give the function itself, without calling it: ex.q1.check(residual_forward).")
    f = nn.Conv2d(4, 4, kernel_size=3, padding=1).requires_grad_(False)
    leaf = torch.randn(2, 4, 8, 8, requires_grad=True)
    x = leaf * 1  # no leaf, so that a change in place raises no error of PyTorch's own
    before = x.detach().clone()
    found = answer(x, f)
    must_be_tensor(found)
    if not torch.equal(x, before):
        raise Mistake(
            "It changes x itself (+= or a method whose name ends in _ does that). "
            "Others still need x: compute a new tensor, f(x) + x."
        )
    x = leaf * 1
    if not close(found, torch.relu(f(x) + x)):
        for message, wrong in WRONG_SUMS.items():
            if close(found, wrong(x, f)):
                raise Mistake(message)
        raise Mistake(
            f"For an input of shape {tuple(x.shape)} the values differ from relu(f(x) + x); "
            f"yours has shape {tuple(found.shape)}."
        )
    compare_ways_back(found, leaf, f, lambda x: x)


q1 = Exercise(
    MODULE,
    "q1",
    stub='''
def residual_forward(x, f):
    """x: a tensor. f: a function that keeps its shape. Returns what a residual block makes of x."""
    raise NotImplementedError
''',
    hints=(
        "A block adds what f computes to its input, and one more function comes after that.",
        "Three steps: f(x), then + x, then torch.relu of all of it.",
    ),
    source='''
def residual_forward(x, f):
    """x: a tensor. f: a function that keeps its shape. Returns what a residual block makes of x."""
    return torch.relu(f(x) + x)
''',
    checker=check_sum,
    praise="The sum first, then the ReLU. If f(x) is 0 and x has no negative values, x passes unchanged.",
)


# 2: the block

CASES = ((4, 4, 1), (4, 8, 2), (4, 8, 1))  # (in_channels, out_channels, stride)


# What a block computes that makes one mistake in `forward`, from the parts of a right one.
WRONG_BLOCKS: dict[str, Callable[[BasicBlock, Tensor], Tensor]] = {
    "The last ReLU comes before the sum. The sum comes first.": (
        lambda b, x: torch.relu(b.residual(x)) + b.shortcut(x)
    ),
    "The ReLU after the sum is missing.": lambda b, x: b.residual(x) + b.shortcut(x),
    "The ReLU between the two convolutions is missing.": (
        lambda b, x: torch.relu(b.bn2(b.conv2(b.bn1(b.conv1(x)))) + b.shortcut(x))
    ),
    "There is a ReLU before the sum as well as after it. Only the one after it belongs there.": (
        lambda b, x: torch.relu(torch.relu(b.residual(x)) + b.shortcut(x))
    ),
    "The input is never added: that is a plain block.": lambda b, x: torch.relu(b.residual(x)),
    "bn1 is not used in forward.": (
        lambda b, x: torch.relu(b.bn2(b.conv2(torch.relu(b.conv1(x)))) + b.shortcut(x))
    ),
    "bn2 is not used in forward.": (
        lambda b, x: torch.relu(b.conv2(torch.relu(b.bn1(b.conv1(x)))) + b.shortcut(x))
    ),
    "bn1 is used after both convolutions; bn2 belongs after the second.": (
        lambda b, x: torch.relu(b.bn1(b.conv2(torch.relu(b.bn1(b.conv1(x))))) + b.shortcut(x))
    ),
    "bn2 comes after the sum. It belongs before it, right after conv2.": (
        lambda b, x: torch.relu(b.bn2(b.conv2(torch.relu(b.bn1(b.conv1(x)))) + b.shortcut(x)))
    ),
    "The first ReLU comes before bn1. The order is convolution, BatchNorm, ReLU.": (
        lambda b, x: torch.relu(b.bn2(b.conv2(b.bn1(torch.relu(b.conv1(x))))) + b.shortcut(x))
    ),
    "The projected input goes through a ReLU before the sum. It should not.": (
        lambda b, x: torch.relu(b.residual(x) + torch.relu(b.shortcut(x)))
    ),
}


def check_block(answer: type[nn.Module]) -> None:
    """Look at the parts, then compare with `BasicBlock`: values and gradients, in eval and train mode."""
    if not (isinstance(answer, type) and issubclass(answer, nn.Module)):
        raise Mistake("Give the class itself, a subclass of nn.Module: ex.q2.check(MyBlock).")
    if answer.forward is nn.Module.forward:
        raise Mistake("The class has no forward(self, x).")
    for in_channels, out_channels, stride in CASES:
        mine = _make(answer, in_channels, out_channels, stride)
        reference = BasicBlock(in_channels, out_channels, stride)
        _look_at_parts(mine, reference, f"MyBlock({in_channels}, {out_channels}, stride={stride})")
        _randomise(reference)
        mine.load_state_dict(reference.state_dict())
        for training in (False, True):
            _compare(mine.train(training), reference.train(training))


def _make(answer: type[nn.Module], in_channels: int, out_channels: int, stride: int) -> nn.Module:
    try:
        return answer(in_channels, out_channels, stride=stride)
    except AttributeError as error:
        if "before Module.__init__()" in str(error):
            raise Mistake(
                "Call super().__init__() first in __init__; without it, no layer is registered."
            ) from None
        raise
    except TypeError as error:
        if error.__traceback__.tb_next:  # it comes from inside __init__
            raise
        raise Mistake(f"It must be made as MyBlock(in_channels, out_channels, stride=1): {error}.") from None


def _look_at_parts(mine: nn.Module, reference: BasicBlock, made: str) -> None:
    """Raise Mistake for a part that is missing, superfluous or made with other numbers."""
    parts = dict(mine.named_modules(remove_duplicate=False))
    if sum(isinstance(child, nn.BatchNorm2d) for child in mine.children()) == 1:
        raise Mistake("Both convolutions share one BatchNorm. Each needs its own: their values differ.")
    missing = [name for name in ("conv1", "bn1", "conv2", "bn2") if name not in parts]
    if missing:
        has = ", ".join(name for name, _ in mine.named_children()) or "no parts yet"
        raise Mistake(
            f"{made} has no {' and no '.join(missing)}; it has {has}. "
            "Keep the names conv1, bn1, conv2, bn2, downsample."
        )
    for name in ("conv1", "conv2"):
        convolution, right = parts[name], getattr(reference, name)
        if not isinstance(convolution, nn.Conv2d):
            raise Mistake(f"{name} is a {type(convolution).__name__}; it should be an nn.Conv2d.")
        if convolution.kernel_size != right.kernel_size:
            raise Mistake(f"{name} has a kernel of {convolution.kernel_size}; both convolutions are 3×3.")
        if convolution.padding not in (right.padding, "same"):
            raise Mistake(
                f"{name} has padding {convolution.padding}; "
                "a 3×3 convolution needs padding=1 to keep the size."
            )
        if convolution.bias is not None:
            raise Mistake(f"{name} has a bias. BatchNorm takes it away again: write bias=False.")
    if mine.conv2.stride != (1, 1):
        raise Mistake(
            "The stride is on the second convolution. It belongs to the first one, which also changes the "
            "channels."
            if mine.conv1.stride == (1, 1)
            else "Both convolutions have the stride. It belongs to the first one only."
        )
    if mine.conv1.stride != reference.conv1.stride:
        raise Mistake(f"{made}: conv1 has stride {mine.conv1.stride[0]}. Pass the stride on to it.")
    _look_at_projection(mine, reference, made)
    wanted, found = reference.state_dict(), mine.state_dict()
    if wanted.keys() != found.keys():
        missing, superfluous = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
        raise Mistake(
            f"{made} has other weights than the block: missing {', '.join(missing) or 'none'}; "
            f"too many {', '.join(superfluous) or 'none'}."
        )
    for name, tensor in wanted.items():
        if found[name].shape != tensor.shape:
            raise Mistake(
                f"{made}: {name} has shape {list(found[name].shape)}; it should be {list(tensor.shape)}."
            )


def _look_at_projection(mine: nn.Module, reference: BasicBlock, made: str) -> None:
    projection = getattr(mine, "downsample", None)
    weights = len(projection.state_dict()) if isinstance(projection, nn.Module) else 0
    if reference.downsample is None:
        if weights:
            raise Mistake(
                f"{made} has a projection although no shape changes. "
                "There the input itself is added, at no cost."
            )
        return
    if not weights:
        raise Mistake(
            f"{made} changes the shape, so it needs a projection on the shortcut, called downsample; "
            f"its parts are {', '.join(name for name, _ in mine.named_children())}."
        )
    kinds = [type(module) for module in projection.modules()]
    if nn.BatchNorm2d not in kinds:
        raise Mistake(
            "The projection has no BatchNorm. It is a 1×1 convolution followed by its own BatchNorm."
        )
    (convolution, *_) = [module for module in projection.modules() if isinstance(module, nn.Conv2d)] or [None]
    if convolution is None or convolution.kernel_size != (1, 1):
        raise Mistake("The projection should be a 1×1 convolution (then BatchNorm).")
    if convolution.bias is not None:
        raise Mistake(
            "The projection's convolution has a bias. BatchNorm takes it away again: write bias=False."
        )
    if convolution.stride != reference.conv1.stride:
        raise Mistake(
            f"The projection has stride {convolution.stride[0]} and conv1 has {reference.conv1.stride[0]}. "
            "Both ways must shrink the picture alike."
        )


def _randomise(block: nn.Module) -> None:
    """Give BatchNorm weights, biases and statistics that show whether each is used."""
    with torch.no_grad():
        for module in block.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 1.5)


def _compare(mine: nn.Module, reference: BasicBlock) -> None:
    """Raise Mistake unless values, statistics and gradients agree."""
    mode = "train" if reference.training else "eval"
    untouched = copy.deepcopy(reference)  # every training pass moves BatchNorm's statistics
    leaf = torch.randn(3, reference.conv1.in_channels, 8, 8, requires_grad=True)
    x = leaf * 1
    before = x.detach().clone()
    try:
        found = mine(x)
    except RuntimeError as error:
        if isinstance(error, NotImplementedError) and not str(error):
            raise Mistake("Your parts are right. Now write forward.") from None
        if reference.downsample is None or "must match" not in str(error):
            raise
        raise Mistake(
            "At the sum, x and F(x) have different shapes. "
            "Where there is a projection, add downsample(x), not x."
        ) from None
    must_be_tensor(found)
    if not torch.equal(x, before):
        raise Mistake(
            "forward changes its input itself (+= or inplace=True on x does that). "
            "Compute a new tensor: residual + x."
        )
    x = leaf * 1
    expected = reference(x)
    if found.shape != expected.shape:
        raise Mistake(f"The output has shape {tuple(found.shape)}; it should be {tuple(expected.shape)}.")
    if not close(found, expected):
        for message, wrong in WRONG_BLOCKS.items():
            if close(found, wrong(copy.deepcopy(untouched), x)):
                raise Mistake(message)
        difference = float((found - expected).detach().abs().max())
        raise Mistake(
            f"In {mode} mode, values differ from the reference block's by up to {difference:.2g}. The input "
            f"has shape {tuple(x.shape)}, the output {tuple(expected.shape)}. Check the order in forward."
        )
    for name, right in reference.named_buffers():
        if not close(mine.get_buffer(name), right):
            raise Mistake(
                f"The values are right, but after one pass in {mode} mode {name} is not. Is each BatchNorm "
                "called once, and are its settings the usual ones?"
            )
    compare_ways_back(found, leaf, reference.residual, reference.shortcut)
    for name, weight in reference.named_parameters():
        if not close(gradient(found, mine.get_parameter(name)), gradient(expected, weight)):
            raise Mistake(f"The values are right, but the gradient of {name} is not. Is there a detach()?")


BLOCK = """
class MyBlock(nn.Module):
    def __init__(self, in_channels, out_channels, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x):
        residual = torch.relu(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        return torch.relu(residual + self.downsample(x))
"""

q2 = Exercise(
    MODULE,
    "q2",
    stub="""
class MyBlock(nn.Module):
    def __init__(self, in_channels, out_channels, stride=1):
        super().__init__()
        raise NotImplementedError

    def forward(self, x):
        raise NotImplementedError
""",
    hints=(
        "Six parts: conv1, bn1, conv2, bn2, the ReLU (a function will do), and downsample where the shape "
        "changes.",
        "The stride goes to conv1 and to the 1×1 convolution in downsample. No convolution has a bias.",
        "forward: conv1, bn1, ReLU, conv2, bn2; then add downsample(x), or x where there is none; then ReLU.",
    ),
    source=BLOCK,
    checker=check_block,
    praise="Same values and same gradients as the course's own block, in train and in eval mode.",
)


# 3: a stage

STAGE = {"in_channels": 128, "out_channels": 256, "blocks": 2, "stride": 2}
WHY = {
    "in_channels": "layer3 gets what layer2 puts out: 128 channels.",
    "out_channels": "each stage doubles the channels of the one before, and layer3 gets 128.",
    "blocks": (
        "ResNet-18 has two blocks in every stage: 4 stages × 2 blocks × 2 convolutions, and 2 layers more."
    ),
    "stride": "every stage after the first halves height and width, so that the work stays the same.",
}


def check_stage(answer: dict[str, int]) -> None:
    """Compare each number, then build the stage and look at its shape."""
    if not isinstance(answer, dict) or answer.keys() != STAGE.keys():
        raise Mistake(f"Keep the dict with the keys {', '.join(STAGE)}.")
    for name, value in answer.items():
        if type(value) is not int or not 1 <= value <= 4096:
            raise Mistake(f"{name} is {value!r}; it should be a whole number from 1 to 4096.")
    for name in ("in_channels", "blocks"):
        if answer[name] != STAGE[name]:
            raise Mistake(f"{name} is {answer[name]}, but {WHY[name]}")
    with torch.device("meta"):  # shapes alone, so that any answer can be built at once
        made = stage(**answer)(torch.zeros(1, 128, 28, 28)).shape[1:]
    for name in ("out_channels", "stride"):
        if answer[name] != STAGE[name]:
            shape = "×".join(map(str, made))
            raise Mistake(f"{name} is {answer[name]}, but {WHY[name]} Yours makes {shape} of 128×28×28.")


q3 = Exercise(
    MODULE,
    "q3",
    stub="""
my_stage = {"in_channels": ..., "out_channels": ..., "blocks": ..., "stride": ...}
""",
    hints=(
        "Look at the table above: the output shapes of layer2 and of layer3.",
        "layer2 puts out 128×28×28, layer3 256×14×14, and layer3 is made of two blocks.",
    ),
    source="""
my_stage = {"in_channels": 128, "out_channels": 256, "blocks": 2, "stride": 2}
""",
    checker=check_stage,
    praise="This stage makes 256×14×14 of 128×28×28.",
)


# 4: count the layers


def _kinds(model: nn.Module, *kinds: type[nn.Module], projections: bool = True) -> int:
    return sum(
        isinstance(module, kinds) and (projections or "downsample" not in name)
        for name, module in model.named_modules()
    )


WRONG_COUNTS: dict[str, Callable[[nn.Module], int]] = {
    "It counts the 1×1 projections too. They lie on the shortcut, not on the main path, and their names "
    "contain downsample.": lambda model: _kinds(model, nn.Conv2d, nn.Linear),
    "It forgets the linear layers at the end.": lambda model: _kinds(model, nn.Conv2d, projections=False),
    "It misses one layer in each network: the first convolution, before the stages?": (
        lambda model: _kinds(model, nn.Conv2d, nn.Linear, projections=False) - 1
    ),
    "It takes for granted that there is one linear layer. One of the networks here has two: count them.": (
        lambda model: _kinds(model, nn.Conv2d, projections=False) + 1
    ),
    "It looks only at the top level. The stages hold more: model.modules() goes all the way down.": (
        lambda model: sum(isinstance(child, (nn.Conv2d, nn.Linear)) for child in model.children())
    ),
    "It counts all convolutions, projections included, and forgets the linear layer.": (
        lambda model: _kinds(model, nn.Conv2d)
    ),
    "It counts BatchNorm layers too. The paper counts convolutions and linear layers.": (
        lambda model: _kinds(model, nn.Conv2d, nn.Linear, nn.BatchNorm2d, projections=False)
    ),
    "It counts BatchNorm layers and projections too.": (
        lambda model: _kinds(model, nn.Conv2d, nn.Linear, nn.BatchNorm2d)
    ),
    "It counts tensors of parameters, not layers: BatchNorm has two and the linear layer has a bias.": (
        lambda model: len(list(model.parameters()))
    ),
    "It counts single numbers, not layers.": lambda model: sum(p.numel() for p in model.parameters()),
    "It counts all modules, the containers and the ReLUs too.": lambda model: len(list(model.modules())),
}


def check_count(answer: Callable[[nn.Module], int]) -> None:
    """Count ResNet-18, ResNet-34, and a small one with two linear layers."""
    if not callable(answer):
        raise Mistake("Give the function itself, without calling it: ex.q4.check(count_weight_layers).")
    small = ResNet((1, 1, 1, 1), width=8)
    small.fc = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    networks = {18: resnet18(10, width=8), 34: ResNet((3, 4, 6, 3), 10, width=8), 11: small}
    found = {depth: answer(model) for depth, model in networks.items()}
    if found == {depth: depth for depth in networks}:
        return
    if set(found.values()) == {18}:
        raise Mistake("It says 18 for every network. Count the layers of the network that it gets.")
    for message, wrong in WRONG_COUNTS.items():
        if found == {depth: wrong(model) for depth, model in networks.items()}:
            raise Mistake(message)
    depth = next(depth for depth in networks if found[depth] != depth)
    raise Mistake(f"For a ResNet with {depth} weight layers it returns {found[depth]!r}.")


q4 = Exercise(
    MODULE,
    "q4",
    stub='''
def count_weight_layers(model):
    """Returns the number of convolutions on the main path and of linear layers."""
    raise NotImplementedError
''',
    hints=(
        "model.named_modules() gives the name and the module of every part, however deep it lies.",
        (
            "isinstance(module, (nn.Conv2d, nn.Linear)) finds the layers; "
            "the projections have downsample in their name."
        ),
    ),
    source='''
def count_weight_layers(model):
    """Returns the number of convolutions on the main path and of linear layers."""
    return sum(
        isinstance(module, (nn.Conv2d, nn.Linear)) and "downsample" not in name
        for name, module in model.named_modules()
    )
''',
    checker=check_count,
    praise="18 for ResNet-18, 34 for ResNet-34: the number in a ResNet's name is this count.",
)


# 5: name the problem

PROBLEMS = ("degradation", "overfitting", "too high a learning rate")
DIAGNOSES = {"A": "degradation", "B": "overfitting", "C": "too high a learning rate"}
WHY_NOT = {
    (
        "A",
        "overfitting",
    ): "A: the deeper network is worse on its *training* pictures too; overfitting lowers that error.",
    ("A", "too high a learning rate"): "A: both losses fall smoothly; nothing jumps.",
    (
        "B",
        "degradation",
    ): "B: the training error is nearly zero; the network has no trouble learning its pictures.",
    (
        "B",
        "too high a learning rate",
    ): "B: the training error falls to nearly zero; with too high a rate it could not.",
    ("C", "degradation"): "C: a degraded network still learns, only worse; this loss jumps and never falls.",
    ("C", "overfitting"): "C: the training loss never falls; overfitting begins with a low one.",
}


def check_diagnoses(answer: dict[str, str]) -> None:
    """Compare each diagnosis; a wrong one is answered by what speaks against it."""
    if not isinstance(answer, dict) or answer.keys() != DIAGNOSES.keys():
        raise Mistake("Keep the dict with the keys A, B and C.")
    for case, right in DIAGNOSES.items():
        if answer[case] not in PROBLEMS:
            raise Mistake(f"{case} is {answer[case]!r}; it must be one of: {', '.join(PROBLEMS)}.")
        if answer[case] != right:
            raise Mistake(WHY_NOT[case, answer[case]])


DESCRIPTIONS = """
# A: two networks, 20 and 56 layers. Both losses fall smoothly to the end.
#    20 layers: 8% training error, 12% validation error. 56 layers: 14% and 17%.
# B: the training error falls to 0.1%. The validation error falls to 21% and then rises to 24%.
# C: the training loss starts at 2.3, jumps to 60, comes back to 2.3, and jumps again.
"""

q5 = Exercise(
    MODULE,
    "q5",
    stub=DESCRIPTIONS
    + """my_diagnoses = {"A": ..., "B": ..., "C": ...}
""",
    hints=(
        (
            "Ask of each: does the training error become low? And is it the "
            "deeper or the shallower network that fails?"
        ),
        "Low training error with rising validation error, and worse training error with more depth: "
        "these are two of the three.",
    ),
    source=DESCRIPTIONS
    + """my_diagnoses = {
    "A": "degradation",
    "B": "overfitting",
    "C": "too high a learning rate",
}
""",
    checker=check_diagnoses,
    praise="The training error tells them apart: worse with depth, nearly zero, or jumping.",
)
