"""Which way each convolution of a training step takes: PyTorch's own, or a matrix product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from resnet_course.machine import products
from resnet_course.machine.products import Geometry

PASSES = ("output", "input_gradient", "weight_gradient")
# "conv2d": PyTorch's own in channels-last memory; "contiguous": the same in contiguous memory, and back.
WAYS = ("conv2d", "contiguous", "columns", "taps")
NEVER = "never"  # the way of a pass that no training step needs
PLACES = 256  # of a map of 16 × 16
PRODUCTS: dict[tuple[str, str], Callable[[Tensor, Tensor, Geometry], Tensor]] = {
    (each, way): getattr(products, f"{each}_by_{way}") for each in PASSES for way in ("columns", "taps")
}


class Convolution(NamedTuple):
    """What decides how long a convolution takes for each image: its sizes and "fp32" or "bf16"."""

    channels: int
    outputs: int
    height: int
    width: int
    kernel: int
    stride: int
    padding: int
    precision: str

    @property
    def geometry(self) -> Geometry:
        """The same without channels and precision."""
        return Geometry(self.height, self.width, self.kernel, self.stride, self.padding)

    @property
    def operations(self) -> int:
        """Floating-point operations of one of its passes for an image, padding's zeros included."""
        height, width = self.geometry.output
        return 2 * height * width * self.kernel**2 * self.channels * self.outputs

    def possible(self, each: str) -> tuple[str, ...]:
        """The ways in which a pass is worth trying.

        By taps, output and input gradient are a product for each output place, so only of small maps, and
        they add up partial sums in the number type, so not in bf16.
        """
        height, width = self.geometry.output
        by_taps = each == "weight_gradient" or (self.precision == "fp32" and height * width <= PLACES)
        return WAYS if by_taps else WAYS[:-1]


class Ways(NamedTuple):
    """The way of each pass of a convolution, one of WAYS, or NEVER."""

    output: str = "conv2d"
    input_gradient: str = "conv2d"
    weight_gradient: str = "conv2d"


@dataclass(frozen=True)
class Convolutions:
    """The ways of all convolutions that learn, for batches of `batch` images; all others take PyTorch's.

    ways: pairs of a Convolution and its Ways.
    seconds: that all passes of one step took in these ways; infinity where not all were measured.
    """

    batch: int
    ways: tuple[tuple[Convolution, Ways], ...]
    seconds: float = field(default=float("inf"), compare=False)

    @classmethod
    def from_list(cls, content: list) -> Convolutions:
        """What `to_list` made."""
        batch, ways = content
        return cls(batch, tuple((Convolution(*sizes), Ways(*each)) for sizes, each in ways))

    def to_list(self) -> list:
        """Numbers and strings in lists, as a checkpoint holds them."""
        return [self.batch, [[list(sizes), list(each)] for sizes, each in self.ways]]

    @property
    def precision(self) -> str | None:
        """In which they were measured; None where none was faster than PyTorch's."""
        return self.ways[0][0].precision if self.ways else None

    def fit(self, precision: str, batch: int) -> bool:
        """Whether they were measured in that precision and for such batches."""
        return self.batch == batch and {each.precision for each, _ in self.ways} <= {precision}

    def __bool__(self) -> bool:
        """Whether any pass takes another way than PyTorch's own."""
        return any(way not in ("conv2d", NEVER) for _, ways in self.ways for way in ways)

    def __str__(self) -> str:
        chosen = [way for _, ways in self.ways for way in ways if way != NEVER]
        by_product = sum(way in ("columns", "taps") for way in chosen)
        return f"{by_product} of {len(chosen)} passes of its convolutions as matrix products"


class Computing(TorchFunctionMode):
    """Within it the convolutions of a forward pass that learns take their ways; modules stay as they are.

    Their backward pass takes them too, wherever it runs. Second derivatives and `torch.func` are refused with
    an error of PyTorch's; what is exported or compiled takes PyTorch's way.
    """

    def __init__(self, convolutions: Convolutions) -> None:
        super().__init__()
        self.batch = convolutions.batch
        # All else is PyTorch's own call, without the little that a function of ours costs.
        self.ways = {each: ways for each, ways in convolutions.ways if set(ways) - {"conv2d", NEVER}}

    def __torch_function__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Called for every function of PyTorch."""
        if function is torch.conv2d and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            found = plain(*args, **(kwargs or {}))
            if found and len(found[0]) == self.batch and found[2] in self.ways:
                return InWays.apply(*found, self.ways[found[2]])
        return function(*args, **(kwargs or {}))


def plain(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Tensor, Tensor, Convolution] | None:
    """The arguments of `conv2d`, if it is a convolution as ResNet-18 has it, on a processor, that learns.

    Then: input, weight and the Convolution. None for a bias, groups, dilation, another padding, a kernel that
    is not square, a weight that is computed from others, another number type.
    """
    stride, padding, dilation = (
        set(value) if isinstance(value, (tuple, list)) else {value} for value in (stride, padding, dilation)
    )
    if not (
        type(weight) is nn.Parameter and weight.requires_grad and type(input) is Tensor and input.ndim == 4
    ):
        return None
    one_number = len(stride) == len(padding) == 1 and dilation == {1}
    if not one_number or bias is not None or groups != 1 or not isinstance(padding := padding.pop(), int):
        return None
    kernel, precision = weight.shape[2], precision_of(input, weight)
    if weight.shape[3] != kernel or padding >= kernel or precision is None:
        return None
    sizes = input.shape[1], weight.shape[0], *input.shape[2:], kernel, stride.pop(), padding
    return input, weight, Convolution(*sizes, precision)


def precision_of(x: Tensor, weight: Tensor) -> str | None:
    """ "bf16" under autocast, "fp32" for two tensors of that type; else None."""
    if x.device.type != "cpu" or weight.device.type != "cpu" or weight.dtype != torch.float32:
        return None
    if torch.is_autocast_enabled("cpu"):
        lower = torch.get_autocast_dtype("cpu") is torch.bfloat16
        return "bf16" if lower and x.dtype in (torch.float32, torch.bfloat16) else None
    return "fp32" if x.dtype is torch.float32 else None


class InWays(torch.autograd.Function):
    """A convolution each of whose passes takes the way that it is given."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, convolution: Convolution, ways: Ways) -> Tensor:
        """The output, float32 or bfloat16 [N, O, h, w], channels-last."""
        ctx.types, ctx.convolution, ctx.ways = (x.dtype, weight.dtype), convolution, ways
        dtype = torch.bfloat16 if convolution.precision == "bf16" else torch.float32
        x, weight = (each.to(dtype, memory_format=torch.channels_last) for each in (x, weight))
        ctx.save_for_backward(x, weight)
        with torch.autocast("cpu", enabled=False):
            return compute("output", ways.output, convolution, x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """The gradients of input and weight, in their number types."""
        x, weight = ctx.saved_tensors
        gradient = gradient.to(x.dtype, memory_format=torch.channels_last)
        of_x = of_weight = None
        with torch.autocast("cpu", enabled=False):  # the caller may be within it
            if ctx.needs_input_grad[0]:
                way = ctx.ways.input_gradient
                of_x = compute("input_gradient", way, ctx.convolution, gradient, weight, x).to(ctx.types[0])
            if ctx.needs_input_grad[1]:
                way = ctx.ways.weight_gradient
                of_weight = compute("weight_gradient", way, ctx.convolution, x, gradient, weight)
                of_weight = of_weight.to(ctx.types[1])
        return of_x, of_weight, None, None


def compute(
    each: str, way: str, convolution: Convolution, first: Tensor, second: Tensor, like: Tensor | None = None
) -> Tensor:
    """One pass of a convolution in one way; everything [N, C, H, W] or [O, C, k, k], channels-last.

    first, second: "output": input and weight; "input_gradient": the output's gradient and the weight;
    "weight_gradient": the input and the output's gradient. like: what the gradient belongs to.
    """
    if way in ("columns", "taps"):
        as_it_lies = (tensor.permute(0, 2, 3, 1) for tensor in (first, second))
        # `data` is no view: of a view that a function made, PyTorch refuses to change anything in place.
        return PRODUCTS[each, way](*as_it_lies, convolution.geometry).permute(0, 3, 1, 2).data
    if way == "contiguous":
        first, second = first.contiguous(), second.contiguous()
        like = None if like is None else like.contiguous()
    stride, padding = [convolution.stride] * 2, [convolution.padding] * 2
    if each == "output":
        result = F.conv2d(first, second, None, stride, padding)
    else:
        x, weight, gradient = (like, second, first) if each == "input_gradient" else (first, like, second)
        wanted = [each == "input_gradient", each == "weight_gradient", False]
        fixed = (None, stride, padding, [1, 1], False, [0, 0], 1)
        result = torch.ops.aten.convolution_backward(gradient, x, weight, *fixed, wanted)[wanted.index(True)]
    return result.contiguous(memory_format=torch.channels_last)
