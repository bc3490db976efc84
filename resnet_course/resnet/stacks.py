"""Plain and residual stacks of any depth, small enough to train several of them and compare."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from resnet_course.common.errors import ArgumentError
from resnet_course.resnet.network import BasicBlock, conv3x3, initialise


class PlainBlock(BasicBlock):
    """The same two convolutions without the sum: relu(F(x))."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.downsample = None

    def forward(self, x: Tensor) -> Tensor:
        """float [N, in_channels, H, W] → float [N, out_channels, H / stride, W / stride]."""
        return self.relu(self.residual(x))


def stack(
    depth: int, *, skip: bool = True, batchnorm: bool = True, width: int = 16, num_classes: int = 10
) -> nn.Sequential:
    """A network of `depth` weight layers for 32-pixel images: one convolution, three stages, one linear.

    depth: 6n + 2, for n blocks a stage: 8, 14, 20, 26, 32, …
    skip: True for residual blocks, False for the same blocks without the sum.
    batchnorm: False leaves every BatchNorm out.
    width: channels of the first stage; the next two have twice and four times as many.
    Raises ArgumentError for another depth.
    Source: He et al., 2015 (arXiv 1512.03385), section 4.2; there the shortcuts have no parameters, here a
    shortcut that changes the shape is a projection, as in ResNet-18.
    """
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ArgumentError(f"depth is {depth}; it must be 6n + 2, such as 8, 14, 20, 26 or 32")
    block = BasicBlock if skip else PlainBlock
    model = nn.Sequential(OrderedDict(conv1=conv3x3(3, width), bn1=nn.BatchNorm2d(width), relu=nn.ReLU()))
    channels = width
    for number, stride in enumerate((1, 2, 2), start=1):
        layers = []
        for first in (True, *[False] * (blocks - 1)):
            layers.append(block(channels, width * 2 ** (number - 1), stride if first else 1))
            channels = width * 2 ** (number - 1)
        model.add_module(f"layer{number}", nn.Sequential(*layers))
    model.add_module("avgpool", nn.AdaptiveAvgPool2d(1))
    model.add_module("flatten", nn.Flatten())
    model.add_module("fc", nn.Linear(channels, num_classes))
    initialise(model)
    return model if batchnorm else _without_batchnorm(model)


def _without_batchnorm(model: nn.Sequential) -> nn.Sequential:
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    return model
