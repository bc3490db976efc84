"""`Recipe`: how a network is trained, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from resnet_course.common.errors import CourseError
from resnet_course.inputs.augmentations import AUGMENTATIONS, MIXES
from resnet_course.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD
from resnet_course.inputs.views import VIEWS
from resnet_course.recipes.optimizers import OPTIMIZERS
from resnet_course.recipes.schedules import SCHEDULES
from resnet_course.transfer.parts import TRAIN_FROM

# The values that a field may have; each registry holds what its names do.
LEGAL: dict[str, tuple[Any, ...]] = {
    "augmentation": tuple(AUGMENTATIONS),
    "mix": tuple(MIXES),
    "optimizer": tuple(OPTIMIZERS),
    "schedule": tuple(SCHEDULES),
    "precision": ("auto", "fp32", "bf16"),
    "memory_format": ("auto", "channels_last", "contiguous"),
    "train_from": TRAIN_FROM,
    "head": ("random", "linear_probe"),
    "test_views": VIEWS,
}
# Images that BatchNorm's statistics are taken from, before a head starts as a linear probe.
STATISTICS_OF = 1_000


class RecipeError(CourseError, ValueError):
    """A recipe has a value that it cannot have. The message lists the legal ones."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. `dataclasses.replace(LAPTOP, epochs=5)` makes a variant.

    Raises RecipeError for a value outside the legal ones.
    """

    name: str
    # What the network sees
    image_size: int  # pixels a side of the network's input
    augmentation: str = "crop_flip"  # see inputs/augmentations.py
    crop_scale: tuple[float, float] = (0.35, 1.0)  # what share of a photograph's area a random crop shows
    mix: str = "none"  # of pairs of images, and of their labels
    mean: tuple[float, float, float] = IMAGENET_MEAN  # a pretrained trunk expects the statistics it learned
    std: tuple[float, float, float] = IMAGENET_STD  #   with, whatever the new images' own are
    # What is trained
    train_from: str = "all"
    head: str = "random"  # how it starts; linear_probe: as the best linear layer on the pretrained features
    dropout: float = 0.0
    # How
    epochs: int = 1
    batch_size: int = 128
    optimizer: str = "adamw"
    learning_rate: float = 1e-3  # the highest of the schedule
    weight_decay: float = 0.05
    decay_all: bool = False  # True: BatchNorm's weights and biases are decayed too
    layer_decay: float = 1.0  # a part's rate, times that of the part after it; below 1: discriminative rates
    schedule: str = "one_cycle"
    average: float = 0.0  # of the weights over the steps: what stays at each step; 0: no averaging
    label_smoothing: float = 0.0
    precision: str = "auto"  # auto: what a two-second probe finds fastest here
    memory_format: str = "auto"
    seed: int = 0  # of this phase and of all before it
    # What saves time
    cached_views: int = 0  # of every image, sent through the frozen trunk once and kept; 0: none is
    first: Recipe | None = None  # trained before this one, which goes on from its weights
    # How it is used
    test_views: int = 1  # 2: with its mirror image; 6: also both, moved a little; the mean of the logits
    # Flaws of the original, kept so that they can be measured; no other recipe sets them
    batchnorm_moves: bool = False  # frozen BatchNorm stays in training mode
    select_on_test: bool = False  # the best epoch is chosen on the test split

    def __post_init__(self) -> None:
        for field, legal in LEGAL.items():
            value = getattr(self, field)
            if value not in legal:
                raise RecipeError(f"{field} is {value!r}; it must be one of: {', '.join(map(str, legal))}")
        # Batches of one are refused because BatchNorm cannot learn from a single image.
        lowest = {"image_size": 1, "epochs": 1, "batch_size": 2, "cached_views": 0, "seed": 0}
        for field, least in lowest.items():
            value = getattr(self, field)
            if not isinstance(value, int) or value < least:
                raise RecipeError(f"{field} is {value!r}; it must be a whole number from {least} on")
        self._check_numbers()
        if self.mix != "none" and AUGMENTATIONS[self.augmentation].image_by_image:
            raise RecipeError(
                f"mix is {self.mix!r}, but the augmentation {self.augmentation!r} changes images one by one, "
                "and pairs are mixed in a batch; take another augmentation, or mix 'none'"
            )
        if self.mix != "none" and self.cached_views:
            kept = f"mix is {self.mix!r} and cached_views {self.cached_views!r}, but features cannot be mixed"
            raise RecipeError(f"{kept}; take cached_views 0, or mix 'none'")
        if self.cached_views and self.train_from == "all":
            raise RecipeError(
                f"cached_views is {self.cached_views!r} and train_from 'all', but only what is frozen can be "
                f"kept; take cached_views 0, or train_from one of: {', '.join(TRAIN_FROM[1:])}"
            )

    def _check_numbers(self) -> None:
        """Raise RecipeError unless every number lies in its range."""
        for field, right, legal in (
            ("dropout", 0 <= self.dropout < 1, "from 0 up to, not including, 1"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "from 0 up to, not including, 1"),
            ("average", 0 <= self.average < 1, "from 0 up to, not including, 1"),
            ("layer_decay", 0 < self.layer_decay <= 1, "above 0 and at most 1"),
            ("learning_rate", self.learning_rate > 0, "above 0"),
            ("weight_decay", self.weight_decay >= 0, "0 or more"),
            ("std", min(self.std) > 0, "above 0 in every channel"),
            ("crop_scale", _is_range(self.crop_scale), "two shares of 1, the smaller one first"),
        ):
            if not right:
                raise RecipeError(f"{field} is {getattr(self, field)!r}; it must be {legal}")

    @property
    def phases(self) -> tuple[Recipe, ...]:
        """This recipe and those that are trained before it, in order, all with its seed."""
        earlier = self.first.phases if self.first else ()
        return (*(replace(phase, seed=self.seed) for phase in earlier), self)

    @property
    def all_epochs(self) -> int:
        """The epochs of all phases together."""
        return sum(phase.epochs for phase in self.phases)

    @property
    def validation_views(self) -> int:
        """The views that `fit` validates with: of six the first two must do, in a third of the time."""
        return min(2, self.test_views)

    def phase_after(self, epochs: int) -> tuple[int, Recipe]:
        """The phase of the epoch that comes after so many: (epochs before the phase, the phase).

        epochs: from 0; after all of them it is the last phase.
        """
        start = 0
        for phase in self.phases:
            if epochs < start + phase.epochs:
                break
            start += phase.epochs
        else:
            start -= phase.epochs
        return start, phase

    def validating(self) -> Recipe:
        """This recipe as `fit` validates: with fewer views."""
        return replace(self, test_views=self.validation_views)

    def with_epochs(self, epochs: int) -> Recipe:
        """This recipe with so many epochs in all, shared among its phases in their proportions.

        epochs: from 1. A phase that would get none is left out. Raises RecipeError for fewer.
        """
        replace(self, epochs=epochs)  # refuses what is not a whole number from 1 on
        quotas = [epochs * phase.epochs / self.all_epochs for phase in self.phases]
        counts = [int(quota) for quota in quotas]
        by_remainder = sorted(range(len(quotas)), key=lambda n: counts[n] - quotas[n])
        for n in by_remainder[: epochs - sum(counts)]:
            counts[n] += 1
        recipe = None
        for phase, count in zip(self.phases, counts, strict=True):
            if count:
                recipe = replace(phase, epochs=count, first=recipe)
        return replace(recipe, name=self.name)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain numbers, strings, lists and dicts, for a checkpoint."""
        return {
            name: list(v) if isinstance(v, tuple) else v
            for name, v in (asdict(self) | {"first": self.first and self.first.to_dict()}).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe in a checkpoint. A field that this version does not know is passed over."""
        known = {field.name for field in fields(cls)}
        values = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items() if n in known}
        if first := values.get("first"):
            values["first"] = cls.from_dict(first)
        if values.get("cached_views"):
            values["mix"] = "none"  # earlier versions took both, and mixed no features
        return cls(**values)


def _is_range(shares: tuple[float, ...]) -> bool:
    return len(shares) == 2 and 0 < shares[0] <= shares[1] <= 1
