"""Exercises of notebook 04: slow lines, threads and workers, a convolution, a schedule, accumulation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from resnet_course.exercises.accumulation import check_accumulation
from resnet_course.exercises.core import Exercise, Mistake, must_be_dict, must_be_function

MODULE = "cpu_training"


# 1: find the slow line

LOOPS = """
# Each loop learns, and one line makes it much slower than it need be. Which?
# images: uint8 [50000, 3, 32, 32] in memory; to_input scales and normalises.
# In loops A, B and D all layers learn.
#
# Loop A                                             Loop B
# 1  for rows in order.split(128):                   1  for rows in order.split(128):
# 2      inputs = to_input(images, recipe)[rows]     2      inputs = to_input(images[rows], recipe)
# 3      logits = model(inputs)                      3      logits = model(inputs)
# 4      loss = cross_entropy(logits, labels[rows])  4      loss = cross_entropy(logits, labels[rows])
# 5      optimizer.zero_grad()                       5      optimizer.zero_grad()
# 6      loss.backward()                             6      loss.backward()
# 7      optimizer.step()                            7      optimizer.step()
# 8      total += loss.item()                        8      best = max(best, accuracy(model, val))
#
# Loop C: the trunk is frozen, no augmentation       Loop D: 16 worker processes on 2 cores
# 1  for epoch in range(20):                         1  data = TensorDataset(images, labels)
# 2      for rows in order.split(128):               2  for epoch in range(20):
# 3          inputs = to_input(images[rows], recipe) 3      loader = DataLoader(data, 128, num_workers=16)
# 4          with torch.no_grad():                   4      for pictures, targets in loader:
# 5              features = trunk(inputs)            5          logits = model(to_input(pictures, recipe))
# 6          loss = cross_entropy(head(features), …) 6          loss = cross_entropy(logits, targets)
# 7          loss.backward()                         7          optimizer.zero_grad()
# 8          optimizer.step()                        8          loss.backward()
# 9          optimizer.zero_grad()                   9          optimizer.step()
"""
SLOW = {
    "A": (
        2,
        "It scales all 50,000 pictures at every step, and then takes 128 of them: index first, then scale.",
    ),
    "B": (8, "It looks at the whole validation split after every step: once an epoch is enough."),
    "C": (5, "The trunk is frozen and the pictures are the same, so its output is too: compute it once."),
    "D": (
        3,
        "The pictures are in memory already, so workers have nothing to prepare; starting sixteen of them "
        "every epoch costs seconds, and they take the cores from the training.",
    ),
}
INNOCENT = {
    "A": {3: "a forward pass is needed", 6: "a backward pass is needed", 8: ".item() reads one number"},
    "B": {2: "it scales 128 pictures, no more", 3: "a forward pass is needed", 6: "so is a backward pass"},
    "C": {3: "it takes 1% of a step", 4: "no_grad saves time", 7: "the head needs its gradients"},
    "D": {
        1: "it only points to what is in memory",
        4: "the workers start here, but who asks for them",
        5: "a forward pass is needed",
        8: "so is a backward pass",
    },
}


def check_slow_lines(answer: Any) -> None:
    """Compare each line number with the slow one."""
    must_be_dict(answer, "a line number", SLOW)
    for loop, (line, _) in SLOW.items():
        said = answer[loop]
        if not isinstance(said, int) or isinstance(said, bool) or not 1 <= said <= 9:
            raise Mistake(f"Loop {loop}: {said!r} is not a line number from 1 to 9.")
        if said != line:
            excuse = INNOCENT[loop].get(said, "it costs next to nothing")
            question = {
                "A": "Ask of every line how many pictures it touches.",
                "B": "Ask of every line how often it needs to run.",
                "C": "Ask which result is the same in every epoch.",
                "D": "Ask what the processes are for, and when they start.",
            }[loop]
            raise Mistake(f"Loop {loop}: line {said} is not the slow one; {excuse}. {question}")


q1 = Exercise(
    MODULE,
    "q1",
    stub=LOOPS
    + """slow_lines = {"A": ..., "B": ..., "C": ..., "D": ...}
""",
    hints=(
        "A: count the pictures that a line touches. B: count how often a line runs in an epoch.",
        "C: section 3 of notebook 03. D: what is there to prepare, if the pictures are in memory?",
    ),
    source=LOOPS
    + "\n".join(f"# {loop}: {why}" for loop, (_, why) in SLOW.items())
    + """
slow_lines = {"A": 2, "B": 8, "C": 5, "D": 3}
""",
    checker=check_slow_lines,
    praise="Index first, validate once an epoch, compute the frozen part once, start no worker for nothing.",
)


# 2: threads and workers

MACHINES = """
# How many threads for the training, and how many DataLoader workers?
#
# A: a laptop with 2 cores. The pictures are tensors in memory; a batch is prepared in 1% of a step.
# B: a desktop with 8 cores. Pictures are read from JPEG files: one worker (one core each) needs 200 ms for a
#    batch, the training step takes 100 ms on the cores that are left. Take the fewest workers that keep up.
# C: a container on a server with 64 cores; its file cpu.max says "200000 100000"
#    (quota and period, in microseconds). Pictures in memory.
# D: 8 cores, shared by two training processes (`torchrun --nproc-per-node 2`, section 9), pictures in
#    memory. The numbers are for each process.
"""
SETTINGS: dict[str, tuple[tuple[int, int], str]] = {
    "A": ((2, 0), "Who has work to do here, and who has none?"),
    "B": (
        (6, 2),
        "One worker delivers a batch every 200 ms. How often must one arrive, and which cores are left to "
        "train?",
    ),
    "C": (
        (2, 0),
        "The quota is 200,000 of every 100,000 microseconds, whatever the server has. How many cores are "
        "that?",
    ),
    "D": ((4, 0), "All threads of both processes together should not be more than the cores."),
}


def check_settings(answer: Any) -> None:
    """Compare threads and workers of each machine, and say which of the two is wrong."""
    must_be_dict(answer, "(threads, workers)", SETTINGS)
    for letter, ((threads, workers), why) in SETTINGS.items():
        said = answer[letter]
        if not (
            isinstance(said, tuple | list) and len(said) == 2 and all(type(number) is int for number in said)
        ):
            raise Mistake(f"{letter}: give two whole numbers, (threads, workers), not {said!r}.")
        for what, number, right in (("threads", said[0], threads), ("workers", said[1], workers)):
            if number != right:
                direction = "too many" if number > right else "too few"
                raise Mistake(f"{letter}: {number} {what} are {direction}. {why}")


q2 = Exercise(
    MODULE,
    "q2",
    stub=MACHINES
    + """settings_for = {"A": ..., "B": ..., "C": ..., "D": ...}  # each (threads, workers), such as (1, 3)
""",
    hints=(
        "A worker is worth its core only if it has work: reading and decoding files, for example.",
        "cpu.max holds two numbers: so many microseconds of computing in every period of so many.",
        "All threads of all processes and all workers together should not be more than the cores.",
    ),
    source=MACHINES
    + """settings_for = {"A": (2, 0), "B": (6, 2), "C": (2, 0), "D": (4, 0)}
""",
    checker=check_settings,
    praise="Count the cores that you may use, give them to what has work, and to nothing twice.",
)


# 3: a convolution as a matrix product


PRODUCTS = ("matmul", "mm", "bmm", "addmm", "addbmm", "baddbmm", "einsum", "linear", "tensordot", "inner")


class _Watched(TorchFunctionMode):
    """Within it PyTorch's own convolutions are refused, and matrix products counted."""

    def __init__(self) -> None:
        super().__init__()
        self.products = 0

    def __torch_function__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Called for every function of PyTorch."""
        name = getattr(function, "__name__", "")
        self.products += name.strip("_").removeprefix("r") in PRODUCTS
        if name.startswith(("conv1d", "conv2d", "conv3d", "convolution")):
            raise Mistake("This calls PyTorch's own convolution. Write the patches into a matrix instead.")
        return function(*args, **(kwargs or {}))


# Height, width, kernel, stride and padding.
GEOMETRIES = ((5, 5, 3, 1, 0), (5, 4, 3, 1, 1), (6, 7, 3, 2, 1), (7, 6, 5, 1, 2), (4, 4, 1, 2, 0))


def check_convolution(answer: Callable[[Tensor, Tensor, int, int], Tensor]) -> None:
    """Compare with PyTorch's convolution on several geometries, and recognise what is swapped."""
    must_be_function(answer, "ex.q3.check(my_convolution)")
    for height, width, kernel, stride, padding in GEOMETRIES:
        inputs, weight = torch.randn(2, 3, height, width), torch.randn(4, 3, kernel, kernel)
        with _Watched() as watched:
            found = answer(inputs.clone(), weight.clone(), stride, padding)
        wanted = F.conv2d(inputs, weight, stride=stride, padding=padding)
        here = f"Inputs {height} × {width}, kernel {kernel}, stride {stride}, padding {padding}:"
        if not isinstance(found, Tensor):
            raise Mistake(f"Return a tensor; this is a {type(found).__name__}.")
        if found.shape != wanted.shape:
            raise Mistake(f"{here} the shape should be {list(wanted.shape)}, and is {list(found.shape)}.")
        if not torch.allclose(found, wanted, atol=1e-4):
            _name_convolution(found, inputs, weight, stride, padding, here)
        if watched.products != 1:
            raise Mistake(
                f"The output is right, and comes from {watched.products} matrix products. Put the patches of "
                "all pictures into one matrix: a large product is what a processor is fast at."
            )


def _name_convolution(
    found: Tensor, inputs: Tensor, weight: Tensor, stride: int, padding: int, here: str
) -> None:
    """Raise the Mistake that a wrong output looks like."""

    def of(inputs: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(inputs, weight, stride=stride, padding=padding)

    def alike(other: Tensor) -> bool:
        return other.shape == found.shape and torch.allclose(found, other, atol=1e-4)

    right = of(inputs, weight)
    if alike(of(inputs, weight.flip(2, 3))):
        raise Mistake(f"{here} the kernel is turned round. PyTorch's convolution does not flip it.")
    if alike(of(inputs, weight.transpose(2, 3))):
        raise Mistake(f"{here} rows and columns of the kernel are swapped.")
    for mixed in (right.transpose(0, 1).reshape(right.shape), right.permute(1, 0, 2, 3).reshape(right.shape)):
        if alike(mixed):
            raise Mistake(
                f"{here} pictures and output channels are mixed: the product is [O, N × h × w], so view it "
                "as [O, N, h, w] before you swap the first two."
            )
    if alike(_wrong_order(inputs, weight, stride, padding)):
        raise Mistake(
            f"{here} the numbers of a patch come in another order than those of the weight: channels first, "
            "then the rows of the kernel, then its columns."
        )
    raise Mistake(
        f"{here} the largest difference from PyTorch's is {float((found - right).abs().max()):.2f}."
    )


def _wrong_order(inputs: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """The output if a patch lists the kernel's taps first and the channels within them."""
    columns = F.unfold(inputs, weight.shape[2], stride=stride, padding=padding)
    taps = columns.view(len(inputs), weight.shape[1], -1, columns.shape[2]).transpose(1, 2).flatten(1, 2)
    shape = F.conv2d(inputs, weight, stride=stride, padding=padding).shape
    return (weight.flatten(1) @ taps).view(shape)


q3 = Exercise(
    MODULE,
    "q3",
    stub='''
def my_convolution(inputs, weight, stride, padding):
    """A convolution without bias, as one matrix product, without PyTorch's convolution.

    inputs: float [N, C, H, W]. weight: float [O, C, k, k]. padding: zeros on every side.
    Returns float [N, O, h, w], with h = (H + 2 * padding - k) // stride + 1, and w likewise.
    """
    raise NotImplementedError
''',
    hints=(
        "F.pad(inputs, (padding,) * 4) first. Then tap (i, j) of the kernel sees, at all output places at "
        "once, padded[:, :, i : i + stride * h : stride, j : j + stride * w : stride].",
        "Stack the k × k taps behind the channels: [N, C, k * k, h, w]. Bring it to [C * k * k, N * h * w].",
        "weight.flatten(1) is [O, C * k * k]. The product [O, N * h * w] becomes .view(O, N, h, w).",
    ),
    source='''
import torch
import torch.nn.functional as F


def my_convolution(inputs, weight, stride, padding):
    """A convolution without bias, as one matrix product, without PyTorch's convolution.

    inputs: float [N, C, H, W]. weight: float [O, C, k, k]. padding: zeros on every side.
    Returns float [N, O, h, w], with h = (H + 2 * padding - k) // stride + 1, and w likewise.
    """
    images, channels, height, width = inputs.shape
    outputs, _, kernel, _ = weight.shape
    h, w = ((side + 2 * padding - kernel) // stride + 1 for side in (height, width))
    padded = F.pad(inputs, (padding,) * 4)
    taps = []
    for i in range(kernel):
        for j in range(kernel):
            taps.append(padded[:, :, i : i + stride * h : stride, j : j + stride * w : stride])
    patches = torch.stack(taps, 2)  # [N, C, k * k, h, w]
    columns = patches.permute(1, 2, 0, 3, 4).reshape(channels * kernel**2, images * h * w)
    rows = weight.reshape(outputs, channels * kernel**2)
    product = rows @ columns  # [O, N * h * w]
    return product.view(outputs, images, h, w).transpose(0, 1)
''',
    checker=check_convolution,
    praise="One product does it all, and you know what it costs: every number copied k × k times.",
)


# 4: warm-up and cosine


def _right_schedule(step: int, steps: int, warm_up: int) -> float:
    if step <= warm_up:
        return step / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up)))


def check_schedule(answer: Callable[[int, int, int], float]) -> None:
    """Compare with the right factors at every step, and name what the shape tells."""
    must_be_function(answer, "ex.q4.check(my_schedule)")
    for steps, warm_up in ((100, 20), (7, 3), (50, 0)):
        values = [answer(step, steps, warm_up) for step in range(1, steps + 1)]
        for value in values:
            if not isinstance(value, (int, float)):
                raise Mistake(f"Return a number; this is a {type(value).__name__}.")
        right = [_right_schedule(step, steps, warm_up) for step in range(1, steps + 1)]
        if all(math.isclose(a, b, abs_tol=1e-9) for a, b in zip(values, right, strict=True)):
            continue
        _name_shape(values, steps, warm_up)
    if answer(5, 100, 20) != answer(5, 100, 20):
        raise Mistake("The same call gives another value the second time: a pure function remembers nothing.")


def _name_shape(values: list[float], steps: int, warm_up: int) -> None:
    """Raise the Mistake that these values, for steps 1, 2, …, look like."""
    here = f"With {steps} steps, {warm_up} of them warm-up,"
    if min(values) < -1e-9:
        raise Mistake(f"{here} the factor falls to {min(values):.2f}. A cosine goes to −1: add 1 and halve.")
    if max(values) > 1 + 1e-9:
        raise Mistake(f"{here} the factor rises to {max(values):.2f}; its highest value is 1.")
    if warm_up and math.isclose(values[0], 1):
        raise Mistake(f"{here} it begins at 1: there is no warm-up. Step 1 gets 1 ÷ {warm_up}.")
    if warm_up and math.isclose(values[0], 0, abs_tol=1e-9):
        raise Mistake(
            f"{here} the first step gets 0 and learns nothing: off by one. Steps count from 1, so step 1 "
            f"gets 1 ÷ {warm_up}."
        )
    if warm_up and not math.isclose(values[warm_up - 1], 1):
        raise Mistake(
            f"{here} the last step of the warm-up, {warm_up}, should get 1, and gets "
            f"{values[warm_up - 1]:.3f}."
        )
    down = values[max(0, warm_up - 1) :]
    if any(later > earlier + 1e-9 for earlier, later in itertools.pairwise(down)):
        raise Mistake(
            f"{here} it rises again after the warm-up: it restarts. From there to the end it is half a "
            "cosine, from π × 0 to π × 1."
        )
    if values[-1] > 1e-9:
        raise Mistake(
            f"{here} the last step gets {values[-1]:.4f}: it never reaches 0. The cosine has the steps after "
            "the warm-up for its way, and its last one is the end."
        )
    straight = [1 - k / (steps - warm_up) for k in range(1, steps - warm_up + 1)]
    if all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(values[warm_up:], straight, strict=True)):
        raise Mistake(f"{here} it falls in a straight line. A cosine is flat at both ends.")
    wrong = next(
        k for k in range(1, steps + 1) if abs(values[k - 1] - _right_schedule(k, steps, warm_up)) > 1e-9
    )
    raise Mistake(
        f"{here} step {wrong} should get {_right_schedule(wrong, steps, warm_up):.4f}, and gets "
        f"{values[wrong - 1]:.4f}."
    )


q4 = Exercise(
    MODULE,
    "q4",
    stub='''
def my_schedule(step, steps, warm_up):
    """The factor on the learning rate at a step, 1 to `steps`.

    In a straight line up to 1 at step `warm_up` (step 1 gets 1/warm_up), then down half a cosine to 0 at
    step `steps`. warm_up may be 0.
    """
    raise NotImplementedError
''',
    hints=(
        "Two cases: step <= warm_up, and the rest.",
        "0.5 * (1 + cos(π × progress)) goes from 1 to 0 while progress goes from 0 to 1.",
        "progress is (step - warm_up) / (steps - warm_up).",
    ),
    source='''
import math


def my_schedule(step, steps, warm_up):
    """The factor on the learning rate at a step, 1 to `steps`.

    In a straight line up to 1 at step `warm_up` (step 1 gets 1/warm_up), then down half a cosine to 0 at
    step `steps`. warm_up may be 0.
    """
    if step <= warm_up:
        return step / warm_up
    progress = (step - warm_up) / (steps - warm_up)
    return 0.5 * (1 + math.cos(math.pi * progress))
''',
    checker=check_schedule,
    praise="A pure function: it can be plotted, tested, and asked about any step after a resume.",
)


# 5: gradient accumulation

q5 = Exercise(
    MODULE,
    "q5",
    stub='''
def my_step(model, optimizer, parts):
    """One training step on a batch that is too large for the memory, part by part.

    parts: a list of (inputs, labels), not all of the same size. The weights move exactly as with one batch of
    all the pictures, with the mean cross-entropy. Raises ValueError if the model has a BatchNorm
    (nn.BatchNorm2d) in training mode: then the two cannot be equal. Gradients of an earlier step may still be
    there.
    """
    raise NotImplementedError
''',
    hints=(
        "backward() adds to what is there already. So: zero_grad() once, backward() often, step() once.",
        "The mean over all pictures is the sum of the parts' means, each times its share of the pictures.",
        "model.modules() lists all layers; isinstance(module, nn.BatchNorm2d) and module.training.",
    ),
    source='''
import torch.nn.functional as F
from torch import nn


def my_step(model, optimizer, parts):
    """One training step on a batch that is too large for the memory, part by part.

    parts: a list of (inputs, labels), not all of the same size. The weights move exactly as with one batch of
    all the pictures, with the mean cross-entropy. Raises ValueError if the model has a BatchNorm
    (nn.BatchNorm2d) in training mode: then the two cannot be equal. Gradients of an earlier step may still be
    there.
    """
    if any(isinstance(module, nn.BatchNorm2d) and module.training for module in model.modules()):
        raise ValueError("BatchNorm in training mode sees only a part of the batch")
    pictures = sum(len(labels) for _, labels in parts)
    optimizer.zero_grad()
    for inputs, labels in parts:
        loss = F.cross_entropy(model(inputs), labels)
        (loss * len(labels) / pictures).backward()
    optimizer.step()
''',
    checker=check_accumulation,
    praise="A large batch in a small memory, and you know what BatchNorm makes of it.",
)
