"""Milliseconds of a training step: the original recipe beside the laptop recipe, in turn, in one run.

    uv run python benchmarks/step_time.py --data folder:DIR --weights FILE --data-is … --weights-are …

A step is everything: reading the batch, augmenting, resizing, forward, backward, optimiser.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from record import parser, record

from resnet_course import cpu, transfer
from resnet_course.batches import train_batches
from resnet_course.data import ImageSet, load
from resnet_course.recipes import LAPTOP, ORIGINAL, Recipe
from resnet_course.settings import Settings
from resnet_course.training import make_optimizer

STEPS, ROUNDS = 50, 4  # 200 steps of each, in four rounds that take turns, so that a busy minute hits both


def steps(train: ImageSet, weights: str, recipe: Recipe) -> Iterator[float]:
    """The milliseconds of one training step after another, for ever."""
    torch.manual_seed(0)
    model = transfer.build_model(len(train.classes), weights, recipe.train_from, recipe.dropout)
    transfer.freeze(model, recipe.train_from, batchnorm_moves=recipe.batchnorm_moves)
    engine = cpu.choose(recipe)
    engine.place(model)
    optimizer = make_optimizer(model, recipe)
    generator = torch.Generator().manual_seed(0)
    model.train()
    while True:
        batches = train_batches(train, recipe, generator)
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                break
            with engine.autocast():
                logits = model(engine.place(batch[0]))
            loss = F.cross_entropy(logits.float(), batch[1], label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield 1000 * (time.perf_counter() - start)


def main() -> None:
    """Time both recipes in turn and record the medians and what they mean for CIFAR-10."""
    options = parser(__doc__).parse_args()
    train = load(Settings(data=options.data, weights=options.weights)).train
    runs = {recipe.name: steps(train, options.weights, recipe) for recipe in (ORIGINAL, LAPTOP)}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        for _ in range(3):  # warm-up
            next(run)
    for _ in range(ROUNDS):
        for name, run in runs.items():
            times[name] += [next(run) for _ in range(STEPS)]
    median = {name: statistics.median(milliseconds) for name, milliseconds in times.items()}
    per_picture = {r.name: median[r.name] / r.batch_size for r in (ORIGINAL, LAPTOP)}
    epochs = {r.name: r.epochs * per_picture[r.name] * 50_000 / 60_000 for r in (ORIGINAL, LAPTOP)}
    measured = {
        "steps_each": STEPS * ROUNDS,
        "original_step_milliseconds": round(median["original"], 1),
        "laptop_step_milliseconds": round(median["laptop"], 1),
        "original_batch": ORIGINAL.batch_size,
        "laptop_batch": LAPTOP.batch_size,
        "times_faster_per_picture": round(per_picture["original"] / per_picture["laptop"], 1),
        "original_training_minutes_computed": round(epochs["original"], 1),
        "laptop_training_minutes_computed": round(epochs["laptop"], 1),
    }
    record("step_time", measured, options.data_is, options.weights_are)


if __name__ == "__main__":
    main()
