"""The exchange of gradients between two processes here, and what follows for 8, 64 and 512 machines.

uv run python benchmarks/communication.py --data folder:DIR --weights FILE --data-is … --weights-are …
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import subprocess
import sys
from dataclasses import replace

import torch
from measuring import WARM_UP, step_times
from record import parser, record

from resnet_course import machine
from resnet_course.machine import distributed
from resnet_course.recipes import LAPTOP, PLAIN, Recipe
from resnet_course.resnet import resnet18
from resnet_course.training import make_optimizer
from resnet_course.transfer import freeze

STEPS = 12
NETWORKS = {"1_gbit": 1.25e8, "10_gbit": 1.25e9, "100_gbit": 1.25e10}  # bytes a second
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]


def step_milliseconds(recipe: Recipe, batch: int) -> float:
    """The median training step on `batch` images of noise in each process, gradients exchanged."""
    torch.manual_seed(0)
    model = freeze(resnet18(10), recipe.train_from)
    engine = distributed.broadcast(machine.choose(recipe))
    engine.place(model).train()
    network = distributed.data_parallel(model)
    optimizer = make_optimizer(model, recipe)
    inputs = engine.place(torch.randn(batch, 3, recipe.image_size, recipe.image_size))
    labels = torch.randint(0, 10, (batch,))
    batches = itertools.repeat((inputs, labels))
    return statistics.median(step_times(network, batches, optimizer, engine, WARM_UP + STEPS)[WARM_UP:])


def exchange_milliseconds(numbers: int) -> float:
    """The median time to add up so many 32-bit numbers over all processes."""
    values = torch.zeros(numbers)
    # No limit of time: all processes must make as many calls.
    times = machine.seconds(lambda: torch.distributed.all_reduce(values), STEPS, at_most=math.inf)
    return 1000 * statistics.median(times)


def recipes() -> dict[str, Recipe]:
    """Layer4 and head, and all layers, both on images."""
    return {"layer4": replace(LAPTOP, cached_views=0, image_size=64), "all": PLAIN}


def gradient_numbers(recipe: Recipe) -> int:
    """How many numbers the gradient has."""
    return sum(p.numel() for p in freeze(resnet18(10), recipe.train_from).parameters() if p.requires_grad)


def work() -> None:
    """One of the two processes: half a batch each."""
    with distributed.process_group():
        torch.set_num_threads(machine.threads_here())
        found = {
            name: [step_milliseconds(recipe, 64), exchange_milliseconds(gradient_numbers(recipe))]
            for name, recipe in recipes().items()
        }
        if distributed.rank() == 0:
            print(json.dumps(found))


def main() -> None:
    """Measure one process, then two, and compute larger numbers."""
    if sys.argv[1:] == ["worker"]:
        return work()
    options = parser(__doc__).parse_args()
    measured: dict[str, object] = {}
    alone = {name: step_milliseconds(recipe, 128) for name, recipe in recipes().items()}
    shared = json.loads(
        subprocess.run([*LAUNCH, __file__, "worker"], check=True, capture_output=True, text=True).stdout
    )
    for name, recipe in recipes().items():
        megabytes = 4 * gradient_numbers(recipe) / 1e6
        computing = alone[name]
        efficiency = {
            network: {
                f"at_{n}": round(
                    100 * computing / (computing + 2 * (n - 1) / n * megabytes * 1e9 / bytes_a_second), 1
                )
                for n in (8, 64, 512)
            }
            for network, bytes_a_second in NETWORKS.items()
        }
        measured[name] = {
            "gradient_megabytes": round(megabytes, 1),
            "step_of_128_alone_milliseconds": round(computing, 1),
            "step_of_128_in_two_milliseconds": round(shared[name][0], 1),
            "exchange_between_two_milliseconds": round(shared[name][1], 1),
            "efficiency_percent_computed": efficiency,
        }
    record("communication", measured, options.data_is, options.weights_are)


if __name__ == "__main__":
    main()
