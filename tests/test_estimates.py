"""The estimate is of the right size, and soon made."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch

from resnet_course import machine
from resnet_course.machine import estimates
from resnet_course.recipes import FULL, RECIPES, REDUCED
from resnet_course.resnet import resnet18

GRADIENTS, UPDATE, FORWARD = 3.0, 2.0, 1.0


@pytest.fixture
def measured(monkeypatch):
    """Steps that are taken but not timed: each kind has its seconds. Lists (kind, batch, limit)."""
    found, sizes = [], []

    class Engine(machine.Engine):
        def place(self, what):
            if isinstance(what, torch.Tensor):
                sizes.append(len(what))
            return super().place(what)

    def seconds(step, times, at_most):
        step()
        kind = GRADIENTS if step.__name__ == "gradients" else UPDATE if hasattr(step, "__self__") else FORWARD
        found.append((kind, sizes[-1], at_most))
        return [kind]

    engine = Engine("cpu", "fp32", "channels_last", 1)
    monkeypatch.setattr(estimates, "choose", lambda recipe, kind="images", looks=0: engine)
    monkeypatch.setattr(estimates, "seconds", seconds)
    monkeypatch.setattr(estimates, "FOR_A_PHASE", float("inf"))
    return found


def test_an_estimate_adds_up_gradients_updates_and_views(measured):
    recipe = replace(REDUCED, epochs=2, batch_size=10, test_views=2)
    found = machine.estimate(recipe, 100, 30, width=8)
    assert found == pytest.approx(2 * (10 * GRADIENTS + 10 * UPDATE + 3 * 2 * FORWARD))
    assert machine.estimate(recipe, 100, 0, width=8) == pytest.approx(2 * (10 * GRADIENTS + 10 * UPDATE))
    assert machine.estimate(recipe, 1, 0, width=8) > 0


def test_cached_features_are_estimated_as_one_pass_and_then_the_head(measured):
    recipe = replace(
        REDUCED, train_from="layer4", epochs=5, batch_size=10, augmentation="flip", cached_views=2
    )
    found = machine.estimate(recipe, 100, 30, width=8)
    once = (2 * 10 + 3) * FORWARD
    assert found == pytest.approx(once + 5 * (10 * GRADIENTS + 10 * UPDATE + 3 * FORWARD))


def test_the_estimate_of_two_phases_is_that_of_both(measured):
    first = replace(REDUCED, epochs=1)
    both = replace(first, epochs=3, first=first)
    alone, together = (machine.estimate(recipe, 2_000, width=8) for recipe in (first, both))
    assert together == pytest.approx(4 * alone)


def test_an_estimate_leaves_no_network_behind(measured, monkeypatch):
    made = []

    def noted(classes, width):
        network = resnet18(classes, width)
        made.append(weakref.ref(network))
        return network

    monkeypatch.setattr(estimates, "resnet18", noted)
    machine.estimate(replace(REDUCED, train_from="layer4"), 100, width=8)
    gc.collect()
    assert made and not any(network() is not None for network in made)


@pytest.mark.parametrize("other, times", [({}, 1), ({"train_from": "layer4"}, 2), ({"batch_size": 20}, 2)])
def test_only_phases_of_other_work_are_measured_again(measured, other, times):
    first = replace(REDUCED, epochs=1, batch_size=10)
    small, large = machine.costs(replace(first, image_size=64, first=first, **other), 2_000, width=8)
    assert [kind for kind, *_ in measured].count(GRADIENTS) == times
    assert (large.recipe.image_size, large.precision) == (64, small.precision)
    if times == 1:
        more = large.step_operations / small.step_operations
        assert large.gradients == pytest.approx(more * small.gradients)


def test_the_optimiser_changes_the_weights_once_for_each_batch_however_few_images_are_tried(measured):
    recipe = replace(REDUCED, image_size=224, epochs=1, batch_size=32)
    found = machine.estimate(recipe, 320, width=8)
    (count,) = {images for _, images, _ in measured}
    assert count == 5 and found == pytest.approx(320 / 5 * GRADIENTS + 10 * UPDATE)


def test_a_fast_machine_is_measured_by_larger_steps(measured, monkeypatch):
    monkeypatch.setattr(estimates, "A_STEP", 3 * GRADIENTS)  # there is time for three times as many images
    recipe = replace(REDUCED, image_size=128, epochs=1, batch_size=128)
    found = machine.estimate(recipe, 1_280, width=8)
    assert [images for kind, images, _ in measured if kind == GRADIENTS] == [16, 48]
    # Both took the same time; half of it at most is taken to be there whatever the images.
    assert found == pytest.approx(1_280 / 48 * GRADIENTS / 2 + 10 * (GRADIENTS / 2 + UPDATE))


def test_what_a_step_takes_whatever_its_images_is_told_apart(measured, monkeypatch):
    monkeypatch.setattr(estimates, "A_STEP", 3 * GRADIENTS)
    constant, fixed, each = estimates.seconds, 1.0, 0.125

    def seconds(step, times, at_most):
        found = constant(step, times, at_most)
        kind, images, _ = measured[-1]
        return [fixed + images * each] if kind == GRADIENTS else found

    monkeypatch.setattr(estimates, "seconds", seconds)
    recipe = replace(REDUCED, image_size=128, epochs=1, batch_size=128)
    assert machine.estimate(recipe, 1_280, width=8) == pytest.approx(1_280 * each + 10 * (fixed + UPDATE))


@pytest.mark.slow
def test_every_recipe_is_estimated_with_few_and_small_measurements(measured):
    for recipe in RECIPES.values():
        measured.clear()
        machine.estimate(recipe, 45_000, 5_000, width=8)
        assert len(measured) <= 5, "the second phase of full is the work of the first, at more pixels"
        assert all(at_most <= estimates.AT_MOST <= 0.5 for *_, at_most in measured)
        pixels = recipe.phases[0].image_size ** 2
        assert any(images * pixels <= estimates.PIXELS for _, images, _ in measured)
    assert len(FULL.phases) == 2


def test_on_a_busy_machine_only_what_cannot_be_done_without_is_measured(measured, monkeypatch):
    monkeypatch.setattr(estimates, "FOR_A_PHASE", 0.0)
    recipe = replace(REDUCED, epochs=1, batch_size=10)
    found = machine.estimate(recipe, 100, 30, width=8)
    assert [kind for kind, *_ in measured] == [GRADIENTS]
    assert found == pytest.approx(10 * GRADIENTS + 3 * GRADIENTS / 3)


def test_a_real_estimate_grows_with_the_work_and_draws_no_global_random_number():
    recipe = replace(REDUCED, epochs=1)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    with torch.inference_mode():
        small, large = (machine.estimate(recipe, images, 10, width=8) for images in (1_000, 100_000))
    assert torch.equal(torch.rand(1), expected)
    assert large > small > 0
