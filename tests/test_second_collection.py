"""A second collection of the same classes: CIFAR-10.1 from a server on localhost, the shapes drawn anew."""

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from servers import Mirror, serving

from resnet_course.common import mirrors
from resnet_course.common.download import DownloadError
from resnet_course.data import cifar10_1, shapes
from resnet_course.data.images import ImageSet
from resnet_course.settings import Settings
from resnet_course.teaching.second_collection import second_collection

IMAGES = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(100, dtype=np.int32) % 10
NAMES = ("data.npy", "labels.npy")


def packed(array: np.ndarray) -> bytes:
    np.save(file := io.BytesIO(), array)
    return file.getvalue()


@pytest.fixture
def servers(monkeypatch):
    """One for the images, one for the labels, with files of the same form and other checksums."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(mirrors, "_unreachable", {})
    contents = [packed(IMAGES), packed(LABELS)]
    with serving(Mirror(contents[0])) as first, serving(Mirror(contents[1])) as second:
        files = {
            f"{mirror.url.rpartition('/')[0]}/{name}": (len(content), hashlib.sha256(content).hexdigest())
            for mirror, name, content in zip((first, second), NAMES, contents, strict=True)
        }
        monkeypatch.setattr(cifar10_1, "FILES", files)
        yield first, second


def test_it_is_downloaded_once_verified_and_whole(servers, tmp_path):
    assert not cifar10_1.is_present(tmp_path)
    found = cifar10_1.load(tmp_path, patience=10)
    assert torch.equal(found.images, torch.from_numpy(IMAGES).permute(0, 3, 1, 2))
    assert found.labels.tolist() == LABELS.tolist() and found.labels.dtype == torch.int64
    assert found.classes == cifar10_1.CLASSES and cifar10_1.is_present(tmp_path)
    asked = [len(server.ranges) for server in servers]
    assert torch.equal(cifar10_1.load(tmp_path, patience=10).images, found.images)
    assert [len(server.ranges) for server in servers] == asked


def test_another_file_is_not_taken_for_it(servers, tmp_path):
    servers[0].content = servers[0].content[::-1]
    with pytest.raises(DownloadError, match=r"data\.npy could not be downloaded"):
        cifar10_1.load(tmp_path, patience=10)
    assert not cifar10_1.is_present(tmp_path)


def test_labels_in_another_order_of_classes_keep_their_names(servers, tmp_path):
    turned = tuple(reversed(cifar10_1.CLASSES))
    known = ImageSet(torch.zeros(10, 3, 32, 32, dtype=torch.uint8), torch.arange(10), turned, "folder c")
    found, why = second_collection(known, Settings(home=tmp_path), 50)
    assert len(found) == 50 and found.classes == turned and "years later" in why
    rows = found.images.flatten(1)
    names = {tuple(row.tolist()): name for row, name in zip(rows, found.labels.tolist(), strict=True)}
    own = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).flatten(1)
    for image, label in zip(own, LABELS.tolist(), strict=True):
        if tuple(image.tolist()) in names:
            assert turned[names[tuple(image.tolist())]] == cifar10_1.CLASSES[label]


def test_without_a_network_the_reason_is_given_in_one_line(servers, tmp_path):
    servers[0].status = 503
    known = ImageSet(
        torch.zeros(10, 3, 32, 32, dtype=torch.uint8), torch.arange(10), cifar10_1.CLASSES, "CIFAR-10"
    )
    settings = Settings(home=tmp_path)
    found, why = second_collection(known, settings, 50)
    assert found is None and why.startswith("CIFAR-10.1 cannot be had now: ") and "503" in why
    assert "\n" not in why
    servers[0].ranges.clear()
    found, why = second_collection(known, replace(settings, mode="reduced"), 50)
    assert found is None and "reduced mode" in why and servers[0].ranges == []


def test_shapes_are_drawn_in_another_way_and_own_classes_have_none(tmp_path):
    drawn = shapes.draw(20, 0)
    found, _ = second_collection(drawn, Settings(home=tmp_path), 30)
    assert found.images.shape == (30, 3, 32, 32) and found.classes == drawn.classes
    assert found.name != drawn.name and torch.bincount(found.labels).tolist() == [3] * 10
    own = drawn.relabelled(drawn.labels % 2, ("ants", "bees"))
    own = ImageSet(own.images, own.labels, own.classes, "folder insects")
    assert second_collection(own, Settings(home=tmp_path), 30)[0] is None
