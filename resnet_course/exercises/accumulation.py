"""The check of gradient accumulation, the last exercise of notebook 04: its weights and what it keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_course.exercises.core import Mistake, must_be_function


def _plain_model() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))


def _parts(sizes: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
    return [(torch.randn(size, 3, 2, 2), torch.randint(0, 3, (size,))) for size in sizes]


def _after(answer: Callable | None, parts: list[tuple[Tensor, Tensor]], left_over: bool) -> dict[str, Tensor]:
    """The weights after a step, by the answer or (None) with all pictures in one batch."""
    torch.manual_seed(1)
    model = _plain_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    if left_over:
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
    if answer is not None:
        answer(model, optimizer, parts)
    else:
        optimizer.zero_grad()
        inputs, labels = (torch.cat(column) for column in zip(*parts, strict=True))
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _wrong_ways() -> dict[tuple[str, str, str], Callable]:
    """Plausible mistakes, by (message, how it divides, when it zeroes), to be recognised by their weights."""

    def way(*, step_each: bool, divide: str, zero: str) -> Callable:
        def step(model: nn.Module, optimizer: torch.optim.Optimizer, parts: list) -> None:
            total = sum(len(labels) for _, labels in parts)
            if zero == "before":
                optimizer.zero_grad()
            for inputs, labels in parts:
                if zero == "each":
                    optimizer.zero_grad()
                loss = F.cross_entropy(model(inputs), labels)
                factor = {"none": 1, "parts": 1 / len(parts), "pictures": len(labels) / total}[divide]
                (loss * factor).backward()
                if step_each:
                    optimizer.step()
            if not step_each:
                optimizer.step()

        return step

    not_averaged = (
        "The losses of the parts are added and not averaged, so the step is as many times too long as there "
        "are parts."
    )
    step_inside = "optimizer.step() runs after every part. It must run once, after the last."
    only_last = "Only the last part counts: zero_grad() inside the loop wipes what the others have added."
    unequal = (
        "With parts of equal size it is right, with unequal ones not: a part of 2 pictures counts as much as "
        "one of 5. Weight each loss by its pictures: len(labels) ÷ all pictures."
    )
    found = {}
    for divide in ("none", "parts", "pictures"):
        for zero in ("before", "each", "never"):
            found[step_inside, divide, zero] = way(step_each=True, divide=divide, zero=zero)
        found[only_last, divide, "each"] = way(step_each=False, divide=divide, zero="each")
    found[not_averaged, "none", "before"] = way(step_each=False, divide="none", zero="before")
    found[unequal, "parts", "before"] = way(step_each=False, divide="parts", zero="before")
    return found


def _same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.allclose(a[name], b[name], atol=1e-5) for name in a)


def check_accumulation(answer: Callable[[nn.Module, torch.optim.Optimizer, list], Any]) -> None:
    """Compare the weights after a step with those of the large batch, and with those of known mistakes."""
    must_be_function(answer, "ex.q5.check(my_step)")
    for sizes in ((4, 4, 4), (5, 2, 4, 1)):
        parts = _parts(sizes)
        got, wanted = _after(answer, parts, False), _after(None, parts, False)
        if not _same(got, wanted):
            for (message, _, _), wrong in _wrong_ways().items():
                if _same(got, _after(wrong, parts, False)):
                    raise Mistake(message)
            torch.manual_seed(1)
            if _same(got, _plain_model().state_dict()):
                raise Mistake("The weights have not moved. After the last part comes optimizer.step().")
            raise Mistake(
                f"After parts of {', '.join(map(str, sizes))} pictures the weights are not those of one "
                f"batch of {sum(sizes)}."
            )
        if not _same(_after(answer, parts, True), wanted):
            raise Mistake(
                "Gradients of an earlier step are still there: call zero_grad() once, at the start."
            )
    _check_batchnorm(answer)
    _check_memory(answer)


def _check_memory(answer: Callable) -> None:
    """Count the pictures whose activations are in memory at the same time."""
    model, waiting, most = _plain_model(), [], []

    def watch(_: nn.Module, inputs: tuple[Tensor], outputs: Tensor) -> None:
        if outputs.requires_grad:
            waiting.append(len(inputs[0]))
            most.append((sum(waiting), max(waiting)))
            outputs.register_hook(lambda _: waiting.clear())

    model.register_forward_hook(watch)
    answer(model, torch.optim.SGD(model.parameters(), lr=0.5), _parts((4, 4, 4)))
    together, at_once = max(most)
    if at_once > 4:
        raise Mistake(
            f"The weights are right, but {at_once} pictures go through the model at once. That is the large "
            "batch, for which the memory is too small: send one part at a time."
        )
    if together > 4:
        raise Mistake(
            "The weights are right, but backward() comes after the last part. Until then the activations of "
            "all parts are kept, as for the large batch: call backward() after each part."
        )


def _check_batchnorm(answer: Callable) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    try:
        answer(model.train(), optimizer, _parts((4, 4)))
    except ValueError:
        pass
    else:
        raise Mistake(
            "Right for networks without BatchNorm. But a BatchNorm in training mode normalises with the mean "
            "of its own small part, so the sum is another than that of the large batch, and your function "
            "does not say so: raise ValueError if a BatchNorm of the model is in training mode."
        )
    try:
        answer(model.eval(), optimizer, _parts((4, 4)))
    except ValueError:
        raise Mistake(
            "A BatchNorm in eval mode uses stored statistics and does no harm: raise ValueError only where "
            "module.training is True."
        ) from None
    model.train()[1].eval()  # a frozen BatchNorm within a network that learns
    try:
        answer(model, optimizer, _parts((4, 4)))
    except ValueError:
        raise Mistake(
            "The network is in training mode, but its BatchNorm is frozen, in eval mode: that does no harm. "
            "Ask the BatchNorm itself, module.training, not the network, model.training."
        ) from None
