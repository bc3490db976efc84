"""Every change is drawn for each image, and equals torchvision's, image by image, for the same draw."""

import math
from dataclasses import replace

import pytest
import torch
from torchvision.transforms import InterpolationMode, RandomErasing, v2
from torchvision.transforms.v2 import functional

from resnet_course.data import ImageSet
from resnet_course.inputs import AUGMENTATIONS, MIXES, augment
from resnet_course.inputs.batches import augmented
from resnet_course.inputs.transforms import scaled
from resnet_course.recipes import REDUCED


def noise(count, side=32, seed=0):
    images = torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(seed))
    return images.to(torch.uint8)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def levels(found, expected):
    """The largest difference between two images, in levels of 0 to 255."""
    assert found.dtype == expected.dtype == torch.uint8 and found.shape == expected.shape
    return int((found.int() - expected.int()).abs().max())


@pytest.mark.parametrize("border", ["reflect", "constant"])
def test_crop_is_torchvisions_for_the_same_offsets(border):
    images = noise(100)
    offsets = torch.randint(0, 9, (2, 100), generator=seeded())
    found = augment.crop(images, offsets, 4, border)
    for i, (top, left) in enumerate(offsets.T.tolist()):
        padded = functional.pad(images[i], [4, 4, 4, 4], padding_mode=border)
        assert torch.equal(found[i], functional.crop(padded, top, left, 32, 32)), i


def test_random_crop_draws_every_offset_evenly_for_each_image():
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    one = torch.stack([rows, columns, torch.full_like(rows, 9)]).to(torch.uint8)
    found = augment.random_crop(one.expand(4000, 3, 32, 32), 4, seeded())
    offsets = found[:, :2, 15, 15].int() - 15  # the image tells its own coordinates
    for side in offsets.T:
        counts = torch.bincount(side + 4, minlength=9)
        assert len(counts) == 9 and (counts - 4000 / 9).abs().max() < 5 * math.sqrt(4000 / 9)
    assert abs(torch.corrcoef(offsets.T.float())[0, 1]) < 0.06, "rows and columns are drawn apart"


@pytest.mark.parametrize(("vertical", "axis"), [(False, 3), (True, 2)])
def test_flip_mirrors_about_half_each_for_itself(vertical, axis):
    images = noise(1000, side=8)
    flipped = augment.random_flip(images, seeded(), vertical)
    mirrored = (flipped == images.flip(axis)).flatten(1).all(1)
    kept = (flipped == images).flatten(1).all(1)
    assert (mirrored ^ kept).all() and 430 < int(mirrored.sum()) < 570


def test_affine_is_torchvisions_for_the_same_angle_move_and_scale():
    images = noise(60)
    degrees = torch.linspace(-180, 180, 60)
    translate = torch.randint(-6, 7, (2, 60), generator=seeded()).float()
    scale = torch.linspace(0.6, 1.7, 60)
    found = augment.affine(images, degrees, translate, scale, border="zeros")
    for i in range(60):
        expected = functional.affine(
            images[i].float(),
            angle=-float(degrees[i]),  # torchvision's affine turns the other way round than its rotate
            translate=translate[:, i].tolist(),
            scale=float(scale[i]),
            shear=[0.0, 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        assert levels(found[i], expected.round().to(torch.uint8)) <= 1, i


def test_turning_by_degrees_is_torchvisions_rotate():
    images = noise(20)
    degrees = torch.linspace(-15, 15, 20)
    found = augment.affine(images, degrees, border="zeros")
    for i in range(20):
        expected = functional.rotate(images[i].float(), float(degrees[i]), InterpolationMode.BILINEAR)
        assert levels(found[i], expected.round().to(torch.uint8)) <= 1, i
    assert torch.equal(augment.affine(images, torch.zeros(20)), images)
    assert torch.equal(augment.affine(images, torch.full((20,), 90.0)), images.rot90(1, (2, 3)))


def test_random_affine_draws_its_range_for_each_image_and_leaves_no_black_corners():
    white = torch.full((500, 3, 32, 32), 255, dtype=torch.uint8)
    assert (augment.random_affine(white, seeded(), 45, 0.2, (0.7, 1.4)) == 255).all()
    black_corners = augment.random_affine(white, seeded(), 15, border="zeros")[:, 0, 0, 0]
    assert len(black_corners.unique()) > 50, "every image has its own angle"
    turned = augment.random_affine(noise(1).expand(500, 3, 32, 32), seeded(), 15)
    spread = torch.stack([augment.affine(noise(1), torch.tensor([float(d)]))[0] for d in range(-15, 16)])
    nearest = (turned[:, None].float() - spread.float()).square().mean((2, 3, 4)).argmin(1)
    assert torch.bincount(nearest, minlength=31).min() > 0, "all angles from -15 to 15 occur"


def test_colours_are_torchvisions_for_the_same_factors():
    images = noise(60, side=12)
    brightness, contrast, saturation = torch.rand(3, 60, generator=seeded()) * 1.8
    found = augment.adjust_colors(images, brightness, contrast, saturation)
    for i in range(60):
        expected = functional.adjust_brightness(images[i], float(brightness[i]))
        expected = functional.adjust_contrast(expected, float(contrast[i]))
        expected = functional.adjust_saturation(expected, float(saturation[i]))
        assert levels(found[i], expected) <= 1, i


@pytest.mark.slow
def test_random_colours_draw_the_same_range_as_torchvision():
    grey = torch.full((2000, 3, 4, 4), 100, dtype=torch.uint8)  # only brightness can change it
    found = augment.random_colors(grey, 0.4, seeded())[:, 0, 0, 0].float()
    transform = v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4)
    torch.manual_seed(0)
    theirs = torch.stack([transform(image)[0, 0, 0] for image in grey]).float()
    assert found.min() < 63 and found.max() > 137
    quantiles = torch.linspace(0.05, 0.95, 10)
    assert (found.quantile(quantiles) - theirs.quantile(quantiles)).abs().max() < 4


def test_erasing_is_torchvisions_for_the_same_box():
    images = noise(40)
    boxes = torch.randint(1, 16, (4, 40), generator=seeded())
    found = augment.fill_boxes(images, boxes, augment.GREY)
    for i, (top, left, height, width) in enumerate(boxes.T.tolist()):
        assert torch.equal(
            found[i],
            functional.erase(images[i], top, left, height, width, augment.GREY.expand(3, height, width)),
        )


def test_random_erasing_covers_as_torchvisions_does():
    images = torch.zeros(3000, 3, 32, 32, dtype=torch.uint8)
    covered = (augment.random_erasing(images, seeded())[:, 0] > 0).float().mean((1, 2))
    transform = RandomErasing(p=0.5, scale=(0.02, 0.33), ratio=(0.3, 10 / 3), value=1)
    torch.manual_seed(0)
    theirs = torch.stack([(transform(image)[0] > 0).float().mean() for image in images])
    assert abs((covered > 0).float().mean() - 0.5) < 0.05
    quantiles = torch.linspace(0.1, 0.9, 9)
    ours, torchvisions = covered[covered > 0], theirs[theirs > 0]
    assert (ours.quantile(quantiles) - torchvisions.quantile(quantiles)).abs().max() < 0.03


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_labels_are_mixed_as_the_pixels_are(mix):
    n = 400
    labels = torch.arange(n) % 5
    images = (labels * 50).to(torch.uint8)[:, None, None, None].repeat(1, 3, 32, 32)
    found, mixed = MIXES[mix](images, labels, 5, seeded())
    assert found.dtype == torch.uint8 and mixed.shape == (n, 5) and mixed.dtype == torch.float32
    assert torch.allclose(mixed.sum(1), torch.ones(n), atol=1e-6)
    # The mean pixel is the mean of the two classes' pixels, with the labels' shares.
    expected = (mixed * torch.arange(5) * 50).sum(1)
    assert (found.float().mean((1, 2, 3)) - expected).abs().max() <= 0.51
    shares = mixed.gather(1, labels[:, None])
    assert len(shares.unique()) > n // 4, "every image has its own share"
    values = found.flatten(1)
    if mix == "cutmix":
        assert all(len(image.unique()) <= 2 for image in values), "pixels of either image, not between"


def test_trivial_changes_each_image_for_itself_and_leaves_the_learners_random_numbers():
    images = noise(1).expand(64, 3, 32, 32)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    change = AUGMENTATIONS["trivial"].batch
    found = change(images, seeded())
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(found, change(images, seeded()))
    assert len(found.flatten(1).unique(dim=0)) > 55


IN_BATCHES = [name for name, found in AUGMENTATIONS.items() if not found.image_by_image]


@pytest.mark.parametrize("name", IN_BATCHES)
def test_every_augmentation_keeps_form_type_order_and_the_images_given(name):
    images, change = noise(12), AUGMENTATIONS[name].batch
    before = images.clone()
    found = change(images, seeded())
    assert found.dtype == torch.uint8 and found.shape == images.shape and torch.equal(images, before)
    assert torch.equal(found, change(images, seeded()))
    constant = (torch.arange(12) * 20).to(torch.uint8)[:, None, None, None].expand(12, 3, 32, 32)
    if name not in ("trivial", "crop_flip_light", "crop_flip_erasing"):  # which change colours
        assert torch.equal(change(constant, seeded()), constant), "images keep their place"


def test_only_the_original_works_image_by_image():
    assert [name for name in AUGMENTATIONS if name not in IN_BATCHES] == ["original"]


@pytest.mark.parametrize("name", IN_BATCHES)
def test_the_registry_knows_how_many_views_can_differ(name):
    found, images = AUGMENTATIONS[name], noise(40)
    if (count := found.distinct_views) is None:
        drawn = [found.draw_view(images, 0, seeded(seed)) for seed in (0, 1)]
        assert not torch.equal(*drawn), "it is drawn at random"
        return
    views = [found.draw_view(images, view, seeded(view)) for view in range(count + 1)]
    assert all(not torch.equal(views[a], views[b]) for a in range(count) for b in range(a))
    assert any(torch.equal(views[count], view) for view in views[:count]), "one more is a copy"


@pytest.mark.parametrize("name", [n for n in IN_BATCHES if AUGMENTATIONS[n].unflipped])
def test_views_with_odd_numbers_are_mirrored_where_the_augmentation_flips(name):
    bright_left = torch.zeros(40, 3, 32, 32, dtype=torch.uint8)
    bright_left[..., :8] = 255  # no crop moves it to the other side
    for view, left in ((0, True), (1, False), (2, True)):
        drawn = AUGMENTATIONS[name].draw_view(bright_left, view, seeded(view)).float()
        assert ((drawn[..., :8].mean((1, 2, 3)) > drawn[..., -8:].mean((1, 2, 3))) == left).all()
    images = noise(40)
    unflipped = AUGMENTATIONS[name].draw_view(images, 0, seeded())
    batch = AUGMENTATIONS[name].batch(images, seeded())
    assert not torch.equal(unflipped, batch), "the flip is what it leaves out"


def test_unmixed_images_and_labels_are_as_they_were():
    images, labels = noise(4), torch.arange(4)
    found = MIXES["none"](images, labels, 4, seeded())
    assert torch.equal(found[0], images) and torch.equal(found[1], labels)


def test_torchvision_draws_once_for_a_batch():
    """What the notebook shows, and the reason for this room."""
    batch = noise(1).expand(16, 3, 32, 32)
    torch.manual_seed(0)
    theirs = v2.RandomCrop(32, padding=4)(batch)
    assert len(theirs.flatten(1).unique(dim=0)) == 1
    assert len(augment.random_crop(batch, 4, seeded()).flatten(1).unique(dim=0)) > 10


@pytest.mark.parametrize("name", ["crop_flip_rotate", "crop_flip_light", "crop_flip_erasing", "trivial"])
def test_images_larger_than_the_input_are_scaled_down_before_they_are_changed(name):
    large = ImageSet(noise(6, side=64), torch.zeros(6, dtype=torch.int64), ("noise",), "noise")
    plan = replace(REDUCED, image_size=32, augmentation=name)
    found = augmented(large, torch.arange(6), plan, seeded())
    assert torch.equal(found, AUGMENTATIONS[name].batch(scaled(large.images, 32), seeded()))


@pytest.mark.parametrize("name", ["none", "flip"])
def test_images_that_are_only_mirrored_keep_their_size(name):
    large = ImageSet(noise(6, side=64), torch.zeros(6, dtype=torch.int64), ("noise",), "noise")
    assert augmented(large, torch.arange(6), replace(REDUCED, augmentation=name), seeded()).shape[-1] == 64
