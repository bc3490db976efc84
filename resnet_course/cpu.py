"""Measures the machine: what computes fastest here, and how many minutes a recipe will take."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_course.batches import eval_batches
from resnet_course.data.images import ImageSet
from resnet_course.recipes import Recipe
from resnet_course.resnet import BasicBlock, resnet18
from resnet_course.transfer import freeze, split_at

FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
CANDIDATES = tuple((precision, layout) for precision in ("fp32", "bf16") for layout in FORMATS)
# What is computed most, as (channels, pixels a side, pictures). On features, the last stage: its maps are so
# small that another layout may be the fastest: bf16 in contiguous memory, on the processors tried.
BLOCKS = {"pictures": (64, 16, 64), "features": (512, 3, 128)}


@dataclass(frozen=True)
class Engine:
    """How this machine computes: where, in which precision, in which memory layout.

    device: "cpu" or "cuda".
    precision: "fp32", or "bf16": matrix products in bfloat16, weights, loss and BatchNorm in float32.
    memory_format: "channels_last" or "contiguous".
    """

    device: str
    precision: str
    memory_format: str

    def place(self, module_or_tensor: nn.Module | Tensor) -> nn.Module | Tensor:
        """Move a network or a batch of pictures to the device and the layout."""
        return module_or_tensor.to(self.device, memory_format=FORMATS[self.memory_format])

    def autocast(self) -> contextlib.AbstractContextManager:
        """The context in which the forward pass runs."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")

    def __str__(self) -> str:
        return f"{self.device}, {self.precision}, {self.memory_format.replace('_', '-')}"


@functools.cache
@torch.random.fork_rng(devices=[])  # the learner's random numbers stay as they were
@torch.inference_mode(False)  # evaluate may be the first to ask, in inference mode
@torch.enable_grad()
def probe(what: str = "pictures") -> dict[tuple[str, str], float]:
    """Milliseconds of one training step of a residual block, by (precision, memory format). Takes a second.

    what: "pictures" or "features", that which will be computed.

    Measured, because flags lie: bf16 without the processor's bf16 instructions is slower than fp32.
    """
    channels, side, count = BLOCKS[what]
    times = {}
    for precision, memory_format in CANDIDATES:
        engine = Engine(device(), precision, memory_format)
        block = engine.place(BasicBlock(channels, channels))
        x = engine.place(torch.randn(count, channels, side, side))

        def step(engine: Engine = engine, block: nn.Module = block, x: Tensor = x) -> None:
            with engine.autocast():
                loss = block(x).float().mean()
            loss.backward()

        times[precision, memory_format] = 1000 * min(seconds(step, times=8, at_most=0.25))
    return times


def choose(recipe: Recipe, what: str = "pictures") -> Engine:
    """The engine for a recipe: what it demands, and by measurement where it says "auto".

    what: "pictures" or "features", that which it will compute.
    """
    if "auto" not in (recipe.precision, recipe.memory_format):
        return Engine(device(), recipe.precision, recipe.memory_format)
    fitting = {
        (precision, memory_format): milliseconds
        for (precision, memory_format), milliseconds in probe(what).items()
        if recipe.precision in ("auto", precision) and recipe.memory_format in ("auto", memory_format)
    }
    return Engine(device(), *min(fitting, key=fitting.get))


def usable_cores() -> int:
    """The cores that this process may use: its affinity and its container's quota, not just the count."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # cgroup v2; "max 100000" means no quota
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        count = min(count, max(1, round(int(quota) / int(period))))
    return count


@torch.random.fork_rng(devices=[])
def estimate(
    recipe: Recipe,
    pictures: int,
    validation_pictures: int = 0,
    width: int = 64,
    views: int | None = None,
) -> float:
    """The seconds that `recipe` will take here on so many pictures, from a few of its own steps.

    pictures, validation_pictures: how many are trained on and validated on, every epoch.
    width: the network's width; the built-in weights have 16.
    views: how many views of every picture are cached, the time for that included; None: nothing is cached.
    """
    recipe_one = replace(recipe, batch_size=min(recipe.batch_size, max(2, pictures)))
    model = freeze(resnet18(10, width, dropout=recipe.dropout), recipe.train_from)
    count = recipe_one.batch_size
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
    image_set = ImageSet(images, torch.zeros(count, dtype=torch.int64), ("any",), "noise")

    def inputs() -> Tensor:
        return next(eval_batches(image_set, recipe_one))[0]

    def looking(network: nn.Module, engine: Engine) -> float:
        """Seconds to send one picture through, without gradients."""
        engine.place(network).eval()

        @torch.inference_mode()
        def step() -> None:
            with engine.autocast():
                network(engine.place(inputs()))

        return min(seconds(step, times=4, at_most=1.0)) / count

    def learning(network: nn.Module, engine: Engine, batch: Callable[[], Tensor]) -> float:
        """Seconds to learn from one picture, or from its features."""
        engine.place(network).train()
        optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-5)

        def step() -> None:
            with engine.autocast():
                logits = network(engine.place(batch()))
            F.cross_entropy(logits.float(), image_set.labels.to(engine.device)).backward()
            optimizer.step()
            optimizer.zero_grad()

        return min(seconds(step, times=4, at_most=3.0)) / count

    engine = choose(recipe)
    if views is None:
        a_picture, looks = learning(model, engine, inputs), recipe.test_views * looking(model, engine)
        return recipe.epochs * (pictures * a_picture + validation_pictures * looks)
    trunk, head = split_at(model, recipe.train_from)
    once = looking(trunk, engine) * (views * pictures + recipe.test_views * validation_pictures)
    with torch.no_grad():
        features = trunk(engine.place(inputs()))
    return once + recipe.epochs * pictures * learning(head, choose(recipe, "features"), lambda: features)


def device() -> str:
    """ "cuda" if there is a GPU that PyTorch can use, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def seconds(step: Callable[[], object], times: int, at_most: float) -> list[float]:
    """Seconds of each of up to `times` steps after a warm-up, stopping once `at_most` seconds have passed."""
    step()
    measured: list[float] = []
    while not measured or (len(measured) < times and sum(measured) < at_most):
        start = time.perf_counter()
        step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        measured.append(time.perf_counter() - start)
    return measured
