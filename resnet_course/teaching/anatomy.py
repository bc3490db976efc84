"""Looks inside a network: sizes, gradients, activations, single blocks.

Everything is computed where the network is and returned on the CPU; the network stays as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_course.common.errors import ArgumentError
from resnet_course.resnet.network import BasicBlock, eval_mode
from resnet_course.resnet.stacks import PlainBlock


@dataclass(frozen=True)
class Part:
    """One part of a network, as a batch of one image passes through it.

    name: its attribute. operation: what it does, in words. output_shape: without the batch.
    parameters, multiply_adds: how many, for one image.
    """

    name: str
    operation: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


def walk(model: nn.Module, image_size: int) -> list[Part]:
    """The parts of a network in the order of its forward pass; those that only relu or drop are left out.

    image_size: pixels a side of the image that walks through.
    """
    children = dict(model.named_children())
    names = {module: name for name, module in children.items()}
    parts: list[Part] = []
    work = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal work
        if isinstance(module, nn.Conv2d):
            work += output[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            work += module.weight.numel()
        if module not in names or isinstance(module, (nn.ReLU, nn.Dropout, nn.Flatten)):
            return
        parameters = sum(parameter.numel() for parameter in module.parameters())
        parts.append(Part(names[module], describe(module), tuple(output.shape[1:]), parameters, work))
        work = 0

    with _hooks(model.modules(), count), eval_mode(model), torch.inference_mode():
        model(_blank(model, image_size))
    return parts


def describe(module: nn.Module) -> str:
    """What a part of a network does, in a few words."""
    match module:
        case nn.Conv2d():
            return f"{module.kernel_size[0]}×{module.kernel_size[1]} convolution, stride {module.stride[0]}"
        case nn.MaxPool2d():
            return f"{module.kernel_size}×{module.kernel_size} max-pool, stride {module.stride}"
        case nn.BatchNorm2d():
            return "BatchNorm"
        case nn.AdaptiveAvgPool2d():
            return "average over all positions"
        case nn.Linear():
            return f"linear, {module.in_features} → {module.out_features}"
        case nn.Sequential() if len(module):
            return f"{len(module)} × {type(module[0]).__name__}"
    return type(module).__name__


def multiply_adds(model: nn.Module, image_size: int) -> int:
    """Multiplications with an addition, in convolutions and linear layers, for one image."""
    return sum(part.multiply_adds for part in walk(nn.Sequential(model), image_size))


def outputs(model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """What every part of a network returns, in eval mode, by the part's name, on the CPU.

    inputs: float32 [N, 3, H, W], as `to_input` returns them.
    """
    names = {module: name for name, module in model.named_children()}
    found: dict[str, Tensor] = {}

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found[names[module]] = output.clone().cpu()  # the next ReLU may work in place

    with _hooks(names, keep), eval_mode(model), torch.inference_mode():
        model(inputs.to(_device(model)))
    return found


def gradient_norms(model: nn.Module, inputs: Tensor, labels: Tensor) -> dict[str, float]:
    """The size of the loss's gradient in every layer on the main path, by its name, in training mode.

    inputs: float32 [N, 3, H, W]. labels: int64 [N].
    Returns the Euclidean norm of the gradient of each convolution's and linear layer's weights.
    """
    model = copy.deepcopy(model).train()  # training mode moves BatchNorm's statistics
    device = _device(model)
    F.cross_entropy(model(inputs.to(device)), labels.to(device)).backward()
    return {name: float(layer.weight.grad.norm()) for name, layer in main_path(model).items()}


def main_path(model: nn.Module) -> dict[str, nn.Module]:
    """The weight layers that He et al. count: convolutions and linear layers, without the projections."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear)) and "downsample" not in name
    }


def blocks(model: nn.Module) -> dict[str, BasicBlock]:
    """The blocks of a network, by their names."""
    return {name: module for name, module in model.named_modules() if isinstance(module, BasicBlock)}


def residual_shares(model: nn.Module, inputs: Tensor) -> dict[str, float]:
    """How far each block moves its input: ‖F(x)‖ / ‖x‖, the mean over the images, in eval mode.

    Where the shape changes, x is the projected input. An image of which nothing arrives (x = 0) is left out;
    where that is so of all, the share is 0. inputs: float32 [N, 3, H, W].
    """
    names = {block: name for name, block in blocks(model).items()}
    shares: dict[str, float] = {}

    def measure(block: BasicBlock, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        residual, x = (f(inputs[0]).flatten(1).norm(dim=1) for f in (block.residual, block.shortcut))
        shares[names[block]] = float((residual / x)[x > 0].mean().nan_to_num(0))  # nan: the mean of nothing

    with _hooks(names, measure), eval_mode(model), torch.inference_mode():
        model(inputs.to(_device(model)))
    return shares


def calibrated(model: nn.Module, inputs: Tensor) -> nn.Module:
    """A copy whose BatchNorm has the statistics of these inputs: the fair untrained control of a trained one.

    A new network's BatchNorm knows mean 0 and variance 1, whatever passes; in eval mode it would bring
    nothing to spread 1. inputs: float32 [N, 3, H, W], at least 2 images.
    """
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # statistics of all that has passed, which is one batch
    with torch.no_grad():
        model.train()(inputs.to(_device(model)))
    return model.eval()


class _NoResidual(nn.Module):
    """What is left of a block without F."""

    def __init__(self, block: BasicBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.block.shortcut(x))


def removable_blocks(model: nn.Module) -> list[str]:
    """The names of the blocks that `without_block` can remove: all but plain blocks that change the shape."""
    return [name for name, block in blocks(model).items() if not _is_needed(block)]


def without_block(model: nn.Module, name: str) -> nn.Module:
    """A copy of a network with one block removed: its input goes straight on, or through its projection.

    Raises ArgumentError where nothing could go on: a plain block that changes the shape.
    Source: Veit, Wilber, Belongie, 2016 (arXiv 1605.06431).
    """
    model = copy.deepcopy(model)
    block, legal = blocks(model).get(name), ", ".join(removable_blocks(model))
    if block is None:
        raise ArgumentError(f"the network has no block {name!r}; removable are: {legal}")
    if _is_needed(block):
        raise ArgumentError(f"{name} changes the shape, and nothing goes around it; removable are: {legal}")
    stage, _, place = name.rpartition(".")
    setattr(model.get_submodule(stage), place, _NoResidual(block))
    return model


def _is_needed(block: BasicBlock) -> bool:
    first = block.conv1
    changes_shape = first.stride != (1, 1) or first.in_channels != first.out_channels
    return isinstance(block, PlainBlock) and changes_shape


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _blank(model: nn.Module, image_size: int) -> Tensor:
    return torch.zeros(1, 3, image_size, image_size, device=_device(model))


@contextmanager
def _hooks(modules: Iterable[nn.Module], hook: Callable) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
