"""Copies across sets are found however they were changed, and different images are not taken for copies."""

import io
import threading
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from resnet_course.data import ImageSet, duplicates, shapes
from resnet_course.data.duplicates import CHUNK, NEAR, fingerprint, nearest
from resnet_course.inputs import augment

KNOWN = shapes.draw(300, seed=0)


def as_jpeg(images):
    found = []
    for image in images:
        memory = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(memory, "JPEG", quality=60)
        found.append(torch.from_numpy(np.array(Image.open(memory))).permute(2, 0, 1))
    return torch.stack(found)


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images,
        lambda images: images.flip(3),
        lambda images: (images * 0.7).to(torch.uint8),
        lambda images: (images * 0.8 + 40).to(torch.uint8),
        as_jpeg,
    ],
    ids=["same", "mirrored", "darker", "paler", "jpeg"],
)
def test_changed_copies_are_found_and_matched(change):
    chosen = torch.arange(0, 300, 4)
    copies = KNOWN.subset(chosen)
    distance, index = nearest(KNOWN, replace(copies, images=change(copies.images)))
    assert (distance < NEAR).float().mean() > 0.95
    assert (index == chosen).float().mean() > 0.95


def test_other_images_are_farther_away():
    distance, _ = nearest(KNOWN, shapes.draw(200, seed=1))
    assert (distance < NEAR).float().mean() < 0.02


def test_it_is_the_brute_force_answer_over_more_than_one_chunk():
    others = shapes.draw(CHUNK + 20, seed=2)
    distance, index = nearest(KNOWN, others)
    prints = fingerprint(KNOWN.images)
    for i in (0, CHUNK - 1, CHUNK, CHUNK + 19):
        views = torch.stack([others.images[i], others.images[i].flip(2)])
        cosines = fingerprint(views) @ prints.T
        assert distance[i] == pytest.approx(1 - float(cosines.max()), abs=1e-5)
        assert int(index[i]) == int(cosines.max(0).values.argmax())


def test_the_known_are_compared_in_parts(monkeypatch):
    others = shapes.draw(100, seed=3)
    whole = nearest(KNOWN, others)
    monkeypatch.setattr(duplicates, "CHUNK", 70)
    monkeypatch.setattr(duplicates, "KNOWN_CHUNK", 130)
    in_parts = nearest(KNOWN.subset(torch.arange(300)), others)
    assert torch.allclose(whole[0], in_parts[0], atol=1e-6)
    assert torch.equal(whole[1], in_parts[1])


@pytest.mark.slow
def test_memory_is_bounded():
    """As floats, 3,000 images of 160 pixels alone would take 920 MB."""
    images = torch.randint(0, 256, (1, 3, 160, 160), dtype=torch.uint8).expand(3_000, -1, -1, -1)
    known = ImageSet(images, torch.zeros(3_000, dtype=torch.int64), ("any",), "noise")
    used, stop = [], threading.Event()

    def watch():
        while not stop.wait(0.005):
            used.append(psutil.Process().memory_info().rss)

    before = psutil.Process().memory_info().rss
    watcher = threading.Thread(target=watch)
    watcher.start()
    nearest(known, known.subset(torch.arange(20)))
    stop.set()
    watcher.join()
    assert max(used) - before < 500e6


def test_an_empty_set_has_no_neighbours():
    assert [len(found) for found in nearest(KNOWN, KNOWN.subset(torch.arange(0)))] == [0, 0]


def test_plain_areas_and_noise_are_no_error():
    plain = replace(KNOWN.subset(torch.arange(2)), images=torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    distance, _ = nearest(plain, KNOWN)
    assert torch.isfinite(distance).all() and (distance > 0.5).all()
    shifted = replace(KNOWN, images=augment.random_crop(KNOWN.images, 8, torch.Generator().manual_seed(0)))
    assert len(nearest(KNOWN, shifted)[0]) == len(KNOWN)
