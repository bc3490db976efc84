"""The check of a data set names what is wrong with it, and nothing else."""

from dataclasses import replace

import pytest
import torch

from resnet_course import machine
from resnet_course.data import Splits, shapes
from resnet_course.recipes import FEW, LAPTOP
from resnet_course.teaching import advice, tables
from resnet_course.teaching.advice import advise


@pytest.fixture(autouse=True)
def no_timing(monkeypatch):
    monkeypatch.setattr(machine, "estimate", lambda recipe, images, validation: 120.0)


def splits(count=1000):
    return Splits(shapes.draw(count, 0), shapes.draw(200, 1), shapes.draw(100, 2))


def test_a_sound_data_set_has_no_warning_and_a_recipe():
    found = advise(splits())
    assert found.warnings == () and found.minutes == 2
    assert str(found).startswith(
        "- Nothing to fix was found.\nBegin with the recipe few (--recipe few): 160 pixels, 8"
    )


@pytest.mark.parametrize("split", ["val", "test"])
def test_copies_are_counted_by_split(split):
    sound = splits()
    part = getattr(sound, split)
    copied = replace(part, images=torch.cat([sound.train.images[:30].flip(3), part.images[30:]]))
    (warning,) = advise(replace(sound, **{split: copied})).warnings
    assert f"of {len(part)} {split} images are also in train, or nearly" in warning
    assert 28 <= int(warning.split()[0]) <= 34


def test_few_and_unequal_classes_are_named():
    sound = splits()
    wanted = torch.cat(
        [(sound.train.labels != 3).nonzero()[:, 0], (sound.train.labels == 3).nonzero()[:20, 0]]
    )
    out_of_balance, few = advise(replace(sound, train=sound.train.subset(wanted))).warnings
    assert "out of balance: circle has 100 images, triangle has 20" in out_of_balance
    assert "triangle has only 20 images left to learn from" in few


def test_tiny_images_are_named():
    sound = splits()
    small = [
        replace(part, images=part.images[:, :, ::2, ::2]) for part in (sound.train, sound.val, sound.test)
    ]
    assert any("at most 16 pixels" in warning for warning in advise(Splits(*small)).warnings)


@pytest.mark.parametrize(("count", "recipe"), [(100, FEW), (4_990, FEW), (5_000, LAPTOP), (40_000, LAPTOP)])
def test_small_sets_get_the_recipe_for_few_pictures(count, recipe):
    sound = splits(200)
    found = advise(replace(sound, train=sound.train.subset(torch.arange(count) % 200)))
    assert found.recipe == recipe and f"--recipe {recipe.name}" in str(found)


def test_few_validation_pictures_are_named_with_what_they_can_say():
    sound = splits()
    (warning,) = advise(replace(sound, val=sound.val.limit(100))).warnings
    assert "circle has 10 validation images; all 100 together" in warning
    assert "uncertain by 8 points" in warning  # 1.96 · √(0.8 · 0.2 / 100)


def test_a_network_sees_the_same_of_larger_images():
    sound = splits(200)
    large = replace(sound.train, images=sound.train.images.repeat_interleave(4, 2).repeat_interleave(4, 3))
    assert advise(replace(sound, train=large)).recipe == FEW


@pytest.mark.parametrize(("gain", "why"), [(0.02, "would emulate bf16"), (1.0, "bf16 was not measured")])
def test_the_advice_says_why_bf16_was_not_tried(gain, why):
    probe = machine.Probe(2, 8 * 10**9, {("fp32", "contiguous"): 4.0}, {2: 1.0}, 10**9, {}, gain)
    assert why in advice.for_machine(probe, 4.0)[0] and "stays with fp32" in advice.for_machine(probe, 4.0)[0]


def test_the_advice_for_a_machine_follows_from_what_was_measured():
    ways = {("fp32", "contiguous"): 4.0, ("fp32", "channels_last"): 2.0}
    ways |= {("bf16", "contiguous"): 3.0, ("bf16", "channels_last"): 1.0}
    fast = machine.Probe(2, 8 * 10**9, ways, {2: 1.0, 1: 2.0}, 10**9, {"contiguous": 1.0})
    lines = advice.for_machine(fast, 4.0)
    assert lines[0] == "bf16 is 2.0 times as fast as fp32: the precision 'auto' takes it."
    assert lines[1] == "2 of 2 cores compute fastest." and not any("minutes" in line for line in lines)
    ways["bf16", "channels_last"] = 8.0
    poor = " ".join(
        advice.for_machine(machine.Probe(2, 10**9, ways, {2: 3.0, 1: 1.0}, 10**9, {"contiguous": 1.0}), 40.0)
    )
    for part in (
        "fp32 is 1.5 times as fast as bf16",
        "1 of 2 cores",
        "close it",
        "40 min are long",
        "Only 1.0 GB",
    ):
        assert part in poor


def test_the_frontier_table_holds_what_the_widget_needs():
    table = tables.frontier_table()
    assert table["data"] and table["weights"] and table["measured"]
    for row in table["measured"].values():
        assert row.keys() == {"size", "train_from", "epochs", "accuracy_percent", "seconds"}
        assert 50 < row["accuracy_percent"] < 100 and row["seconds"] > 0
