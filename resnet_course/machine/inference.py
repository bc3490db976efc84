"""A copy of a network that only computes: each convolution with what follows it in one kernel."""

from __future__ import annotations

import functools
import platform

import torch
from torch import Tensor, nn

from resnet_course.common.seeding import seeded
from resnet_course.machine.engine import Engine, to_layout
from resnet_course.resnet.network import BasicBlock, NarrowProjection, ResNet
from resnet_course.transfer import PARTS, fused, is_frozen, split_at

# Of which a network is made that is known to compute its parts in their order.
PLAIN = (
    *(ResNet, BasicBlock, NarrowProjection, nn.Sequential, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d),
    *(nn.AdaptiveAvgPool2d, nn.Flatten, nn.Dropout, nn.Linear, nn.Identity),
)
STEM = [*PARTS["stem"][:3]]
X86 = ("x86_64", "AMD64")  # as Linux and Windows name it; on other processors this was not tried


def for_inference(network: nn.Module, engine: Engine) -> nn.Module:
    """A copy of a network, or of a part of one, that computes the same faster, in eval mode; it cannot learn.

    BatchNorms are fused into the convolutions before them. On an x86 processor each convolution of a part
    that lies channels-last computes together with the addition and the ReLU after it: oneDNN, which PyTorch
    uses for its convolutions, applies both while the output is still in the cache. The weights are brought
    into the order in which it reads them once, not in every call. What the engine lays out contiguously is
    faster in PyTorch's way (layer4 in fp32 with AVX-512: 128 maps of 8 × 8 in 0.10 s, in these kernels 0.15).

    network: on the engine's device. Of one that is not `is_plain` only the BatchNorms are fused.
    engine: how it is computed; call it within `engine.autocast()`, with inputs that `engine.place` returned.
    Its numbers are those of `transfer.fused` in fp32, and in bf16 they are rounded less often.
    """
    copy = fused(network)
    if engine.device != "cpu" or not is_plain(network) or not _works(engine.precision):
        return copy
    dtype = torch.bfloat16 if engine.precision == "bf16" else torch.float32
    for module in [*copy.modules()]:
        for name, child in module.named_children():
            if isinstance(child, BasicBlock) and _is_channels_last(child.conv1):
                setattr(module, name, _Block(child, dtype))
        if [*module._modules][:3] == STEM and _is_channels_last(module.conv1):
            module.conv1, module.relu = _Convolution(module.conv1, True, dtype), nn.Identity()
    return copy


def is_plain(network: nn.Module) -> bool:
    """Whether all parts of a network are of the classes that the course's are of, and no hooks listen to it.

    Of others nobody knows in which order they are computed.
    """
    return all(
        type(part) in PLAIN and not part._forward_hooks and {*part._forward_pre_hooks.values()} <= {to_layout}
        for part in network.modules()
    )


def on_frozen_trunk(model: nn.Module, train_from: str, engine: Engine) -> nn.Module:
    """The network for training steps, all before `train_from` in a copy `for_inference`; the rest is shared.

    It is the model itself where that copy would compute otherwise: where something before `train_from` moves
    or is not plain.
    """
    if train_from == "all" or not is_frozen(model, train_from):
        return model
    trunk, head = split_at(model, train_from)
    return _OnTrunk(for_inference(trunk, engine), head) if is_plain(trunk) else model


class _OnTrunk(nn.Module):
    """A head that learns, on a trunk that does not: its weights are none of this module's."""

    def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head = [trunk], head

    def forward(self, x: Tensor) -> Tensor:
        """Images, float [N, 3, H, W] → logits, float [N, num_classes]."""
        with torch.no_grad():
            maps = self.trunk[0](x)
        layout = torch.contiguous_format if x.is_contiguous() else torch.channels_last
        return self.head(maps.contiguous(memory_format=layout))


class _Convolution(nn.Module):
    """A convolution, what is added to its output, and ReLU.

    It holds no Parameter: what moves or lays out the network's weights leaves these as they are.
    """

    def __init__(self, convolution: nn.Conv2d, relu: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.relu, self.ordered_for = dtype, relu, None
        self.weight = convolution.weight.detach().to(dtype)
        self.bias = convolution.bias.detach().to(dtype)
        geometry = convolution.padding, convolution.stride, convolution.dilation
        self.sizes = *map(list, geometry), convolution.groups

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """float [N, C, H, W] → [N, O, h, w] of this module's type, channels-last; added: as the output."""
        x = x.to(self.dtype, memory_format=torch.channels_last)
        if (kind := (len(x) == 1, *x.shape[2:])) != self.ordered_for:
            self._order_weights(x.shape)
            self.ordered_for = kind
        given = x, self.weight, self.bias, *self.sizes
        if added is None:
            kernel, activation = torch.ops.mkldnn._convolution_pointwise, "relu" if self.relu else "none"
            return kernel(*given, activation, [], "")
        added = added.to(x.dtype, memory_format=torch.channels_last)
        kernel = torch.ops.mkldnn._convolution_pointwise.binary
        return kernel(x, added, *given[1:], "add", None, "relu" if self.relu else None, [], "")

    @torch.inference_mode(False)
    @torch.no_grad()
    def _order_weights(self, shape: torch.Size) -> None:
        """Bring the weights into the order in which oneDNN reads them for such inputs.

        In another one it would order them again in every call. With AVX2 one image of 128 pixels took 26 ms
        with weights ordered for 64, and 11 with its own; of 2 to 63 images it made no difference.
        """
        plain = self.weight.to_dense() if self.weight.is_mkldnn else self.weight
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(plain, *self.sizes, [*shape])


class _Block(nn.Module):
    """A `BasicBlock` whose BatchNorms are fused."""

    def __init__(self, block: BasicBlock, dtype: torch.dtype) -> None:
        super().__init__()
        self.conv1 = _Convolution(block.conv1, True, dtype)
        self.conv2 = _Convolution(block.conv2, True, dtype)
        self.downsample = block.downsample
        if block.downsample is not None and type(block.downsample[0]) is nn.Conv2d:
            self.downsample = _Convolution(block.downsample[0], False, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """float [N, in_channels, H, W] → float [N, out_channels, H / stride, W / stride]."""
        return self.conv2(self.conv1(x), x if self.downsample is None else self.downsample(x))


def _is_channels_last(convolution: nn.Conv2d) -> bool:
    return not convolution.weight.is_contiguous()


@functools.cache
def _works(precision: str) -> bool:
    """Whether these kernels, which are none of PyTorch's public functions, are there and compute rightly."""
    if platform.machine() not in X86 or not torch.backends.mkldnn.is_available():
        return False
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    with seeded(0), torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
        block = fused(BasicBlock(16, 32, stride=2))
        x = torch.randn(2, 16, 9, 9)
        try:
            found = _Block(block, dtype)(x).float()
        except (AttributeError, RuntimeError, NotImplementedError):
            return False
        return torch.allclose(found, block(x), rtol=0.1, atol=0.1)
