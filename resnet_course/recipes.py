"""Named sets of hyper-parameters, the reason beside each value. Does no work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

LEGAL = {
    "augmentation": (
        *("none", "flip", "vertical_flip", "crop_flip", "crop_flip_rotate", "trivial"),
        "original",
    ),
    "mix": ("none", "mixup", "cutmix"),
    "optimizer": ("adamw", "sgd"),
    "schedule": ("one_cycle", "plateau", "constant"),
    "precision": ("auto", "fp32", "bf16"),
    "memory_format": ("auto", "channels_last", "contiguous"),
    "train_from": ("all", "layer1", "layer2", "layer3", "layer4", "fc"),
    "test_views": (1, 2, 6),
}


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. `dataclasses.replace(LAPTOP, epochs=5)` makes a variant.

    Raises ValueError for a value outside the legal ones.
    """

    name: str
    # What the network sees
    image_size: int  # pixels a side of the network's input
    augmentation: str = "crop_flip"  # see augment.py
    mix: str = "none"  # of pairs of pictures, and of their labels
    mean: tuple[float, float, float] = IMAGENET_MEAN  # a pretrained trunk expects the statistics it learned
    std: tuple[float, float, float] = IMAGENET_STD  #   with, whatever the new pictures' own are
    # What is trained
    train_from: str = "all"
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
    average: float = 0.0  # of the weights over the steps: the share that stays at each step; 0: no averaging
    label_smoothing: float = 0.0
    precision: str = "auto"  # auto: what a one-second probe finds fastest here
    memory_format: str = "auto"
    seed: int = 0
    # What saves time
    cached_views: int = 0  # of every picture, sent through the frozen trunk once and kept; 0: none is
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
                raise ValueError(f"{field} is {value!r}; it must be one of: {', '.join(map(str, legal))}")
        if self.mix != "none" and self.augmentation == "original":
            raise ValueError(
                f"mix is {self.mix!r}, but the augmentation 'original' changes pictures one by one, and "
                "pairs are mixed in a batch; take another augmentation, or mix 'none'"
            )
        if self.cached_views and self.train_from == "all":
            raise ValueError(
                f"cached_views is {self.cached_views!r} and train_from 'all', but only what is frozen can be "
                f"kept; take cached_views 0, or train_from one of: {', '.join(LEGAL['train_from'][1:])}"
            )
        if not isinstance(self.cached_views, int) or self.cached_views < 0:
            raise ValueError(f"cached_views is {self.cached_views!r}; it must be a whole number from 0 on")
        for field in ("image_size", "epochs", "batch_size"):
            value = getattr(self, field)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{field} is {value!r}; it must be a whole number from 1 on")
        if not 0 <= self.dropout < 1 or not 0 <= self.label_smoothing < 1:
            raise ValueError(
                f"dropout is {self.dropout!r} and label_smoothing {self.label_smoothing!r}; "
                "both must be from 0 up to, not including, 1"
            )
        if not 0 <= self.average < 1 or not 0 < self.layer_decay <= 1:
            raise ValueError(
                f"average is {self.average!r} and layer_decay {self.layer_decay!r}; the first must be from 0 "
                "up to, not including, 1, the second above 0 and at most 1"
            )
        if not self.learning_rate > 0 or not self.weight_decay >= 0:
            raise ValueError(
                f"learning_rate is {self.learning_rate!r} and weight_decay {self.weight_decay!r}; "
                "the first must be above 0, the second 0 or more"
            )

    @property
    def phases(self) -> tuple[Recipe, ...]:
        """This recipe and those that are trained before it, in order."""
        return (*(self.first.phases if self.first else ()), self)

    @property
    def validation_views(self) -> int:
        """The views that `fit` validates with: of six the first two must do, in a third of the time."""
        return min(2, self.test_views)

    @property
    def all_epochs(self) -> int:
        """The epochs of all phases together."""
        return sum(phase.epochs for phase in self.phases)

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
        return cls(**values)


# The published walk-through, exactly: the yardstick for all that follows. About four hours on two cores.
ORIGINAL = Recipe(
    name="original",
    image_size=224,
    augmentation="original",
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2023, 0.1994, 0.2010),  # the mean of the pictures' own stds, not the std of all pixels
    train_from="layer4",
    dropout=0.5,
    epochs=10,
    batch_size=32,
    learning_rate=5e-4,
    weight_decay=1e-4,
    decay_all=True,
    schedule="plateau",
    precision="fp32",
    memory_format="contiguous",
    batchnorm_moves=True,
    select_on_test=True,
)

# A good result in minutes on an ordinary processor. The values come from benchmarks/frontier.py.
LAPTOP = Recipe(
    name="laptop",
    image_size=96,  # a fifth of the work of 224 pixels; the network pools whatever it is given
    augmentation="flip",  # two views, so two passes through the trunk; a crop for every epoch would be four
    train_from="layer4",  # all before it knows photographs already, and is computed once
    cached_views=2,
    epochs=4,
    batch_size=128,
    learning_rate=1e-3,
    test_views=2,  # twice the small cost of a forward pass, for a second opinion
)

# For own pictures, from ten to a few hundred of each class: seconds.
FEW = replace(
    LAPTOP,
    name="few",
    image_size=128,  # with few pictures the trunk pass is short whatever the size
    epochs=12,  # few pictures make short epochs
    batch_size=32,  # and small batches more steps
)

# The best in about twenty minutes: two trainings, each down to a rate of zero, because after the first it is
# worth using already; the second looks closer. Small pictures first: in the beginning there is much to learn
# that does not need the large ones.
FULL_FIRST = Recipe(
    name="full, first phase",
    image_size=128,
    train_from="layer3",
    epochs=4,
    batch_size=128,
    learning_rate=1e-3,  # for the new head
    layer_decay=0.6,  # so layer4 learns with 0.6 of that, and layer3 with 0.36
    test_views=6,
)
FULL = replace(
    FULL_FIRST,
    name="full",
    image_size=160,  # most is learned already, and a closer look finds the rest
    epochs=3,
    learning_rate=5e-4,  # what is learned already is to be mended, not replaced
    first=FULL_FIRST,
)

# Seconds, for tests: small pictures, and nothing chosen by a measurement, so that every run is the same.
REDUCED = Recipe(
    name="reduced",
    image_size=32,
    train_from="all",
    epochs=3,
    batch_size=64,
    learning_rate=2e-3,
    precision="fp32",
    memory_format="channels_last",
)

# For experiments that change one thing at a time: all layers, random crops, nothing computed beforehand.
PLAIN = Recipe(name="plain", image_size=64, epochs=2, test_views=2)

# For the small stacks of notebook 01, which are compared by their training error: nothing is drawn at random
# but the weights and the order, and the learning rate is one that suits plain and residual stacks alike.
STACK = Recipe(
    name="stack",
    image_size=32,
    augmentation="none",
    train_from="all",
    epochs=5,
    batch_size=24,
    learning_rate=2e-3,
    precision="fp32",
    memory_format="channels_last",
)

RECIPES = {recipe.name: recipe for recipe in (ORIGINAL, LAPTOP, FULL, FEW, REDUCED)}


def for_mode(mode: str) -> Recipe:
    """The recipe that the notebooks train with in a mode: "reduced", "laptop" or "full"."""
    return RECIPES[mode]


def plain_for_mode(mode: str) -> Recipe:
    """The recipe that the notebooks' small experiments start from in a mode."""
    return REDUCED if mode == "reduced" else PLAIN
