"""What a network is, as a name and plain arguments, and the network built from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from resnet_course.common.errors import CourseError
from resnet_course.resnet.network import ResNet, eval_mode
from resnet_course.resnet.stacks import stack

NAMES = ("resnet", "stack")
MOST_BLOCKS, WIDEST = 1_000, 100_000  # a damaged or hostile description must not keep the machine busy
CAN_BE_SAVED = (
    "what can be saved is a ResNet of basic blocks, of any depth and width, with one linear layer at its end "
    "or several with ReLUs between them, or a stack"
)


class ArchitectureError(CourseError, ValueError):
    """A network cannot be described, or a description not built. The message says what does not fit."""


def describe(model: nn.Module) -> dict[str, Any]:
    """The name and the arguments from which `build` makes this network again, without its weights.

    Returns plain values, as a checkpoint holds them: {"name": "resnet", "blocks": [2, 2, 2, 2], "width": 64,
    "num_classes": 10, "dropout": 0.5, "hidden": []}, where hidden lists the outputs of the head's hidden
    layers, or {"name": "stack", "depth": 8, "skip": True, "batchnorm": True, "width": 16, "num_classes": 10}.
    A class of the learner's own is described too, if it has the same tensors and computes the same.
    Raises ArchitectureError for any other network, with one line that says what does not fit.
    """
    kind = type(model).__name__
    dropout = model.dropout.p if isinstance(getattr(model, "dropout", None), nn.Dropout) else 0.0
    state = model.state_dict()
    try:
        description = describe_weights(state, dropout)
    except ArchitectureError as error:
        raise ArchitectureError(f"this {kind} cannot be saved: {error}; {CAN_BE_SAVED}") from None
    with torch.device("meta"):
        rebuilt = build(description)
    rebuilt.load_state_dict(state, assign=True)  # the same tensors, not copies
    # The same tensors do not make the same network: another activation has none.
    if not _same_outputs(model, rebuilt):
        raise ArchitectureError(
            f"this {kind} cannot be saved: it has the tensors of a {description['name']}, but computes "
            f"something else from them; {CAN_BE_SAVED}"
        )
    return description


def describe_weights(state: Mapping[str, Tensor], dropout: float = 0.0) -> dict[str, Any]:
    """What `describe` returns, from the names and shapes of a state dict alone.

    dropout: the one argument of which the weights hold no trace.
    Raises ArchitectureError unless the network so described has exactly these names and shapes.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    stem = shapes.get("conv1.weight", ())
    linear = [shape for name, shape in shapes.items() if re.fullmatch(r"fc(\.\d+)?\.weight", name)]
    if len(stem) != 4 or not linear or any(len(shape) != 2 for shape in linear):
        raise ArchitectureError("it has no convolution conv1 and linear layer fc at its ends")
    blocks = [_count_blocks(shapes, f"layer{number}.") for number in (1, 2, 3, 4)]
    sizes = {"width": stem[0], "num_classes": linear[-1][0]}
    if blocks[3]:
        hidden = [shape[0] for shape in linear[:-1]]
        description = {"name": "resnet", "blocks": blocks, **sizes, "dropout": dropout, "hidden": hidden}
    else:
        skip, batchnorm = any("downsample" in name for name in shapes), "bn1.weight" in shapes
        depth = 6 * blocks[0] + 2
        description = {"name": "stack", "depth": depth, "skip": skip, "batchnorm": batchnorm, **sizes}
    with torch.device("meta"):  # names and shapes only: no memory, no random numbers
        wanted = build(description).state_dict()
    if difference := compare(state, wanted):
        raise ArchitectureError(f"its tensors are not those of a {description['name']}: {difference}")
    return description


def build(description: Mapping[str, Any]) -> nn.Module:
    """The network that `describe` described, with new random weights, in training mode.

    Raises ArchitectureError for another name, and for arguments that are missing, unknown or impossible.
    """
    arguments = dict(description)
    name = arguments.pop("name", None)
    if name not in NAMES:
        raise ArchitectureError(f"the architecture is {name!r}; it must be one of: {', '.join(NAMES)}")
    try:
        return _resnet(**arguments) if name == "resnet" else _stack(**arguments)
    except (TypeError, ValueError) as error:
        raise ArchitectureError(f"the architecture {name!r} cannot be built: {error}") from None


def compare(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """Where two state dicts differ in names or shapes, in words; empty where they do not."""
    problems = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of the wrong shape": [
            f"{name} is {list(found[name].shape)}, not {list(tensor.shape)}"
            for name, tensor in wanted.items()
            if name in found and found[name].shape != tensor.shape
        ],
    }
    return "; ".join(
        f"{len(names)} {kind}: {', '.join(names[:3])}{' …' if len(names) > 3 else ''}"
        for kind, names in problems.items()
        if names
    )


def _count_blocks(names: Mapping[str, Any], prefix: str) -> int:
    return len({name.split(".")[1] for name in names if name.startswith(prefix)})


def _resnet(
    blocks: list[int], num_classes: int, width: int, dropout: float = 0.0, hidden: list[int] | tuple[()] = ()
) -> ResNet:
    _check_sizes(*blocks, most=MOST_BLOCKS)
    _check_sizes(num_classes, width, *hidden, most=WIDEST)
    if len(blocks) != 4:
        raise ValueError(f"blocks is {blocks!r}; it must be four numbers")
    model = ResNet(tuple(blocks), num_classes, width, dropout)
    if hidden:
        sizes = [model.fc.in_features, *hidden]
        layers = [
            layer for a, b in zip(sizes, hidden, strict=False) for layer in (nn.Linear(a, b), nn.ReLU())
        ]
        model.fc = nn.Sequential(*layers, nn.Linear(sizes[-1], num_classes))
    return model


def _stack(depth: int, skip: bool, batchnorm: bool, width: int, num_classes: int) -> nn.Sequential:
    _check_sizes(depth, most=6 * MOST_BLOCKS)
    _check_sizes(width, num_classes, most=WIDEST)
    return stack(depth, skip=skip, batchnorm=batchnorm, width=width, num_classes=num_classes)


def _check_sizes(*sizes: Any, most: int) -> None:
    for size in sizes:
        if type(size) is not int or not 1 <= size <= most:
            raise ValueError(f"a size is {size!r}; it must be a whole number from 1 to {most:,}")


@torch.no_grad()
def _same_outputs(model: nn.Module, other: nn.Module) -> bool:
    weight = next(model.parameters())
    inputs = torch.linspace(0, 1000, 2 * 3 * 32 * 32).sin().reshape(2, 3, 32, 32).to(weight)
    with eval_mode(model), eval_mode(other):
        outputs, others = model(inputs).float(), other(inputs).float()
    scale = float(outputs.nan_to_num().abs().max())
    return torch.allclose(outputs, others, rtol=1e-3, atol=1e-3 * scale, equal_nan=True)
