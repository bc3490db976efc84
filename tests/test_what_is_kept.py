"""Which epoch a training keeps, and how a head can start as a linear probe."""

from dataclasses import replace

import pytest
import torch
from parameters import some_are_slow

from resnet_course import machine
from resnet_course.common.errors import ArgumentError
from resnet_course.common.tensors import CheckpointError
from resnet_course.evaluation import evaluate
from resnet_course.inputs import to_input
from resnet_course.machine import Engine
from resnet_course.recipes import ORIGINAL, REDUCED
from resnet_course.resnet import resnet18, stack
from resnet_course.training import History, checkpoint, fit, fit_linear, loop
from resnet_course.training.linear import (
    PROBE_DECAY,
    pooled_features,
    start_head_as_linear_probe,
    take_statistics,
)
from resnet_course.training.state import Run
from resnet_course.transfer import freeze

TINY = replace(REDUCED, epochs=3, batch_size=32, learning_rate=1e-4)
PROBED = replace(TINY, train_from="layer4", epochs=1, augmentation="none", head="linear_probe")


def history(*accuracies, images=None):
    noted = {} if images is None else {"val_images": images}
    return History(
        [
            {"epoch": epoch, "val_accuracy": accuracy, "val_loss": 1.0, **noted}
            for epoch, accuracy in enumerate(accuracies, start=1)
        ]
    )


@pytest.mark.parametrize(
    ("accuracies", "images", "kept"),
    [
        ((0.70, 0.76, 0.74), 50, 3),  # one standard error is 0.06: no difference that 50 images could show
        ((0.70, 0.86, 0.74), 50, 2),
        ((0.70, 0.76, 0.74), 5_000, 2),  # here it is 0.006
        ((1.0, 1.0, 0.98), 50, 2),
        ((0.80, 0.79, 0.83, 0.78), 50, 4),
        ((0.70, 0.76, 0.74), None, 2),  # of a training before `val_images` was noted
        ((0.70, 0.76, 0.76), 0, 2),
    ],
)
def test_the_last_epoch_stays_unless_validation_tells_that_it_is_worse(accuracies, images, kept):
    assert history(*accuracies, images=images).best["epoch"] == kept


@pytest.mark.parametrize(
    ("images", "recipe", "kept"),
    some_are_slow(
        [(50, TINY, 3), (5_000, TINY, 2), (50, replace(TINY, select_on_test=True), 2)], quick=[(50, TINY, 3)]
    ),
)
def test_fit_keeps_the_weights_of_that_epoch(sets, tmp_path, monkeypatch, capsys, images, recipe, kept):
    accuracies, weights = iter((0.7, 0.76, 0.74)), []

    def validate(model, val, recipe):
        weights.append(model.fc.weight.detach().cpu().clone())
        return loop.Measured(1.0, next(accuracies), images)

    monkeypatch.setattr(loop, "validate", validate)
    torch.manual_seed(0)
    model = resnet18(2, width=8)
    found = fit(model, *sets, recipe, tmp_path)
    assert found.best["epoch"] == kept
    assert torch.equal(model.fc.weight.cpu(), weights[kept - 1])
    assert torch.equal(checkpoint.load(tmp_path / "best.pt").state_dict["fc.weight"], weights[kept - 1])
    said = "epoch 3 is kept, the last that validation cannot tell from the best"
    assert (said in capsys.readouterr().err) == (kept == 3)
    assert ORIGINAL.select_on_test, "the walk-through keeps the highest"


@pytest.mark.parametrize("views", [0, 1])
def test_the_head_starts_as_the_best_linear_layer(sets, tmp_path, monkeypatch, views):
    recipe = replace(PROBED, cached_views=views, learning_rate=1e-12, weight_decay=0.0)
    torch.manual_seed(0)
    model = freeze(resnet18(2, width=8), "layer4")
    take_statistics(model, sets[0], recipe, Engine.of(model))
    pooled = []
    hook = model.fc.register_forward_pre_hook(
        lambda _, inputs: pooled.append(inputs[0].detach().float().cpu())
    )
    evaluate(model, sets[0], recipe)
    hook.remove()
    expected = fit_linear(torch.cat(pooled), sets[0].labels, 2, PROBE_DECAY)
    fit(model, *sets, recipe, home=tmp_path)
    torch.testing.assert_close(model.fc.weight.cpu(), expected.weight, rtol=0.05, atol=0.02)
    assert model.fc.weight.requires_grad, "it goes on learning"


def test_it_starts_once_and_leaves_modes_and_hooks_as_they_were(sets):
    model = freeze(resnet18(2, width=8), "layer4")
    before = {name: module.training for name, module in model.named_modules()}
    found = pooled_features(model, sets[0], PROBED, Engine("cpu", "fp32", "contiguous", 1))
    start_head_as_linear_probe(model, found, sets[0].labels)
    assert {name: module.training for name, module in model.named_modules()} == before
    assert not model.fc._forward_pre_hooks


@pytest.mark.slow
def test_a_stopped_training_goes_on_without_another_probe(sets, tmp_path, monkeypatch):
    recipe = replace(PROBED, epochs=2, learning_rate=1e-3)

    def trained(out, **options):
        torch.manual_seed(0)
        model = resnet18(2, width=8)
        return fit(model, *sets, recipe, out, **options), model

    _, whole = trained(tmp_path / "whole")
    with monkeypatch.context() as patch:
        epochs, train_epoch = [], loop.train_epoch

        def stop(*arguments, **options):
            epochs.append(1)
            if len(epochs) == 2:
                raise KeyboardInterrupt
            return train_epoch(*arguments, **options)

        patch.setattr(loop, "train_epoch", stop)
        assert trained(tmp_path / "broken")[0].interrupted
    _, resumed = trained(tmp_path / "broken", resume=True)
    torch.testing.assert_close(resumed.fc.weight, whole.fc.weight, atol=1e-5, rtol=1e-4)


def test_a_head_that_is_no_linear_layer_is_refused(sets):
    model = stack(8, num_classes=2, width=8)
    model.fc = torch.nn.Sequential(torch.nn.Linear(32, 8), torch.nn.Linear(8, 2))
    with pytest.raises(ArgumentError, match="not a single linear layer"):
        fit(model, *sets, replace(PROBED, train_from="all"))


def test_another_network_does_not_take_the_place_of_the_one_that_is_resumed(sets, tmp_path):
    out = tmp_path / "run"
    fit(resnet18(2, width=8), *sets, replace(REDUCED, epochs=1), out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(CheckpointError, match=r"holds another network .* give the same weights"):
        fit(resnet18(2, width=16), *sets, replace(REDUCED, epochs=1), out, resume=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_what_the_weights_had_seen_is_not_forgotten_at_a_resume(sets, tmp_path):
    out = tmp_path / "run"
    fit(resnet18(2, width=8), *sets, replace(REDUCED, epochs=1), out, seen=("d1gest",))
    fit(resnet18(2, width=8), *sets, replace(REDUCED, epochs=1), out, resume=True)
    assert all("d1gest" in checkpoint.load(out / name).digests for name in ("best.pt", "last.pt"))


@pytest.mark.parametrize("count", [5, 64, 70])
def test_the_statistics_of_what_learns_are_those_of_whole_batches(sets, count):
    train = sets[0].subset(torch.arange(count) % len(sets[0]))
    model = freeze(resnet18(2, width=8), "layer4").eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    take_statistics(model, train, TINY, Engine("cpu", "fp32", "contiguous", 1))
    after = model.state_dict()
    changed = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert changed == {"layer4"}, "what is frozen stays"
    assert not any(module.training for module in model.modules())
    assert {m.momentum for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.1}
    seen = []
    norm = model.layer4[0].bn1
    hook = model.layer4[0].conv1.register_forward_hook(lambda _, inputs, output: seen.append(output))
    with torch.no_grad():
        for start in range(0, max(1, count - count % 32), 32):
            model(to_input(train.take(slice(start, min(start + 32, count))), TINY))
    hook.remove()
    mean = torch.stack([each.mean((0, 2, 3)) for each in seen]).mean(0)
    torch.testing.assert_close(norm.running_mean, mean, rtol=1e-4, atol=1e-5)


def test_weights_that_nobody_validated_carry_no_temperature(sets, tmp_path, monkeypatch):
    def validate(model, val, recipe):
        return loop.Measured(1.0, 0.8, 1_000, temperature=2.0, threshold=0.6)

    monkeypatch.setattr(loop, "validate", validate)
    for average, last in ((0.9, (1.0, None)), (0.0, (2.0, 0.6))):
        out = tmp_path / str(average)
        fit(resnet18(2, width=8), *sets, replace(REDUCED, epochs=1, average=average), out)
        found = [checkpoint.load(out / name) for name in ("best.pt", "last.pt")]
        assert [(each.temperature, each.threshold) for each in found] == [(2.0, 0.6), last]


def test_a_resumed_training_computes_in_the_precision_of_before(sets, tmp_path, monkeypatch):
    recipe = replace(REDUCED, epochs=2, precision="auto")
    precision = "fp32"
    monkeypatch.setattr(machine, "choose", lambda *_: Engine(machine.device(), precision, "channels_last", 1))
    with monkeypatch.context() as patch:
        commit = Run.commit

        def stop_then(run, *arguments):
            commit(run, *arguments)
            raise KeyboardInterrupt

        patch.setattr(Run, "commit", stop_then)
        assert "fp32" in fit(resnet18(2, width=8), *sets, recipe, tmp_path).engine
    precision = "bf16"
    assert "fp32" in fit(resnet18(2, width=8), *sets, recipe, tmp_path, resume=True).engine
    assert "bf16" in fit(resnet18(2, width=8), *sets, recipe).engine, "a new one takes what is fastest now"
