"""A trained network as one ONNX file: from the bytes of images to probabilities, without this course."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from resnet_course.common.errors import ArgumentError
from resnet_course.common.files import write_atomically
from resnet_course.inputs import views_of
from resnet_course.training.checkpoint import Checkpoint
from resnet_course.transfer import fused

NEEDED = ("onnx", "onnxscript")
LARGEST_WEIGHT = 2**15  # PyTorch keeps the weights of a resize in 16 bits, with their sign
MOST_BITS = 22


def export_onnx(checkpoint: Checkpoint, path: str | os.PathLike) -> Path:
    """Write a checkpoint as an ONNX file that answers as `predict` does.

    Its input "images" is uint8 [N, 3, S, S], RGB: N middle squares, scaled to S pixels a side, the
    checkpoint's stored_size. Images with a shorter side of more pixels than its shorter_side were scaled down
    to that before. Both take an antialiasing bilinear filter, such as Pillow's. Its output "probabilities" is
    float32 [N, C]. Scaling to the network's size, normalisation, the recipe's test views, temperature and
    softmax are inside. The metadata hold the class names ("classes", a JSON list), "stored_size",
    "shorter_side", "temperature", which is applied already, and "threshold", which is not: a class less
    probable than that is unknown; 0: none is.

    Returns `path`. Raises ArgumentError if a package that it takes is missing.
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ArgumentError(
            f"an ONNX file takes the packages {', '.join(NEEDED)}, and {', '.join(missing)} is not "
            "installed; install resnet-course[onnx]"
        )
    module = Deployed(checkpoint).eval()
    example = torch.zeros(2, 3, checkpoint.stored_size, checkpoint.stored_size, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, of what PyTorch is about to change
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_shapes=({0: torch.export.Dim("images_in_the_batch")},),
        )
    proto = program.model_proto
    facts = {
        "classes": json.dumps(checkpoint.classes, ensure_ascii=False),
        "stored_size": str(checkpoint.stored_size),
        "shorter_side": str(checkpoint.shorter_side),
        "temperature": str(checkpoint.temperature),
        "threshold": str(checkpoint.threshold or 0.0),
    }
    for key, value in facts.items():
        proto.metadata_props.add(key=key, value=value)
    return write_atomically(path, lambda file: file.write(proto.SerializeToString()))


class Deployed(nn.Module):
    """All that `predict` does to squares of bytes, as one module of plain operations."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        recipe = checkpoint.recipe
        self.views, self.temperature = recipe.test_views, checkpoint.temperature
        self.network = fused(checkpoint.model())
        self.scale = ByteResize(checkpoint.stored_size, recipe.image_size)
        self.register_buffer("mean", torch.tensor(recipe.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(recipe.std).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [N, 3, S, S] to probabilities, float32 [N, C]."""
        inputs = (self.scale(images) / 255 - self.mean) / self.std
        logits = self.network(torch.cat(views_of(inputs, self.views)))
        return (logits.unflatten(0, (self.views, -1)).mean(0) / self.temperature).softmax(1)


class ByteResize(nn.Module):
    """Bilinear scaling of bytes exactly as PyTorch does it: whole numbers as weights, bytes after each axis.

    Other programs scale in floating point, which differs by one level in places, and a network's probability
    by some thousandths. As two matrix products in 64 bits it is the same everywhere.
    Source: ATen/native/cpu/UpSampleKernel.cpp of PyTorch, the kernel for uint8.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.same = before == after
        weights, self.bits = _whole_weights(before, after)
        self.register_buffer("weights", torch.from_numpy(weights))

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [N, 3, before, before] to float32 [N, 3, after, after], whole numbers from 0 to 255."""
        if self.same:
            return images.float()
        rows = self._rounded(images.double() @ self.weights.T)
        return self._rounded(self.weights @ rows).float()

    def _rounded(self, sums: Tensor) -> Tensor:
        return (sums / 2**self.bits + 0.5).floor().clamp(0, 255)


def _whole_weights(before: int, after: int) -> tuple[np.ndarray, int]:
    """The weights of one axis, float64 [after, before], whole numbers; and by how many bits 1 is shifted."""
    scale = before / after
    width = max(1.0, scale)  # the triangle is as wide as a pixel of the smaller image
    centers = scale * (np.arange(after)[:, None] + 0.5) - 0.5
    if scale < 1:
        centers = centers.clip(0, before - 1)  # the edge is repeated
    weights = (1 - abs(np.arange(before)[None] - centers) / width).clip(0)
    weights /= weights.sum(1, keepdims=True)
    bits = min(MOST_BITS, math.floor(math.log2((LARGEST_WEIGHT - 0.5) / weights.max())))
    while bits and int(0.5 + weights.max() * 2**bits) >= LARGEST_WEIGHT:
        bits -= 1
    return np.floor(weights * 2**bits + 0.5), bits
