"""Augmentation and batches: drawn per image, each image once, torchvision's for the same draw."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from torchvision.transforms import functional
from torchvision.transforms.functional import to_pil_image

from resnet_course.data import ImageSet
from resnet_course.inputs import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    InputFormat,
    count_batches,
    eval_batches,
    original_pipeline,
    to_input,
    train_batches,
    view_batches,
    views_of,
)
from resnet_course.recipes import LAPTOP, ORIGINAL, REDUCED


def noise(count, size=32, seed=0):
    images = torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(seed))
    return ImageSet(images.to(torch.uint8), torch.arange(count) % 3, ("a", "b", "c"), "noise")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_original_pipeline_has_the_published_steps_in_order():
    names = [type(step).__name__ for step in original_pipeline(train=True).transforms]
    assert names == [
        "RandomCrop",
        "Resize",
        "RandomHorizontalFlip",
        "RandomRotation",
        "ToTensor",
        "Normalize",
    ]
    crop, resize, flip, rotation, _, normalize = original_pipeline(train=True).transforms
    assert (crop.size, crop.padding, resize.size) == ((32, 32), 4, (224, 224))
    assert (flip.p, rotation.degrees) == (0.5, [-15.0, 15.0])
    assert tuple(normalize.mean) == ORIGINAL.mean and tuple(normalize.std) == ORIGINAL.std
    names = [type(step).__name__ for step in original_pipeline(train=False).transforms]
    assert names == ["Resize", "ToTensor", "Normalize"]


@pytest.mark.parametrize("image_size", [16, 32, 64])
def test_to_input_is_torchvisions_resize_and_normalize(image_size):
    recipe = replace(REDUCED, image_size=image_size)
    images = noise(6).images
    expected = functional.resize(images.float() / 255, [image_size, image_size], antialias=True)
    expected = functional.normalize(expected, recipe.mean, recipe.std)
    found = to_input(images, recipe)
    assert found.dtype == torch.float32 and found.is_contiguous(memory_format=torch.channels_last)
    one_level = 1 / (255 * min(recipe.std)) if image_size != 32 else 0  # scaled images are rounded to bytes
    assert torch.allclose(found, expected, atol=one_level + 1e-5)


def test_to_input_needs_no_recipe():
    images = noise(2).images
    assert torch.equal(to_input(images, InputFormat(48)), to_input(images, replace(LAPTOP, image_size=48)))
    assert (InputFormat(48).mean, InputFormat(48).std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_to_input_leaves_the_images_alone():
    images = noise(2).images
    before = images.clone()
    to_input(images, REDUCED)
    assert torch.equal(images, before)


@pytest.mark.parametrize(("count", "sizes"), [(10, [4, 4, 2]), (9, [4, 4]), (8, [4, 4]), (3, [3]), (1, [1])])
def test_an_epoch_is_every_image_once_but_for_a_last_batch_of_one(count, sizes):
    recipe = replace(REDUCED, batch_size=4, augmentation="none")
    image_set = noise(count)
    image_set = replace(image_set, labels=torch.arange(count), classes=tuple("abcdefghij"))
    found = list(train_batches(image_set, recipe, seeded()))
    assert [len(labels) for _, labels in found] == sizes
    assert count_batches(count, recipe, train=True) == len(sizes)
    labels = torch.cat([labels for _, labels in found]).tolist()
    assert len(set(labels)) == len(labels) == sum(sizes)
    for inputs, some in found:
        assert torch.equal(inputs, to_input(image_set.images[some], recipe)), (
            "images and labels stay together"
        )


def test_order_and_augmentation_come_from_the_generator():
    first, again, other = (
        torch.cat([inputs for inputs, _ in train_batches(noise(20), LAPTOP, seeded(seed))])
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_eval_batches_are_in_order_and_as_they_are():
    image_set, recipe = noise(9), replace(REDUCED, batch_size=4)
    batches = list(eval_batches(image_set, recipe))
    assert len(batches) == count_batches(9, recipe, train=False) == 3
    assert torch.equal(torch.cat([labels for _, labels in batches]), image_set.labels)
    assert torch.equal(torch.cat([inputs for inputs, _ in batches]), to_input(image_set.images, recipe))


def test_original_batches_go_image_by_image_through_pil():
    image_set, recipe = noise(5), replace(ORIGINAL, batch_size=2, image_size=48)
    batches = list(eval_batches(image_set, recipe))
    assert [tuple(inputs.shape) for inputs, _ in batches] == [(2, 3, 48, 48), (2, 3, 48, 48), (1, 3, 48, 48)]
    image = to_pil_image(image_set.images[3]).resize((48, 48), Image.Resampling.BILINEAR)
    expected = functional.normalize(functional.to_tensor(image), recipe.mean, recipe.std)
    assert torch.equal(batches[1][0][1], expected)
    labels = torch.cat([labels for _, labels in train_batches(image_set, recipe, seeded())])
    assert labels.shape == (4,), "a last batch of one is left out here too"


def test_view_batches_are_the_views_of_each_batch():
    image_set, recipe = noise(9), replace(REDUCED, batch_size=4, test_views=6)
    found = list(view_batches(image_set, recipe))
    assert [[len(view) for view in views] for views in found] == [[4] * 6, [4] * 6, [1] * 6]
    for views, (inputs, _) in zip(found, eval_batches(image_set, recipe), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(views, views_of(inputs, 6), strict=True))


def test_six_views_are_two_as_they_are_and_moved_by_a_32nd():
    images = torch.arange(64.0 * 64).view(1, 1, 64, 64).expand(2, 3, 64, 64)
    views = views_of(images, 6)
    assert len(views) == 6 and all(view.shape == images.shape for view in views)
    for first, start in ((0, views[0]), (1, views[1])):
        assert torch.equal(start, images.flip(-1) if first else images)
        down_right, up_left = views[2 + first], views[4 + first]
        assert torch.equal(down_right[..., 2:, 2:], start[..., :-2, :-2])
        assert torch.equal(down_right[..., :2, 2:], start[..., :1, :-2].expand(2, 3, 2, 62)), "edge repeated"
        assert torch.equal(up_left[..., :-2, :-2], start[..., 2:, 2:])


@pytest.mark.parametrize("count", [0, 3, "2"])
def test_another_number_of_views_is_refused(count):
    with pytest.raises(ValueError, match="there are 1, 2, 6"):
        views_of(torch.zeros(1, 3, 8, 8), count)
