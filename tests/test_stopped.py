"""A training that is killed or stopped at any moment goes on to the result of one that was not."""

import json
from dataclasses import replace

import pytest
import torch
from parameters import some_are_slow
from test_training import PHASES, TINY, fresh_model, losses
from torch import nn

from resnet_course.common.files import write_atomically
from resnet_course.resnet import stack
from resnet_course.training import checkpoint, fit, folder, history, loop, phases, state
from resnet_course.transfer import build_model


class Killed(BaseException):
    """Stands in for a kill: nothing may catch it."""


def die_at(patch, call, error=Killed):
    """Die at the `call`-th writing of a file, from 1, before anything is written."""
    calls = []

    def dying(real):
        def write(*arguments):
            calls.append(arguments[0])
            if len(calls) == call:
                raise error
            return real(*arguments)

        return write

    patch.setattr(folder.checkpoint, "save", dying(checkpoint.save))
    patch.setattr(folder, "write_atomically", dying(folder.write_atomically))


@pytest.fixture(scope="module")
def whole(sets, tmp_path_factory):
    """The losses of a training in two phases that nobody stops, and its network."""
    model = fresh_model()
    return losses(fit(model, *sets, PHASES, home=tmp_path_factory.mktemp("whole"))), model


# Of epochs 2 and 3, around the end of the first phase.
@pytest.mark.parametrize("call", some_are_slow(range(4, 10), quick=(8,)))
def test_a_kill_between_any_two_files_changes_nothing(sets, whole, tmp_path, call):
    expected_losses, expected = whole
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, call)
        with pytest.raises(Killed):
            fit(fresh_model(), *sets, PHASES, tmp_path / "out", home=tmp_path)
    resumed = fit(model := fresh_model(), *sets, PHASES, tmp_path / "out", resume=True, home=tmp_path)
    assert losses(resumed) == pytest.approx(expected_losses, abs=1e-5)
    for name, tensor in expected.state_dict().items():
        assert torch.allclose(model.state_dict()[name], tensor, atol=1e-5), name
    best = checkpoint.load(tmp_path / "out" / "best.pt")
    assert torch.allclose(best.state_dict["fc.weight"], expected.fc.weight, atol=1e-5)
    assert json.loads((tmp_path / "out" / "history.json").read_text()) == resumed.epochs


@pytest.fixture(scope="module")
def whole_tiny(sets):
    """The losses of a training in one phase that nobody stops."""
    return losses(fit(fresh_model(), *sets, TINY))


@pytest.mark.parametrize("call", some_are_slow([1, 2, 3], quick=[2]))
def test_a_stop_while_files_are_written_loses_nothing(sets, whole_tiny, tmp_path, call):
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, call, KeyboardInterrupt)
        stopped = fit(model := fresh_model(), *sets, TINY, tmp_path)
    assert stopped.interrupted and len(stopped.epochs) == 1
    best = checkpoint.load(tmp_path / "best.pt")
    assert torch.equal(best.state_dict["fc.weight"], model.fc.weight)
    assert best.metrics["best_val_accuracy"] == stopped.best["val_accuracy"]
    resumed = fit(fresh_model(), *sets, TINY, tmp_path, resume=True)
    assert losses(resumed) == pytest.approx(whole_tiny, abs=1e-5)


def test_a_stop_while_an_epoch_is_recorded_pairs_no_label_with_older_weights(sets, tmp_path, monkeypatch):
    calls, snapshot = [], state.snapshot

    def stopping(model):
        calls.append(1)
        if len(calls) == 3:  # the first is at the start, the second after epoch 1
            raise KeyboardInterrupt
        return snapshot(model)

    monkeypatch.setattr(state, "snapshot", stopping)
    stopped = fit(fresh_model(), *sets, TINY, tmp_path)
    assert stopped.interrupted and len(stopped.epochs) == 1
    assert checkpoint.load(tmp_path / "last.pt").training["history"] == stopped.epochs


def test_the_seconds_of_a_run_hold_its_trunk_pass(sets, tmp_path, monkeypatch):
    clock, cache_features = {"now": 0.0}, phases.cache_features

    def slow(*arguments, **options):
        clock["now"] += 50.0
        return cache_features(*arguments, **options)

    monkeypatch.setattr(phases, "cache_features", slow)
    for room in (loop, phases):
        monkeypatch.setattr(room.time, "perf_counter", lambda: clock["now"])
    run = fit(fresh_model(), *sets, replace(PHASES.first, epochs=2), home=tmp_path)
    assert run.values("preparation_seconds") == [100.0, 0.0], "train and validation, once"
    assert run.seconds == 100.0


def test_a_history_without_preparation_is_read(sets):
    assert history.History([{"seconds": 2.0}, {"seconds": 3.0, "preparation_seconds": 4.0}]).seconds == 9.0


@pytest.mark.parametrize(
    "make", [lambda: stack(8, width=8, num_classes=2), lambda: stack(8, skip=False, num_classes=2)]
)
def test_what_fit_writes_can_be_loaded_whatever_the_network(sets, tmp_path, make):
    torch.manual_seed(0)
    model = make()
    fit(model, *sets, replace(TINY, epochs=1, dropout=0.0), tmp_path)
    loaded = checkpoint.load(tmp_path / "best.pt").model()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded(x), model(x)) and type(loaded) is type(model)


class OwnHead(nn.Module):
    """A head that no checkpoint of the course can rebuild."""

    out_features = 2

    def __init__(self, inputs):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(inputs))
        self.last = nn.Linear(inputs, 2)

    def forward(self, x):
        return self.last(x * self.scale)


def test_a_network_that_could_not_be_rebuilt_is_refused_before_the_first_epoch(sets, tmp_path):
    torch.manual_seed(0)
    model = build_model(2, "builtin")
    model.fc = OwnHead(model.fc.in_features)
    with pytest.raises(ValueError, match="fc"):
        fit(model, *sets, replace(TINY, epochs=1), tmp_path)
    assert not (tmp_path / "history.json").exists()
    assert fit(model, *sets, replace(TINY, epochs=1)).epochs, "without files it may be any network"


def test_a_stop_that_torch_hides_is_still_a_stop(tmp_path):
    """torch.save closes its archive after a Ctrl-C, and raises a RuntimeError of its own while it does."""

    def write(file):
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("unexpected pos 64 vs 0")

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "best.pt", write)
    assert [*tmp_path.iterdir()] == []


def test_a_stop_before_the_first_step_is_told_and_changes_nothing(sets, tmp_path, monkeypatch, capsys):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("resnet_course.training.loop.Run", stop)
    model = fresh_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    history = fit(model, *sets, TINY, tmp_path / "run")
    assert history.interrupted and history.epochs == [] and not (tmp_path / "run").exists()
    assert history.recipe == TINY, "the cells below evaluate with it"
    assert "stopped by hand before the first step" in capsys.readouterr().err
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
