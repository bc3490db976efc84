"""Views: one image seen more than once, so that a network's answers can be averaged."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from resnet_course.common.errors import ArgumentError

VIEWS = (1, 2, 6)  # the numbers of views that there are; `Recipe.test_views` is one of them


def views_of(inputs: Tensor, count: int) -> list[Tensor]:
    """With 1 the images as they are; with 2 mirrored too; with 6 both also moved up left and down right.

    inputs: float32 [N, 3, H, W], as `to_input` returns them. They are moved by 1/32 of their height, and the
    edge is repeated where nothing is left. count: one of `VIEWS`.
    Returns `count` tensors like `inputs`. Raises ArgumentError for another count.
    Source of the six: Jordan, 2024 (arXiv 2404.00498), section 3.5.
    """
    if count not in VIEWS:
        raise ArgumentError(f"{count!r} views; there are {', '.join(map(str, VIEWS))}")
    views = [inputs, inputs.flip(-1)]
    if count > 2:
        height, width = inputs.shape[2:]
        by = max(1, height // 32)
        padded = [F.pad(view, (by,) * 4, mode="replicate") for view in views]
        for start in (0, 2 * by):
            views += [view[..., start : start + height, start : start + width] for view in padded]
    return views[:count]
