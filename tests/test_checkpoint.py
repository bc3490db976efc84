"""A checkpoint is enough to predict, survives kill -9, and nothing foreign or damaged gets through."""

import os
import pickle
import subprocess
import sys
import zipfile
from dataclasses import replace

import pytest
import torch

from resnet_course.recipes import ORIGINAL, REDUCED
from resnet_course.resnet import resnet18
from resnet_course.training import checkpoint
from resnet_course.training.checkpoint import Checkpoint, CheckpointError


def make(**changes):
    torch.manual_seed(0)
    model = resnet18(2, width=8)
    values = {
        "state_dict": model.state_dict(),
        "classes": ("cat", "dög"),
        "stored_size": 32,
        "dataset": "pets",
    }
    return Checkpoint(**{**values, "recipe": REDUCED, "metrics": {"best_val_accuracy": 0.5}, **changes})


def test_round_trip(tmp_path):
    saved = make(recipe=ORIGINAL)
    loaded = checkpoint.load(checkpoint.save(tmp_path / "new" / "best.pt", saved))
    for name in ("classes", "stored_size", "dataset", "recipe", "metrics", "training"):
        assert getattr(loaded, name) == getattr(saved, name), name
    for name, tensor in saved.state_dict.items():
        assert torch.equal(loaded.state_dict[name], tensor), name
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded.model()(x), saved.model()(x))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["best.pt"]


def test_a_recipe_of_another_version_still_loads(tmp_path):
    path = checkpoint.save(tmp_path / "best.pt", make())
    content = torch.load(path, weights_only=True)
    content["recipe"]["a_field_of_the_future"] = 7
    del content["recipe"]["label_smoothing"]
    torch.save(content, path)
    assert checkpoint.load(path).recipe == REDUCED


def refusal(path):
    with pytest.raises(CheckpointError) as error:
        checkpoint.load(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    return str(error.value)


def test_missing_file_and_folder(tmp_path):
    assert "there is no such file" in refusal(tmp_path / "absent.pt")
    assert "is a folder" in refusal(tmp_path)


def test_files_of_another_kind(tmp_path):
    path = tmp_path / "x.pt"
    for content in (b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(100)):
        path.write_bytes(content)
        assert "is no file of torch.save" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "a zip archive, but not ours")
    assert "is no file of torch.save" in refusal(path)
    torch.save([1, 2, 3], path)
    assert "is no checkpoint of this course" in refusal(path)
    torch.save(resnet18(2, width=8).state_dict(), path)
    assert "bare state dict; pass it as weights instead" in refusal(path)


def test_every_truncation_is_noticed(tmp_path):
    whole = checkpoint.save(tmp_path / "best.pt", make()).read_bytes()
    path = tmp_path / "cut.pt"
    for length in (1, 100, len(whole) // 2, len(whole) - 1000, len(whole) - 1):
        path.write_bytes(whole[:length])
        refusal(path)


def test_one_flipped_bit_in_the_weights_is_noticed(tmp_path):
    path = checkpoint.save(tmp_path / "best.pt", make())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "is damaged: the checksum" in refusal(path)


@pytest.mark.parametrize("part", sorted(checkpoint.REQUIRED))
def test_a_part_that_is_missing_or_of_another_type_is_named(tmp_path, part):
    path = checkpoint.save(tmp_path / "best.pt", make())
    content = torch.load(path, weights_only=True)
    content[part] = None
    torch.save(content, path)
    assert repr(part) in refusal(path)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    path = checkpoint.save(tmp_path / "best.pt", make(classes=("cat", "dog", "bird")))
    assert "does not fit the network" in refusal(path)
    state = make().state_dict
    del state["layer1.0.conv1.weight"]
    assert "layer1.0.conv1.weight" in refusal(checkpoint.save(tmp_path / "b.pt", make(state_dict=state)))
    assert "does not fit" in refusal(
        checkpoint.save(tmp_path / "c.pt", make(state_dict={"a": torch.ones(1)}))
    )


class Malicious:
    def __init__(self, proof):
        self.proof = str(proof)

    def __reduce__(self):
        return (exec, (f"open({self.proof!r}, 'w').close()",))


def test_a_pickle_that_would_run_code_does_not_run(tmp_path):
    proof = tmp_path / "it ran"
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(Malicious(proof)))
    refusal(path)
    torch.save({"format": checkpoint.FORMAT, "state_dict": Malicious(proof)}, path)
    assert "is refused" in refusal(path)
    assert not proof.exists()
    torch.load(path, weights_only=False)
    assert proof.exists(), "the same file, trusted, runs its code: the test file is really malicious"


KILL_WRITERS = """
import os, random, shutil, signal, sys, time
sys.path.insert(0, {tests!r})
from test_checkpoint import checkpoint, make

chance = random.Random(0)
for round in range(5):
    reading, writing = os.pipe()
    writer = os.fork()  # of a process that has not computed anything; a new one would import torch again
    if not writer:
        while True:
            checkpoint.save({path!r}, make(metrics={{"round": round}}))
            os.write(writing, b"saved")
    os.read(reading, 5)
    time.sleep(0.2 * chance.random())
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    shutil.copy({path!r}, {path!r} + str(round))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has imported torch")
def test_kill_9_during_a_save_leaves_a_whole_checkpoint(tmp_path):
    path = tmp_path / "best.pt"
    code = KILL_WRITERS.format(tests=os.path.dirname(__file__), path=str(path))  # noqa: PTH120
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
    for round in range(5):
        copy = tmp_path / f"best.pt{round}"
        assert checkpoint.load(copy).metrics["round"] == round
        copy.unlink()
    checkpoint.save(path, make())
    assert [file.name for file in tmp_path.iterdir()] == ["best.pt"], (
        "strays of killed writers are cleaned up"
    )


def test_a_failing_save_keeps_the_previous_file(tmp_path):
    path = checkpoint.save(tmp_path / "best.pt", make())
    with pytest.raises(ZeroDivisionError):
        checkpoint.write_atomically(path, lambda file: (file.write(b"half"), 1 / 0))
    assert checkpoint.load(path).metrics == {"best_val_accuracy": 0.5}
    assert [file.name for file in tmp_path.iterdir()] == ["best.pt"]


def test_weights_in_any_layout_are_stored_alike(tmp_path):
    plain = make()
    channels_last = replace(
        plain, state_dict=plain.model().to(memory_format=torch.channels_last).half().state_dict()
    )
    loaded = checkpoint.load(checkpoint.save(tmp_path / "best.pt", channels_last))
    assert loaded.state_dict["layer1.0.conv1.weight"].is_contiguous()
