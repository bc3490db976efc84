"""The output and the two gradients of a convolution, each as matrix products in place of PyTorch's own way.

On small maps the library's convolution reaches a small part of what the processor can do; a matrix product of
the same size comes close to it. Images are [N, H, W, C] here: channels-last memory as it lies. Two ways:

columns: what every output place sees is copied into one row, so that one product of the whole batch does all.
    Source: Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for Document
    Processing", 2006.
taps: one product for each of the kernel's taps, or for each output place and row of the kernel. Nothing is
    multiplied by padding's zeros: on maps of 3 × 3 those are 32 of 81.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

COLUMNS = 64 * 2**20  # bytes that the columns may take at once


@dataclass(frozen=True)
class Geometry:
    """The sizes of a convolution: images of `height` × `width`, a square kernel, its stride and padding."""

    height: int
    width: int
    kernel: int
    stride: int
    padding: int

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of the output."""
        return tuple((side + 2 * self.padding - self.kernel) // self.stride + 1 for side in self.sides)

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the input."""
        return self.height, self.width


def output_by_columns(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """The output [N, h, w, O] for images [N, H, W, C] and a weight [O, k, k, C]."""
    return _product(x, weight.flatten(1).t(), geometry)


def _product(x: Tensor, matrix: Tensor, geometry: Geometry) -> Tensor:
    """What each output place sees of the images, times a matrix [k * k * C, O]: [N, h, w, O]."""
    parts = [columns @ matrix for columns in _columns(x, geometry)]
    return _joined(parts).view(len(x), *geometry.output, matrix.shape[1])


def output_by_taps(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """The same, place by place; for float32 alone, because it adds up partial sums in the number type."""
    out = x.new_empty(len(x), *geometry.output, len(weight))
    for place, first, rows, taps in _places(geometry):
        part = weight[:, *taps].flatten(1).t()
        torch.addmm(out[:, *place], x[:, *rows].flatten(1), part, beta=0 if first else 1, out=out[:, *place])
    return out


def input_gradient_by_columns(gradient: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """The gradient of the images [N, H, W, C] from that of the output [N, h, w, O]."""
    outputs, kernel, _, channels = weight.shape
    height, width = geometry.output
    if geometry.stride == 1:  # a convolution again, with the weights turned round
        # Rows of C numbers are copied as they lie, so no number is moved by itself.
        matrix = weight.flip(1, 2).permute(1, 2, 0, 3).reshape(-1, channels)
        around = Geometry(height, width, kernel, 1, kernel - 1 - geometry.padding)
        return _product(gradient, matrix, around)
    size = height * width * kernel * kernel * channels * gradient.element_size()
    found = [
        _spread((part.reshape(-1, outputs) @ weight.flatten(1)).view(len(part), height, width, -1), geometry)
        for part in gradient.split(max(1, COLUMNS // size))
    ]
    return _joined(found).to(gradient.dtype)


def _spread(columns: Tensor, geometry: Geometry) -> Tensor:
    """The sum of the columns [N, h, w, k * k * C], each back in the place where it came from; float32."""
    (height, width), kernel = geometry.output, geometry.kernel
    pad, stride = geometry.padding, geometry.stride
    columns = columns.unflatten(3, (kernel, kernel, -1))
    shape = len(columns), geometry.height + 2 * pad, geometry.width + 2 * pad, columns.shape[5]
    padded = torch.zeros(shape, dtype=torch.float32, device=columns.device)
    for i in range(kernel):
        for j in range(kernel):
            place = slice(i, i + stride * height, stride), slice(j, j + stride * width, stride)
            padded[:, *place] += columns[:, :, :, i, j]
    return padded[:, pad : pad + geometry.height, pad : pad + geometry.width]


def input_gradient_by_taps(gradient: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """The same, place by place; for float32 alone."""
    out = gradient.new_zeros(len(gradient), *geometry.sides, weight.shape[3])
    for place, _, rows, taps in _places(geometry):
        out[:, *rows].flatten(1).addmm_(gradient[:, *place], weight[:, *taps].flatten(1))
    return out


def weight_gradient_by_columns(x: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    """The gradient of the weight [O, k, k, C] from images and the gradient of the output; float32."""
    outputs, start = gradient.shape[3], 0
    rows, total = gradient.reshape(-1, outputs), None
    for columns in _columns(x, geometry):
        part = (rows[start : start + len(columns)].t() @ columns).float()
        start, total = start + len(columns), part if total is None else total.add_(part)
    return total.view(outputs, geometry.kernel, geometry.kernel, x.shape[3])


def weight_gradient_by_taps(x: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    """The same, one product for each tap of the kernel."""
    kernel, channels, outputs = geometry.kernel, x.shape[3], gradient.shape[3]
    x, gradient = (each.permute(1, 2, 0, 3).contiguous() for each in (x, gradient))  # [H, W, N, …]
    total = x.new_zeros(outputs, kernel, kernel, channels)
    reach = [[_reach(side, geometry, tap) for tap in range(kernel)] for side in geometry.sides]
    for i, (from_rows, to_rows) in enumerate(reach[0]):
        for j, (from_columns, to_columns) in enumerate(reach[1]):
            seen = x[from_rows, from_columns].reshape(-1, channels)
            if len(seen):
                given = gradient[to_rows, to_columns].reshape(-1, outputs)
                torch.mm(given.t(), seen, out=total[:, i, j])
    return total.float()


def _columns(x: Tensor, geometry: Geometry) -> Iterator[Tensor]:
    """What each output place sees, as [places of some images, k * k * C], at most COLUMNS bytes at once."""
    kernel, stride, padding = geometry.kernel, geometry.stride, geometry.padding
    (height, width), channels = geometry.output, x.shape[3]
    size = height * width * kernel * kernel * channels * x.element_size()
    for images in x.split(max(1, COLUMNS // size)):
        images = F.pad(images, (0, 0, padding, padding, padding, padding)) if padding else images
        n, h, w, c = images.stride()
        shape = len(images), height, width, kernel, kernel, channels
        seen = images.as_strided(shape, (n, h * stride, w * stride, h, w, c), images.storage_offset())
        yield seen.reshape(-1, kernel * kernel * channels)


def _places(
    geometry: Geometry,
) -> Iterator[tuple[tuple[int, int], bool, tuple[int, slice], tuple[int, slice]]]:
    """Every output place with each row that it sees.

    (row, column) of the place; whether this is its first row; where it looks in the input, a row and columns;
    the taps that look there, a row and columns. What lies in a row is contiguous, so nothing is copied.
    """
    (height, width), kernel = geometry.output, geometry.kernel
    for i in range(height):
        top = i * geometry.stride - geometry.padding
        taps = range(max(0, -top), min(kernel, geometry.height - top))
        for j in range(width):
            left = j * geometry.stride - geometry.padding
            first, end = max(0, -left), min(kernel, geometry.width - left)
            for a in taps:
                seen = top + a, slice(left + first, left + end)
                yield (i, j), a == taps[0], seen, (a, slice(first, end))


def _reach(side: int, geometry: Geometry, tap: int) -> tuple[slice, slice]:
    """Along one side: what a tap sees of the input, and the output places from which it sees that."""
    outputs = (side + 2 * geometry.padding - geometry.kernel) // geometry.stride + 1
    start = tap - geometry.padding
    seen = [i for i in range(outputs) if 0 <= i * geometry.stride + start < side]
    if not seen:
        return slice(0), slice(0)
    first, last = seen[0] * geometry.stride + start, seen[-1] * geometry.stride + start
    return slice(first, last + 1, geometry.stride), slice(seen[0], seen[-1] + 1)


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
