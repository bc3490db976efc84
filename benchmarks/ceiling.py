"""The ceiling: what the network reaches when time does not matter. All layers learn, at 224 pixels.

    uv run python benchmarks/ceiling.py --data … --weights … --data-is … --weights-are … --out DIR [--seed N]

Two cores take hours for a seed, and may do other work beside it: only accuracy is recorded. When it was
stopped, the same command goes on after the last whole epoch in DIR. The test split is looked at only
after the training is over.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path

import torch
from measuring import splits_of
from record import parser, record, recorded

from resnet_course.evaluation import evaluate
from resnet_course.recipes import TOP
from resnet_course.training import fit
from resnet_course.transfer import build_model

# Three epochs at 128 pixels and then two at 224 with half the rate ended lower than they began: 95.6% of
# validation for 96.0%. So all is learned at 224 pixels, in one training down to a rate of zero.
CEILING = replace(TOP, name="ceiling", train_from="all", layer_decay=0.7)


def main() -> None:
    """Train with one seed, or go on with it, and put it beside the seeds that are recorded."""
    arguments = parser(__doc__)
    arguments.add_argument("--out", required=True, type=Path, help="a folder for this seed alone")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    splits, recipe = splits_of(options), replace(CEILING, seed=options.seed)
    torch.manual_seed(recipe.seed)  # for the head
    model = build_model(len(splits.train.classes), options.weights, recipe.train_from, recipe.dropout)
    history = fit(model, splits.train, splits.val, recipe, out=options.out, resume=True)
    if history.interrupted:
        raise SystemExit("stopped: the same command goes on from here")
    predictions = evaluate(model, splits.test, history.recipe)
    runs = recorded("ceiling").get("runs", {}) | {
        f"seed_{recipe.seed}": {
            "test_accuracy_percent": round(100 * predictions.accuracy, 2),
            "interval_percent": [round(100 * end, 2) for end in predictions.interval()],
            "val_accuracy_percent": [round(100 * each, 2) for each in history.values("val_accuracy")],
            "test_pictures": len(predictions),
        }
    }
    accuracy = round(statistics.mean(run["test_accuracy_percent"] for run in runs.values()), 2)
    measured = {"test_accuracy_percent": accuracy, "test_pictures": len(predictions), "runs": runs}
    record("ceiling", measured, options.data_is, options.weights_are)


if __name__ == "__main__":
    main()
