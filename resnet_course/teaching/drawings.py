"""Drawings as SVG: a network as its modules compute, and a filter on its way over an image.

Source of the forward pass: torch.fx, which records the calls of every module.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from resnet_course.common.errors import ArgumentError
from resnet_course.resnet.network import BasicBlock, eval_mode
from resnet_course.teaching.anatomy import describe
from resnet_course.teaching.svg import GREY, Drawing, beside, finish, line, text

__all__ = ["beside", "convolution", "draw"]

SKIP, MARK = "#5937ff", "#ffd9a0"  # shortcuts and sums; what the text speaks of
FILLS = {"convolution": "#d6e6ff", "BatchNorm": "#e9e9e9", "ReLU": "#d5f0dc", "+": "#ffffff"}
BOX, HEIGHT, ROW, SIDE = 228, 30, 58, 124  # pixels: a box, a row of boxes, the room beside them for a skip
CELL = 34  # pixels: a number in a table


@dataclass
class _Step:
    """One step of a forward pass: a box or a sum."""

    label: str
    stage: str
    shape: tuple[int, ...]
    sources: list[_Step]
    main: bool = False
    row: float = 0
    depth: int = field(init=False)

    def __post_init__(self) -> None:
        self.depth = 1 + max((source.depth for source in self.sources), default=-1)

    @property
    def size(self) -> str:
        return "×".join(map(str, self.shape))

    @property
    def x(self) -> float:
        """The middle of its box."""
        return 12 + BOX / 2 if self.main else 12 + BOX * 1.5 + 56

    @property
    def y(self) -> float:
        return 58 + ROW * self.row


class _Tracer(fx.Tracer):
    """Records every call of a module without parts, or of one that is to be drawn whole."""

    def __init__(self, whole: tuple[type[nn.Module], ...]) -> None:
        super().__init__()
        self.whole = whole

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, self.whole) or not list(module.children())


def draw(
    model: nn.Module, shape: Sequence[int], title: str, whole: tuple[type[nn.Module], ...] = ()
) -> Drawing:
    """A network or a block as a drawing, made from what its forward pass calls; shapes on every arrow.

    shape: of one input, [channels, height, width]. title: stands above it.
    whole: kinds of parts that are drawn as one box, such as (BasicBlock,).
    Raises ArgumentError if the forward pass decides by the values that come in, which cannot be drawn.
    """
    steps = _steps(model, shape, whole)
    _place(steps)
    return _picture(steps, title)


def _steps(model: nn.Module, shape: Sequence[int], whole: tuple[type[nn.Module], ...]) -> list[_Step]:
    """The forward pass, in order; what changes nothing is left out."""
    tracer = _Tracer(whole)
    try:
        graph = tracer.trace(model)
    except fx.proxy.TraceError as error:
        raise ArgumentError(
            f"{type(model).__name__} cannot be drawn: its forward pass depends on what comes in ({error}); "
            "decide in __init__ instead"
        ) from None
    runner = fx.Interpreter(fx.GraphModule(tracer.root, graph))
    found: dict[fx.Node, _Step] = {}
    steps: list[_Step] = []

    def keep(node: fx.Node) -> Tensor:
        value = fx.Interpreter.run_node(runner, node)
        if node.op == "get_attr" or not isinstance(value, Tensor):
            return value
        sources = [found[source] for source in node.all_input_nodes if source in found]
        label = _label(node, tracer.root)
        if not label and sources:
            found[node] = sources[0]
        else:
            stage = str(node.target).partition(".")[0] if "." in str(node.target) else ""
            found[node] = _Step(label, stage, tuple(value.shape[1:]), sources)
            steps.append(found[node])
        return value

    runner.run_node = keep
    device = next((parameter.device for parameter in model.parameters()), None)
    with eval_mode(model), torch.no_grad():
        runner.run(torch.zeros(1, *shape, device=device))
    return steps


def _label(node: fx.Node, root: nn.Module) -> str:
    """What stands in the box; nothing for a step that changes no value."""
    if node.op in ("placeholder", "output"):
        return "input" if node.op == "placeholder" else "output"
    if node.op == "call_module":
        module = root.get_submodule(node.target)
        if isinstance(module, (nn.Identity, nn.Flatten, nn.Dropout)):
            return ""
        if isinstance(module, BasicBlock):
            return f"{node.target}: block{' with projection' if module.downsample is not None else ''}"
        return "ReLU" if isinstance(module, nn.ReLU) else f"{node.target}: {describe(module)}"
    if node.target in (operator.add, operator.iadd, torch.add, "add", "add_"):
        return "+"
    name = str(getattr(node.target, "__name__", node.target)).rstrip("_")
    return {"relu": "ReLU", "flatten": "", "detach": "detach: no gradient"}.get(name, name)


def _place(steps: list[_Step]) -> None:
    """The longest way through is the main path, from top to bottom; whatever else there is stands beside."""
    path, step = [], steps[-1]
    while step:
        path.append(step)
        step = max(step.sources, key=lambda source: source.depth, default=None)
    for row, step in enumerate(reversed(path)):
        step.row, step.main = row, True
    for step in steps:  # a chain beside the path begins as low as it can, so that its arrows are short
        if not step.main:
            step.row = max(source.row for source in step.sources) + (1 if not step.sources[0].main else 2)


def _picture(steps: list[_Step], title: str) -> Drawing:
    bottom = max(step.y for step in steps) + HEIGHT
    width = 24 + BOX + (BOX + 56 if not all(step.main for step in steps) else SIDE)
    parts = [text(12, 24, title, size=15, bold=True), *_frames(steps)]
    words = []
    for step in steps:
        for source in step.sources:
            parts.append(_arrow(source, step))
            if not (source.main and step.main and step.row == source.row + 1):
                words.append(f"an arrow goes around from {source.label} to {step.label}")
        parts.append(_box(step))
    chain = "; ".join(f"{step.label} → {step.size}" for step in steps)
    return finish(parts, width, bottom, f"{title}. Every step and its output: {chain}", words)


def _frames(steps: list[_Step]) -> list[str]:
    """A frame around the boxes of one stage, where there are several stages."""
    stages = {step.stage for step in steps if step.main and step.stage}
    frames = []
    for stage in sorted(stages if len(stages) > 1 else ()):
        rows = [step.y for step in steps if step.stage == stage]
        top, tall = min(rows) - HEIGHT / 2 - 5, max(rows) - min(rows) + HEIGHT + 10
        style = f'rx="6" fill="none" stroke="{GREY}" stroke-dasharray="4 3"'
        frames.append(f'<rect x="4" y="{top}" width="{BOX + 16}" height="{tall}" {style}/>')
        frames.append(text(BOX + 28, top + tall / 2 + 4, f"stage {stage}"))
    return frames


def _box(step: _Step) -> str:
    color = next((fill for word, fill in FILLS.items() if word in step.label), "#ffffff")
    if step.label == "+":
        around = (
            f'<circle cx="{step.x}" cy="{step.y}" r="13" fill="{color}" stroke="{SKIP}" stroke-width="2"/>'
        )
        return around + text(step.x, step.y + 6, "+", size=18, middle=True)
    x, y = step.x - BOX / 2, step.y - HEIGHT / 2
    around = f'<rect x="{x}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="5" fill="{color}" stroke="{GREY}"/>'
    return around + text(step.x, step.y + 4, step.label, middle=True)


def _arrow(source: _Step, step: _Step) -> str:
    """From one box to the next, or around those between them; with the shape of what goes along."""
    straight = source.main == step.main and (step.row == source.row + 1)
    half = 13 if step.label == "+" else HEIGHT / 2
    if straight:
        x, start, end = step.x, source.y + HEIGHT / 2, step.y - half
        label = text(x + 7, (start + end) / 2 + 4, source.size, size=11)
        return line([(x, start), (x, end)], GREY if step.main else SKIP) + label
    start = (source.x + BOX / 2 if source.label != "+" else source.x + 13, source.y)
    if source.main and not step.main:
        bend = (step.x, source.y)
        points, place = [start, bend, (step.x, step.y - half)], (step.x + 7, step.y - half - 12)
    elif step.main and not source.main:
        start, bend = (source.x, source.y + HEIGHT / 2), (source.x, step.y)
        points, place = [start, bend, (step.x + half, step.y)], (source.x + 7, step.y - 12)
    else:
        x = 12 + BOX + 34
        end = (step.x + (13 if step.label == "+" else BOX / 2), step.y)
        points, place = [start, (x, source.y), (x, step.y), end], (x + 7, (source.y + step.y) / 2)
    return line(points, SKIP) + text(*place, source.size, size=11)


def convolution(image: Tensor, kernel: Tensor, at: tuple[int, int] = (0, 0)) -> Drawing:
    """A filter at one place of an image, and the number that comes out there.

    image: whole numbers [H, W]. kernel: whole numbers [h, w]. at: row and column of the output, from 0.
    """
    output = F.conv2d(image[None, None].float(), kernel[None, None].float())[0, 0]
    (row, column), (tall, wide) = at, kernel.shape
    patch = image[row : row + tall, column : column + wide]
    marks = {(row + i, column + j) for i in range(tall) for j in range(wide)}
    everywhere = {(i, j) for i in range(tall) for j in range(wide)}
    parts, left = [], 12
    for name, values, marked in (
        ("image", image, marks),
        ("filter", kernel, everywhere),
        ("output", output, {at}),
    ):
        parts.append(text(left, 32, f"{name}, {_size(values)}", size=13, bold=True))
        parts += _cells(values, left, marked)
        left += CELL * max(values.shape[1], 3) + 40
    pairs = zip(patch.flatten().tolist(), kernel.flatten().tolist(), strict=True)
    total = " + ".join(f"{a}·{b}" if b >= 0 else f"{a}·({b})" for a, b in pairs) + f" = {output[at]:g}"
    bottom = 48 + CELL * len(image)
    parts.append(text(12, bottom + 24, total))
    alt = (
        f"A {_size(kernel)} filter lies on an image of {_size(image)} numbers, from row {row}, column "
        f"{column} on. Each number of the image times the number of the filter on it, added up, is {total}. "
        f"It stands at row {row}, column {column} of the output, which has {_size(output)} numbers"
    )
    return finish(parts, max(left - 28, 24 + 6.5 * len(total)), bottom + 40, alt, [])


def _size(values: Tensor) -> str:
    return "×".join(map(str, values.shape))


def _cells(values: Tensor, left: float, marked: set[tuple[int, int]]) -> list[str]:
    """A table of numbers, some of them marked."""
    parts = []
    for i, numbers in enumerate(values.tolist()):
        for j, value in enumerate(numbers):
            x, y, fill = left + CELL * j, 48 + CELL * i, MARK if (i, j) in marked else "#ffffff"
            box = f'x="{x}" y="{y}" width="{CELL}" height="{CELL}" fill="{fill}" stroke="{GREY}"'
            parts.append(f"<rect {box}/>{text(x + CELL / 2, y + 21, f'{value:g}', middle=True)}")
    return parts
