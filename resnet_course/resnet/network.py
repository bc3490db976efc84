"""ResNet with basic blocks, from scratch, in torchvision's parameter names.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015 (arXiv 1512.03385).
Agrees with torchvision's resnet18 after every stage to 1e-5 (tests/test_resnet.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch.nn.functional as F
from torch import Tensor, nn

# Below it the gradient of a strided 1×1 convolution's weights, channels-last, is written past the end of its
# buffer (oneDNN issue 6035; without AVX-512 below 8). With 4 or 8 channels a process dies within ten steps.
SAFE_CHANNELS = 16


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 3×3 convolution that keeps height and width, or halves them with stride 2. BatchNorm has the bias."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Conv2d:
    """The 1×1 convolution of a shortcut that changes the shape. BatchNorm has the bias."""
    kind = nn.Conv2d if in_channels >= SAFE_CHANNELS else NarrowProjection
    return kind(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)


class NarrowProjection(nn.Conv2d):
    """A 1×1 convolution of few channels, which takes every stride-th pixel before it instead of within it."""

    def forward(self, x: Tensor) -> Tensor:
        """float [N, in_channels, H, W] → float [N, out_channels, H / stride, W / stride]."""
        down, right = self.stride
        return F.conv2d(x[:, :, ::down, ::right], self.weight, self.bias)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions F(x), added to their input: relu(F(x) + x).

    Where F changes the shape, a 1×1 convolution (the projection) changes x in the same way.

    in_channels, out_channels: channels of the input and of the output.
    stride: 2 halves height and width, 1 keeps them.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                projection(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """float [N, in_channels, H, W] → float [N, out_channels, H / stride, W / stride]."""
        return self.relu(self.residual(x) + self.shortcut(x))

    def residual(self, x: Tensor) -> Tensor:
        """F(x): what the block adds to its input."""
        x = self.relu(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(x))

    def shortcut(self, x: Tensor) -> Tensor:
        """The input itself, or its projection where F changes the shape."""
        return x if self.downsample is None else self.downsample(x)


class ResNet(nn.Module):
    """A stem, four stages of basic blocks, global average pooling and one linear layer.

    blocks: the number of blocks in each stage; (2, 2, 2, 2) is ResNet-18, (3, 4, 6, 3) ResNet-34.
    num_classes: outputs of the linear layer.
    width: channels after the stem; each later stage doubles them. 64 is the paper's.
    dropout: probability of zeroing each pooled feature while training; 0 is the paper's.
    """

    def __init__(
        self,
        blocks: tuple[int, int, int, int],
        num_classes: int = 1000,
        width: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.width = width
        self.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = stage(width, width, blocks[0], stride=1)
        self.layer2 = stage(width, 2 * width, blocks[1], stride=2)
        self.layer3 = stage(2 * width, 4 * width, blocks[2], stride=2)
        self.layer4 = stage(4 * width, 8 * width, blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(8 * width, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """float [N, 3, H, W], normalised → logits, float [N, num_classes]. Any H and W will do."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # [N, width, H/4, W/4]
        x = self.layer1(x)  # [N, width, H/4, W/4]
        x = self.layer2(x)  # [N, 2·width, H/8, W/8]
        x = self.layer3(x)  # [N, 4·width, H/16, W/16]
        x = self.layer4(x)  # [N, 8·width, H/32, W/32]
        x = self.avgpool(x).flatten(1)  # [N, 8·width]
        return self.fc(self.dropout(x))


def stage(in_channels: int, out_channels: int, blocks: int, stride: int) -> nn.Sequential:
    """`blocks` basic blocks in a row; the first one changes the channels and takes the stride."""
    first = BasicBlock(in_channels, out_channels, stride)
    return nn.Sequential(first, *(BasicBlock(out_channels, out_channels) for _ in range(blocks - 1)))


def initialise(model: nn.Module) -> None:
    """Draw every convolution's weights so that gradients keep their variance through ReLUs.

    Source: He et al., "Delving Deep into Rectifiers", 2015 (arXiv 1502.01852).
    """
    for module in model.modules():
        # Meta tensors hold no numbers; `normal_` on one imports PyTorch's compiler (7.6 s of one core).
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def resnet18(num_classes: int = 1000, width: int = 64, dropout: float = 0.0) -> ResNet:
    """ResNet-18: 17 convolutions on the main path and one linear layer."""
    return ResNet((2, 2, 2, 2), num_classes, width, dropout)


def resnet34(num_classes: int = 1000, width: int = 64, dropout: float = 0.0) -> ResNet:
    """ResNet-34: the same four stages, with 3, 4, 6 and 3 blocks in place of 2 each."""
    return ResNet((3, 4, 6, 3), num_classes, width, dropout)


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Within it the network is in eval mode; after it every part is in the mode in which it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
