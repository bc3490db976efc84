"""`Predictions` of a network on an `ImageSet`, and every metric from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_course import machine
from resnet_course.common.console import progress
from resnet_course.data.images import ImageSet
from resnet_course.features.cache import FeaturesError, network_for
from resnet_course.features.feature_set import FeatureSet
from resnet_course.inputs.batches import count_batches, eval_batches
from resnet_course.recipes import Recipe
from resnet_course.resnet.network import eval_mode


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a network said about a set of pictures whose labels are known.

    logits: float32 [N, C]. labels: int64 [N]. classes: C names. dataset: the name of the picture set.
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
        """The share of right predictions, 0 to 1."""
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
        """The accuracy on the pictures of each class (its recall); None where there are none."""
        totals = torch.bincount(self.labels, minlength=len(self.classes)).tolist()
        rights = torch.bincount(self.labels[self.correct], minlength=len(self.classes)).tolist()
        return {
            name: right / total if total else None
            for name, right, total in zip(self.classes, rights, totals, strict=True)
        }

    def ece(self, bins: int = 15) -> float:
        """Expected calibration error, 0 to 1: how far confidence and accuracy lie apart on average.

        Predictions are sorted into `bins` equal ranges of confidence; the gap between mean confidence and
        accuracy of each is weighted with its size. Source: Guo et al., 2017 (arXiv 1706.04599).
        """
        confidence = self.probabilities.max(1).values.double()
        bin_of = (confidence * bins).ceil().long().clamp(1, bins) - 1  # (0, 1/15], (1/15, 2/15], …
        gaps = torch.zeros(bins, dtype=torch.float64)
        gaps.index_add_(0, bin_of, confidence - self.correct.double())
        return float(gaps.abs().sum() / len(self))


def wilson_interval(right: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """The range of true accuracies that `right` of `total` is compatible with.

    Unlike accuracy ± z · standard error, it stays within 0 and 1 and holds for few pictures.
    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    if not 0 <= right <= total or total == 0:
        raise ValueError(
            f"{right} right of {total}: there must be at least one picture, and no more right than all"
        )
    share = right / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    low, high = ((centre - spread) / (1 + z * z / total), (centre + spread) / (1 + z * z / total))
    return max(0.0, low), min(1.0, high)


def evaluate(model: nn.Module, image_set: ImageSet | FeatureSet, recipe: Recipe) -> Predictions:
    """Run a network over all pictures, in eval mode, as the recipe's input size and normalisation ask.

    Of features it runs the head alone. The model is left in the mode it came in.
    Raises ValueError for an empty set, FeaturesError for features of another trunk or with too few views.
    """
    if not len(image_set):
        raise ValueError(f"{image_set.name} has no pictures to evaluate on")
    network, engine = network_for(model, image_set), machine.choose(recipe, image_set.kind)
    engine.place(model)  # outside of inference mode, or its weights could take no gradient afterwards
    total = count_batches(len(image_set), recipe, train=False)
    logits = []
    with torch.inference_mode(), eval_mode(model), engine.computing():
        for views in progress(_views(image_set, recipe), total=total, description="evaluating"):
            with engine.autocast():
                logits.append(mean_logits(network, map(engine.place, views)).cpu())
    return Predictions(torch.cat(logits), image_set.labels, image_set.classes, image_set.name)


def _views(image_set: ImageSet | FeatureSet, recipe: Recipe) -> Iterator[list[Tensor]]:
    """Batch after batch, as many views of it as the recipe asks for."""
    if isinstance(image_set, ImageSet):
        for inputs, _ in eval_batches(image_set, recipe):
            yield views_of(inputs, recipe)
        return
    if image_set.views < recipe.test_views:
        raise FeaturesError(
            f"the recipe looks at {recipe.test_views} views of a picture, and the features have "
            f"{image_set.views}; make them with cache_features(model, pictures, recipe, home)"
        )
    passes = [eval_batches(image_set, recipe, view) for view in range(recipe.test_views)]
    for batches in zip(*passes, strict=True):
        yield [inputs for inputs, _ in batches]


def views_of(inputs: Tensor, recipe: Recipe) -> list[Tensor]:
    """Pictures as they are; with 2 `test_views` mirrored too; with 6 both also moved up left and down right.

    inputs: float32 [N, 3, H, W], as `to_input` returns them. They are moved by 1/32 of their height, and the
    edge is repeated where nothing is left. Source of the six: Jordan, 2024 (arXiv 2404.00498), section 3.5.
    """
    views = [inputs, inputs.flip(-1)]
    if recipe.test_views > 2:
        height, width = inputs.shape[2:]
        by = max(1, height // 32)
        padded = [F.pad(view, (by,) * 4, mode="replicate") for view in views]
        for start in (0, 2 * by):
            views += [view[..., start : start + height, start : start + width] for view in padded]
    return views[: recipe.test_views]


def mean_logits(network: nn.Module, views: Iterable[Tensor]) -> Tensor:
    """The mean of what a network says about several views of the same pictures: float32 [N, C]."""
    return torch.stack([network(inputs).float() for inputs in views]).mean(0)
