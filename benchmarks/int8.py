"""What int8 saves of the trunk pass, and whether it costs accuracy: a linear probe on features of both.

    uv run python benchmarks/int8.py --data … --weights … --data-is … --weights-are … --machine avx512

Time: the trunk of LAPTOP on 64 pictures, and a step of FULL's first phase, both ways in turn. Accuracy: a
linear probe on averaged features learns from LEARN training pictures and is judged on all the others, in
the precision that is otherwise fastest here and in int8, picture by picture.
"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace

import torch
from measuring import endless, in_turn, splits_of, step_times, timed
from record import named, parser, record
from torch import Tensor

from resnet_course import machine
from resnet_course.data import ImageSet
from resnet_course.evaluation.summaries import difference_of_answers
from resnet_course.inputs import to_input
from resnet_course.recipes import FULL_FIRST, LAPTOP
from resnet_course.training import fit_linear, make_optimizer
from resnet_course.training.linear import PROBE_DECAY
from resnet_course.transfer import build_model, fused, on_quantized_trunk, quantized, trunk_of

LEARN = 8_000  # pictures
TOGETHER, ROUNDS = 64, 15
STEPS, MANY = 3, 10_000  # steps each time; steps of a training that is worth measuring convolutions for


def measure(options: Namespace) -> dict[str, object]:
    """Both, for the trunk before layer4."""
    images = splits_of(options).train
    mixed = images.subset(torch.randperm(len(images), generator=torch.Generator().manual_seed(0)))
    engine = replace(machine.choose(LAPTOP), memory_format="channels_last", layer4_format=None)
    frozen = engine.place(
        trunk_of(build_model(len(images.classes), options.weights, "layer4", 0.0), "layer4")
    )
    with torch.inference_mode(), engine.computing(), engine.autocast():
        trunks = {engine.precision: fused(frozen), "int8": quantized(frozen, engine.place(batch(mixed, 0)))}
        other = engine.place(batch(mixed, LEARN))
        times = in_turn({name: timed(lambda t=trunk: t(other)) for name, trunk in trunks.items()}, ROUNDS)
        exact, rounded = (trunk(other) for trunk in trunks.values())
        features = {name: pooled(trunk, engine, mixed) for name, trunk in trunks.items()}
    right = {name: judged(found, mixed) for name, found in features.items()}
    difference = difference_of_answers(right["int8"], right[engine.precision])
    steps = times_of_steps(mixed, options.weights)
    return {
        "milliseconds": {name: round(1000 * seconds, 1) for name, seconds in times.items()},
        "times_as_long": round(times["int8"] / times[engine.precision], 2),
        "step_milliseconds": {name: round(time, 1) for name, time in steps.items()},
        "step_times_as_long": round(steps["int8"] / steps["exact"], 2),
        "features_differ_percent": round(100 * float((rounded - exact).norm() / exact.norm()), 1),
        "probe_percent": {name: round(100 * float(each.double().mean()), 2) for name, each in right.items()},
        "difference_points": round(100 * difference.mean, 2),
        "interval_points": [round(100 * (difference.mean + sign * difference.margin), 2) for sign in (-1, 1)],
        "pictures_learned": LEARN,
        "pictures_judged": len(mixed) - LEARN,
    }


def times_of_steps(images: ImageSet, weights: str) -> dict[str, float]:
    """Milliseconds of a step as `fit` does it, what is frozen computed like the rest, and in int8."""
    recipe = FULL_FIRST
    model = build_model(len(images.classes), weights, recipe.train_from, recipe.dropout)
    some = to_input(images.take(slice(TOGETHER)), recipe)
    engine = machine.tuned(machine.choose(recipe), model, some[:1], recipe.batch_size, MANY)
    engine.place(model)
    batches, optimizer = endless(images, recipe), make_optimizer(model, recipe)
    with engine.computing():
        in_int8 = on_quantized_trunk(model, recipe.train_from, engine.place(some))
        if in_int8 is model:
            raise SystemExit("int8 cannot stand for this frozen part, so there is nothing to compare")
        networks = {"exact": model, "int8": in_int8}
        ways = {
            name: lambda network=network: step_times(network, batches, optimizer, engine, STEPS)
            for name, network in networks.items()
        }
        return in_turn(ways, ROUNDS)


def batch(images: ImageSet, start: int) -> Tensor:
    """Pictures from `start` on, as the trunk takes them."""
    return to_input(images.take(slice(start, start + TOGETHER)), LAPTOP)


def pooled(trunk: torch.nn.Module, engine: machine.Engine, images: ImageSet) -> Tensor:
    """The features of all pictures, averaged over each map: float [N, C]."""
    starts = range(0, len(images), TOGETHER)
    return torch.cat([trunk(engine.place(batch(images, start))).float().mean((2, 3)) for start in starts])


def judged(features: Tensor, images: ImageSet) -> Tensor:
    """Which pictures, of those not learned from, a linear probe on features gets right: bool [N - LEARN]."""
    features, labels = features.clone(), images.labels
    probe = fit_linear(features[:LEARN], labels[:LEARN], len(images.classes), PROBE_DECAY)
    return probe(features[LEARN:]).argmax(1) == labels[LEARN:]


def main() -> None:
    """Measure and record."""
    options = parser(__doc__).parse_args()
    record(named("int8", options), measure(options), options.data_is, options.weights_are)


if __name__ == "__main__":
    main()
