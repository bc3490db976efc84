"""Whether a linear probe's validation accuracy lies above that on photographs kept back, and why.

    uv run python benchmarks/validation_gap.py --data folder:DIR --weights FILE --data-is … --weights-are …
        [--seeds 10]

In every split three of ten photographs are kept back, and the loader sets a tenth of the others aside to
validate with. It goes by their content, so those are nearly the same photographs in every split: the gaps of
ten splits do not vary as ten draws would. So photographs that were kept back are also told apart by the side
that the loader would have put them on: if its validation side is easier even there, the gap is the luck of
one draw, and not of what training did.
"""

from __future__ import annotations

import math
import statistics
from argparse import Namespace
from collections import defaultdict
from dataclasses import replace
from typing import Any

from kept_back import kept_back
from record import parser, record

from resnet_course.data.sources import VALIDATION
from resnet_course.data.splitting import split_by_content
from resnet_course.evaluation import evaluate
from resnet_course.evaluation.summaries import paired_difference
from resnet_course.recipes import strategy
from resnet_course.training import fit
from resnet_course.transfer import build_model


def main() -> None:
    """Measure all splits, and record them."""
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=10)
    options = arguments.parse_args()
    right: dict[str, dict[str, list[bool]]] = {"val": defaultdict(list), "train": defaultdict(list)}
    runs = [_measure(options, seed, right) for seed in range(options.seeds)]
    gap = paired_difference(*([run[name] / 100 for run in runs] for name in ("val_percent", "kept_percent")))
    found = {
        "runs": runs,
        "gap_points": round(100 * gap.mean, 2),
        "margin_points": round(100 * gap.margin, 2),
    }
    record("validation_gap", found | _by_side(right), options.data_is, options.weights_are)


def _measure(options: Namespace, seed: int, right: dict[str, dict[str, list[bool]]]) -> dict[str, float]:
    """One split: accuracies in percent; `right` gets the answers on every photograph kept back, by side."""
    with kept_back(options, seed) as (scratch, splits):
        recipe = replace(strategy("head", len(splits.train)), seed=seed, test_views=2)
        model = build_model(len(splits.train.classes), options.weights, recipe.train_from, 0.0)
        fit(model, splits.train, splits.val, recipe, home=scratch)
        val = evaluate(model, splits.val, recipe).accuracy
        sides = split_by_content(splits.test, {"val": VALIDATION, "train": 1 - VALIDATION})
        kept = 0
        for name, side in sides.items():
            answers = evaluate(model, side, recipe).correct.tolist()
            kept += sum(answers)
            for digest, answer in zip(side.groups, answers, strict=True):
                right[name][digest].append(answer)
    return {"val_percent": round(100 * val, 2), "kept_percent": round(100 * kept / len(splits.test), 2)}


def _by_side(right: dict[str, dict[str, list[bool]]]) -> dict[str, Any]:
    """The accuracy of either side, each photograph counted once, and their difference with its interval."""
    means = {name: [statistics.fmean(each) for each in answers.values()] for name, answers in right.items()}
    share = {name: statistics.fmean(values) for name, values in means.items()}
    variance = sum(statistics.variance(values) / len(values) for values in means.values())
    return {
        "val_side_percent": round(100 * share["val"], 2),
        "train_side_percent": round(100 * share["train"], 2),
        "val_side_pictures": len(means["val"]),
        "train_side_pictures": len(means["train"]),
        "sides_differ_points": round(100 * (share["val"] - share["train"]), 2),
        "sides_margin_points": round(196 * math.sqrt(variance), 2),
    }


if __name__ == "__main__":
    main()
