"""How reliably a deeper plain stack is worse: the experiment of notebook 01, section 1, over seeds.

uv run python benchmarks/degradation.py --images 900 --width 8 --data shapes --weights none …
uv run python benchmarks/degradation.py --images 5000 --width 16 --data folder:DIR --weights none …
"""

from __future__ import annotations

from dataclasses import replace
from statistics import mean

import torch
from record import parser, record

from resnet_course.data import load
from resnet_course.recipes import STACK
from resnet_course.resnet.stacks import stack
from resnet_course.settings import Settings
from resnet_course.training import fit

DEPTHS = (8, 38)


def main() -> None:
    """Train the four stacks for every seed and record their training errors."""
    arguments = parser(__doc__)
    arguments.add_argument("--images", type=int, required=True)
    arguments.add_argument("--width", type=int, required=True)
    arguments.add_argument("--seeds", type=int, default=10)
    options = arguments.parse_args()
    splits = load(Settings(mode="reduced" if options.data == "shapes" else "laptop", data=options.data))
    rows = []
    for seed in range(options.seeds):
        train, val = splits.train.limit(options.images, seed), splits.val.limit(200, seed)
        row = {}
        for skip in (False, True):
            for depth in DEPTHS:
                torch.manual_seed(seed)
                model = stack(depth, skip=skip, width=options.width)
                history = fit(model, train, val, replace(STACK, seed=seed))
                name = f"{'skip' if skip else 'plain'}_{depth}"
                row[name] = round(100 * (1 - history.epochs[-1]["train_accuracy"]), 1)
        rows.append(row)
        print(seed, row, flush=True)
    shallow, deep = DEPTHS
    measured = {
        "pictures": options.images,
        "width": options.width,
        "seeds": options.seeds,
        "deeper_plain_is_worse": sum(row[f"plain_{deep}"] > row[f"plain_{shallow}"] for row in rows),
        "deeper_with_skips_is_better": sum(row[f"skip_{deep}"] < row[f"skip_{shallow}"] for row in rows),
        "mean_training_error_percent": {name: round(mean(row[name] for row in rows), 1) for name in rows[0]},
        "training_error_percent_by_seed": rows,
    }
    name = "shapes" if options.data == "shapes" else "pictures"
    record(f"degradation_{name}", measured, options.data_is, options.weights_are)


if __name__ == "__main__":
    main()
