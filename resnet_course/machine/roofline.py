"""What the processor could do at most, and which part of it the course's work reaches.

Source of the picture: Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for
multicore architectures", 2009.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resnet_course.common.seeding import seeded
from resnet_course.machine import devices
from resnet_course.machine.engine import Engine
from resnet_course.machine.estimates import Cost
from resnet_course.machine.operations import operations
from resnet_course.machine.probing import choose, probe
from resnet_course.machine.timing import seconds
from resnet_course.recipes import Recipe
from resnet_course.resnet.network import resnet18
from resnet_course.transfer.quantized import QuantizedConvolution, Scale

SIDE = 2048  # of the matrices: 17 billion operations, on tensors that no cache holds
BYTES = 2**27  # that are copied, of a tensor that no cache holds
AT_MOST = 0.5  # seconds for each measurement


@dataclass(frozen=True)
class Limits:
    """The most that this machine can do.

    gigaflops: billions of operations a second in one large matrix product, by precision; of those that the
        processor computes itself. "int8" is among them where frozen trunks are computed so.
    gigabytes: a second that a copy reads and writes.
    """

    gigaflops: dict[str, float]
    gigabytes: float

    def __str__(self) -> str:
        units = {"int8": "GOP/s"}  # of whole numbers
        speeds = ", ".join(
            f"{speed:,.0f} {units.get(name, 'GFLOP/s')} in {name}" for name, speed in self.gigaflops.items()
        )
        return f"limits: {speeds} (one matrix product); memory {self.gigabytes:,.1f} GB/s (copy)"


def measure_limits(demands: Recipe) -> Limits:
    """Measure both in about a second, on the device and threads that a recipe would use."""
    engine, found = choose(demands), {}
    with seeded(), torch.inference_mode(), engine.computing():
        products = {"fp32": _product(engine.device, torch.float32)}
        if not probe().bf16_is_slow:
            products["bf16"] = _product(engine.device, torch.bfloat16)
        if any(choose(phase, "trunk").frozen for phase in demands.phases):
            products["int8"] = _product_in_int8()
        for precision, product in products.items():
            # The peak of many: a shared machine is slower for moments, and with AMX a product takes 20 ms.
            time = min(seconds(product, times=20, at_most=AT_MOST))
            found[precision] = 2 * SIDE**3 / time / 1e9
        source = torch.zeros(BYTES // 4, device=engine.device)
        target = torch.empty_like(source)
        time = min(seconds(lambda: target.copy_(source), times=5, at_most=AT_MOST))
    return Limits(found, 2 * BYTES / time / 1e9)


def _product(device: str, dtype: torch.dtype) -> Callable[[], Tensor]:
    """One product of two matrices of SIDE rows and columns."""
    left, right = torch.randn(2, SIDE, SIDE, device=device).to(dtype)
    return lambda: left @ right


def _product_in_int8() -> Callable[[], Tensor]:
    """The same as a convolution with a kernel of one pixel, over SIDE pixels of SIDE channels."""
    pixels = torch.randint(0, 8, (SIDE // 256, SIDE, 16, 16), dtype=torch.uint8)
    pixels = pixels.contiguous(memory_format=torch.channels_last)  # or it is brought there in every call
    convolution = nn.Conv2d(SIDE, SIDE, kernel_size=1, bias=False)
    product = QuantizedConvolution(convolution, Scale(1.0, 0), Scale(1.0, 0), pixels.shape)
    return lambda: product(pixels)


def shares(costs: Mapping[str, Sequence[Cost]], limits: Limits) -> dict[str, float]:
    """Which part of the limit in its precision each piece of a recipe's work reaches, 0 to 1.

    costs: by the recipe's name, of all its phases. By name: the trunk pass and the steps of each.
    """
    found = {}
    for name, phases in costs.items():
        if trunk := [cost for cost in phases if cost.trunk]:
            flops = sum(cost.trunk_operations for cost in trunk) / sum(cost.trunk for cost in trunk)
            found[f"trunk pass of {name}"] = flops / 1e9 / limits.gigaflops[trunk[0].trunk_precision]
        at_least = sum(cost.recipe.epochs * _least_seconds(cost, limits) for cost in phases)
        took = sum(
            cost.recipe.epochs * (cost.gradients + cost.update / cost.recipe.batch_size) for cost in phases
        )
        found[f"step of {name}"] = at_least / took
    return found


def _least_seconds(cost: Cost, limits: Limits) -> float:
    """For one image of a step, each operation at the limit of its precision."""
    others = (cost.step_operations - cost.int8_operations) / 1e9 / limits.gigaflops[cost.precision]
    return others + (cost.int8_operations / 1e9 / limits.gigaflops["int8"] if cost.int8_operations else 0.0)


def prediction_share(image_size: int, limits: Limits) -> float:
    """The same for the prediction of one image by a ResNet-18, in float32."""
    engine = Engine(devices.device(), "fp32", "channels_last")
    with seeded(), torch.inference_mode(), engine.computing():
        network = engine.place(resnet18(10)).eval()
        image = engine.place(torch.zeros(1, 3, image_size, image_size))
        time = min(seconds(lambda: network(image), times=5, at_most=AT_MOST))
        return operations(network, image) / time / 1e9 / limits.gigaflops["fp32"]
