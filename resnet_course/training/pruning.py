"""Data pruning: which images an epoch learns from."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from resnet_course.machine import distributed


class DataPruning:
    """Leaves out of an epoch a share of the images that the network knows, and draws them anew for the next.

    It knows those whose loss lay below the mean of all when it last learned from them. Of these a share is
    left out, and each of the others weighs as much more: on average a step goes where it would with all.
    images: how many there are. losses: of each, float32 [N]; infinity: it was not learned from yet.
    weights: how much each image counts in this epoch, float32 [N].
    Source: Qin et al., "InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning", 2024
    (arXiv 2303.04947).
    """

    def __init__(self, images: int) -> None:
        self.losses = torch.full((images,), math.inf)
        self.weights = torch.ones(images)
        self._noted = torch.zeros(2, images)  # in this epoch, by this process: loss, and whether

    def draw(self, share: float, generator: torch.Generator) -> Tensor:
        """The images of the next epoch as indices, int64 [M], in their order; for a share of 0 all."""
        mean = self.losses[self.losses.isfinite()].mean()  # NaN in the first epoch
        known = (self.losses < mean) & (share > 0)
        self.weights = torch.ones(len(known)).masked_fill(known, 1 / (1 - share))
        left_out = known & (torch.rand(len(known), generator=generator) < share) if share else known
        return left_out.logical_not().nonzero().flatten()

    def weigh(self, indices: Tensor, losses: Tensor) -> Tensor:
        """Note the losses of some images, float32 [B]. Returns their weights, float32 [B]."""
        self._noted[0, indices], self._noted[1, indices] = losses.float().cpu(), 1.0
        return self.weights[indices].to(losses.device)

    def gather(self) -> None:
        """Take over the losses that all processes have noted."""
        losses, noted = distributed.all_reduce_sum(self._noted)
        self.losses = torch.where(noted > 0, losses.float(), self.losses)
        self._noted.zero_()
