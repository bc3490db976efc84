"""What each saving of notebook 04's waterfall costs in accuracy, on fewer images and over some seeds.

    uv run python benchmarks/savings.py --data folder:DIR --weights FILE --data-is … --weights-are …
        [--seeds 3]

Only the steps that compute something else are trained: the others change the rounding. So all of them run in
the fastest precision and layout. Each keeps its best epoch of VALIDATION images and is judged on test.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from tempfile import TemporaryDirectory

import torch
from record import parser, record, recorded

from resnet_course.common import console
from resnet_course.data import load
from resnet_course.evaluation import evaluate
from resnet_course.recipes import LAPTOP, ORIGINAL, Recipe
from resnet_course.settings import Settings
from resnet_course.training import fit
from resnet_course.transfer import build_model

IMAGES, VALIDATION = 2_500, 500


def steps() -> dict[str, Recipe]:
    """The original and what it becomes, as in the notebook."""
    plan = replace(ORIGINAL, precision="auto", memory_format="auto", select_on_test=False)
    found = {"original": plan}
    plan = replace(plan, augmentation="crop_flip_rotate", batchnorm_moves=False)
    found["pictures_as_tensors"] = plan
    found["fewer_pixels"] = plan = replace(plan, image_size=LAPTOP.image_size)
    found["larger_batches"] = plan = replace(plan, batch_size=LAPTOP.batch_size)
    found["trunk_once"] = plan = replace(plan, augmentation="none", cached_views=1)
    found["fewer_epochs"] = replace(plan, epochs=LAPTOP.epochs)
    return found


def main() -> None:
    """Train every step with every seed that is not recorded yet."""
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=3)
    options = arguments.parse_args()
    settings = replace(Settings.from_env(), data=options.data, weights=options.weights)
    splits = load(settings)
    images, val = splits.train.limit(IMAGES), splits.val.limit(VALIDATION)
    runs = recorded("savings").get("test_accuracy_percent", {})
    for seed in range(options.seeds):
        for name, recipe in steps().items():
            found = runs.setdefault(name, [])
            if len(found) > seed:
                continue
            recipe = replace(recipe, seed=seed)
            torch.manual_seed(seed)
            model = build_model(len(images.classes), options.weights, recipe.train_from, recipe.dropout)
            with console.quiet(), TemporaryDirectory() as home:
                fit(model, images, val, recipe, home=home)
                found.append(round(100 * evaluate(model, splits.test, recipe).accuracy, 2))
            means = {step: round(statistics.mean(values), 1) for step, values in runs.items() if values}
            spread = max(max(values) - min(values) for values in runs.values() if values)
            measured = {"pictures": len(images), "test_pictures": len(splits.test), "mean_percent": means}
            measured["largest_spread_points"] = round(spread, 1)
            record(
                "savings", measured | {"test_accuracy_percent": runs}, options.data_is, options.weights_are
            )


if __name__ == "__main__":
    main()
