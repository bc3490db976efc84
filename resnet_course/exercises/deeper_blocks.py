"""The last exercises of notebook 01: a shortcut without parameters, the bottleneck block, reading curves."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_course.exercises.comparing import (
    Wrong,
    close,
    compare,
    look_at_weights,
    make,
    must_be_tensor,
    randomise,
)
from resnet_course.exercises.core import Exercise, Mistake, must_be_dict, must_be_function

MODULE = "residual_blocks"

# 7: the zero-padding shortcut (option A of He et al., 2015)

Shortcut = Callable[[Tensor, int, int], Tensor]


def pad_with_zeros(x: Tensor, out_channels: int, stride: int) -> Tensor:
    """float [N, C, H, W] → float [N, out_channels, H / stride, W / stride], without a parameter."""
    x = x[:, :, ::stride, ::stride]
    return F.pad(x, (0, 0, 0, 0, 0, out_channels - x.shape[1]))


WRONG_SHORTCUTS: dict[str, Shortcut] = {
    "The zeros stand before the channels of x. Put them behind: F.pad counts from the last dimension, "
    "and takes what is added before and after each.": (
        lambda x, c, s: F.pad(x[:, :, ::s, ::s], (0, 0, 0, 0, c - x.shape[1], 0))
    ),
    "The new channels are copies of x. They should be zeros.": (
        lambda x, c, s: torch.cat([x] * (c // x.shape[1]), 1)[:, :, ::s, ::s]
    ),
    "It averages over neighbours. Take every stride-th pixel: x[:, :, ::stride, ::stride].": (
        lambda x, c, s: F.pad(F.avg_pool2d(x, s), (0, 0, 0, 0, 0, c - x.shape[1]))
    ),
    "It takes the largest of neighbours. Take every stride-th pixel: x[:, :, ::stride, ::stride].": (
        lambda x, c, s: F.pad(F.max_pool2d(x, s), (0, 0, 0, 0, 0, c - x.shape[1]))
    ),
    "It begins with the second pixel. Begin with the first: x[:, :, ::stride, ::stride].": (
        lambda x, c, s: F.pad(x[:, :, s - 1 :: s, s - 1 :: s], (0, 0, 0, 0, 0, c - x.shape[1]))
    ),
}


def check_shortcut(answer: Shortcut) -> None:
    """Compare values and gradient with every second pixel and zeros behind it."""
    must_be_function(answer, "ex.q7.check(zero_padding_shortcut)")
    for channels, out_channels, stride in ((4, 8, 2), (4, 12, 2), (4, 4, 1), (4, 8, 1)):
        leaf = torch.randn(2, channels, 8, 8, requires_grad=True)
        found = answer(leaf, out_channels, stride)
        must_be_tensor(found)
        expected = pad_with_zeros(leaf, out_channels, stride)
        called = f"for x of shape {tuple(leaf.shape)}, out_channels={out_channels}, stride={stride}"
        if found.shape != expected.shape:
            raise Mistake(
                f"The output has shape {tuple(found.shape)} {called}; it should be {tuple(expected.shape)}."
            )
        if not close(found, expected):
            for message, wrong in WRONG_SHORTCUTS.items():
                if close(found, wrong(leaf, out_channels, stride)):
                    raise Mistake(message)
            raise Mistake(f"Shapes are right, and values are not, {called}.")
        if not found.requires_grad:
            raise Mistake("The values are right, but no gradient flows back. Is there a detach()?")


zero_padding = Exercise(
    MODULE,
    "q7",
    stub='''
def zero_padding_shortcut(x, out_channels, stride):
    """Returns x with every stride-th pixel, and zeros behind its channels up to out_channels."""
    raise NotImplementedError
''',
    hints=(
        "x[:, :, ::stride, ::stride] takes every stride-th pixel of both directions.",
        "x.new_zeros(images, missing, height, width) behind it with torch.cat([…, …], dim=1); or F.pad.",
    ),
    source='''
def zero_padding_shortcut(x, out_channels, stride):
    """Returns x with every stride-th pixel, and zeros behind its channels up to out_channels."""
    x = x[:, :, ::stride, ::stride]
    images, channels, height, width = x.shape
    zeros = x.new_zeros(images, out_channels - channels, height, width)
    return torch.cat([x, zeros], dim=1)
''',
    checker=check_shortcut,
    praise="A shortcut without a single parameter: option A, which the paper's CIFAR-10 networks use.",
)

# 8: the bottleneck block

PARAMETERS_50 = 25_557_032
STAGES_50 = ((64, 64, 3, 1), (256, 128, 4, 2), (512, 256, 6, 2), (1024, 512, 3, 2))


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions, of which the last makes four times the channels; with a skip.

    The stride is on the 3×3 convolution, as in torchvision.
    Source: He et al., 2015 (arXiv 1512.03385), section 4.1.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.downsample = None
        if stride != 1 or in_channels != 4 * channels:
            projection = nn.Conv2d(in_channels, 4 * channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(4 * channels))

    def residual(self, x: Tensor) -> Tensor:
        """F(x)."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))

    def shortcut(self, x: Tensor) -> Tensor:
        """The input, or its projection."""
        return x if self.downsample is None else self.downsample(x)

    def forward(self, x: Tensor) -> Tensor:
        """float [N, in_channels, H, W] → float [N, 4 · channels, H / stride, W / stride]."""
        return torch.relu(self.residual(x) + self.shortcut(x))


WRONG_BOTTLENECKS: dict[str, Wrong] = {
    "The ReLU after the sum is missing.": lambda b, x: b.residual(x) + b.shortcut(x),
    "The last ReLU comes before the sum. The sum comes first.": (
        lambda b, x: torch.relu(b.residual(x)) + b.shortcut(x)
    ),
    "The input is never added: that is a plain block.": lambda b, x: torch.relu(b.residual(x)),
    "You overwrote x: after x = ... the input is gone, and what is added is F(x) to itself. Give the "
    "residual a name of its own.": lambda b, x: torch.relu(2 * b.residual(x)),
    "Both inner ReLUs are missing, after bn1 and after bn2.": lambda b, x: torch.relu(
        b.bn3(b.conv3(b.bn2(b.conv2(b.bn1(b.conv1(x)))))) + b.shortcut(x)
    ),
    "There is a ReLU before the sum as well as after it.": lambda b, x: torch.relu(
        torch.relu(b.residual(x)) + b.shortcut(x)
    ),
    "The ReLU between conv2 and conv3 is missing.": lambda b, x: torch.relu(
        b.bn3(b.conv3(b.bn2(b.conv2(torch.relu(b.bn1(b.conv1(x))))))) + b.shortcut(x)
    ),
    "The ReLU between conv1 and conv2 is missing.": lambda b, x: torch.relu(
        b.bn3(b.conv3(torch.relu(b.bn2(b.conv2(b.bn1(b.conv1(x))))))) + b.shortcut(x)
    ),
}


def check_bottleneck(answer: type[nn.Module]) -> None:
    """Compare parts, values and gradients with `Bottleneck`, then count the parameters of a ResNet-50."""
    if not (isinstance(answer, type) and issubclass(answer, nn.Module)):
        raise Mistake("Give the class itself, a subclass of nn.Module: ex.q8.check(MyBottleneck).")
    if answer.forward is nn.Module.forward:
        raise Mistake("The class has no forward(self, x).")
    for in_channels, channels, stride in ((16, 4, 1), (8, 4, 1), (16, 8, 2), (16, 4, 2)):
        made = f"MyBottleneck({in_channels}, {channels}, stride={stride})"
        mine, reference = (
            make(answer, in_channels, channels, stride),
            Bottleneck(in_channels, channels, stride),
        )
        _look(mine, reference, made)
        randomise(reference)
        mine.load_state_dict(reference.state_dict())
        for training in (False, True):
            compare(mine.train(training), reference.train(training), WRONG_BOTTLENECKS)
    count = _resnet50(answer)
    if count != PARAMETERS_50:
        raise Mistake(
            f"A ResNet-50 of your blocks has {count:,} parameters; it should have {PARAMETERS_50:,}."
        )


def _look(mine: nn.Module, reference: Bottleneck, made: str) -> None:
    """Raise Mistake for a part that is missing, or is made with other numbers."""
    for name in ("conv1", "conv2", "conv3"):
        layer, right = getattr(mine, name, None), getattr(reference, name)
        if not isinstance(layer, nn.Conv2d):
            raise Mistake(f"{made} has no convolution {name}. There are three: conv1, conv2 and conv3.")
        for part in ("kernel_size", "out_channels", "stride"):
            found, wanted = getattr(layer, part), getattr(right, part)
            if found != wanted:
                raise Mistake(
                    f"{made}: {name} has {part} {found}, and it should be {wanted}. The kernels are 1×1, "
                    "3×3, 1×1; conv3 makes 4 · channels; the stride is on conv2, as in torchvision."
                )
        if layer.bias is not None:
            raise Mistake(f"{name} has a bias. BatchNorm takes it away again: write bias=False.")
    projects = getattr(mine, "downsample", None)
    has = isinstance(projects, nn.Module) and len(projects.state_dict()) > 0
    if reference.downsample is not None and not has:
        raise Mistake(
            f"{made} returns another shape than it gets, so it needs a projection, called downsample. It "
            "returns 4 · channels: compare in_channels with that, and look at the stride."
        )
    if reference.downsample is None and has:
        raise Mistake(f"{made} has a projection although no shape changes: 4 · channels is in_channels.")
    look_at_weights(mine, reference, made)


def _resnet50(block: type[nn.Module]) -> int:
    """How many parameters a ResNet-50 of these blocks has: stem and linear layer included."""
    with torch.device("meta"):  # shapes alone, so that a large network takes no time
        parts = [nn.Conv2d(3, 64, 7, bias=False), nn.BatchNorm2d(64), nn.Linear(2048, 1000)]
        for in_channels, channels, blocks, stride in STAGES_50:
            parts.append(block(in_channels, channels, stride=stride))
            parts += [block(4 * channels, channels, stride=1) for _ in range(blocks - 1)]
    return sum(parameter.numel() for part in parts for parameter in part.parameters())


bottleneck = Exercise(
    MODULE,
    "q8",
    stub="""
class MyBottleneck(nn.Module):
    def __init__(self, in_channels, channels, stride=1):
        super().__init__()
        raise NotImplementedError

    def forward(self, x):
        raise NotImplementedError
""",
    hints=(
        "conv1: 1×1, to channels. conv2: 3×3, with the stride. conv3: 1×1, to 4 · channels. Each has a bn.",
        "The projection makes 4 · channels too. No projection if stride is 1 and in_channels 4 · channels.",
        "forward: ReLU after bn1 and after bn2, none after bn3; then the sum; then the last ReLU.",
    ),
    source="""
class MyBottleneck(nn.Module):
    def __init__(self, in_channels, channels, stride=1):
        super().__init__()
        out_channels = 4 * channels
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(out_channels))

    def forward(self, x):
        residual = torch.relu(self.bn1(self.conv1(x)))
        residual = torch.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        return torch.relu(residual + self.downsample(x))
""",
    checker=check_bottleneck,
    praise=f"Blocks 3, 4, 6 and 3 of these make a ResNet-50: {PARAMETERS_50:,} parameters.",
)

# 9: reading curves

# What one would see of each problem.
SIGNS = {
    "degradation": "a deeper network that is worse on its *training* images than a shallower one, and learns",
    "overfitting": "a low training error, and a validation error that stays high or rises",
    "too high a learning rate": "a training loss that jumps",
    "vanishing gradients": "a first layer whose gradient is many powers of ten below that of the last",
    "nothing": "errors that are close together, and no shallower network that does better",
}
DIAGNOSES = {
    "A": "degradation",
    "B": "overfitting",
    "C": "too high a learning rate",
    "D": "vanishing gradients",
    "E": "degradation",
    "F": "nothing",
}
SEEN = {
    "A": "both losses fall smoothly, and the deeper network has the higher training error",
    "B": "the training error is nearly zero, and the validation error rises again",
    "C": "the training loss jumps up and never gets below where it began",
    "D": "the first layer's gradient is eight powers of ten below the last one's, and no loss moves",
    "E": "the first layer has the larger gradient, and the deeper network is behind on its training images",
    "F": "both errors are close together, and both still fall",
}


def check_diagnoses(answer: dict[str, str]) -> None:
    """Compare each diagnosis; a wrong one is answered by what speaks against it."""
    must_be_dict(answer, "a word", DIAGNOSES)
    for case, right in DIAGNOSES.items():
        said = answer[case]
        if said not in SIGNS:
            raise Mistake(f"{case} is {said!r}; it must be one of: {', '.join(SIGNS)}.")
        if said != right:
            raise Mistake(f"{case}: the sign of {said} is {SIGNS[said]}. Here {SEEN[case]}.")


DESCRIPTIONS = """
# A: networks of 20 and of 56 layers. Both losses fall smoothly to the end.
#    20 layers: training error 8%, validation error 12%. 56 layers: 14% and 17%.
# B: the training error falls to 0.1%. The validation error falls to 21% and then rises to 24%.
# C: the training loss starts at 2.3, jumps to 60, comes back to 2.3, and jumps again.
# D: ten classes; the training loss stays at 2.30. Gradient of the first layer 4e-9, of the last 0.3.
# E: 38 layers: gradient of the first layer 12, of the last 0.4; the training error falls to 33%.
#    8 layers, trained alike: the training error falls to 15%.
# F: the training error falls to 8% and the validation error to 10%; both were higher an epoch before.
"""

problems = Exercise(
    MODULE,
    "q9",
    stub=DESCRIPTIONS + 'my_diagnoses = {"A": ..., "B": ..., "C": ..., "D": ..., "E": ..., "F": ...}\n',
    hints=(
        "Ask of each: does the training error become low? Is the deeper network behind the shallower one?",
        "A large gradient is not a vanishing one, whatever else it is. One of the five words fits two cases.",
    ),
    source=DESCRIPTIONS
    + "my_diagnoses = {\n"
    + "".join(f'    "{case}": "{right}",\n' for case, right in DIAGNOSES.items())
    + "}\n",
    checker=check_diagnoses,
    praise="Training error, validation error and gradients together tell the problems apart.",
)
