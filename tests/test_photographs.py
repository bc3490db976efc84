"""Photographs keep their whole content; a network learns from random parts and is judged by the middle."""

import io
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from resnet_course.data import ImageSet, concatenate, read_square
from resnet_course.data.folder import load_split
from resnet_course.data.rows import Origins, Photographs, PixelFile, Rows, middle_square
from resnet_course.evaluation import evaluate
from resnet_course.features import cache_features
from resnet_course.inputs import eval_batches, to_input, train_batches
from resnet_course.inputs.augment import random_crop, random_flip
from resnet_course.inputs.photographs import random_resized_crop
from resnet_course.prediction import Classifier
from resnet_course.recipes import REDUCED
from resnet_course.training import fit
from resnet_course.transfer import build_model

SHAPES = [
    (400, 300),
    (300, 400),
    (900, 300),
    (300, 1200),
    (64, 64),
    (50, 1),
    (500, 500),
    (30, 300),
]  # width, height


def scene(width: int, height: int, seed: int = 0) -> Image.Image:
    """Red grows to the right, green downwards, blue is noise of large blots."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    blots = np.random.default_rng(seed).integers(0, 256, (4, 4), dtype=np.uint8)
    blue = np.asarray(Image.fromarray(blots).resize((width, height), Image.Resampling.BICUBIC))
    return Image.fromarray(np.stack([x, y, blue], -1).astype(np.uint8))


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("photographs")
    for name in ("cat", "dog"):
        (directory / name).mkdir()
        for number, (width, height) in enumerate(SHAPES):
            scene(width, height, number).save(directory / name / f"{number}.png")
    return directory


@pytest.fixture(scope="module")
def photographs(tree, tmp_path_factory) -> ImageSet:
    return load_split(tree, "train", tmp_path_factory.mktemp("home"), shorter_side=128)


def test_the_whole_content_is_kept(photographs):
    assert photographs.photographs and len(photographs) == 16
    for image, (width, height) in zip(photographs.whole(torch.arange(8)), SHAPES, strict=True):
        shrunk = min(1, 128 / min(width, height))
        assert image.shape == (3, round(height * shrunk), round(width * shrunk)), "never scaled up"
        if min(width, height) > 1:
            assert image[0, :, 0].max() < 20 and image[0, :, -1].min() > 235, (
                "from the left edge to the right"
            )
            assert image[1, 0].max() < 20 and image[1, -1].min() > 235, "from the top to the bottom"


def test_a_set_knows_the_path_and_the_digest_of_every_picture(tree, photographs):
    import hashlib

    part = photographs.subset(torch.tensor([9, 2, 2]))
    paths = [tree / "dog" / "1.png", *[tree / "cat" / "2.png"] * 2]
    assert part.paths == tuple(map(str, paths))
    assert part.digests == tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    assert photographs.without(set(part.digests)).paths == tuple(
        path for path in photographs.paths if Path(path).name not in ("1.png", "2.png")
    )


def test_take_gives_the_middle_squares(photographs):
    everything = photographs.take(slice(None))
    assert everything.shape == (16, 3, photographs.stored_size, photographs.stored_size)
    assert torch.equal(photographs.images, everything)
    assert torch.equal(photographs.take(photographs.labels == 1), everything[8:])
    assert torch.equal(photographs.take(slice(3, 5)), everything[3:5])
    assert torch.equal(photographs[6][0], everything[6])
    assert torch.equal(torch.cat(list(photographs.chunks(5))), everything)
    wide = everything[2].float()  # three times as wide as high: a third of it is seen
    assert abs(wide[0].min() - 85) < 5 and abs(wide[0].max() - 170) < 5 and wide[1].max() > 240


def test_the_middle_square_is_pillows(photographs):
    for image, (width, height) in zip(photographs.whole(torch.arange(8)), SHAPES, strict=True):
        if min(width, height) < 40:
            continue
        pixels = Image.fromarray(image.permute(1, 2, 0).numpy())
        side = min(pixels.size)
        left, top = (pixels.width - side) // 2, (pixels.height - side) // 2
        expected = pixels.crop((left, top, left + side, top + side)).resize(
            (48, 48), Image.Resampling.BILINEAR
        )
        found = middle_square(image, 48).permute(1, 2, 0).numpy().astype(int)
        assert np.abs(found - np.asarray(expected)).max() <= 2


def recipe(**changes):
    return replace(REDUCED, image_size=64, batch_size=8, **changes)


def test_what_is_evaluated_is_what_is_predicted_to_the_bit(tree, photographs, tmp_path):
    """One way in for `fit`, `evaluate`, `predict` and the checkpoint, which remembers it."""
    torch.manual_seed(0)
    model = build_model(2, "builtin", "fc")
    fit(model, photographs, photographs, recipe(epochs=1, train_from="fc"), tmp_path / "out")
    classifier = Classifier.load(tmp_path / "out" / "best.pt")
    assert classifier.checkpoint.shorter_side == 128
    for place, path in enumerate(photographs.paths):
        square = classifier.square(path)
        assert torch.equal(square, photographs[place][0])
        assert torch.equal(square, read_square(Path(path).read_bytes(), photographs.stored_size, 128))
    inputs = torch.cat([batch for batch, _ in eval_batches(photographs, classifier.recipe)])
    assert torch.equal(inputs, to_input(photographs.images, classifier.recipe))
    logits = classifier.logits(photographs.images)
    assert torch.equal(
        logits.argmax(1), evaluate(model, photographs, classifier.recipe).probabilities.argmax(1)
    )
    assert set(classifier.checkpoint.digests) == set(photographs.digests)


def test_random_crops_differ_and_show_what_the_middle_square_does_not(photographs):
    wide = photographs.subset(torch.tensor([2] * 64))
    plan = recipe(augmentation="crop_flip")
    crops = next(train_batches(wide, replace(plan, batch_size=64), torch.Generator().manual_seed(0)))[0]
    red = (crops[:, 0] * plan.std[0] + plan.mean[0]) * 255
    assert red.amin() < 20 and red.amax() > 235, "also its ends"
    assert len({round(float(image.mean()), 3) for image in red}) > 50
    mirrored = (red[:, :, 0] > red[:, :, -1]).float().mean()
    assert 0.25 < mirrored < 0.75


@pytest.mark.parametrize("scale", [(0.1, 0.2), (0.5, 0.5), (1.0, 1.0)])
def test_the_scale_is_the_share_of_the_area(scale):
    photograph = torch.from_numpy(np.array(scene(400, 300))).permute(2, 0, 1)
    crops = random_resized_crop([photograph] * 200, 64, scale, torch.Generator().manual_seed(0)).float()
    spans = [(crops[:, c].amax((1, 2)) - crops[:, c].amin((1, 2))) / 255 for c in (0, 1)]
    shares = spans[0] * spans[1]
    assert min(scale[0], 0.82) - 0.12 < shares.min() and shares.max() < scale[1] + 0.05
    ratios = (spans[0] * 4) / (spans[1] * 3)
    assert ratios.min() > 0.65 and ratios.max() < 1.5


@pytest.mark.parametrize("size", SHAPES)
def test_every_shape_can_be_cropped(size):
    photograph = torch.from_numpy(np.array(scene(*size))).permute(2, 0, 1)
    crops = random_resized_crop([photograph] * 30, 32, (0.05, 1.0), torch.Generator().manual_seed(0))
    assert crops.shape == (30, 3, 32, 32) and crops.dtype == torch.uint8


@pytest.mark.parametrize(
    "name", ["none", "flip", "vertical_flip", "crop_flip", "crop_flip_rotate", "trivial"]
)
@pytest.mark.parametrize("mix", ["none", "cutmix"])
def test_every_augmentation_takes_photographs(photographs, name, mix):
    batches = list(train_batches(photographs, recipe(augmentation=name, mix=mix), torch.Generator()))
    assert [tuple(inputs.shape) for inputs, _ in batches] == [(8, 3, 64, 64)] * 2


def test_features_of_photographs_are_kept_for_their_crops(photographs, tmp_path):
    model = build_model(2, "builtin", "layer4")
    plan = recipe(augmentation="crop_flip", train_from="layer4", precision="fp32")
    kept = cache_features(model, photographs, plan, tmp_path, views=2)
    assert (
        kept.digests == photographs.digests and kept.subset(torch.tensor([3])).paths == photographs.paths[3:4]
    )
    assert not torch.equal(kept.read(torch.arange(16)), kept.read(torch.arange(16), 1))
    count = len(list((tmp_path / "features").glob("*.npy")))
    cache_features(model, photographs, replace(plan, crop_scale=(0.9, 1.0)), tmp_path, views=2)
    assert len(list((tmp_path / "features").glob("*.npy"))) == count + 1, "the scale is part of the name"


def test_small_squares_of_one_size_come_as_they_always_did(tmp_path):
    """CIFAR-10's images give the same numbers as before there were photographs, to the bit."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        path = tmp_path / "t" / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    found = load_split(tmp_path / "t", "train", tmp_path / "home")
    by_class = torch.from_numpy(pixels[[*range(0, 12, 2), *range(1, 12, 2)]]).permute(0, 3, 1, 2)
    plain = ImageSet(by_class.contiguous(), found.labels, ("a", "b"), "plain")
    assert not found.photographs and torch.equal(found.images, plain.images)
    plan = recipe(augmentation="crop_flip")
    batches = [list(train_batches(each, plan, torch.Generator().manual_seed(1))) for each in (found, plain)]
    for (a, labels_a), (b, labels_b) in zip(*batches, strict=True):
        assert torch.equal(a, b) and torch.equal(labels_a, labels_b)
    generator = torch.Generator().manual_seed(1)
    order = torch.randperm(12, generator=generator)[:8]
    expected = to_input(random_flip(random_crop(plain.images[order], 4, generator), generator), plan)
    assert torch.equal(batches[0][0][0], expected)
    for (a, _), (b, _) in zip(eval_batches(found, plan), eval_batches(plain, plan), strict=True):
        assert torch.equal(a, b)


def test_parts_and_joined_sets_copy_nothing_and_keep_what_belongs_together(photographs, tmp_path):
    part = photographs.subset(torch.tensor([5, 0, 9]))
    again = pickle.loads(pickle.dumps(part))
    both = concatenate(part, photographs.subset(torch.tensor([2])))
    assert both.rows.files == photographs.rows.files
    for each, places in ((part, [5, 0, 9]), (again, [5, 0, 9]), (both, [5, 0, 9, 2])):
        expected = photographs.whole(torch.tensor(places))
        pairs = zip(each.whole(torch.arange(len(places))), expected, strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
    other = ImageSet(Rows(photographs.images), photographs.labels, photographs.classes, "squares")
    mixed = concatenate(part, other)
    assert torch.equal(mixed.images, torch.cat([part.images, other.images]))
    elsewhere = PixelFile(np.arange(48, dtype=np.uint8))
    rows = Photographs((elsewhere,), np.array([[0, 0, 4, 4]]), photographs.stored_size, None)
    two = concatenate(part, ImageSet(rows, torch.tensor([1]), part.classes, "x"))
    assert two.photographs and torch.equal(two.whole(torch.tensor([3]))[0], rows.whole(torch.tensor([0]))[0])
    renamed = part.relabelled(torch.tensor([0, 0, 0]), ("pet",))
    assert renamed.photographs and renamed.classes == ("pet",) and renamed.digests == part.digests


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes no file that is open")
def test_a_file_that_is_removed_meanwhile_is_read_on(tree, tmp_path):
    found = load_split(tree, "train", tmp_path / "home")
    before = found.images
    for path in (tmp_path / "home" / "folders").iterdir():
        path.unlink()
    assert torch.equal(found.images, before)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_photographs(tmp_path):
    """Of 5,000 photographs, 1.3 GB, no more stays in memory than a batch needs."""
    count, height, width = 5_000, 256, 341
    with (tmp_path / "zeros.rgb").open("wb") as file:
        file.truncate(count * 3 * height * width)  # it takes no room on the disk
    starts = np.arange(count) * 3 * height * width
    places = np.column_stack([np.zeros_like(starts), starts, *(np.full(count, n) for n in (height, width))])
    names = np.array([str(n) for n in range(count)], object)
    origins = Origins(names, names, 256)
    rows = Photographs((PixelFile(tmp_path / "zeros.rgb"),), places, 64, origins)
    many = ImageSet(rows, torch.zeros(count, dtype=torch.int64), ("any",), "zeros")
    before = psutil.Process().memory_info().rss
    for indices in torch.arange(count).split(256):
        many.whole(indices[:64])
        many.subset(indices).take(slice(None))
    assert psutil.Process().memory_info().rss - before < 250e6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(400, 300), (300, 900)])
def test_a_turned_photograph_is_whole_and_upright(tmp_path, size, orientation):
    """Whatever way a camera was held, the picture is the one that was seen."""
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # EXIF's number to Pillow's inverse transposition
    inverse = {0: 0, 1: 1, 2: 4, 3: 3, 4: 2, 5: 5, 6: 6}
    upright = scene(*size)
    stored = (
        upright
        if orientation == 1
        else upright.transpose(inverse[{6: 4, 8: 2}.get(orientation, turns[orientation])])
    )
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    stored.save(file, "JPEG", exif=exif, quality=95)
    for name in ("a", "b"):
        (tmp_path / "t" / name).mkdir(parents=True)
        (tmp_path / "t" / name / "1.jpg").write_bytes(file.getvalue())
    image = load_split(tmp_path / "t", "train", tmp_path / "home").whole(torch.tensor([0]))[0].float()
    assert image.shape[2] / image.shape[1] == pytest.approx(size[0] / size[1], rel=0.02)
    assert image[0, :, :9].mean() < 40 < 215 < image[0, :, -9:].mean()
    assert image[1, :9].mean() < 40 < 215 < image[1, -9:].mean()
