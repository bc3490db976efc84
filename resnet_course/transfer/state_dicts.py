"""Finds the trunk of a ResNet in whatever a training script saved, under whatever prefix and key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from resnet_course.common.console import say
from resnet_course.common.errors import CourseError
from resnet_course.transfer.look_alikes import name_network

DEEPEST = 8  # levels of dicts and lists within each other that are looked through
WRAPPERS = re.compile(r"\b(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
TRUNK = re.compile(r"(conv1|bn1|layer\d+)\.")  # the first part of a name; all others are of a head
INNER = re.compile(r"^((?:.*?\.)?)layer\d+\.\d+\.[a-z]+\d*\.(?:\d\.)?(?:weight|bias|running_(?:mean|var))$")
# `nn.Sequential(*network.children())`, a usual way to take the head off, gives the parts numbers for names.
NUMBERED = re.compile(r"^((?:.*?\.)?)[4-7]\.\d+\.(?:conv|bn|downsample|shortcut)\d*\.(?:\d\.)?weight$")
PARTS = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
# What the keys of copies say: averages of the weights, earlier ones, and what a training needs to go on.
COPY = re.compile(
    r"(?:^|[^a-z])(ema|swa|avg|averaged?|best|shadow|training|old|previous|init(ial)?)(?:[^a-z]|$)"
)


Named = Iterator[tuple[str, Tensor]]


class WeightsError(CourseError, ValueError):
    """A file of weights cannot be used. The message says what does not fit and what would."""


def find_trunk(content: Any, where: str) -> dict[str, Tensor]:
    """The tensors of the one ResNet in `content`, with torchvision's names; of its head only a plain `fc`.

    content: what `torch.save` wrote: a state dict, or dicts and lists that hold one beside other things.
    where: how messages begin, such as "weights: FILE".
    Raises WeightsError if there is none, or more than one.
    """
    found = {WRAPPERS.sub("", name): tensor for name, tensor in _tensors(content)}
    if not found:
        raise WeightsError(f"{where} holds no state dict (a dict from names to tensors){_held(content)}")
    prefixes, parts = _prefixes(found, INNER), {}
    if not prefixes:
        prefixes, parts = _prefixes(found, NUMBERED), PARTS
    if not prefixes:
        raise WeightsError(f"{where} {_why_no_trunk(content, found)}")
    prefix = _the_one(found, prefixes, where)
    trunk = {}
    for name, tensor in found.items():
        if name.startswith(prefix):
            first, dot, rest = name.removeprefix(prefix).partition(".")
            first = parts.get(first, "") if parts else first
            name = first + dot + rest.replace("shortcut.", "downsample.")
            if TRUNK.match(name) or name in ("fc.weight", "fc.bias"):
                trunk[name] = tensor.detach()
    return trunk


def _tensors(content: Any, prefix: str = "", depth: int = 0, seen: set[int] | None = None) -> Named:
    """Every tensor in nested dicts and lists, with the keys that lead to it, joined by dots, for a name.

    seen: dicts and lists that are passed over, because they have been looked through: a hostile file may hold
        one a thousand times in itself.
    """
    seen = set() if seen is None else seen
    if isinstance(content, Tensor):
        if prefix:
            yield prefix, content
    elif isinstance(content, Mapping | list | tuple) and id(content) not in seen and depth < DEEPEST:
        seen.add(id(content))
        for key, value in content.items() if isinstance(content, Mapping) else enumerate(content):
            yield from _tensors(value, f"{prefix}.{key}" if prefix else str(key), depth + 1, seen)


def _prefixes(found: Mapping[str, Tensor], pattern: re.Pattern) -> list[str]:
    """What stands before the names of the parts, for each network that there is."""
    counts: dict[str, int] = {}
    for name in found:
        if match := pattern.match(name):
            counts[match[1]] = counts.get(match[1], 0) + 1
    return [prefix for prefix, count in counts.items() if count >= max(8, max(counts.values()) / 2)]


def _the_one(found: Mapping[str, Tensor], prefixes: list[str], where: str) -> str:
    """The prefix of the network itself. Raises WeightsError if there are several that could be meant."""
    copies = [prefix for prefix in prefixes if COPY.search(prefix.lower())]
    own = [prefix for prefix in prefixes if prefix not in copies] or copies
    if len(own) > 1 and all(_same(found, own[0], other) for other in own[1:]):
        own = own[:1]  # one network under two names
    if len(own) > 1:
        named = ", ".join(repr(prefix) if prefix else "no prefix" for prefix in own[:4]) + (
            ", …" if len(own) > 4 else ""
        )
        raise WeightsError(
            f"{where} holds {len(own)} networks, with names that begin with {named}; save the state dict of "
            "the one you want"
        )
    others = [prefix.rstrip(".") for prefix in copies if prefix not in own]
    if any(not other.startswith("training.") for other in others):  # as the course's own last.pt has them
        say(f"Weights: taken from {own[0].rstrip('.') or 'the top'}, not from {', '.join(others)}.")
    return own[0]


def _same(found: Mapping[str, Tensor], one: str, other: str) -> bool:
    """Whether two networks have the same tensors."""
    ones = {name.removeprefix(one): t for name, t in found.items() if name.startswith(one)}
    others = {name.removeprefix(other): t for name, t in found.items() if name.startswith(other)}
    inner = [name for name in ones if TRUNK.match(name)]
    return bool(inner) and all(
        name in others and ones[name].shape == others[name].shape and torch.equal(ones[name], others[name])
        for name in inner
    )


def _why_no_trunk(content: Any, found: Mapping[str, Tensor]) -> str:
    """What the tensors are instead, as words after the file's name."""
    if isinstance(content, Mapping) and _only_optimizer(content):
        return "holds the state of an optimizer and no network; save model.state_dict()"
    if looks := name_network(found):
        return f"does not fit ResNet-18: this looks like {looks}"
    if isinstance(content, list | tuple):
        return "holds tensors without names; save model.state_dict(), not a list of parameters"
    first = ", ".join(list(found)[:3])
    return f"does not fit ResNet-18: it has none of its parts conv1, bn1 and layer1 to layer4, but {first}"


def _only_optimizer(content: Mapping) -> bool:
    """Whether the tensors lie in an optimizer's state alone."""
    if "param_groups" in content and "state" in content:
        return True
    holding = [value for value in content.values() if any(True for _ in _tensors(value, "x"))]
    return bool(holding) and all(isinstance(value, Mapping) and _only_optimizer(value) for value in holding)


def _held(content: Any) -> str:
    """What a file without tensors under names holds, in a few words."""
    if isinstance(content, Tensor):
        return "; it holds a single tensor"
    if isinstance(content, Mapping) and content:
        return f"; its keys are {', '.join(str(key) for key in list(content)[:5])}"
    return f"; it holds a {type(content).__name__}"
