"""What data pruning saves in FULL and what it costs, beside all images in every epoch and beside chance.

    uv run python benchmarks/data_pruning.py --data … --weights … --data-is … --weights-are … [--seed N]
        VARIANT…

Variants: "all" images in every epoch, "pruned" as the recipe says, "at_random" (the control: as many left
out, whatever their loss). Each is recorded as soon as it is done, beside those from before. The test split
is not looked at.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from unittest.mock import patch

import torch
from measuring import splits_of
from record import named, parser, record, recorded
from torch import Tensor

from resnet_course.data import Splits
from resnet_course.recipes import FULL, Recipe
from resnet_course.training import fit, state
from resnet_course.training.pruning import DataPruning
from resnet_course.transfer import build_model


class AtRandom(DataPruning):
    """Leaves out as many images, but any, and all others count the same."""

    def draw(self, share: float, generator: torch.Generator) -> Tensor:
        """The images of the next epoch as indices, int64 [M]."""
        count = len(super().draw(share, generator))
        self.weights.fill_(1.0)
        return torch.randperm(len(self.weights), generator=generator)[:count]


def train(variant: str, splits: Splits, weights: str, seed: int) -> dict[str, object]:
    """The figures of one training: minutes from decoded images on, and validation after every epoch."""
    recipe = replace(_without_pruning(FULL) if variant == "all" else FULL, seed=seed)
    torch.manual_seed(seed)  # for the head
    model = build_model(len(splits.train.classes), weights, recipe.train_from, recipe.dropout)
    with patch.object(state, "DataPruning", AtRandom if variant == "at_random" else DataPruning):
        history = fit(model, splits.train, splits.val, recipe)
    if history.interrupted:
        raise SystemExit("stopped: nothing of this training is recorded")
    return {
        "minutes": round(history.seconds / 60, 2),
        "val_accuracy_percent": [round(100 * each, 2) for each in history.values("val_accuracy")],
        "train_images": history.values("train_images"),
        "epoch_seconds": [round(each, 1) for each in history.values("seconds")],
    }


def _without_pruning(recipe: Recipe) -> Recipe:
    first = recipe.first and _without_pruning(recipe.first)
    return replace(recipe, data_pruning=0.0, first=first)


def main() -> None:
    """Train the variants that are asked for, and put them beside what is recorded."""
    arguments = parser(__doc__)
    arguments.add_argument("variants", nargs="+", choices=("all", "pruned", "at_random"), metavar="VARIANT")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    name, splits = named("data_pruning", options), splits_of(options)
    for variant in options.variants:
        found = train(variant, splits, options.weights, options.seed)
        runs = recorded(name).get(variant, {}).get("runs", {}) | {f"seed_{options.seed}": found}
        of_all = {
            "minutes": round(statistics.mean(run["minutes"] for run in runs.values()), 2),
            "last_val_accuracy_percent": round(
                statistics.mean(run["val_accuracy_percent"][-1] for run in runs.values()), 2
            ),
            "val_pictures": len(splits.val),
            "runs": runs,
        }
        record(name, recorded(name) | {variant: of_all}, options.data_is, options.weights_are)


if __name__ == "__main__":
    main()
