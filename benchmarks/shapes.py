"""What the drawn images and the built-in weights are good for.

    uv run python benchmarks/shapes.py

A small ResNet-18 from random weights, trained for about a minute; then twenty images a class, with the
built-in weights and from random, each at its own best learning rate (chosen on validation images).
"""

from __future__ import annotations

import argparse
import functools
import time
from dataclasses import replace
from statistics import mean

import torch
from record import record

from resnet_course.data import ImageSet, shapes
from resnet_course.evaluation import evaluate
from resnet_course.recipes import REDUCED
from resnet_course.resnet import resnet18
from resnet_course.training import fit
from resnet_course.transfer import build_model

MINUTE = replace(REDUCED, image_size=64, epochs=5, batch_size=128, learning_rate=4e-3)
FEW = replace(REDUCED, epochs=12, batch_size=20)
LEARNING_RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
SEEDS = range(5)


@functools.cache
def test_images() -> ImageSet:
    """What no training has seen."""
    return shapes.draw(2_000, seed=2_000_000)


def a_minute() -> dict[str, float]:
    """Train from random weights on 20,000 images."""
    torch.manual_seed(0)
    model = resnet18(10, width=16)
    train, val = shapes.draw(20_000, seed=0), shapes.draw(1_000, seed=1_000_000)
    start = time.perf_counter()
    fit(model, train, val, MINUTE)
    seconds = time.perf_counter() - start
    accuracy = evaluate(model, test_images(), MINUTE).accuracy
    return {"seconds": round(seconds, 1), "test_accuracy_percent": round(100 * accuracy, 1)}


def few(weights: str) -> dict[str, float]:
    """Fine-tune on 20 images a class: mean test accuracy over the seeds, at the best of the rates."""
    by_rate = {rate: [few_once(weights, rate, seed) for seed in SEEDS] for rate in LEARNING_RATES}
    best = max(by_rate, key=lambda rate: mean(val for val, _ in by_rate[rate]))
    test = mean(accuracy for _, accuracy in by_rate[best])
    return {"learning_rate": best, "test_accuracy_percent": round(100 * test, 1)}


def few_once(weights: str, learning_rate: float, seed: int) -> tuple[float, float]:
    """The accuracy on validation and on test of one training."""
    recipe = replace(FEW, learning_rate=learning_rate, seed=seed)
    torch.manual_seed(seed)
    train, val = shapes.draw(200, seed), shapes.draw(200, seed + 500)
    if weights == "none":
        model = resnet18(10, width=16)
    else:
        model = build_model(10, weights, train_from="all", dropout=0)
    fit(model, train, val, recipe)
    return evaluate(model, val, recipe).accuracy, evaluate(model, test_images(), recipe).accuracy


def main() -> None:
    """Measure and record."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    minute = a_minute()
    pretrained, scratch = few("builtin"), few("none")
    gain = pretrained["test_accuracy_percent"] - scratch["test_accuracy_percent"]
    measured = {
        "from_random_in_a_minute": minute,
        "twenty_a_class_builtin": pretrained,
        "twenty_a_class_from_random": scratch,
        "gain_points": round(gain, 1),
        "seeds": len(SEEDS),
    }
    record("shapes", measured, "shapes, drawn by the package", "built-in, width 16, or none")


if __name__ == "__main__":
    main()
