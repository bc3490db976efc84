"""The stored curves of plain and residual stacks hold what notebook 01 draws and results.json says."""

import json
from pathlib import Path

from resnet_course.teaching import tables

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results.json"


def test_the_degradation_table_has_every_epoch_of_every_stack():
    table = tables.degradation_table()
    assert table["epochs"] >= 30
    for errors in table["error_percent"].values():
        assert set(errors) == {"plain_8", "plain_38", "skip_8", "skip_38"}
        for runs in errors.values():
            assert len(runs) == table["seeds"] and all(len(run) == table["epochs"] for run in runs)
            assert all(0 <= value <= 100 for run in runs for value in run)


def test_its_last_epoch_is_what_the_text_quotes():
    recorded = json.loads(RESULTS.read_text(encoding="utf-8"))["degradation_long"]
    table = tables.degradation_table()
    for name, runs in table["error_percent"]["train"].items():
        mean = sum(run[-1] for run in runs) / len(runs)
        assert recorded["last_training_error_percent"][name] == round(mean, 1)


def test_what_the_text_says_of_them():
    last = tables.degradation_table()["last_training_error_percent"]
    assert last["plain_38"] > 5 * max(last[name] for name in ("plain_8", "skip_8", "skip_38"))
    over_half = tables.degradation_table()["error_percent"]["val"]
    assert all(run[-1] > 50 for name in ("plain_8", "skip_8", "skip_38") for run in over_half[name])
