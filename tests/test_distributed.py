"""Several processes: the losses of one, uneven batches, one writer, resume elsewhere, a lost process."""

import contextlib
import io
import json
import os
import runpy
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from resnet_course.machine import distributed, gains
from resnet_course.training import checkpoint, loop

# The tests run this with one process and with two: it only calls `fit`, one training after another. BatchNorm
# stands still in "frozen" (eval mode for all of it, while every weight learns), so that no process depends on
# which images the others have.
SCRIPT = """
import contextlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch
import torch
from resnet_course import transfer
from resnet_course.data.images import ImageSet
from resnet_course.machine import probing, tuning
from resnet_course.recipes import REDUCED
from resnet_course.resnet import resnet18
from resnet_course.training import fit, loop

generator = torch.Generator().manual_seed(0)
labels = torch.arange(101) % 2
images = (torch.randint(0, 160, (101, 3, 32, 32), generator=generator) + 60 * labels.view(-1, 1, 1, 1)).byte()
image_set = ImageSet(images, labels, ("dark", "bright"), "noise")
fit_epoch = loop.fit_epoch

class Still(torch.nn.BatchNorm2d):
    def train(self, mode=True):
        return super().train(False)

def run(out, kind, epochs, stop_after):
    def stopping(run, phase):
        if len(run.epochs) == stop_after:
            raise KeyboardInterrupt
        return fit_epoch(run, phase)

    loop.fit_epoch = stopping
    recipe = replace(
        REDUCED, epochs=epochs, batch_size=10, augmentation="crop_flip", average=0.9, learning_rate=1e-3
    )
    torch.manual_seed(0)
    model = resnet18(2, width=8)
    changed = contextlib.ExitStack()
    if kind == "tuned":  # whatever is fastest here, as in a long training
        changed.enter_context(patch.object(tuning, "PACE", 1.0))  # however short the training
        changed.enter_context(patch.object(tuning, "GAIN", 1e9))  # however small the gain
        recipe = replace(recipe, memory_format="auto")
    if kind == "int8":
        changed.enter_context(patch.object(probing, "LOOKS", 1))
        changed.enter_context(patch.object(probing, "INT8_AHEAD", 0.0))
        recipe = replace(recipe, train_from="layer3", precision="auto", memory_format="auto")
    if kind in ("frozen", "tuned", "int8"):
        for name, module in model.named_modules():
            stands_still_already = kind == "int8" and not name.startswith(("layer3", "layer4"))
            if isinstance(module, torch.nn.BatchNorm2d) and not stands_still_already:
                module.__class__ = Still
    if kind == "cached":
        recipe = replace(recipe, train_from="layer4", augmentation="flip", cached_views=2)
        transfer.freeze(model, "layer4")
    with changed, contextlib.suppress(KeyboardInterrupt):
        fit(model, image_set, image_set, recipe, Path(out), resume=True, home=Path(out) / "home")

for job in json.loads(sys.argv[1]):
    run(*job)
"""
STOPPED = 2  # epochs, in the run that is resumed elsewhere


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "train.py"
    path.write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
    return path


def command(script, count, *jobs):
    start = [sys.executable]
    if count > 1:
        start = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}", "--standalone"]
    return [*start, str(script), json.dumps([[str(out), *rest] for out, *rest in jobs])]


def train(script, count, *jobs):
    """Run the script on jobs: (folder, kind, epochs, the epoch after which somebody presses Ctrl-C or -1)."""
    line = command(script, count, *jobs)
    if count > 1:
        done = subprocess.run(line, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr
    said = io.StringIO()  # in this process: starting another takes longer than the training
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setattr(loop, "fit_epoch", loop.fit_epoch)  # the script sets another: put it back
        patch.setattr(sys, "argv", line[1:])
        runpy.run_path(str(script))
    return said.getvalue()


def epochs(out):
    return json.loads((out / "history.json").read_text(encoding="utf-8"))


def values(out, name):
    return [entry[name] for entry in epochs(out)]


@pytest.fixture(scope="module")
def runs(script, tmp_path_factory):
    """Five epochs of ten steps and an image that is left out, whole and stopped, and one on features.

    Also one with the fastest ways of its convolutions, and one with what is frozen in int8. All with one and
    with two processes, in the folders "whole", "stopped", "cached", "tuned" and "int8"; what they said is in
    the file "said".
    """
    found = {}
    for count in (1, 2):
        found[count] = tmp_path_factory.mktemp(f"by_{count}")
        jobs = ("whole", "frozen", 5, -1), ("stopped", "frozen", 5, STOPPED), ("cached", "cached", 1, -1)
        jobs += ("tuned", "tuned", 1, -1), ("int8", "int8", 2, -1)
        said = train(script, count, *((found[count] / name, *rest) for name, *rest in jobs))
        (found[count] / "said").write_text(said, encoding="utf-8")
    return found


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one_with_the_same_batches(runs):
    one, two = runs[1] / "whole", runs[2] / "whole"
    for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy"):
        assert values(two, name) == pytest.approx(values(one, name), abs=1e-4), name
    weights, others = (checkpoint.load(out / "best.pt").state_dict for out in (one, two))
    for name, tensor in weights.items():
        assert torch.allclose(tensor, others[name], atol=1e-3), name


@pytest.mark.slow
def test_a_program_that_only_calls_fit_trains_in_all_its_processes_each_time(runs):
    said = {count: (runs[count] / "said").read_text(encoding="utf-8") for count in (1, 2)}
    assert said[2].count("2 processes train together") == 5 and "processes" not in said[1]
    assert said[2].count("epoch 1/1: ") == 2, "only the first process speaks"


@pytest.mark.slow
def test_training_goes_on_with_another_number_of_processes(script, runs):
    stopped = runs[2] / "stopped"
    assert len(epochs(stopped)) == STOPPED
    assert "resuming after epoch 2 of 5" in train(script, 1, (stopped, "frozen", 5, -1))
    assert values(stopped, "train_loss") == pytest.approx(values(runs[1] / "whole", "train_loss"), abs=1e-4)


@pytest.mark.slow
def test_features_are_made_once_and_batchnorm_in_training_mode_makes_a_difference(runs):
    for count in (1, 2):
        assert len(list((runs[count] / "cached" / "home" / "features").glob("*.npy"))) == 2
    one, two = (values(runs[count] / "cached", "train_loss") for count in (1, 2))
    assert one != pytest.approx(two, abs=1e-4) and one == pytest.approx(two, abs=0.3)


@pytest.mark.slow
def test_processes_train_on_the_same_frozen_part_in_int8(runs):
    one, two = (runs[count] / "int8" for count in (1, 2))
    trainings = [checkpoint.load(out / "last.pt").training for out in (one, two)]
    assert trainings[0]["frozen"] == trainings[1]["frozen"]
    assert trainings[0]["frozen"] == ("int8" if gains.may_take_int8("cpu") else None)
    assert values(two, "train_loss") == pytest.approx(values(one, "train_loss"), abs=0.02)
    assert values(two, "val_loss") == pytest.approx(values(one, "val_loss"), abs=0.05)


@pytest.mark.slow
def test_processes_agree_on_the_ways_of_their_convolutions(runs):
    one, two = (runs[count] / "tuned" for count in (1, 2))
    for out, batch in ((one, 10), (two, 5)):
        _, (images, ways) = checkpoint.load(out / "last.pt").training["convolutions"]
        assert images == batch and len(ways) > 10
    assert values(two, "train_loss") == pytest.approx(values(one, "train_loss"), abs=1e-3)


@pytest.mark.slow
def test_a_killed_process_ends_the_run_with_a_line_and_a_checkpoint(script, tmp_path):
    run = subprocess.Popen(
        command(script, 2, (tmp_path, "frozen", 10_000, -1)),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 100
        while not (tmp_path / "last.pt").exists():
            assert time.monotonic() < deadline and run.poll() is None, run.communicate()[1]
            time.sleep(0.1)
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
        if not children.exists():
            pytest.skip("this system does not list the children of a process")
        os.kill(int(children.read_text().split()[-1]), signal.SIGKILL)
        _, err = run.communicate(timeout=300)
    finally:
        run.kill()
    assert run.returncode != 0
    assert "last.pt" in err and "--resume" in err
    before = len(epochs(tmp_path))
    assert checkpoint.load(tmp_path / "last.pt").training["history"] == epochs(tmp_path)[:before]


def by_command(home, *arguments):
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m"]
    environment = os.environ | {"RESNET_COURSE_HOME": str(home)}
    line = [*start, "resnet_course", "train", "--recipe", "reduced", "--weights", "builtin", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, env=environment)


@pytest.mark.slow
def test_of_several_processes_one_says_what_came_out(tmp_path):
    done = by_command(
        tmp_path, "--data", "shapes", "--limit", "40", "--epochs", "1", "--out", str(tmp_path / "r")
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("best.pt: epoch 1") == 1


@pytest.mark.slow
def test_what_stops_the_first_process_at_loading_ends_the_others_with_a_line(tmp_path):
    done = by_command(tmp_path, "--data", f"folder:{tmp_path / 'none'}", "--out", str(tmp_path / "r"))
    assert done.returncode != 0 and "none does not exist" in done.stderr
    assert 'resnet_course/__main__.py", line' not in done.stderr, "no traceback"


def test_alone_everything_is_as_without_processes():
    assert (distributed.world_size(), distributed.rank(), distributed.local_world_size()) == (1, 0, 1)
    batch = torch.arange(5)
    assert torch.equal(distributed.shard(batch), batch) and distributed.all_reduce_sum([1, 2]).tolist() == [
        1,
        2,
    ]
    assert distributed.broadcast("x") == "x"
    network = torch.nn.Linear(1, 1)
    assert distributed.data_parallel(network) is network
    with distributed.process_group(), distributed.local_main_process_first():
        pass
    with pytest.raises(RuntimeError, match="something else"), distributed.naming_lost_processes("kept"):
        raise RuntimeError("something else")


def test_processes_that_share_a_card_exchange_gradients_by_gloo(monkeypatch):
    started = []
    for name, value in (("WORLD_SIZE", "2"), ("LOCAL_WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, "_store", torch.distributed.HashStore)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", started.append)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend, **_: started.append(backend))
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: None)
    for cards in (1, 2):
        monkeypatch.setattr(torch.cuda, "device_count", lambda cards=cards: cards)
        with distributed.process_group():
            pass
    assert started == ["cuda:0", "gloo", "cuda:1", "cpu:gloo,cuda:nccl"]
    monkeypatch.setenv("RESNET_COURSE_DEVICE", "cpu")
    with distributed.process_group():
        pass
    assert started[4:] == ["gloo"]
