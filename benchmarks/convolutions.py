"""A training step with each convolution in its fastest way, beside the same step with PyTorch's alone.

    uv run python benchmarks/convolutions.py --data folder:DIR --weights FILE --data-is … --weights-are …
        --machine avx512

Steps as `fit` takes them, from features computed once, batch and optimiser included: of layer4 at 96 pixels
and at 128, as the recipe `laptop` has it, and of layer3 and layer4 at 128. Each way runs in a process of its
own, in turn. An older processor is tried on a newer one by capping the instructions, in the environment:
ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 ATEN_CPU_CAPABILITY=avx2; the record names the cap.
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from dataclasses import replace

import torch
from measuring import WARM_UP, endless, in_new_process, in_turn, some_images, step_times
from record import named, parser, record

from resnet_course import machine
from resnet_course.features import cache_features, network_for
from resnet_course.recipes import LAPTOP, Recipe
from resnet_course.training import make_optimizer
from resnet_course.transfer import build_model

RECIPES = {
    "layer4_at_96": replace(LAPTOP, image_size=96),
    "layer4_at_128": LAPTOP,
    "layer3_at_128": replace(LAPTOP, train_from="layer3"),
}
STEPS, ROUNDS = 15, 3
MANY = 10_000  # steps of a training that is worth measuring for


def main() -> None:
    """Measure and record."""
    options = parser(__doc__).parse_args()
    measured: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as home:
        for name, recipe in RECIPES.items():
            engines: dict[str, str] = {}

            def way(which: str, recipe: Recipe = recipe, engines: dict[str, str] = engines) -> list[float]:
                times, engines[which] = in_new_process(steps, options, recipe, home, which == "fastest")
                return times

            median = in_turn(
                {which: lambda which=which: way(which) for which in ("pytorch", "fastest")}, ROUNDS
            )
            measured[name] = {
                "pytorch_milliseconds": round(median["pytorch"], 1),
                "fastest_milliseconds": round(median["fastest"], 1),
                "ratio": round(median["fastest"] / median["pytorch"], 3),
                "engines": engines,
            }
    measured["small_convolution_in_bf16_times_as_fast"] = round(machine.probe().bf16_gain, 2)
    record(named("convolutions", options), measured, options.data_is, options.weights_are)


def steps(options: Namespace, recipe: Recipe, home: str, fastest: bool) -> tuple[list[float], str]:
    """Milliseconds of steps on features, and on which engine."""
    torch.manual_seed(0)
    images = some_images(options)
    model = build_model(len(images.classes), options.weights, recipe.train_from, recipe.dropout)
    features = cache_features(model, images, recipe, home, views=recipe.cached_views)
    network, engine = network_for(model, features), machine.choose(recipe, "features")
    if fastest:
        one = features.read(torch.zeros(1, dtype=torch.int64))
        precisions = machine.precisions_to_try(recipe, "features", engine)
        engine = machine.tuned_in_any_precision(engine, precisions, network, one, recipe.batch_size, MANY)
    engine.place(network)
    with engine.computing():
        batches, optimizer = endless(features, recipe), make_optimizer(model, recipe)
        times = step_times(network, batches, optimizer, engine, WARM_UP + STEPS)
    return times[WARM_UP:], str(engine)


if __name__ == "__main__":
    main()
