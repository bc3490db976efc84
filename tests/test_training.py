"""The loop: schedules against PyTorch's, resume, interrupts, divergence, and that it learns at all."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from optimizer_steps import at_every_step
from parameters import some_are_slow

from resnet_course import training
from resnet_course.common.errors import ArgumentError
from resnet_course.data import DataError, Splits
from resnet_course.evaluation import evaluate
from resnet_course.machine import memory
from resnet_course.recipes import LAPTOP, ORIGINAL, REDUCED
from resnet_course.resnet import resnet18
from resnet_course.training import TrainingDiverged, checkpoint, fit, loop, one_cycle, phases, plateau
from resnet_course.training.averaging import WeightAverage, snapshot
from resnet_course.training.checkpoint import CheckpointError
from resnet_course.training.phases import entered_phase
from resnet_course.training.state import Run
from resnet_course.transfer import freeze

TINY = replace(REDUCED, epochs=4, batch_size=32, dropout=0.5)


def fresh_model(width=8):
    torch.manual_seed(0)
    return resnet18(2, width=width, dropout=0.5)


def stop_before_epoch(patch, number):
    """Press Ctrl-C when epoch `number`, from 1, is about to learn."""
    calls, train_epoch = [], loop.train_epoch

    def stopping(*arguments, **options):
        calls.append(1)
        if len(calls) == number:
            raise KeyboardInterrupt
        return train_epoch(*arguments, **options)

    patch.setattr(loop, "train_epoch", stopping)


def losses(history):
    return history.values("train_loss") + history.values("val_loss")


def test_one_cycle_rises_to_one_and_falls_to_zero():
    points = [one_cycle(step / 1000) for step in range(1001)]
    assert points[0] == 0 and points[-1] == pytest.approx(0) and max(points) == points[200] == 1
    assert points[:201] == sorted(points[:201]) and points[200:] == sorted(points[200:], reverse=True)


@pytest.mark.parametrize("seed", range(20))
def test_plateau_is_torchs_reduce_on_plateau(seed):
    accuracies = (
        torch.rand(30, generator=torch.Generator().manual_seed(seed)).mul(100).round().div(100).tolist()
    )
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=2, factor=0.5, eps=0)
    for epoch, accuracy in enumerate(accuracies, start=1):
        theirs.step(accuracy)
        assert plateau(accuracies[:epoch]) == optimizer.param_groups[0]["lr"]


def test_fit_learns_and_leaves_the_best_epoch_in_eval_mode(sets, tmp_path):
    train, val = sets
    model = fresh_model()
    history = fit(model, train, val, replace(TINY, epochs=6, dropout=0.0), tmp_path)
    assert history.best["val_accuracy"] > 0.8, "dark and bright are told apart"
    assert not model.training
    assert evaluate(model, val, TINY).accuracy == history.best["val_accuracy"]
    best = checkpoint.load(tmp_path / "best.pt")
    assert best.metrics["best_val_accuracy"] == history.best["val_accuracy"]
    assert best.classes == train.classes and best.stored_size == 32 and best.dataset == "noise"
    assert json.loads((tmp_path / "history.json").read_text()) == history.epochs
    wanted = {"epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate"}
    wanted |= {"val_images", "folds", "temperature", "threshold", "seconds", "preparation_seconds"}
    assert [entry.keys() for entry in history.epochs] == [wanted] * 6


def test_same_seed_same_losses_and_the_global_random_numbers_are_left_alone(sets):
    torch.manual_seed(5)
    expected = torch.rand(1)
    runs = []
    for _ in range(2):
        model = fresh_model()
        torch.manual_seed(5)
        runs.append(losses(fit(model, *sets, replace(TINY, epochs=2))))
        assert torch.rand(1) == expected
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    ("schedule", "stop_after"), [("one_cycle", 1), pytest.param("plateau", 3, marks=pytest.mark.slow)]
)
def test_resume_gives_the_same_losses_as_no_break(sets, tmp_path, monkeypatch, stop_after, schedule):
    recipe = replace(TINY, schedule=schedule)
    whole = fresh_model()
    uninterrupted = fit(whole, *sets, recipe)

    with monkeypatch.context() as patch:
        stop_before_epoch(patch, stop_after + 1)
        first = fit(fresh_model(), *sets, recipe, tmp_path)
    assert first.interrupted and len(first.epochs) == stop_after
    torch.manual_seed(99)
    model = resnet18(2, width=8, dropout=0.5)  # other weights, other random numbers: all comes from the file
    resumed = fit(model, *sets, recipe, tmp_path, resume=True)
    assert losses(resumed) == pytest.approx(losses(uninterrupted), abs=1e-5)
    for name, tensor in whole.state_dict().items():
        assert torch.allclose(model.state_dict()[name], tensor, atol=1e-5), name


def test_resuming_a_finished_training_changes_nothing(sets, tmp_path):
    recipe = replace(TINY, epochs=2)
    done = fit(fresh_model(), *sets, recipe, tmp_path)
    again = fit(model := fresh_model(), *sets, recipe, tmp_path, resume=True)
    assert again.epochs == done.epochs
    assert evaluate(model, sets[1], recipe).accuracy == done.best["val_accuracy"]


def test_resume_refuses_another_training_and_starts_anew_without_one(sets, tmp_path, capsys):
    fit(fresh_model(), *sets, replace(TINY, epochs=1), tmp_path, resume=True)
    assert "nothing to resume" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match=r"epochs was .* and now it is"):
        fit(fresh_model(), *sets, replace(TINY, epochs=2), tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="its number of images was 128, and now it is 100"):
        fit(fresh_model(), sets[0].limit(100), sets[1], replace(TINY, epochs=1), tmp_path, resume=True)


def interrupt_at(monkeypatch, wanted_step):
    """Press Ctrl-C in the middle of a training step."""
    steps = {"taken": 0}
    cross_entropy = torch.nn.functional.cross_entropy

    def counting(*args, **options):
        if options.get("reduction") == "sum":  # of a training step; validation takes the mean
            steps["taken"] += 1
            if steps["taken"] == wanted_step:
                raise KeyboardInterrupt
        return cross_entropy(*args, **options)

    monkeypatch.setattr(loop.F, "cross_entropy", counting)


def test_an_interrupt_in_the_first_epoch_keeps_what_was_learned(sets, tmp_path, monkeypatch, capsys):
    model = fresh_model()
    before = model.state_dict()["fc.weight"].clone()
    interrupt_at(monkeypatch, 3)
    history = fit(model, *sets, TINY, tmp_path)
    assert history.interrupted and len(history.epochs) == 1
    assert not torch.equal(model.state_dict()["fc.weight"], before)
    assert torch.equal(
        checkpoint.load(tmp_path / "best.pt").state_dict["fc.weight"], model.state_dict()["fc.weight"]
    )
    assert not (tmp_path / "last.pt").exists(), "half an epoch is nothing to resume from"
    assert "stopped by hand; the model's weights are from epoch 1" in capsys.readouterr().err


def test_an_interrupt_later_keeps_the_best_whole_epoch(sets, monkeypatch):
    model = fresh_model()
    interrupt_at(monkeypatch, 9)  # 4 steps an epoch
    history = fit(model, *sets, TINY)
    assert history.interrupted and 1 <= len(history.epochs) < 4
    assert evaluate(model, sets[1], TINY).accuracy == history.best["val_accuracy"]


def test_an_interrupt_before_the_first_step_returns_an_empty_history(sets, monkeypatch):
    interrupt_at(monkeypatch, 1)
    history = fit(fresh_model(), *sets, TINY)
    assert history.interrupted and history.epochs == []


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_weights(sets, tmp_path):
    model = fresh_model()
    recipe = replace(TINY, optimizer="sgd", learning_rate=1e20, schedule="constant")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(TrainingDiverged) as error:
        fit(model, *sets, recipe, tmp_path)
    for part in ("epoch 1: ", "step 2, at learning rate 1e+20", "learning rate that is too high", "bf16"):
        assert part in str(error.value)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_frozen_parts_stay_bit_identical_through_fit(sets):
    model = freeze(fresh_model(), "layer4")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fit(model, *sets, replace(TINY, epochs=1, train_from="layer4"))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) != name.startswith(("layer4", "fc")), name


def test_sets_that_do_not_fit_are_refused(sets):
    train, val = sets
    with pytest.raises(DataError, match="train has 2 classes, val 2, the model 5 outputs"):
        fit(resnet18(5, width=8), train, val, TINY)
    with pytest.raises(DataError, match="1 images to train on; it takes at least 2"):
        fit(fresh_model(), train.limit(1), val, TINY)
    frozen = fresh_model().requires_grad_(False)
    with pytest.raises(ValueError, match="every parameter of the model is frozen"):
        training.make_optimizer(frozen, TINY)


def test_the_original_learns_from_train_and_val_and_chooses_on_test(sets):
    train, val = sets
    splits = Splits(train, val, val.limit(10))
    assert training.learning_and_choosing(splits, LAPTOP) == (train, val)
    learn, choose = training.learning_and_choosing(splits, ORIGINAL)
    assert len(learn) == len(train) + len(val) and choose is splits.test


@pytest.mark.parametrize("mix", some_are_slow(["mixup", "cutmix"], quick=["mixup"]))
def test_it_learns_from_mixed_pictures_too(sets, mix):
    history = fit(fresh_model(), *sets, replace(TINY, mix=mix, epochs=6, dropout=0.0))
    first, last = history.epochs[0], history.epochs[-1]
    assert last["train_loss"] < first["train_loss"] and last["val_accuracy"] > 0.8


@pytest.mark.parametrize("labels", [[0], [2, 2], [1, 0]])
def test_fit_linear_knows_one_image_and_one_class(labels):
    features, labels = torch.randn(len(labels), 8), torch.tensor(labels)
    logits = training.fit_linear(features, labels, 3)(features)
    assert torch.isfinite(logits).all() and torch.equal(logits.argmax(1), labels)


@pytest.mark.parametrize("features", [torch.empty(0, 8), torch.full((2, 8), torch.nan)])
def test_fit_linear_refuses_what_it_cannot_learn_from(features):
    with pytest.raises(ArgumentError, match=f"one image or more; these are of {len(features)}"):
        training.fit_linear(features, torch.zeros(len(features), dtype=torch.int64), 3)


def test_fit_linear_finds_the_optimum_whatever_the_scale_of_the_features():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 3
    features = torch.randn(300, 5, generator=generator) + F.one_hot(labels, 5) * 2
    scaled = features * torch.tensor([1, 100, 0.01, 1, 1]) + torch.tensor([0, 50, 0, -3, 0])
    layer, other = (training.fit_linear(x, labels, 3) for x in (features, scaled))
    assert torch.allclose(layer(features), other(scaled), atol=1e-2)
    assert not layer.weight.requires_grad

    # A reference: plain gradient descent on the same sum, long enough.
    x = (features - features.mean(0)) / features.std(0)
    weight, bias = torch.zeros(3, 5, requires_grad=True), torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.SGD([weight, bias], lr=0.5)
    for _ in range(1000):
        loss = F.cross_entropy(x @ weight.T + bias, labels) + 0.5e-3 * weight.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.allclose(layer(features).softmax(1), (x @ weight.T + bias).softmax(1), atol=2e-3)


def test_discriminative_rates_reach_the_optimiser(sets, monkeypatch):
    seen = []
    at_every_step(monkeypatch, lambda own: seen.append({g["rate"]: g["lr"] for g in own.param_groups}))
    fit(fresh_model(), *sets, replace(TINY, epochs=1, layer_decay=0.5, schedule="constant"))
    assert seen[0] == {0.5**n: pytest.approx(TINY.learning_rate * 0.5**n) for n in range(6)}


def average_by_hand(weights, share):
    """The average that `fit` should hold after the weights of each step."""
    average = weights[0]
    for step, now in enumerate(weights[1:], start=1):
        stays = min(share, step / (9 + step))
        average = stays * average + (1 - stays) * now
    return average


def test_averaged_weights_are_validated_and_kept_and_training_goes_on_from_the_others(sets, monkeypatch):
    model, plain = fresh_model(), fresh_model()
    weights = [plain.fc.weight.detach().cpu().clone()]
    with monkeypatch.context() as patch:
        at_every_step(patch, lambda _: weights.append(plain.fc.weight.detach().cpu().clone()), after=True)
        without = fit(plain, *sets, replace(TINY, epochs=2))
    averaged = fit(model, *sets, replace(TINY, epochs=2, average=0.9))
    assert averaged.values("train_loss") == without.values("train_loss"), "the averaging changes no step"
    assert averaged.values("val_loss") != without.values("val_loss")
    steps = (len(weights) - 1) // 2
    ends = [average_by_hand(weights[: 1 + steps * epoch], 0.9) for epoch in (1, 2)]
    best = ends[int(averaged.best["epoch"]) - 1]
    assert torch.allclose(model.fc.weight, best, atol=1e-6)
    assert evaluate(model, sets[1], TINY).loss == pytest.approx(averaged.best["val_loss"], abs=1e-5)


@pytest.mark.parametrize(("good_start", "left"), [(True, 0.9**3), (False, 0.1 * 2 / 11 * 3 / 12)])
def test_a_good_start_has_its_part_in_the_average_and_another_is_forgotten_soon(good_start, left):
    model = resnet18(2, width=8)
    freeze(model, "fc")
    average = WeightAverage(model, 0.9, good_start)
    before = snapshot(model)
    with torch.no_grad():
        model.fc.weight += 1
    for _ in range(3):
        average.update()
    assert torch.allclose(average.weights["fc.weight"], before["fc.weight"] + 1 - left, atol=1e-6)
    assert torch.equal(average.weights["conv1.weight"], before["conv1.weight"])


def test_what_training_begins_with_has_a_part_where_it_is_a_linear_probe(sets, monkeypatch):
    asked = []
    real = phases.WeightAverage
    monkeypatch.setattr(
        phases, "WeightAverage", lambda *arguments: asked.append(arguments) or real(*arguments)
    )
    for head in ("random", "linear_probe"):
        fit(fresh_model(), *sets, replace(TINY, epochs=1, average=0.9, head=head))
    assert [arguments[1:] for arguments in asked] == [(0.9, False), (0.9, True)]


@pytest.mark.slow
def test_averaging_goes_on_after_a_break_as_if_there_were_none(sets, tmp_path):
    recipe = replace(TINY, average=0.95)
    whole = fit(fresh_model(), *sets, recipe, tmp_path / "whole")
    calls, real = 0, loop.evaluate

    def stop(*arguments):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "evaluate", stop)
        assert fit(fresh_model(), *sets, recipe, tmp_path / "a").interrupted
    resumed = fit(fresh_model(), *sets, recipe, tmp_path / "a", resume=True)
    assert losses(resumed) == losses(whole)


PHASES = replace(
    TINY, epochs=2, first=replace(TINY, epochs=2, train_from="layer4", augmentation="flip", cached_views=2)
)


def test_phases_run_in_order_and_each_freezes_as_it_says(sets, tmp_path, monkeypatch):
    model, before, frozen = fresh_model(), {}, []
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    validate = loop.validate

    def watch(*arguments):
        frozen.append(torch.equal(model.layer1[0].conv1.weight.cpu(), before["layer1.0.conv1.weight"]))
        return validate(*arguments)

    monkeypatch.setattr(loop, "validate", watch)
    history = fit(model, *sets, PHASES, tmp_path / "out", home=tmp_path)
    assert frozen == [True, True, False, False], "the first phase trains layer4 and head, the second all"
    assert history.values("epoch") == [1, 2, 3, 4]
    assert len(list((tmp_path / "features").glob("*.npy"))) == 2, "train and val, of the first phase alone"
    saved = checkpoint.load(tmp_path / "out" / "best.pt")
    assert saved.recipe == PHASES and saved.recipe.first.cached_views == 2


def test_the_memory_of_the_steps_is_given_back_before_validation(sets, monkeypatch):
    blocks, train_epoch, validate = [], loop.train_epoch, loop.validate

    def learn(*arguments, **options):
        blocks.append(memory._blocks)
        return train_epoch(*arguments, **options)

    def watch(*arguments):
        blocks.append(memory._blocks)
        return validate(*arguments)

    monkeypatch.setattr(memory, "glibc", lambda: SimpleNamespace(mallopt=max, malloc_trim=abs))
    monkeypatch.setattr(loop, "train_epoch", learn)
    monkeypatch.setattr(loop, "validate", watch)
    fit(fresh_model(), *sets, replace(TINY, epochs=2))
    assert blocks == [1, 0, 1, 0], "kept from step to step, and no longer"


@pytest.mark.slow
def test_the_second_phase_begins_with_the_best_weights_of_the_first(sets, tmp_path, monkeypatch):
    alone = freeze(fresh_model(), "layer4")
    first = fit(alone, *sets, PHASES.first, home=tmp_path)  # leaves the best weights in the model
    begins, train_epoch, model = [], loop.train_epoch, fresh_model()

    def watch(*arguments, **options):
        begins.append({name: tensor.cpu().clone() for name, tensor in model.state_dict().items()})
        return train_epoch(*arguments, **options)

    monkeypatch.setattr(loop, "train_epoch", watch)
    both = fit(model, *sets, PHASES, home=tmp_path)
    assert both.values("train_loss")[:2] == pytest.approx(first.values("train_loss"), abs=1e-6)
    for name, tensor in alone.state_dict().items():
        assert torch.allclose(begins[2][name], tensor), name


@pytest.mark.parametrize(("second", "size"), some_are_slow([(0.9, 24), (0.4, 32)], quick=[(0.9, 24)]))
def test_a_checkpoint_has_the_size_at_which_its_network_learned(
    sets, tmp_path, monkeypatch, capsys, second, size
):
    sizes, accuracies = [], iter((0.5, second))

    def validate(model, val, recipe):
        sizes.append(recipe.image_size)
        return loop.Measured(1.0, next(accuracies), len(val))

    monkeypatch.setattr(loop, "validate", validate)
    recipe = replace(TINY, epochs=1, image_size=24, first=replace(TINY, epochs=1, image_size=32))
    history = fit(fresh_model(), *sets, recipe, tmp_path)
    assert sizes == [32, 24]
    assert history.recipe == checkpoint.load(tmp_path / "best.pt").recipe == replace(recipe, image_size=size)
    assert checkpoint.load(tmp_path / "last.pt").recipe == recipe
    assert ("evaluate with image_size=32" in capsys.readouterr().err) == (size == 32)


@pytest.fixture(scope="module")
def whole(sets, tmp_path_factory):
    """The losses of a training in two phases that nobody stops."""
    return losses(fit(fresh_model(), *sets, PHASES, home=tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize("stop_after", some_are_slow([1, 2, 3], quick=[2]))
def test_phases_resume_wherever_they_were_stopped(sets, whole, tmp_path, monkeypatch, stop_after):
    with monkeypatch.context() as patch:
        stop_before_epoch(patch, stop_after + 1)
        assert fit(fresh_model(), *sets, PHASES, tmp_path / "out", home=tmp_path).interrupted
    resumed = fit(fresh_model(), *sets, PHASES, tmp_path / "out", resume=True, home=tmp_path)
    assert losses(resumed) == pytest.approx(whole, abs=1e-5)


def test_features_go_to_the_home_of_the_settings_if_no_other_is_named(sets, tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path))
    fit(freeze(fresh_model(), "layer4"), *sets, replace(PHASES.first, epochs=1))
    assert len(list((tmp_path / "features").glob("*.npy"))) == 2


def test_the_bar_says_what_is_left(sets):
    run = Run(fresh_model(), TINY, *sets, None)
    with entered_phase(run, *sets, None) as phase:
        phase.began -= 60  # a minute for half an epoch
        assert phase.time_left(run, 2, 4) == "about 7 min left"
