"""`load` gives three disjoint splits from every source, and says which it took and why."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnet_course.common.download import DownloadError
from resnet_course.data import DataError, cifar10, load, load_split, shapes, sources
from resnet_course.settings import DATA_SOURCES, Settings


def make_tree(directory, splits, per_class=20, classes=("cat", "dog")):
    chance = np.random.default_rng(0)
    for split in splits:
        for name in classes:
            (directory / split / name).mkdir(parents=True)
            for i in range(per_class):
                pixels = chance.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(directory / split / name / f"{i}.png")
    return directory


def settings_for(source, tmp_path, mode="laptop", seed=0):
    return Settings(mode=mode, data=source, home=tmp_path / "home", seed=seed)


def images(image_set):
    return {image.numpy().tobytes() for image in image_set.images}


def test_shapes_are_split_without_overlap_and_stratified(tmp_path, capsys):
    splits = load(settings_for("shapes", tmp_path, mode="reduced"))
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [900, 100, 500]
    assert torch.bincount(splits.val.labels).tolist() == [10] * 10
    assert len(images(splits.train) | images(splits.val) | images(splits.test)) == 1500
    assert "Data: shapes" in capsys.readouterr().err
    again = load(settings_for("shapes", tmp_path, mode="reduced"))
    assert torch.equal(again.train.images, splits.train.images)
    assert not (tmp_path / "home").exists(), "shapes need no disk"
    largest = load(settings_for("shapes", tmp_path, mode="reduced", seed=2**32 - 1))
    assert not images(largest.train) & images(largest.test)


def test_a_folder_with_all_splits_keeps_them(tmp_path):
    directory = make_tree(tmp_path / "pets", ("train", "val", "test"))
    splits = load(settings_for(f"folder:{directory}", tmp_path))
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [40, 40, 40]
    assert splits.train.classes == ("cat", "dog") and splits.train.name == "folder pets"


def test_validation_comes_out_of_train_and_test_is_left_alone(tmp_path):
    directory = make_tree(tmp_path / "pets", ("train", "test"))
    splits = load(settings_for(f"folder:{directory}", tmp_path))
    assert len(splits.test) == 40 and len(splits.train) + len(splits.val) == 40
    assert torch.bincount(splits.val.labels).min() >= 1 and len(splits.val) < 15
    assert not (images(splits.train) | images(splits.val)) & images(splits.test)


@pytest.mark.parametrize("layout", ["train", "."])
def test_a_folder_without_test_sets_some_aside_and_says_so(tmp_path, capsys, layout):
    directory = make_tree(tmp_path / "pets", (layout,))
    splits = load(settings_for(f"folder:{directory}", tmp_path))
    assert all(torch.bincount(s.labels).min() >= 1 for s in (splits.train, splits.val, splits.test))
    assert len(splits.train) > 20
    assert len(images(splits.train) | images(splits.val) | images(splits.test)) == 40
    assert "no test folder: 20% of train is set aside" in capsys.readouterr().err
    alone = load_split(settings_for(f"folder:{directory}", tmp_path), "test")
    assert torch.equal(alone.images, splits.test.images), "evaluate sees the images that train did not"


def test_a_split_that_stands_alone_can_be_evaluated(tmp_path):
    directory = make_tree(tmp_path / "pets", ("test",))
    settings = settings_for(f"folder:{directory}", tmp_path)
    assert len(load_split(settings, "test", stored_size=16)) == 40
    assert load_split(settings, "test", stored_size=16).images.shape[-1] == 16
    with pytest.raises(DataError, match="no train folder"):
        load(settings)


def test_an_unknown_split_lists_the_legal_ones(tmp_path):
    with pytest.raises(DataError, match="split is 'dev'; it must be one of: train, val, test"):
        load_split(settings_for("shapes", tmp_path), "dev")


def test_auto_falls_back_to_shapes_and_says_why(tmp_path, monkeypatch, capsys):
    def refuse(home, *, patience):
        assert patience == Settings().patience, "auto must not wait on slow servers"
        raise DownloadError("no mirror answers\nmirror 1: …")

    monkeypatch.setattr(cifar10, "load", refuse)
    assert load(settings_for("auto", tmp_path)).train.name == "shapes"
    said = "because CIFAR-10 cannot be had now: no mirror answers; RESNET_COURSE_DATA=cifar10 asks again"
    assert said in capsys.readouterr().err


def test_asking_for_cifar10_is_an_error_where_it_cannot_be_had(tmp_path, monkeypatch):
    def refuse(home, *, patience):
        assert patience is None
        raise DownloadError("no mirror answers")

    monkeypatch.setattr(cifar10, "load", refuse)
    with pytest.raises(DownloadError, match="no mirror answers"):
        load(settings_for("cifar10", tmp_path))


def test_cifar10_keeps_its_test_set_and_gives_a_tenth_of_train_for_validation(tmp_path, monkeypatch, capsys):
    official = shapes.draw(100, 0), shapes.draw(50, 1)
    monkeypatch.setattr(cifar10, "load", lambda home, *, patience: official)
    monkeypatch.setattr(cifar10, "is_present", lambda home: True)
    splits = load(settings_for("auto", tmp_path))
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [90, 10, 50]
    assert torch.equal(splits.test.images, official[1].images)
    assert "it is on this disk" in capsys.readouterr().err


def test_there_is_a_loader_for_every_source_that_can_be_named():
    assert set(sources.LOADERS) == {*DATA_SOURCES, "folder"}


def test_the_splits_of_a_folder_share_one_array(tmp_path):
    """80% and then 72% of the images were copied out of their memory map."""
    directory = make_tree(tmp_path / "pets", ("train",))
    splits = load(settings_for(f"folder:{directory}", tmp_path))
    arrays = {part.rows.base.data_ptr() for part in (splits.train, splits.val, splits.test)}
    assert len(arrays) == 1
    assert splits.train.rows.base.untyped_storage().nbytes() == 40 * 3 * 32 * 32


def test_real_images(tmp_path):
    directory = os.environ.get("RESNET_COURSE_TEST_IMAGES", "")
    if not Path(directory).is_dir() or not directory:
        pytest.skip(
            "RESNET_COURSE_TEST_IMAGES names no folder of CIFAR-10 images (train/<class>, test/<class>)"
        )
    splits = load(settings_for(f"folder:{directory}", tmp_path))
    names = "airplane automobile bird cat deer dog frog horse ship truck"
    assert splits.train.classes == tuple(names.split())
    assert [len(splits.train), len(splits.val)] == [45_000, 5_000]
    images = torch.cat([splits.train.images, splits.val.images])
    channels = [images[:, channel].double() / 255 for channel in range(3)]
    assert [float(c.mean()) for c in channels] == pytest.approx([0.49140, 0.48216, 0.44653], abs=1e-4)
    assert [float(c.std()) for c in channels] == pytest.approx([0.24703, 0.24349, 0.26159], abs=1e-4)


def test_counts_are_even_enough_to_stratify():
    for train, test in sources.SHAPES_COUNTS.values():
        assert train % 100 == 0 and test % 10 == 0


def test_the_first_test_images_of_a_folder_show_all_classes(tmp_path):
    for split in ("train", "test"):
        for label, name in enumerate(("cat", "dog", "eel")):
            directory = tmp_path / "images" / split / name
            directory.mkdir(parents=True)
            for number in range(8):
                Image.new("RGB", (8, 8), (10 * number, 100 * label, 0)).save(directory / f"{number}.png")
    settings = settings_for(f"folder:{tmp_path / 'images'}", tmp_path)
    test = load(settings).test
    assert set(test.labels[:12].tolist()) == {0, 1, 2}
    assert torch.equal(test.images[:, 1, 0, 0], 100 * test.labels.to(torch.uint8)), (
        "labels go with their images"
    )
    assert torch.equal(test.images, load(settings).test.images)
