"""How many floating-point operations a network needs for an image, padding's zeros left out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resnet_course.resnet.network import eval_mode


def real_taps(side: int, kernel: int, stride: int, padding: int) -> int:
    """Along one axis, how often a tap of the kernel meets a pixel and not a zero of the padding.

    side: pixels of the input. 3 pixels under a kernel of 3 with a padding of 1: 7 of 9.
    """
    places = range(-padding, side + padding - kernel + 1, stride)
    return sum(min(place + kernel, side) - max(place, 0) for place in places)


def operations(network: nn.Module, image: Tensor, learning: bool = False) -> int:
    """Floating-point operations of convolutions and linear layers for one image: two a multiplication.

    image: what the network takes, float [1, …]. learning: the gradients too, of each weight that learns and
    of each input that depends on one. On maps of 3 × 3 a convolution with padding meets 49 pixels with its 81
    taps; only those are counted.
    """
    found = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal found
        if isinstance(module, nn.Conv2d):
            height, width = (
                real_taps(inputs[0].shape[2 + axis], module.kernel_size[axis], module.stride[axis], padding)
                for axis, padding in enumerate(module.padding)
            )
            forward = 2 * height * width * module.weight.shape[0] * module.weight.shape[1]
        elif isinstance(module, nn.Linear):
            forward = 2 * module.weight.numel()
        else:
            return
        found += forward * (1 + learning * (module.weight.requires_grad + inputs[0].requires_grad))

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    try:
        with eval_mode(network), torch.set_grad_enabled(learning):
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return found
