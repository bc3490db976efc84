"""What the processor could do at most, and which part of it the course's work reaches.

Source of the picture: Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for
multicore architectures", 2009.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from resnet_course.common.seeding import seeded
from resnet_course.machine import devices
from resnet_course.machine.engine import Engine
from resnet_course.machine.estimates import Cost
from resnet_course.machine.operations import operations
from resnet_course.machine.probing import choose, probe
from resnet_course.machine.timing import seconds
from resnet_course.recipes import Recipe
from resnet_course.resnet.network import resnet18

SIDE = 2048  # of the matrices: 17 billion operations, on tensors that no cache holds
BYTES = 2**27  # that are copied, of a tensor that no cache holds
AT_MOST = 0.5  # seconds for each measurement


@dataclass(frozen=True)
class Limits:
    """The most that this machine can do.

    gigaflops: billions of floating-point operations a second in one large matrix product, by precision; of
        those that the processor computes itself.
    gigabytes: a second that a copy reads and writes.
    """

    gigaflops: dict[str, float]
    gigabytes: float

    def __str__(self) -> str:
        speeds = ", ".join(f"{speed:,.0f} GFLOP/s in {name}" for name, speed in self.gigaflops.items())
        return f"limits: {speeds} (one matrix product); memory {self.gigabytes:,.1f} GB/s (copy)"


def measure_limits(demands: Recipe) -> Limits:
    """Measure both in about a second, on the device and threads that a recipe would use."""
    engine, types = choose(demands), {"fp32": torch.float32, "bf16": torch.bfloat16}
    found = {}
    with seeded(), torch.inference_mode(), engine.computing():
        for precision, dtype in types.items():
            if precision == "bf16" and probe().bf16_is_slow:
                continue
            left, right = torch.randn(2, SIDE, SIDE, device=engine.device).to(dtype)
            # The peak of many: a shared machine is slower for moments, and with AMX a product takes 20 ms.
            time = min(seconds(lambda left=left, right=right: left @ right, times=20, at_most=AT_MOST))
            found[precision] = 2 * SIDE**3 / time / 1e9
        source = torch.zeros(BYTES // 4, device=engine.device)
        target = torch.empty_like(source)
        time = min(seconds(lambda: target.copy_(source), times=5, at_most=AT_MOST))
    return Limits(found, 2 * BYTES / time / 1e9)


def shares(costs: Mapping[str, Sequence[Cost]], limits: Limits) -> dict[str, float]:
    """Which part of the limit in its precision each piece of a recipe's work reaches, 0 to 1.

    costs: by the recipe's name, of all its phases. By name: the trunk pass and the steps of each.
    """
    found = {}
    for name, phases in costs.items():
        if trunk := [cost for cost in phases if cost.trunk]:
            flops = sum(cost.trunk_operations for cost in trunk) / sum(cost.trunk for cost in trunk)
            found[f"trunk pass of {name}"] = flops / 1e9 / limits.gigaflops[trunk[0].trunk_precision]
        work = sum(cost.recipe.epochs * cost.step_operations for cost in phases)
        took = sum(
            cost.recipe.epochs * (cost.gradients + cost.update / cost.recipe.batch_size) for cost in phases
        )
        found[f"step of {name}"] = work / took / 1e9 / limits.gigaflops[phases[0].precision]
    return found


def prediction_share(image_size: int, limits: Limits) -> float:
    """The same for the prediction of one image by a ResNet-18, in float32."""
    engine = Engine(devices.device(), "fp32", "channels_last")
    with seeded(), torch.inference_mode(), engine.computing():
        network = engine.place(resnet18(10)).eval()
        image = engine.place(torch.zeros(1, 3, image_size, image_size))
        time = min(seconds(lambda: network(image), times=5, at_most=AT_MOST))
        return operations(network, image) / time / 1e9 / limits.gigaflops["fp32"]
