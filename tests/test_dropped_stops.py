"""A stop that arrives where Python cannot raise it stops the work all the same."""

import sys
import weakref
from dataclasses import replace

import pytest
import torch
from test_features import RECIPE, frozen
from test_training import TINY, fresh_model

from resnet_course.common.stops import keeping_stops, raise_lost_stop
from resnet_course.evaluation import evaluate
from resnet_course.features import cache_features
from resnet_course.training import fit, phases


class Referent:
    """Something that a weak reference can point to."""


def drop(error):
    """Raise an error where Python drops it: in the callback of a weak reference."""

    def callback(reference):
        raise error

    referent = Referent()
    reference = weakref.ref(referent, callback)
    del referent
    return reference


def drop_a_stop_in_pass(model, number):
    """Drop a stop in the model's forward pass `number`, from 1."""
    passes = []

    def hook(module, inputs):
        passes.append(1)
        if len(passes) == number:
            drop(KeyboardInterrupt())

    return model.register_forward_pre_hook(hook)


def test_python_does_drop_a_stop_there(monkeypatch):
    dropped = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: dropped.append(unraisable.exc_type))
    drop(KeyboardInterrupt())
    assert dropped == [KeyboardInterrupt]


def test_a_dropped_stop_in_a_step_ends_a_training_after_that_step(sets, capsys):
    model, steps = fresh_model(), -(-len(sets[0]) // TINY.batch_size)
    passes = []
    model.register_forward_pre_hook(lambda *_: passes.append(1))
    drop_a_stop_in_pass(model, steps // 2)
    history = fit(model, *sets, TINY)
    assert history.interrupted and len(history.epochs) == 1
    validated = -(-len(sets[1]) // TINY.batch_size)
    assert len(passes) <= steps // 2 + validated
    said = capsys.readouterr().err
    assert "stopped by hand" in said and "ignored" not in said


def test_a_dropped_stop_while_a_training_is_prepared_ends_it(sets, monkeypatch):
    real = phases.make_optimizer

    def dropping(*arguments):
        drop(KeyboardInterrupt())
        return real(*arguments)

    monkeypatch.setattr(phases, "make_optimizer", dropping)
    history = fit(fresh_model(), *sets, TINY)
    assert history.interrupted and not history.epochs


def test_a_dropped_stop_ends_an_evaluation_and_not_the_next(sets):
    model = fresh_model()
    drop_a_stop_in_pass(model, 1)
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, sets[1], TINY)
    assert len(evaluate(model, sets[1], TINY)) == len(sets[1])


def test_features_are_made_from_where_a_dropped_stop_left_them(sets, tmp_path, capsys):
    model, recipe = frozen(), replace(RECIPE, augmentation="crop_flip")
    hook = drop_a_stop_in_pass(model.layer1, 2)
    with pytest.raises(KeyboardInterrupt):
        cache_features(model, sets[0], recipe, tmp_path, views=2)
    assert "the same call goes on" in capsys.readouterr().err
    hook.remove()
    again = cache_features(model, sets[0], recipe, tmp_path, views=2)
    other = cache_features(model, sets[0], recipe, tmp_path / "other", views=2)
    everything = torch.arange(len(again))
    assert torch.equal(again.read(everything, 0), other.read(everything, 0))


def test_what_else_is_dropped_is_told_as_before(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: told.append(unraisable.exc_type))
    with keeping_stops(), keeping_stops():
        drop(ValueError())
    assert told == [ValueError]


def test_a_stop_is_raised_once_and_by_the_innermost_block():
    with keeping_stops():
        with pytest.raises(KeyboardInterrupt), keeping_stops():
            drop(KeyboardInterrupt())
        raise_lost_stop()
    raise_lost_stop()


def test_an_error_is_not_replaced_by_a_stop_and_a_later_block_starts_anew():
    with pytest.raises(ValueError, match="first"), keeping_stops():
        drop(KeyboardInterrupt())
        raise ValueError("first")
    with keeping_stops():
        raise_lost_stop()
