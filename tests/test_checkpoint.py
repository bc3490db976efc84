"""A checkpoint is enough to predict, survives kill -9, and nothing foreign or damaged gets through."""

import os
import pickle
import subprocess
import sys
import zipfile
from dataclasses import replace

import pytest
import torch
from parameters import some_are_slow
from torch import nn

from resnet_course.recipes import ORIGINAL, PLAIN, REDUCED
from resnet_course.resnet import ResNet, resnet18, resnet34, stack
from resnet_course.resnet.architecture import ArchitectureError, build, describe
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
    saved = make(
        recipe=ORIGINAL,
        input={"image_size": 32, "mean": [0.5, 0.5, 0.5], "views": 2, "resize": "bilinear"},
        digests=("sha256:0", "sha256:1"),
        temperature=1.3,
        threshold=0.8,
        training={"steps": 3},
    )
    loaded = checkpoint.load(checkpoint.save(tmp_path / "new" / "best.pt", saved))
    for name in set(checkpoint.PARTS) - {"state_dict"}:
        assert getattr(loaded, name) == getattr(saved, name), name
    for name, tensor in saved.state_dict.items():
        assert torch.equal(loaded.state_dict[name], tensor), name
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded.model()(x), saved.model()(x))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["best.pt"]


def with_hidden_layer():
    model = resnet18(2, width=8)
    model.fc = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2))
    return model


NETWORKS = {
    "ResNet-18 of width 16": lambda: resnet18(2, width=16, dropout=0.5),
    "ResNet-34": lambda: resnet34(2, width=8),
    "a ResNet of one block a stage": lambda: ResNet((1, 1, 1, 1), 2, width=8),
    "a head with a hidden layer": with_hidden_layer,
    "stack with skips": lambda: stack(14, width=4, num_classes=2),
    "plain stack": lambda: stack(8, skip=False, width=4, num_classes=2),
    "stack without BatchNorm": lambda: stack(8, batchnorm=False, width=4, num_classes=2),
    "plain stack without BatchNorm": lambda: stack(8, skip=False, batchnorm=False, width=4, num_classes=2),
}


@pytest.mark.parametrize("name", some_are_slow(NETWORKS, quick=[*NETWORKS][::3]))
def test_every_network_of_the_course_comes_back_from_its_file(tmp_path, name):
    torch.manual_seed(0)
    model = NETWORKS[name]().eval()
    saved = make(state_dict=model.state_dict(), architecture=describe(model), recipe=PLAIN)
    loaded = checkpoint.load(checkpoint.save(tmp_path / "best.pt", saved))
    assert loaded.architecture == describe(loaded.model()) == describe(model)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.model()(x), model(x))


def test_a_file_of_the_first_format_still_loads(tmp_path):
    """As commit e300958 wrote it: "side" for the stored size, and no architecture: it was ResNet-18."""
    torch.manual_seed(0)
    model = resnet18(2, width=8).eval()
    recipe = {**REDUCED.to_dict(), "dropout": 0.5}
    content = {
        "format": "resnet_course checkpoint 1",
        "versions": {"torch": "2.11.0", "torchvision": "0.26.0"},
        "state_dict": model.state_dict(),
        "classes": ["cat", "dög"],
        "side": 32,
        "dataset": "pets",
        "recipe": recipe,
        "metrics": {"best_val_accuracy": 0.5},
        "training": {"pictures": 10, "history": []},
    }
    torch.save(content, tmp_path / "best.pt")
    loaded = checkpoint.load(tmp_path / "best.pt")
    assert loaded.stored_size == 32 and loaded.training == content["training"]
    assert loaded.architecture == describe(resnet18(2, width=8, dropout=0.5))
    assert (loaded.temperature, loaded.threshold, loaded.digests, loaded.input) == (1.0, None, (), {})
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded.model()(x), model(x))
    del content["side"]
    torch.save(content, tmp_path / "best.pt")
    assert "'stored_size' is missing" in refusal(tmp_path / "best.pt")


def test_parts_of_a_later_version_are_passed_over_and_a_later_format_is_named(tmp_path):
    path = checkpoint.save(tmp_path / "best.pt", make())
    content = torch.load(path, weights_only=True)
    torch.save({**content, "conformal": [0.1, 0.2]}, path)
    assert checkpoint.load(path).classes == ("cat", "dög")
    torch.save({**content, "format": "resnet_course checkpoint 3"}, path)
    assert "format 'resnet_course checkpoint 3'" in refusal(path)


@pytest.mark.parametrize(
    "architecture",
    [
        {"name": "vgg"},
        {"name": ["resnet"]},
        {"name": "resnet", "blocks": [10**9] * 4, "width": 8, "num_classes": 2},
        {"name": "resnet", "blocks": [2, 2, 2, 2], "width": 10**15, "num_classes": 2},
        {"name": "resnet", "blocks": [2, 2, 2, 2], "width": True, "num_classes": 2},
        {"name": "resnet", "blocks": [2, 2, 2], "width": 8, "num_classes": 2},
        {"name": "stack", "depth": 10**9 + 4, "skip": True, "batchnorm": True, "width": 8, "num_classes": 2},
        {"name": "resnet", "blocks": [2, 2, 2, 2], "width": 8, "num_classes": 2, "__class__": "x"},
    ],
)
def test_an_architecture_that_cannot_be_built_is_refused(tmp_path, architecture):
    with pytest.raises(ArchitectureError):
        build(architecture)
    assert "does not fit the network: " in refusal(
        checkpoint.save(tmp_path / "best.pt", make(architecture=architecture))
    )


def test_words_that_are_no_words_are_refused(tmp_path):
    path = checkpoint.save(tmp_path / "best.pt", make(classes=("cat", 7)))
    assert "classes and digests" in refusal(path)
    assert "classes and digests" in refusal(checkpoint.save(path, make(digests=(None,))))


def test_all_tensors_are_stored_compactly_on_the_cpu(tmp_path):
    momentum = torch.randn(1_000, 100)[:, 0]  # the view of a larger tensor
    saved = make(training={"optimizer": {"state": {0: {"momentum": momentum}}, "order": [(momentum,)]}})
    training = checkpoint.load(checkpoint.save(tmp_path / "best.pt", saved)).training
    for tensor in (training["optimizer"]["state"][0]["momentum"], training["optimizer"]["order"][0][0]):
        assert torch.equal(tensor, momentum)
        assert tensor.is_contiguous() and tensor.untyped_storage().nbytes() == 4_000


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
        assert "was not written by torch.save" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "a zip archive, but not ours")
    assert "was not written by torch.save" in refusal(path)
    torch.save([1, 2, 3], path)
    assert "is not a checkpoint of this course" in refusal(path)
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


@pytest.mark.parametrize("part", sorted(set(checkpoint.PARTS) - {"threshold", "training"}))
def test_a_part_that_is_missing_or_of_another_type_is_named(tmp_path, part):
    path = checkpoint.save(tmp_path / "best.pt", make())
    content = torch.load(path, weights_only=True)
    content[part] = None
    torch.save(content, path)
    assert repr(part) in refusal(path)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    path = checkpoint.save(tmp_path / "best.pt", make(classes=("cat", "dog", "bird")))
    assert "does not fit the network: 2 outputs for 3 classes" in refusal(path)
    whole = make()
    incomplete = {n: t for n, t in whole.state_dict.items() if n != "layer1.0.conv1.weight"}
    path = checkpoint.save(tmp_path / "b.pt", replace(whole, state_dict=incomplete))
    assert "1 missing: layer1.0.conv1.weight" in refusal(path)
    path = checkpoint.save(tmp_path / "c.pt", replace(whole, state_dict={"a": torch.ones(1)}))
    assert "does not fit" in refusal(path)
    with pytest.raises(ArchitectureError, match="conv1"):
        make(state_dict={"a": torch.ones(1)})


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

chance, parent = random.Random(0), os.getpid()
for round in range(5):
    reading, writing = os.pipe()
    writer = os.fork()  # of a process that has not computed anything; a new one would import torch again
    if not writer:
        saved = make(metrics={{"round": round}})
        while os.getppid() == parent:
            checkpoint.save({path!r}, saved)
            os.write(writing, b"saved")
    os.read(reading, 5)
    time.sleep(0.2 * chance.random())
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    shutil.copy({path!r}, {path!r} + str(round))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has imported torch")
def test_kill_9_during_a_save_leaves_a_whole_checkpoint(tmp_path):
    path = tmp_path / "best.pt"
    code = KILL_WRITERS.format(tests=os.path.dirname(__file__), path=str(path))  # noqa: PTH120
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
    for round in range(5):
        copy = tmp_path / f"best.pt{round}"
        assert checkpoint.load(copy).metrics["round"] == round
        copy.unlink()
    for stray in tmp_path.glob(".*.tmp"):
        os.utime(stray, (0, 0))  # of long ago: a young one could be another writer's
    checkpoint.save(path, make())
    left = [file.name for file in tmp_path.iterdir()]
    assert left == ["best.pt"], "strays of killed writers are cleaned up"


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
