"""`Predictions` of a network on a set of labelled images, and `evaluate`, which makes them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_course import machine
from resnet_course.common.console import progress
from resnet_course.common.errors import ArgumentError
from resnet_course.common.stops import keeping_stops
from resnet_course.data.images import LabelledSet
from resnet_course.evaluation.calibration import reliability
from resnet_course.features import network_for
from resnet_course.inputs.batches import count_batches, view_batches
from resnet_course.recipes import Recipe
from resnet_course.resnet.network import eval_mode


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a network said about images whose labels are known.

    logits: float32 [N, C]. labels: int64 [N]. classes: C names. dataset: the name of the image set.
    """

    logits: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    dataset: str

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def probabilities(self) -> Tensor:
        """float32 [N, C], rows that sum to 1."""
        return self.logits.softmax(1)

    @property
    def predicted(self) -> Tensor:
        """int64 [N]: the class with the highest logit (the first of them at a tie)."""
        return self.logits.argmax(1)

    @property
    def correct(self) -> Tensor:
        """bool [N]."""
        return self.predicted == self.labels

    @property
    def accuracy(self) -> float:
        """The part of the predictions that are right, 0 to 1."""
        return float(self.correct.double().mean())

    @property
    def loss(self) -> float:
        """The mean cross-entropy, in nats."""
        return float(F.cross_entropy(self.logits, self.labels))

    def interval(self, confidence_z: float = 1.96) -> tuple[float, float]:
        """Wilson's interval for the accuracy; z = 1.96 covers the true accuracy in 95 of 100 cases."""
        return wilson_interval(int(self.correct.sum()), len(self), confidence_z)

    @property
    def per_class(self) -> dict[str, float | None]:
        """The accuracy on the images of each class (its recall); None where there are none."""
        totals = torch.bincount(self.labels, minlength=len(self.classes)).tolist()
        rights = torch.bincount(self.labels[self.correct], minlength=len(self.classes)).tolist()
        return {
            name: right / total if total else None
            for name, right, total in zip(self.classes, rights, totals, strict=True)
        }

    def ece(self, bins: int = 15, equal_mass: bool = False) -> float:
        """Expected calibration error, 0 to 1: how far confidence and accuracy lie apart on average.

        The gap between mean confidence and accuracy in each bin, weighted with its predictions. bins, and
        equal_mass, as in `reliability`. Source: Guo et al., 2017 (arXiv 1706.04599).
        """
        filled = [b for b in reliability(self, bins, equal_mass) if b.count]
        return sum(b.count * abs(b.confidence - b.accuracy) for b in filled) / len(self)


def wilson_interval(right: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """The range of true accuracies that `right` of `total` is compatible with.

    Unlike accuracy ± z · standard error, it stays within 0 and 1 and holds for few images.
    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    if not 0 <= right <= total or total == 0:
        raise ArgumentError(
            f"{right} right of {total}: there must be at least one image, and no more right than all"
        )
    share = right / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    low, high = ((centre - spread) / (1 + z * z / total), (centre + spread) / (1 + z * z / total))
    # By rounding, 12 right of 12 would end at 0.9999999999999998.
    return min(share, max(0.0, low)), max(share, min(1.0, high))


@keeping_stops()
def evaluate(model: nn.Module, labelled_set: LabelledSet, recipe: Recipe) -> Predictions:
    """Run a network over all images, in eval mode, as the recipe's input size, normalisation and views ask.

    Of features it runs the head alone. It computes on the recipe's engine; the model is left where and in
    which mode it was, and the results lie on the CPU.
    Raises ArgumentError for an empty set, FeaturesError for features of another trunk or with too few views.
    """
    if not len(labelled_set):
        raise ArgumentError(f"{labelled_set.name} has no images to evaluate on")
    network, engine = network_for(model, labelled_set), machine.choose(recipe, labelled_set.kind)
    total = count_batches(len(labelled_set), recipe, train=False)
    logits = []
    with engine.hosting(model), torch.inference_mode(), eval_mode(model), engine.computing():
        for views in progress(view_batches(labelled_set, recipe), total=total, description="evaluating"):
            with engine.autocast():
                logits.append(mean_logits(network, map(engine.place, views)).cpu())
    return Predictions(torch.cat(logits), labelled_set.labels, labelled_set.classes, labelled_set.name)


def mean_logits(network: nn.Module, views: Iterable[Tensor]) -> Tensor:
    """The mean of what a network says about several views of the same images: float32 [N, C]."""
    return torch.stack([network(inputs).float() for inputs in views]).mean(0)
