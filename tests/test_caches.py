"""The caches in the home folder: a limit, what goes first, and `resnet-course clean`."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from resnet_course.__main__ import main
from resnet_course.common import caches
from resnet_course.common.files import locked
from resnet_course.data import load
from resnet_course.features import cache_features
from resnet_course.recipes import LAPTOP
from resnet_course.resnet import resnet18
from resnet_course.settings import Settings, SettingsError
from resnet_course.transfer import freeze
from tests.test_splitting import make

HOUR = 3600


def keep(home: Path, name: str, size: int, hours_ago: float) -> Path:
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - hours_ago * HOUR,) * 2)
    return path


def test_the_longest_unused_goes_first_until_the_rest_fits(tmp_path, capsys):
    old = keep(tmp_path, "features/a.npy", 4_000_000, 30)
    note = keep(tmp_path, "folders/b-1-256.json", 1_000, 1)
    middle = keep(tmp_path, "folders/b-1-256.rgb", 4_000_000, 20)
    part = keep(tmp_path, "features/c.part", 1_000_000, 10)
    new = keep(tmp_path, "features/d.npy", 4_000_000, 2)
    download = keep(tmp_path, "data/cifar-10-python.tar.gz", 9_000_000, 90)
    caches.make_room(tmp_path, 0.014)
    assert old.exists() and not capsys.readouterr().err, "13 MB fit into 14"
    caches.make_room(tmp_path, 0.014, needed=3_000_000)
    assert not old.exists() and middle.exists()
    assert "0.0 GB that were not used for longest are removed" in capsys.readouterr().err
    caches.make_room(tmp_path, 0.004)
    assert not any(map(Path.exists, (middle, note, part))), "a note goes with its images"
    assert new.exists() and download.exists(), "downloads are no cache"


def test_what_was_just_used_and_what_is_being_made_stays(tmp_path):
    recent, made = keep(tmp_path, "features/a.npy", 10, 0), keep(tmp_path, "features/b.part", 10, 5)
    with locked(tmp_path / "features" / "b.npy"):
        caches.make_room(tmp_path, 0.0)
        assert caches.clean(tmp_path) == 10, "clean takes what was just used too"
    assert not recent.exists() and made.exists()
    assert caches.clean(tmp_path) == 10 and not made.exists()


@pytest.mark.slow
def test_a_set_in_use_can_still_be_read_and_is_made_again(tmp_path, sets):
    model = freeze(resnet18(2, width=8), "layer4")
    recipe = LAPTOP.__class__(name="any", image_size=32, augmentation="none", train_from="layer4")
    features = cache_features(model, sets[0], recipe, tmp_path, views=1)
    before = features.read(torch.arange(4))
    if sys.platform != "win32":
        assert caches.clean(tmp_path) > 0 and not list((tmp_path / "features").glob("*.npy"))
    assert torch.equal(features.read(torch.arange(4)), before)
    again = cache_features(model, sets[0], recipe, tmp_path, views=1)
    assert torch.equal(again.read(torch.arange(4)), before)


@pytest.mark.slow
def test_features_make_room_and_using_them_counts(tmp_path, sets, monkeypatch):
    monkeypatch.setattr(caches, "GIGABYTE", 1_000_000)  # so the limit is in megabytes
    monkeypatch.setattr(caches, "RECENT", -1.0)
    monkeypatch.setenv("RESNET_COURSE_CACHE_LIMIT", "1")
    model = freeze(resnet18(2, width=8), "layer4")
    recipe = LAPTOP.__class__(name="any", image_size=32, augmentation="none", train_from="layer4")
    first = cache_features(model, sets[0], recipe, tmp_path, views=1)
    path = Path(first.file.file.name)
    os.utime(path, (time.time() - HOUR,) * 2)
    other = keep(tmp_path, "features/other.npy", 600_000, 0.5)
    cache_features(model, sets[0], recipe, tmp_path, views=1)
    assert time.time() - path.stat().st_mtime < HOUR / 2, "it was used now"
    keep(tmp_path, "features/third.npy", 600_000, 0.25)
    cache_features(model, sets[1], recipe, tmp_path, views=1)
    assert not other.exists() and path.exists()


def test_decoded_folders_make_room_too(tmp_path, monkeypatch):
    monkeypatch.setattr(caches, "GIGABYTE", 1_000_000)
    tree = make(tmp_path / "t", {"cat": 12, "dog": 12})
    settings = Settings(data=f"folder:{tree}", home=tmp_path / "home", mode="reduced", cache_limit=1)
    old = keep(tmp_path / "home", "folders/old-1-256.rgb", 1_000_000, 5)
    load(settings)
    assert not old.exists() and len(list((tmp_path / "home" / "folders").glob("*.rgb"))) == 1
    [kept] = (tmp_path / "home" / "folders").glob("*.rgb")
    os.utime(kept, (time.time() - HOUR,) * 2)
    load(settings)
    assert time.time() - kept.stat().st_mtime < HOUR / 2


def test_clean_says_what_it_freed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path))
    assert main(["clean"]) == 0, "there is nothing"
    keep(tmp_path, "features/a.npy", 60_000_000, 1)
    stray = keep(tmp_path, "features/.b.npy.lock", 0, 30)
    assert main(["clean"]) == 0
    assert "0.1 GB of decoded images and features removed; downloads stay" in capsys.readouterr().out
    assert not stray.exists() and not caches.entries(tmp_path)


@pytest.mark.parametrize("value", ["0", "-1", "2.5", "much"])
def test_a_limit_that_is_none(value):
    with pytest.raises(SettingsError, match=r"cache_limit is .*; it must be a whole number of gigabytes"):
        Settings.from_env({"RESNET_COURSE_CACHE_LIMIT": value})


@pytest.mark.slow
def test_processes_that_make_room_beside_each_other_lose_nothing(tmp_path):
    code = (
        "import sys; from pathlib import Path; from resnet_course.common import caches, files\n"
        "home, name = Path(sys.argv[1]), sys.argv[2]\n"
        "caches.RECENT = 5.0\n"
        "for turn in range(20):\n"
        "    path = home / 'features' / f'{name}{turn}.npy'\n"
        "    with files.locked(path):\n"
        "        files.write_atomically(path, lambda file: file.write(bytes(1000)))\n"
        "    caches.make_room(home, 5e-6)\n"
        "    assert path.read_bytes() == bytes(1000)\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "abcd"]
    assert [process.wait() for process in processes] == [0] * 4


def test_what_is_wanted_now_is_not_what_is_removed(tmp_path, sets, monkeypatch):
    monkeypatch.setattr(caches, "GIGABYTE", 1_000_000)
    monkeypatch.setenv("RESNET_COURSE_CACHE_LIMIT", "1")
    model = freeze(resnet18(2, width=8), "layer4")
    recipe = LAPTOP.__class__(name="any", image_size=32, augmentation="none", train_from="layer4")
    path = Path(cache_features(model, sets[0], recipe, tmp_path, views=1).file.file.name)
    made = path.stat().st_ino
    os.utime(path, (time.time() - HOUR,) * 2)
    newer = keep(tmp_path, "features/newer.npy", 1_100_000, 0.5)
    cache_features(model, sets[0], recipe, tmp_path, views=1)
    assert path.stat().st_ino == made and not newer.exists()
