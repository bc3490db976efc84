"""What the course says about time and accuracy, held against results.json: no test asserts on a clock.

`record` says which claim no longer holds as soon as something is measured again; tests/test_benchmarks.py
holds all of them against what is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from resnet_course.evaluation import wilson_interval

Results = dict[str, Any]


def _grids(results: Results) -> list[Results]:
    """The cells of `train --minutes` on each kind of processor."""
    grids = [found for name, found in results.items() if name.startswith("minutes_grid_")]
    return [{name: cell for name, cell in grid.items() if name != "conditions"} for grid in grids]


def _falls(grid: Results) -> bool:
    """Whether in a draw of pictures more minutes gave an accuracy below the interval of that of less."""
    draws: dict[str, dict[float, Results]] = {}
    for name, cell in grid.items():
        draw, minutes = name.removesuffix("_min").split("_in_")
        draws.setdefault(draw, {})[float(minutes)] = cell
    pairs = (pair for draw in draws.values() for pair in pairwise(draw[minutes] for minutes in sorted(draw)))
    return any(more["test_accuracy_percent"] < 100 * _low_end(less) for less, more in pairs)


def _low_end(cell: Results) -> float:
    pictures = cell["test_pictures"]
    return wilson_interval(round(cell["test_accuracy_percent"] / 100 * pictures), pictures)[0]


CLAIMS: dict[str, Callable[[Results], bool]] = {
    "a step of equal work is faster than the original's in 32-bit numbers": lambda r: (
        r["original_steps"]["equal_step_fp32_ratio"] < 0.9
    ),
    "what the probe finds is at least as fast as 32-bit numbers": lambda r: (
        r["original_steps"]["equal_step_fastest_ratio"] < 1.05 * r["original_steps"]["equal_step_fp32_ratio"]
    ),
    "with AVX2 alone laptop takes at most a 25th of the original's ten epochs": lambda r: (
        r["laptop_avx2"]["minutes"] < r["original_steps_avx2"]["original_minutes_computed"] / 25
    ),
    "with AVX-512 and slow bf16 laptop takes at most a 40th of the original's ten epochs": lambda r: (
        r["laptop_avx512"]["minutes"] < r["original_steps_avx512"]["original_minutes_computed"] / 40
    ),
    "with AVX-512 int8 halves the trunk pass, with AMX it takes a third less": lambda r: (
        r["int8_avx512"]["times_as_long"] < 0.5 and r["int8_amx"]["times_as_long"] < 0.67
    ),
    "in int8 a linear probe loses at most 0.2 points with its interval": lambda r: (
        min(r["int8_avx512"]["interval_points"] + r["int8_amx"]["interval_points"]) >= -0.2
    ),
    "with AMX laptop takes at most a 75th of the original's ten epochs": lambda r: (
        r["laptop_amx"]["minutes"] < r["original_steps_amx"]["original_minutes_computed"] / 75
    ),
    "few with 50 pictures a class takes no longer than 40 steps of the original": lambda r: (
        r["few"]["at_50"]["seconds"] < r["few"]["forty_original_steps_seconds"]
    ),
    "laptop is more accurate than the original at its best": lambda r: (
        min(r[name]["test_accuracy_percent"] for name in ("laptop_avx2", "laptop_avx512", "laptop_amx"))
        > max(run["best_on_test_percent"] for name, run in r["original_run"].items() if name != "conditions")
    ),
    "train --minutes ends within 105% of the minutes": lambda r: all(
        cell["part_of_the_time"] <= 1.05 for grid in _grids(r) for cell in grid.values()
    ),
    "train --minutes is never less accurate with more minutes, beyond the interval": lambda r: (
        not any(_falls(grid) for grid in _grids(r))
    ),
    "in the time that fastai takes fit_in is ahead of it by four points, in every draw": lambda r: all(
        cell["same_time"]["test_accuracy_percent"] >= cell["fastai_test_accuracy_percent"] + 4
        for name, cell in r["minutes_fastai"].items()
        if name != "conditions"
    ),
    "convolutions in their fastest ways make a step faster": lambda r: all(
        found[name]["ratio"] < 0.95
        for kind, found in r.items()
        if kind.startswith("convolutions_")
        for name in ("layer4_at_96", "layer3_at_128")
    ),
    "no saving of the waterfall costs more accuracy than two runs of the same training differ": lambda r: all(
        before - after <= r["savings"]["largest_spread_points"]
        for before, after in pairwise(r["savings"]["mean_percent"].values())
    ),
    "with the frozen BatchNorm standing still every run is above every run of the original": lambda r: (
        min(r["savings"]["test_accuracy_percent"]["pictures_as_tensors"])
        > max(r["savings"]["test_accuracy_percent"]["original"])
    ),
    "freezing layer3 half-way saves time": lambda r: r["freezing_progressive"]["times_as_long"] < 1,
    "the fused AdamW takes less than half the time": lambda r: r["optimizer"]["ratio"] < 0.5,
    "keeping memory makes no step slower": lambda r: all(
        r["memory"][f"train_from_{part}"]["times_as_long"] > 0.97 for part in ("all", "layer3")
    ),
    "after keeping memory the original's step takes the same time as before, within 5%": lambda r: (
        abs(r["left_behind"]["after_to_before"] - 1) < 0.05
    ),
    "after keeping memory the original's step has as many page faults as before, within 5%": lambda r: (
        r["left_behind"]["after_page_faults"] < 1.05 * r["left_behind"]["before_page_faults"]
    ),
    "our pipeline is more than twice as fast as the original's": lambda r: all(
        r["pipeline"][f"at_{size}"]["times_faster_than_original"] > 2 for size in (96, 224)
    ),
    "each random change is faster for a whole batch than image by image": lambda r: all(
        way["ours"] < way["v2_each"] for way in r["pipeline"]["milliseconds_for_a_batch_at_32"].values()
    ),
    "cached features make an epoch of layer4 faster, and one of the head at least three times": lambda r: all(
        r["freezing_cache"][f"at_{size}"]["layer4_times_faster"] > 1
        and r["freezing_cache"][f"at_{size}"]["fc_times_faster"] > 3
        for size in (96, 128)
    ),
    "many files in one call are faster than one by one": lambda r: r["prediction"]["times_faster"] > 1,
    "a larger input takes longer": lambda r: (
        r["estimate"]["at_64"]["measured_seconds"] < r["estimate"]["at_128"]["measured_seconds"]
    ),
    "the estimate is right within a third": lambda r: all(
        2 / 3 < r["estimate"][f"at_{size}"]["ratio"] < 3 / 2 for size in (64, 128)
    ),
}


def broken(results: Results) -> list[str]:
    """The claims that these results contradict; one that nothing here measures contradicts nothing."""
    found = []
    for claim, holds in CLAIMS.items():
        try:
            if not holds(results):
                found.append(claim)
        except KeyError:
            continue
    return found
