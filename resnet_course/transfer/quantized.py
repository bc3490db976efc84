"""A frozen trunk in int8, whole numbers of 8 bits: up to 2.7 times as fast, with nearly the same features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resnet_course.resnet.network import BasicBlock, NarrowProjection, ResNet
from resnet_course.transfer.freezing import is_frozen
from resnet_course.transfer.parts import PARTS, fused, split_at

LEVELS = 255  # steps from the least to the largest number of 8 bits
# Of the rounded weights. Without VNNI (AVX2 alone, AVX-512 before 2019) two products are added in 16 bits,
# which 8 bits of both can overflow. Here most bytes are near 0: with whole weights on CIFAR-10 the features
# differed by 0.062 of their norm with VNNI and without. Weights of 7 bits never overflow, and cost 0.09.
LARGEST = 127
SCALED_ON = 64  # images, from which scales are found; of more than 224 pixels fewer, for memory's sake
SCALED_ON_PIXELS = SCALED_ON * 224**2
TOGETHER = 32  # images: the stem's maps are the largest, and of more they take memory that nothing else needs
FAITHFUL = 0.15  # of their norm, by which features may differ at most; 0.02 to 0.1 were seen
# The parts of a stage of which it is known what they compute, and a block's parts in their order.
PLAIN = BasicBlock, NarrowProjection, nn.Sequential, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Identity
BLOCK = ["conv1", "bn1", "relu", "conv2", "bn2"]
HOOKS = "_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks"
OWN = {"forward", "residual", "shortcut"}  # functions that somebody may have given to a single part


@dataclass(frozen=True)
class Scale:
    """How numbers are kept in 8 bits: number = size · (byte - zero), for bytes from 0 to 255."""

    size: float
    zero: int

    @classmethod
    def of(cls, numbers: Tensor) -> Scale:
        """The scale on which the least, the largest and 0 of these numbers can be written."""
        low, high = min(0.0, float(numbers.min())), max(0.0, float(numbers.max()))
        size = (high - low) / LEVELS or 1.0
        return cls(size, round(-low / size))

    def rounded(self, numbers: Tensor) -> Tensor:
        """float → uint8; what lies beyond the scale becomes its end."""
        return (numbers / self.size).add_(self.zero).round_().clamp_(0, LEVELS).to(torch.uint8)


def quantized(trunk: nn.Sequential, inputs: Tensor) -> Callable[[Tensor], Tensor]:
    """A copy of a frozen trunk that computes in int8 on the processor (static quantisation).

    Weights are rounded with a scale for each output channel, maps with one scale each, which reaches as far
    as they do on `inputs`. The stem is computed in the caller's precision: under autocast in bfloat16.

    trunk: of `trunk_of`, on the CPU and in eval mode; it must be `is_quantizable`. inputs: float
    [N, 3, S, S], a few dozen images as the trunk is to see them.
    Returns what takes inputs float [N, 3, S, S] and gives features float32, as `fused(trunk)` does. It is
    `fused(trunk)` itself where int8 cannot stand for it: where features of `inputs` are not finite, or would
    differ by more than FAITHFUL of their norm.
    Raises RuntimeError, AttributeError or TypeError where this PyTorch lacks the kernels.
    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", 2018 (arXiv 1712.05877). The kernels are oneDNN's, as `torch.compile` uses them.
    """
    exact = fused(trunk).to(memory_format=torch.channels_last)  # as the kernels of int8 want their maps
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        features = trunk(inputs)  # not of `exact`: a part of another class may have been fused wrongly
        if not features.isfinite().all():
            return exact
        found = _Quantized(exact, inputs)
        difference = (found(inputs) - features).norm() / features.norm().clamp(min=1e-12)
    return found if difference < FAITHFUL else exact


def images_to_scale_on(image_size: int) -> int:
    """How many images of so many pixels each way `quantized` is to be given: 2 to 64."""
    return min(SCALED_ON, max(2, SCALED_ON_PIXELS // image_size**2))


def on_quantized_trunk(model: nn.Module, train_from: str, inputs: Tensor) -> nn.Module:
    """The network for training steps, all before `train_from` in int8; what learns is the model's own.

    The copy of the trunk is made now: weights that change later are not in it. inputs: as for `quantized`.
    Returns the model itself where int8 cannot stand for its trunk: where that may move, is empty or not
    `is_quantizable`, where something else may see or change what passes, or as `quantized` says.
    Raises as `quantized`.
    """
    if type(model) is not ResNet or _is_watched(model) or not is_frozen(model, train_from):
        return model
    trunk, head = split_at(model, train_from)
    if not is_quantizable(trunk) or any(map(_is_watched, trunk.modules())) or not _is_fusable(trunk):
        return model
    found = quantized(trunk, inputs)
    return model if isinstance(found, nn.Module) else _OnQuantizedTrunk(found, head)


def is_quantizable(trunk: nn.Sequential) -> bool:
    """Whether `quantized` knows what a trunk computes: its stages are those of the course, unchanged.

    Another class, activation, kind of padding, `forward` or order of parts makes it another network; so does
    a hook, which may change what passes. The stem may be any. A trunk without stages is not worth it.
    """
    names = [name for name, _ in trunk.named_children()]
    if names == ["0", "1"]:  # `trunk_of` with "fc": the trunk, then the average pooling
        return is_quantizable(trunk[0])
    stem = len(PARTS["stem"])
    stages = [*trunk[stem:]]
    return (
        tuple(names) == (*PARTS["stem"], *[*PARTS][1 : len(names) - stem + 1])
        and len(stages) > 0
        and all(isinstance(block, BasicBlock) for stage in stages for block in stage.children())
        and all(isinstance(stage, nn.Sequential) and len(stage) > 0 for stage in stages)
        and all(_is_plain(part) for stage in stages for part in stage.modules())
    )


def _is_plain(part: nn.Module) -> bool:
    if type(part) not in PLAIN or _is_watched(part):
        return False
    if isinstance(part, nn.Conv2d):
        return part.padding_mode == "zeros" and not isinstance(part.padding, str)
    if isinstance(part, BasicBlock):
        norms, shortcut = (part.bn1, part.bn2), part.downsample
        return (
            [name for name, _ in part.named_children() if name != "downsample"] == BLOCK
            and all(isinstance(norm, nn.BatchNorm2d | nn.Identity) for norm in norms)
            and isinstance(part.conv1, nn.Conv2d)
            and isinstance(part.conv2, nn.Conv2d)
            and isinstance(part.relu, nn.ReLU)
            and (shortcut is None or _is_projection(shortcut))
        )
    return True


def _is_watched(part: nn.Module) -> bool:
    """Whether a hook or a function of its own may see or change what passes through a part."""
    return any(vars(part)[hooks] for hooks in HOOKS) or bool(OWN & vars(part).keys())


def _is_fusable(trunk: nn.Module) -> bool:
    """Whether each BatchNorm has the statistics of a training, so that it scales and shifts each channel."""
    norms = [part for part in trunk.modules() if isinstance(part, nn.BatchNorm2d)]
    return all(norm.running_mean is not None for norm in norms)


def _is_projection(shortcut: nn.Module) -> bool:
    """A convolution and its BatchNorm, or what is left of one that is fused."""
    kinds = nn.Conv2d, nn.BatchNorm2d | nn.Identity
    return len([*shortcut.children()]) == 2 and all(map(isinstance, shortcut.children(), kinds))


def _without_relu(stem: nn.Sequential) -> nn.Sequential:
    """A stem that leaves its ReLU to the rounding: on a scale that begins at 0 all that is less becomes 0.

    The largest of some numbers is the same whether those below 0 have become 0 before it or after it.
    """
    *before, relu, pool = stem
    is_known = type(relu) is nn.ReLU and type(pool) in (nn.MaxPool2d, nn.Identity)
    is_watched = _is_watched(relu) or _is_watched(pool)
    return nn.Sequential(*before, pool) if is_known and not is_watched else stem


class _OnQuantizedTrunk(nn.Module):
    """A head that learns on a trunk that does not, whose weights are none of this module's."""

    def __init__(self, trunk: Callable[[Tensor], Tensor], head: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head

    def forward(self, x: Tensor) -> Tensor:
        """Images, float [N, 3, H, W] → logits, float [N, num_classes]."""
        layout = torch.contiguous_format if x.is_contiguous() else torch.channels_last
        with torch.no_grad():
            features = self.trunk(x)
        return self.head(features.contiguous(memory_format=layout))


class _Quantized:
    """The blocks of a fused trunk in int8; the stem before them and the pooling after them as they were.

    Rounding the stem too took a quarter of the time less, but may cost accuracy: of 20,000 CIFAR-10 pictures
    a linear probe on layer3's features got 0.16 points less right (95% interval 0.33 less to 0.01 more).
    """

    def __init__(self, trunk: nn.Sequential, inputs: Tensor) -> None:
        self.exact = trunk
        trunk, self.pool = (trunk[0], trunk[1]) if hasattr(trunk, "0") else (trunk, nn.Identity())
        stem = trunk[: len(PARTS["stem"])]
        x = stem(inputs)
        self.begin, self.blocks = Scale.of(x), []
        self.stem = _without_relu(stem) if self.begin.zero == 0 else stem
        for name in [*PARTS][1:]:
            for block in getattr(trunk, name, ()):
                self.blocks.append(_Block(block, x, self.blocks[-1].outputs if self.blocks else self.begin))
                x = block(x)

    def __call__(self, inputs: Tensor) -> Tensor:
        """float [N, 3, H, W] → float32 [N, C, h, w], channels-last."""
        return torch.cat([self._computed(part) for part in inputs.split(TOGETHER)])

    def _computed(self, inputs: Tensor) -> Tensor:
        x = self.stem(inputs)
        if not x.sum().isfinite():  # no byte stands for it, so it would be hidden
            return self.exact(inputs).float()
        x = self.begin.rounded(x.float()).contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x)
        return self.pool(x.float() * self.blocks[-1].outputs.size)


class _Block:
    """A `BasicBlock` whose BatchNorms are fused: the second convolution adds the shortcut."""

    def __init__(self, block: BasicBlock, x: Tensor, inputs: Scale) -> None:
        inner, shortcut = block.relu(block.conv1(x)), block.shortcut(x)
        middle, self.outputs = Scale.of(inner), Scale.of(block(x))
        self.conv1 = QuantizedConvolution(block.conv1, inputs, middle, x.shape)
        self.conv2 = QuantizedConvolution(block.conv2, middle, self.outputs, inner.shape)
        self.projection, self.shortcut = None, inputs
        if block.downsample is not None:
            self.shortcut = Scale.of(shortcut)
            self.projection = QuantizedConvolution(block.downsample[0], inputs, self.shortcut, x.shape)

    def __call__(self, x: Tensor) -> Tensor:
        """uint8 [N, C, H, W] → uint8 [N, C', h, w]. It may write into x."""
        y = self.conv1(x)
        return self.conv2(y, self.projection(x) if self.projection else x, self.shortcut)


class QuantizedConvolution:
    """A convolution with its bias, from maps of one scale to maps of another.

    On a scale that begins at 0 all that is less becomes 0, so there is no need for a ReLU.
    """

    def __init__(self, convolution: nn.Conv2d, inputs: Scale, outputs: Scale, shape: torch.Size) -> None:
        self.inputs, self.outputs = inputs, outputs
        weight = convolution.weight.detach().float()
        self.sizes = weight.abs().amax((1, 2, 3)).clamp(min=1e-12) / LARGEST  # of each output channel
        self.zeros = torch.zeros_like(self.sizes, dtype=torch.int64)
        self.bias = None if convolution.bias is None else convolution.bias.detach().float()
        geometry = convolution.stride, convolution.padding, convolution.dilation
        self.geometry = *map(list, geometry), convolution.groups
        rounded = (weight / self.sizes.view(-1, 1, 1, 1)).round().to(torch.int8).contiguous()
        self.weight = torch.ops.onednn.qconv_prepack(
            rounded, self.sizes, inputs.size, inputs.zero, *self.geometry, [*shape]
        )

    def __call__(self, x: Tensor, added: Tensor | None = None, scale: Scale | None = None) -> Tensor:
        """uint8 [N, C, H, W] → uint8 [N, O, h, w]; added: uint8 like the output, of its own scale."""
        given = x, self.inputs.size, self.inputs.zero, self.weight, self.sizes, self.zeros
        to = *self.geometry, self.outputs.size, self.outputs.zero, torch.uint8
        if added is None:
            return torch.ops.onednn.qconv2d_pointwise(*given, self.bias, *to, "none", [], "")
        kernel = torch.ops.onednn.qconv2d_pointwise.binary
        return kernel(*given, added, self.bias, *to, scale.size, scale.zero, "sum", 1.0, None, [], "")
