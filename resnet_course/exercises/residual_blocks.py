"""Exercises of notebook 01: shapes, the sum, the block, repairs, stages, shortcuts, and reading curves."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from resnet_course.exercises.comparing import (
    WRONG_BLOCKS,
    Wrong,
    close,
    compare,
    compare_ways_back,
    look_at_parts,
    make,
    must_be_tensor,
    randomise,
)
from resnet_course.exercises.core import (
    Exercise,
    Mistake,
    NotAttempted,
    must_be_dict,
    must_be_function,
)
from resnet_course.exercises.deeper_blocks import Bottleneck, bottleneck, problems, zero_padding
from resnet_course.resnet import BasicBlock, ResNet, resnet18, stage

MODULE = "residual_blocks"

# 1: shapes before they are printed

BATCH = (8, 3, 32, 32)
LAYERS: dict[str, nn.Module] = {
    "nn.Conv2d(3, 16, 3, padding=1)": nn.Conv2d(3, 16, 3, padding=1),
    "nn.Conv2d(3, 16, 3)": nn.Conv2d(3, 16, 3),
    "nn.Conv2d(3, 16, 3, stride=2, padding=1)": nn.Conv2d(3, 16, 3, stride=2, padding=1),
    "nn.Conv2d(3, 16, 1, stride=2)": nn.Conv2d(3, 16, 1, stride=2),
    "nn.AdaptiveAvgPool2d(1)": nn.AdaptiveAvgPool2d(1),
    "nn.Flatten()": nn.Flatten(),
}
SHAPES = {name: tuple(layer(torch.zeros(BATCH)).shape) for name, layer in LAYERS.items()}


def check_shapes(answer: dict[str, tuple[int, ...]]) -> None:
    """Compare each shape with what the layer really returns, and name the usual slips."""
    must_be_dict(answer, "a shape", SHAPES)
    for name, right in SHAPES.items():
        found = answer[name]
        if not isinstance(found, (tuple, list)) or not all(type(number) is int for number in found):
            raise Mistake(f"{name}: {found!r} is no shape. Write whole numbers in brackets: (8, 16, 32, 32).")
        if tuple(found) != right:
            raise Mistake(f"{name}: {tuple(found)} is not right. {_slip(name, tuple(found), right)}")


def _slip(name: str, found: tuple[int, ...], right: tuple[int, ...]) -> str:
    if found == right[1:]:
        return "The number of images is missing: it comes first and no layer changes it."
    if "AvgPool" in name:
        return "One mean for each channel: the channels stay, height and width become 1."
    if len(found) != len(right):
        return f"It has {len(found)} numbers and should have {len(right)}."
    if len(right) == 4 and found == (right[0], *right[2:], right[1]):
        return "The channels come second, before height and width."
    if len(right) == 4 and found[1] != right[1]:
        return "Look at the channels: a convolution has one for each of its filters, pooling keeps them."
    if "stride=2" in name and found[2:] == (32, 32):
        return "With stride 2 the filter moves two pixels at a time."
    if name == "nn.Conv2d(3, 16, 3)" and found[2:] == (32, 32):
        return "Without padding, a 3×3 filter does not fit on the outermost pixels."
    if name == "nn.Flatten()":
        return "All numbers of an image stand in one row: channels × height × width."
    return "Width and height out: (size + 2 · padding − kernel) // stride + 1."


SHAPES_STUB = """
# x.shape is (8, 3, 32, 32). What is layer(x).shape for each of these layers?
my_shapes = {
"""

q1 = Exercise(
    MODULE,
    "q1",
    stub=SHAPES_STUB + "".join(f'    "{name}": ...,\n' for name in SHAPES) + "}",
    hints=(
        "The order is images, channels, height, width. No layer changes the number of images.",
        "Height out: (height + 2 · padding − kernel) // stride + 1. Without the argument, padding is 0.",
    ),
    source=SHAPES_STUB + "".join(f'    "{name}": {shape},\n' for name, shape in SHAPES.items()) + "}",
    checker=check_shapes,
    praise="You read a layer's arguments as a shape: that is half of reading any network.",
)

# 2: the sum

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
    "f is not used: that is x + x. Add f(x) to x.": lambda x, f: torch.relu(x + x),
    "You overwrote x: after x = f(x) the input is gone, and f(x) is added to itself. Give f(x) a name of its "
    "own.": lambda x, f: torch.relu(f(x) + f(x)),
    "f(x) is subtracted. A residual block adds it.": lambda x, f: torch.relu(x - f(x)),
    "f gets relu(x). It should get x itself.": lambda x, f: torch.relu(f(torch.relu(x)) + x),
    "f is applied twice. Once is enough.": lambda x, f: torch.relu(f(f(x)) + x),
}


def check_sum(answer: Residual) -> None:
    """Compare with relu(f(x) + x) for a random linear f, values and gradients."""
    if not callable(answer):
        raise Mistake("Give the function itself, without calling it: ex.q2.check(residual_forward).")
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


q2 = Exercise(
    MODULE,
    "q2",
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


# 3: the block

CASES = ((4, 4, 1), (4, 8, 2), (4, 8, 1), (4, 4, 2))  # (in_channels, out_channels, stride)


def check_block(answer: type[nn.Module]) -> None:
    """Look at the parts, then compare with `BasicBlock`: values and gradients, in eval and train mode."""
    if not (isinstance(answer, type) and issubclass(answer, nn.Module)):
        raise Mistake("Give the class itself, a subclass of nn.Module: ex.q3.check(MyBlock).")
    if answer.forward is nn.Module.forward:
        raise Mistake("The class has no forward(self, x).")
    for in_channels, out_channels, stride in CASES:
        mine = make(answer, in_channels, out_channels, stride)
        reference = BasicBlock(in_channels, out_channels, stride)
        look_at_parts(mine, reference, f"MyBlock({in_channels}, {out_channels}, stride={stride})")
        randomise(reference)
        mine.load_state_dict(reference.state_dict())
        for training in (False, True):
            compare(mine.train(training), reference.train(training), WRONG_BLOCKS)


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

q3 = Exercise(
    MODULE,
    "q3",
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


# 4: three broken blocks

Forward = Callable[[BasicBlock, Tensor], Tensor]

BROKEN = """
def forward_a(block, x):
    x = torch.relu(block.bn1(block.conv1(x)))
    x = block.bn2(block.conv2(x))
    return torch.relu(x + block.shortcut(x))


def forward_b(block, x):
    residual = torch.relu(block.bn1(block.conv1(x)))
    residual = torch.relu(block.bn2(block.conv2(residual)))
    return residual + block.shortcut(x)


def forward_c(block, x):
    residual = torch.relu(block.bn1(block.conv1(x)))
    residual = block.bn1(block.conv2(residual))
    return torch.relu(residual + block.shortcut(x))


my_repairs = {"A": forward_a, "B": forward_b, "C": forward_c}
"""
AS_GIVEN: dict[str, Wrong] = {
    "A": lambda b, x: torch.relu(2 * b.residual(x)),
    "B": lambda b, x: torch.relu(b.residual(x)) + b.shortcut(x),
    "C": lambda b, x: torch.relu(b.bn1(b.conv2(torch.relu(b.bn1(b.conv1(x))))) + b.shortcut(x)),
}


class _Repaired(BasicBlock):
    """A block with a forward of the learner's."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, way: Forward) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self, x)


def check_repairs(answer: dict[str, Forward]) -> None:
    """Compare each repaired forward with the block's, where the shape stays and where it changes."""
    must_be_dict(answer, "a function", AS_GIVEN)
    for way in answer.values():
        must_be_function(way, 'my_repairs = {"A": forward_a, …}')
    plain = BasicBlock(4, 4).eval()
    randomise(plain)
    x = torch.randn(3, 4, 8, 8)
    if all(_same(answer[name], plain, x, given) for name, given in AS_GIVEN.items()):
        raise NotAttempted
    for name, way in answer.items():
        for in_channels, out_channels, stride in CASES:
            reference = BasicBlock(in_channels, out_channels, stride)
            randomise(reference)
            mine = _Repaired(in_channels, out_channels, stride, way)
            mine.load_state_dict(reference.state_dict())
            try:
                compare(mine.eval(), reference.eval(), WRONG_BLOCKS)
                compare(mine.train(), reference.train(), WRONG_BLOCKS)
            except Mistake as mistake:
                raise Mistake(f"{name}: {mistake}") from None


def _same(way: Forward, block: BasicBlock, x: Tensor, given: Wrong) -> bool:
    try:
        return close(way(block, x.clone()), given(block, x))
    except Exception:  # a repair that stops is no broken block as it was given
        return False


q4 = Exercise(
    MODULE,
    "q4",
    stub=BROKEN,
    hints=(
        "Put each beside the drawing of the identity block, and follow the arrows line by line.",
        "A: what is x in its last line? B: which arrows go into the sum? C: how many BatchNorms are there?",
    ),
    source="""
def forward_a(block, x):
    residual = torch.relu(block.bn1(block.conv1(x)))
    residual = block.bn2(block.conv2(residual))
    return torch.relu(residual + block.shortcut(x))


def forward_b(block, x):
    residual = torch.relu(block.bn1(block.conv1(x)))
    residual = block.bn2(block.conv2(residual))
    return torch.relu(residual + block.shortcut(x))


def forward_c(block, x):
    residual = torch.relu(block.bn1(block.conv1(x)))
    residual = block.bn2(block.conv2(residual))
    return torch.relu(residual + block.shortcut(x))


my_repairs = {"A": forward_a, "B": forward_b, "C": forward_c}
""",
    checker=check_repairs,
    praise="In an identity block none of the three stops with an error: only values, shapes or a drawing "
    "show such a mistake.",
)

# 5: a stage

STAGES = ((64, 64, 3, 1), (64, 128, 4, 2), (128, 256, 6, 2), (256, 512, 3, 2))  # of ResNet-34
PARAMETERS_34 = 21_797_672


def check_stage(answer: Callable[..., nn.Module]) -> None:
    """Look at the blocks of small stages, then build ResNet-34 from the learner's."""
    must_be_function(answer, "ex.q5.check(make_stage)")
    for numbers in ((4, 8, 3, 2), (4, 4, 2, 1), (8, 4, 1, 2)):
        made, wanted = answer(*numbers), stage(*numbers)
        called = f"make_stage{numbers}"
        if not isinstance(made, nn.Module) or isinstance(made, (nn.ModuleList, nn.ModuleDict)):
            kind = type(made).__name__
            raise Mistake(
                f"{called} returns a {kind}; return nn.Sequential(*blocks), which applies them in turn."
            )
        found = [block for _, block in made.named_modules(remove_duplicate=False) if _is_block(block)]
        if len(set(found)) < len(found):
            raise Mistake(
                "One block stands in several places and shares its weights. Make a new one for each."
            )
        if len(found) != len(wanted):
            raise Mistake(f"{called} has {len(found)} blocks; it should have {len(wanted)}.")
        for place, (block, right) in enumerate(zip(found, wanted, strict=True)):
            for part in ("in_channels", "out_channels", "stride"):
                mine, should = getattr(block.conv1, part), getattr(right.conv1, part)
                if mine != should:
                    raise Mistake(
                        f"{called}: block {place} has {part} {mine}, and it should be {should}. {WHY}"
                    )
        x = torch.randn(2, numbers[0], 8, 8)
        with torch.no_grad():
            through = made.eval()(x)
            for block in found:
                x = block(x)
        if through.shape != x.shape or not close(through, x):
            raise Mistake(f"{called} does something besides its blocks, or runs them in another order.")
    with torch.device("meta"):  # shapes alone, so that a large network takes no time
        model = ResNet((3, 4, 6, 3))
        for number, numbers in enumerate(STAGES, start=1):
            setattr(model, f"layer{number}", answer(*numbers))
    count = sum(parameter.numel() for parameter in model.parameters())
    if count != PARAMETERS_34:
        raise Mistake(
            f"A ResNet-34 of your stages has {count:,} parameters; it should have {PARAMETERS_34:,}."
        )


def _is_block(module: nn.Module) -> bool:
    return hasattr(module, "conv1") and hasattr(module, "conv2")


WHY = "Only the first block changes the shape; the others get and return out_channels, with stride 1."

q5 = Exercise(
    MODULE,
    "q5",
    stub='''
def make_stage(in_channels, out_channels, blocks, stride):
    """Returns an nn.Sequential of `blocks` BasicBlocks; the shape changes once."""
    raise NotImplementedError
''',
    hints=(
        "The first block takes in_channels and the stride. What does the second one get from it?",
        "nn.Sequential(first, *others), where others has blocks - 1 blocks, each made anew in a loop.",
    ),
    source='''
def make_stage(in_channels, out_channels, blocks, stride):
    """Returns an nn.Sequential of `blocks` BasicBlocks; the shape changes once."""
    first = BasicBlock(in_channels, out_channels, stride)
    others = [BasicBlock(out_channels, out_channels) for _ in range(blocks - 1)]
    return nn.Sequential(first, *others)
''',
    checker=check_stage,
    praise=f"Four of your stages, of 3, 4, 6 and 3 blocks, make a ResNet-34: {PARAMETERS_34:,} parameters.",
)

# 6: count the layers


def _kinds(model: nn.Module, *kinds: type[nn.Module], projections: bool = True) -> int:
    return sum(
        isinstance(module, kinds) and (projections or "downsample" not in name)
        for name, module in model.named_modules()
    )


def _bottleneck() -> nn.Module:
    """Three convolutions on the main path, two of them 1×1, a stem and a linear layer: 5 weight layers."""
    return nn.Sequential(nn.Conv2d(3, 8, 7), Bottleneck(8, 8), nn.Flatten(), nn.Linear(32, 10))


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
    "It leaves out every 1×1 convolution. In a bottleneck block two of three convolutions are 1×1 and lie on "
    "the main path; what tells a projection is the name downsample.": lambda model: sum(
        isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1))
        for module in model.modules()
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
    """Count ResNet-18, ResNet-34, one with two linear layers, and one with a bottleneck block."""
    if not callable(answer):
        raise Mistake("Give the function itself, without calling it: ex.q6.check(count_weight_layers).")
    small = ResNet((1, 1, 1, 1), width=8)
    small.fc = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    networks = {18: resnet18(10, width=8), 34: ResNet((3, 4, 6, 3), 10, width=8), 11: small, 5: _bottleneck()}
    found = {depth: answer(model) for depth, model in networks.items()}
    for value in found.values():
        if not isinstance(value, int):
            raise Mistake(
                f"It returns a {type(value).__name__}; it should be one whole number. Take len() of a list."
            )
    if found == {depth: depth for depth in networks}:
        return
    if set(found.values()) == {18}:
        raise Mistake("It says 18 for every network. Count the layers of the network that it gets.")
    for message, wrong in WRONG_COUNTS.items():
        if found == {depth: wrong(model) for depth, model in networks.items()}:
            raise Mistake(message)
    depth = next(depth for depth in networks if found[depth] != depth)
    raise Mistake(f"For a ResNet with {depth} weight layers it returns {found[depth]!r}.")


q6 = Exercise(
    MODULE,
    "q6",
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

# 7, 8 and 9: the zero-padding shortcut, the bottleneck block, reading curves

q7, q8, q9 = zero_padding, bottleneck, problems
