"""A recipe is what is trained: image size, dropout, freezing, BatchNorm, epochs and seed of all phases."""

from dataclasses import replace

import pytest
import torch
from optimizer_steps import at_every_step
from test_training import TINY, fresh_model, losses

from resnet_course.recipes import FULL, LAPTOP, REDUCED, Recipe, RecipeError
from resnet_course.resnet import resnet18, stack
from resnet_course.training import fit, loop
from resnet_course.transfer import build_model, freeze, is_frozen


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def moved(model, before):
    """The parts of a network in which a number has changed."""
    after = model.state_dict()
    return {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_the_recipe_freezes_whatever_the_model_was(sets):
    model = fresh_model()  # nothing is frozen
    before = weights(model)
    fit(model, *sets, replace(TINY, epochs=1, train_from="layer4"))
    assert moved(model, before) == {"layer4", "fc"} and is_frozen(model, "layer4")

    model = freeze(fresh_model(), "fc")
    before = weights(model)
    fit(model, *sets, replace(TINY, epochs=1))
    assert {"conv1", "layer1", "layer4", "fc"} <= moved(model, before)


def test_the_recipe_decides_whether_frozen_batchnorm_moves(sets):
    model = freeze(fresh_model(), "layer4")
    mean = model.layer1[0].bn1.running_mean.clone()
    fit(model, *sets, replace(TINY, epochs=1, train_from="layer4"))
    assert torch.equal(model.layer1[0].bn1.running_mean, mean)
    fit(model, *sets, replace(TINY, epochs=1, train_from="layer4", batchnorm_moves=True))
    assert not torch.equal(model.layer1[0].bn1.running_mean, mean)


def test_the_recipe_decides_on_dropout(sets):
    def trained(built_with, recipe):
        torch.manual_seed(0)
        return losses(fit(resnet18(2, 8, dropout=built_with), *sets, replace(recipe, epochs=1)))

    assert trained(0.0, TINY) == trained(0.5, TINY) != trained(0.0, replace(TINY, dropout=0.0))


def test_a_change_of_the_model_is_said(sets, capsys):
    fit(freeze(fresh_model(), "fc"), *sets, replace(TINY, epochs=1, dropout=0.25))
    assert "dropout 0.25" in capsys.readouterr().err
    fit(fresh_model(), *sets, replace(TINY, epochs=1))
    assert "dropout" not in capsys.readouterr().err


@pytest.mark.parametrize("changes", [{"dropout": 0.5}, {"train_from": "layer3"}])
def test_a_model_that_cannot_follow_its_recipe_is_refused_in_one_line(sets, changes):
    with pytest.raises(ValueError) as error:
        plain = replace(TINY, epochs=1, dropout=0.0)
        fit(stack(8, width=8, num_classes=2), *sets, replace(plain, **changes))
    assert "\n" not in str(error.value) and next(iter(changes)) in str(error.value)


def test_the_default_recipe_of_build_model_and_of_fit_agree(sets):
    """build_model freezes up to layer4 and drops half by default, a Recipe neither: the recipe wins."""
    torch.manual_seed(0)
    model = build_model(2, "builtin")
    fit(model, *sets, Recipe("own", 32, precision="fp32", memory_format="channels_last"))
    assert model.dropout.p == 0.0 and not is_frozen(model, "layer1")


def two_phases(**changes):
    return replace(TINY, epochs=3, first=replace(TINY, epochs=4, name="first"), **changes)


@pytest.mark.parametrize(("total", "each"), [(1, [1]), (2, [1, 1]), (3, [2, 1]), (7, [4, 3]), (14, [8, 6])])
def test_epochs_in_all_are_shared_among_the_phases(total, each):
    recipe = two_phases().with_epochs(total)
    assert [phase.epochs for phase in recipe.phases] == each and recipe.all_epochs == total
    assert recipe.name == TINY.name
    assert FULL.with_epochs(total).all_epochs == total


@pytest.mark.parametrize("epochs", [0, -1, 1.5])
def test_fewer_than_one_epoch_in_all_is_refused(epochs):
    with pytest.raises(RecipeError, match=f"epochs is {epochs}; it must be a whole number from 1 on"):
        FULL.with_epochs(epochs)


def test_one_epoch_of_a_recipe_with_one_phase_is_that_recipe():
    assert LAPTOP.with_epochs(2) == replace(LAPTOP, epochs=2)
    assert LAPTOP.with_epochs(LAPTOP.epochs) == LAPTOP and FULL.with_epochs(FULL.all_epochs) == FULL


@pytest.mark.slow
def test_a_seed_is_that_of_all_phases(sets):
    assert [phase.seed for phase in replace(FULL, seed=5).phases] == [5, 5]
    short = two_phases(seed=1)
    short = replace(short, epochs=1, first=replace(short.first, epochs=1, seed=0))
    first = [losses(fit(fresh_model(), *sets, replace(short, seed=seed)))[0] for seed in (1, 2)]
    alone = losses(fit(fresh_model(), *sets, replace(short.first, seed=1)))[0]
    assert first[0] == alone != first[1]


def test_the_two_phases_do_not_draw_the_same_order(sets, monkeypatch):
    orders, train_epoch = [], loop.train_epoch

    def watch(network, batches, *arguments, **options):
        kept = list(batches)
        orders.append(torch.cat([labels for _, labels in kept]))
        return train_epoch(network, kept, *arguments, **options)

    monkeypatch.setattr(loop, "train_epoch", watch)
    monkeypatch.setattr(loop, "progress", lambda batches, **options: _Bar(batches))
    fit(fresh_model(), *sets, replace(two_phases(), epochs=1, first=replace(TINY, epochs=1)))
    assert not torch.equal(*orders)


class _Bar:
    """A progress bar that shows nothing."""

    def __init__(self, batches):
        self.batches = batches

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def __iter__(self):
        return iter(self.batches)

    def set_postfix_str(self, *_, **__):
        pass


def test_no_step_of_a_schedule_is_wasted(sets, monkeypatch):
    rates = []
    at_every_step(monkeypatch, lambda optimizer: rates.append(optimizer.param_groups[0]["lr"]))
    history = fit(fresh_model(), *sets, replace(TINY, epochs=2))
    assert len(rates) == 8 and min(rates) > 1e-3 * max(rates)
    assert history.epochs[-1]["learning_rate"] == rates[-1] > 0


def test_a_learner_can_call_train_epoch_with_a_model_batches_and_an_optimiser():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
    inputs, labels = torch.randn(8, 3, 2, 2), torch.arange(8) % 2
    by_hand = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
    by_hand.load_state_dict(model.state_dict())
    measured = loop.train_epoch(model, [(inputs, labels)] * 3, torch.optim.SGD(model.parameters(), lr=0.1))
    optimizer, total = torch.optim.SGD(by_hand.parameters(), lr=0.1), 0.0
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(by_hand(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    assert measured.loss == pytest.approx(total / 3) and measured.images == 24
    assert torch.allclose(model[1].weight, by_hand[1].weight)


def test_reduced_is_left_as_it_was():
    assert REDUCED.phases == (REDUCED,) and REDUCED.phase_after(0) == (0, REDUCED)
    assert FULL.phase_after(FULL.first.epochs)[1] is FULL and FULL.phase_after(99)[1] is FULL
