"""The check of a data set names what is wrong with it, and nothing else."""

import shutil
from collections import Counter
from dataclasses import replace

import pytest
import torch

from resnet_course import machine
from resnet_course.data import Splits, load, shapes
from resnet_course.recipes import LAPTOP
from resnet_course.settings import Settings
from resnet_course.training.planning import Advice, Planner, advise
from resnet_course.training.planning.advice import MINUTES
from tests.test_splitting import make


@pytest.fixture(autouse=True)
def no_timing(monkeypatch):
    cost = machine.scaled(machine.Cost(LAPTOP, "fp32", "fp32", 0.008, 0.008, 0.0, 0.003, 1, 1), LAPTOP)[0]
    known = replace(cost, trunk=0.008, gradients=0.008, forward=0.003)
    monkeypatch.setattr(machine, "costs", lambda recipe, *rest: machine.scaled(known, recipe))


def splits(count=1000):
    return Splits(shapes.draw(count, 0), shapes.draw(200, 1), shapes.draw(100, 2))


@pytest.mark.slow
def test_a_sound_data_set_has_no_warning_and_a_plan_for_every_time():
    found = advise(splits())
    assert found.warnings == () and tuple(found.plans) == MINUTES
    lines = str(found).splitlines()
    assert lines[:2] == [
        "shapes: 10 classes, squares of 32 pixels; 1,000 images to learn from, 100 to 100 a class; 200 to "
        "validate on, 100 to test",
        "- Nothing to mend was found.",
    ]
    assert [line.partition(":")[0] for line in lines[2:]] == [f"--minutes {each:g}" for each in MINUTES]
    assert "With so many images a class it got" in lines[2]


def test_a_plan_that_was_only_estimated_anew_is_the_same_plan():
    plan = Planner(100, 10).plan(600)
    again = replace(plan, seconds=2 * plan.seconds, last=2 * plan.last)
    lines = str(Advice("shapes", (), {2: plan, 5: again, 20: replace(again, images=50)})).splitlines()
    assert "the same" in lines[3] and "the same" not in lines[4]


def test_where_more_time_brings_nothing_it_says_so():
    own = splits()
    few = advise(replace(own, train=own.train.per_class(10), val=own.val.limit(20), set_aside=("val",)))
    assert "--minutes 20: the same; more time would bring nothing that is known." in str(few)
    assert few.plans[20.0].of == 120, "those set aside learn too, as with --minutes"


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


def test_the_plan_is_that_of_the_dial():
    own = splits()
    planner = Planner(len(own.train), 10, len(own.val))
    assert advise(own).plans == {minutes: planner.plan(60 * minutes) for minutes in MINUTES}


def test_few_validation_pictures_are_named_with_what_they_can_say():
    sound = splits()
    (warning,) = advise(replace(sound, val=sound.val.limit(100))).warnings
    assert "circle has 10 validation images; all 100 together" in warning
    assert "uncertain by 8 points" in warning  # 1.96 · √(0.8 · 0.2 / 100)
    (warning,) = advise(replace(sound, val=sound.val.limit(10))).warnings
    assert "circle has 1 validation image; all 10 together" in warning


@pytest.mark.parametrize(("gain", "why"), [(0.02, "is slow in bf16"), (1.0, "bf16 was not measured")])
def test_the_advice_says_why_bf16_was_not_tried(gain, why):
    probe = machine.Probe(2, 8 * 10**9, {("fp32", "contiguous"): 4.0}, {2: 1.0}, 10**9, {}, gain)
    assert why in machine.advice(probe, 4.0)[0] and "stays with fp32" in machine.advice(probe, 4.0)[0]


def test_the_advice_for_a_machine_follows_from_what_was_measured():
    ways = {("fp32", "contiguous"): 4.0, ("fp32", "channels_last"): 2.0}
    ways |= {("bf16", "contiguous"): 3.0, ("bf16", "channels_last"): 1.0}
    fast = machine.Probe(2, 8 * 10**9, ways, {2: 1.0, 1: 2.0}, 10**9, {"contiguous": 1.0})
    lines = machine.advice(fast, 4.0)
    assert lines[0] == "bf16 is 2.0 times as fast as fp32: the precision 'auto' takes bf16."
    assert lines[1] == "2 of 2 cores compute fastest." and not any("minutes" in line for line in lines)
    ways["bf16", "channels_last"] = 2.2  # 'auto' takes fp32 only where it is clearly ahead
    near = machine.Probe(2, 8 * 10**9, ways, {2: 1.0, 1: 2.0}, 10**9, {"contiguous": 1.0})
    assert near.fastest[0] == "bf16"
    assert machine.advice(near, 4.0)[0].endswith(
        "1.1 times as fast as bf16: the precision 'auto' takes bf16."
    )
    ways["bf16", "channels_last"] = 8.0
    poor = " ".join(
        machine.advice(machine.Probe(2, 10**9, ways, {2: 3.0, 1: 1.0}, 10**9, {"contiguous": 1.0}), 40.0)
    )
    for part in (
        "fp32 is 1.5 times as fast as bf16",
        "1 of 2 cores",
        "close it",
        "40 min are long",
        "Only 1.0 GB",
    ):
        assert part in poor


def test_the_built_in_network_is_planned_with_its_own_size_and_without_what_the_tables_say():
    found = advise(splits(), width=16)
    assert {phase.image_size for plan in found.plans.values() for phase in plan.recipe.phases} == {64}
    assert "With so many images a class" not in str(found)
    assert "64 pixels" in str(found)


def test_the_same_picture_in_two_classes_is_told(tmp_path):
    tree = make(tmp_path / "t", {"cat": 40, "dog": 40})
    for number in range(3):
        shutil.copy(tree / "cat" / f"{number}.png", tree / "dog" / f"copy{number}.png")
    own = load(Settings(data=f"folder:{tree}", home=tmp_path / "home"))
    learned = len({d for d, count in Counter(own.train.digests).items() if count > 1})
    [warning] = [each for each in advise(own).warnings if "more than one class" in each]
    assert learned and warning.startswith(f"{learned} images lie in more than one class")
