"""From the command to a saved checkpoint: minutes, test accuracy and peak memory, beside the original recipe.

    uv run python benchmarks/time_to_accuracy.py --data folder:DIR --weights FILE --data-is … --weights-are …
        PART…

Parts: "steps" (the original's own loop where the course has touched nothing, from which its ten epochs
follow, and one step at equal work), "memory" (a step with memory kept and given back), "left_behind" (the
original's step before and after memory was kept), "compile" (a step through torch.compile), "optimizer"
(AdamW alone), "advised" (huge pages, bound threads, other allocators), "laptop" (three seeds), "full" and
"top" (one seed more with every call), "few" (10 and 50 images of each class), "growth" (time against the
number of images), "estimate" (predicted against measured), "figure". In one call they run one after another
on one machine, each in processes of its own.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable

from advised import measure_advised
from figure import draw
from memory import measure_left_behind, measure_memory
from record import named, parser, record
from step_times import measure_compile, measure_optimizer, measure_steps
from trainings import measure_estimate, measure_few, measure_full, measure_growth, measure_laptop, measure_top

PARTS: dict[str, tuple[str, Callable[[Namespace], dict[str, object]]]] = {
    "steps": ("original_steps", measure_steps),
    "memory": ("memory", measure_memory),
    "left_behind": ("left_behind", measure_left_behind),
    "compile": ("compile", measure_compile),
    "optimizer": ("optimizer", measure_optimizer),
    "advised": ("advised", measure_advised),
    "laptop": ("laptop", measure_laptop),
    "full": ("full", measure_full),
    "top": ("top", measure_top),
    "few": ("few", measure_few),
    "growth": ("growth", measure_growth),
    "estimate": ("estimate", measure_estimate),
}


def main() -> None:
    """Run the parts one after another, and record each as soon as it is done."""
    arguments = parser(__doc__)
    arguments.add_argument("parts", nargs="+", choices=(*PARTS, "figure"), metavar="PART")
    arguments.add_argument(
        "--quick", action="store_true", help="a step or an epoch of each only, printed and not recorded"
    )
    arguments.add_argument("--rounds", type=int, default=3, help="how often all is done, or how many seeds")
    options = arguments.parse_args()
    options.steps = 1 if options.quick else 20  # of each way in every round
    options.rounds = 1 if options.quick else options.rounds
    for part in options.parts:
        if part == "figure":
            draw()
            continue
        name, measure = PARTS[part]
        options.name = named(name, options)
        measured = measure(options)
        if options.quick:
            print(name, json.dumps(measured, indent=1, ensure_ascii=False), flush=True)
        else:
            record(options.name, measured, options.data_is, options.weights_are)


if __name__ == "__main__":
    main()
