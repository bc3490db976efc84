"""Any number of runs share a home: four processes do the same at the same moment, and none loses anything."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import multiprocessing
import os
import queue
import random
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from servers import Mirror, serving
from test_cifar10 import FOLDER, miniature, packed, stand_in

from resnet_course.common.download import download
from resnet_course.data import ImageSet, cifar10, folder
from resnet_course.features import cache_features
from resnet_course.recipes import REDUCED
from resnet_course.resnet import resnet18
from resnet_course.training import checkpoint
from resnet_course.training.checkpoint import Checkpoint
from resnet_course.transfer import freeze

PROCESSES, ROUNDS = 4, 20
CONTENT = random.Random(0).randbytes(300_000)
RECIPE = replace(REDUCED, train_from="layer2", precision="fp32", memory_format="channels_last")


def digest(*tensors: torch.Tensor) -> str:
    """Of the bytes of tensors: equal for equal results."""
    parts = (np.ascontiguousarray(tensor.numpy()).tobytes() for tensor in tensors)
    return hashlib.sha256(b"".join(parts)).hexdigest()


@functools.cache
def network() -> torch.nn.Module:
    """The same in every process."""
    torch.manual_seed(0)
    return freeze(resnet18(2, width=8), "layer2")


# What every process does in every round. Each returns the same in all four, or None.


def download_a_file(home: Path, number: int, urls: list[str]) -> str:
    """A file that nobody had before this round."""
    checksum = "md5:" + hashlib.md5(CONTENT).hexdigest()
    path = home / f"file{number}"
    download(urls[:1], path, size=len(CONTENT), checksum=checksum, by_hand="")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unpack_cifar10(home: Path, number: int, urls: list[str]) -> str:
    """In every fourth round it is there already, in every other fourth the folder alone is gone."""
    train, test = cifar10.load(home)
    return digest(train.images, train.labels, test.images, test.labels)


def decode_a_folder(home: Path, number: int, urls: list[str]) -> str:
    """Folders of images, another one in every round."""
    found = folder.load_split(home.parent / f"images{number}", "train", home)
    return digest(found.images[:], found.labels)


def cache_some_features(home: Path, number: int, urls: list[str]) -> str:
    """Of the same trunk, of other images in every round."""
    images = torch.full((24, 3, 32, 32), number, dtype=torch.uint8)
    image_set = ImageSet(images, torch.arange(24) % 2, ("a", "b"), "flat")
    features = cache_features(network(), image_set, RECIPE, home, views=1)
    return digest(features.read(torch.arange(len(image_set))), features.labels)


def save_a_checkpoint(home: Path, number: int, urls: list[str]) -> None:
    """Every process its own weights under one name; what can be loaded is of one of them, whole."""
    own = os.getpid()
    weights = {name: torch.full_like(tensor, own) for name, tensor in network().state_dict().items()}
    written = Checkpoint(
        state_dict=weights,
        classes=("a", "b"),
        stored_size=32,
        dataset="flat",
        recipe=RECIPE,
        metrics={"process": float(own)},
    )
    checkpoint.save(home / "last.pt", written)
    found = checkpoint.load(home / "last.pt")
    for name, tensor in found.state_dict.items():
        assert (tensor == int(found.metrics["process"])).all(), name


PARTS: tuple[Callable[[Path, int, list[str]], str | None], ...] = (
    download_a_file,
    unpack_cifar10,
    decode_a_folder,
    cache_some_features,
    save_a_checkpoint,
)


def work(home: Path, urls: list[str], archive: bytes, barrier, results) -> None:
    """One process: every part in every round, all four processes at the same moment."""
    stand_in(setattr, miniature(), archive)
    cifar10.MIRRORS = tuple(urls[1:])
    torch.set_num_threads(1)
    for number in range(ROUNDS):
        for part in PARTS:
            barrier.wait()
            try:
                results.put((part.__name__, number, part(home, number, urls)))
            except BaseException:
                results.put((part.__name__, number, traceback.format_exc()))
        if barrier.wait() == 0:  # all have done this round
            take_away(home / "data", number)
    barrier.wait()


def take_away(data: Path, number: int) -> None:
    """What the next round of `unpack_cifar10` has to do again: all, nothing, unpacking, one file."""
    gone = {
        0: [*data.glob(f"{FOLDER}/*"), *data.glob("*.gz")],
        2: [*data.glob(f"{FOLDER}/*")],
        3: [data / FOLDER / "data_batch_2"],
    }
    for path in gone.get(number % 4, ()):
        path.unlink()


def processes_that_start_quickly():
    """Where the system can fork, what takes longest to import is imported once for all of them."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torchvision.datasets"])
    return context


@pytest.fixture
def home(tmp_path):
    """An empty home, and beside it a folder of images for each round."""
    for number in range(ROUNDS):
        for label in ("cat", "dog"):
            images = tmp_path / f"images{number}" / "train" / label
            images.mkdir(parents=True)
            for shade in range(3):
                Image.new("RGB", (24, 20), (number, 40 * shade, 90)).save(images / f"{shade}.png")
    return tmp_path / "home"


@pytest.mark.slow
def test_four_processes_in_one_home_lose_nothing_in_twenty_rounds(home, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("RESNET_COURSE_HOME", str(home))
    monkeypatch.setenv("RESNET_COURSE_THREADS", "1")
    context = processes_that_start_quickly()
    barrier, results = context.Barrier(PROCESSES, timeout=100), context.Queue()
    archive = packed(miniature())
    with serving(Mirror(CONTENT)) as file, serving(Mirror(archive)) as cifar:
        arguments = (home, [file.url, cifar.url], archive, barrier, results)
        processes = [context.Process(target=work, args=arguments) for _ in range(PROCESSES)]
        for process in processes:
            process.start()
        try:
            found = []
            while len(found) < PROCESSES * ROUNDS * len(PARTS):
                with contextlib.suppress(queue.Empty):
                    found.append(results.get(timeout=1))
                    continue
                assert any(process.is_alive() for process in processes), f"all ended after {found[-1:]}"
        finally:
            for process in processes:
                process.join(timeout=20)
                process.kill()
    assert file.ranges == [None] * ROUNDS, "one process downloads, the others wait for it"
    for part in PARTS:
        for number in range(ROUNDS):
            told = [what for name, at, what in found if (name, at) == (part.__name__, number)]
            assert len(told) == PROCESSES
            assert set(told) == {told[0]}, f"{part.__name__}, round {number}:\n" + "\n".join(map(str, told))
            assert "Traceback" not in str(told[0]), told[0]
    assert [*home.rglob("*.tmp"), *home.rglob("*.part")] == [], "left behind"
