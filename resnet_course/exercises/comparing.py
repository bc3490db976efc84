"""What the checks of residual blocks share: compare values, statistics, gradients; name the mistake."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from resnet_course.exercises.core import Mistake
from resnet_course.resnet import BasicBlock

Way = Callable[[Tensor], Tensor]
Wrong = Callable[[nn.Module, Tensor], Tensor]


def close(found: Tensor, expected: Tensor) -> bool:
    """Whether two tensors agree up to rounding: to 1e-4 of the largest value expected."""
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        return False
    return bool((found - expected).abs().max() <= 1e-4 * expected.abs().max())


def must_be_tensor(found: Any) -> None:
    """Raise Mistake for a function that returns something else, and name what was probably meant."""
    if isinstance(found, Tensor):
        return
    kind = type(found).__name__
    if found is None:
        raise Mistake("It returns None. Is a return missing?")
    if isinstance(found, nn.Module):
        raise Mistake(
            f"It returns a layer ({kind}), not a tensor. nn.{kind}(t) makes a layer; to apply one, write "
            f"nn.{kind}()(t), or for a ReLU torch.relu(t)."
        )
    if isinstance(found, tuple) and hasattr(found, "indices"):
        raise Mistake(
            "It returns two tensors, maxima and their places: torch.max(t, 0) looks for the largest along "
            "dimension 0. For a ReLU write torch.relu(t) or t.clamp(min=0)."
        )
    raise Mistake(f"It should return a tensor and returns {kind}.")


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


# What a block computes that makes one mistake in `forward`, from the parts of a right one.
WRONG_BLOCKS: dict[str, Wrong] = {
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
    "You overwrote x: after x = ... the input is gone, and what is added is F(x) to itself. Give the "
    "residual a name of its own.": lambda b, x: torch.relu(2 * b.residual(x)),
    "The projected input goes through a ReLU before the sum. It should not.": (
        lambda b, x: torch.relu(b.residual(x) + torch.relu(b.shortcut(x)))
    ),
}


def make(answer: type[nn.Module], in_channels: int, channels: int, stride: int) -> nn.Module:
    """The learner's block with these numbers; Mistake if it cannot be made so."""
    try:
        return answer(in_channels, channels, stride=stride)
    except AttributeError as error:
        if "before Module.__init__()" in str(error):
            raise Mistake(
                "Call super().__init__() first in __init__; without it, no layer is registered."
            ) from None
        raise
    except TypeError as error:
        if error.__traceback__.tb_next:  # it comes from inside __init__
            raise
        raise Mistake(
            f"It must be made as {answer.__name__}(in_channels, channels, stride=1): {error}."
        ) from None


def look_at_parts(mine: nn.Module, reference: BasicBlock, made: str) -> None:
    """Raise Mistake for a part that is missing, superfluous or made with other numbers."""
    parts = dict(mine.named_modules(remove_duplicate=False))
    for name, part in parts.items():
        if "BatchNorm" in type(part).__name__ and not isinstance(part, nn.BatchNorm2d):
            raise Mistake(
                f"{name} is a {type(part).__name__}; images have height and width, so it must be "
                "nn.BatchNorm2d."
            )
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
    look_at_weights(mine, reference, made)


def look_at_weights(mine: nn.Module, reference: nn.Module, made: str) -> None:
    """Raise Mistake unless both have weights of the same names and shapes."""
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
            "In downsample there is no BatchNorm. Put the 1×1 convolution and its own BatchNorm into it, "
            "as one nn.Sequential."
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


def randomise(block: nn.Module) -> None:
    """Give BatchNorm weights, biases and statistics that show whether each is used."""
    with torch.no_grad():
        for module in block.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 1.5)


def compare(mine: nn.Module, reference: nn.Module, wrongs: Mapping[str, Wrong]) -> None:
    """Raise Mistake unless values, statistics and gradients agree.

    mine: a block. reference: one with the same weights, with `residual` and `shortcut`.
    wrongs: by the message, what a block computes from the reference's parts that makes one mistake.
    """
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
        for message, wrong in wrongs.items():
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
