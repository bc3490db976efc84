"""Augmentation and batches: drawn per picture, each picture once, torchvision's for the same draw."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from torchvision.transforms import functional
from torchvision.transforms.functional import to_pil_image

from resnet_course.data import ImageSet
from resnet_course.inputs import augment
from resnet_course.inputs.batches import count_batches, eval_batches, to_input, train_batches
from resnet_course.recipes import LAPTOP, ORIGINAL, REDUCED


def noise(count, side=32, seed=0):
    images = torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(seed))
    return ImageSet(images.to(torch.uint8), torch.arange(count) % 3, ("a", "b", "c"), "noise")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_original_pipeline_has_the_published_steps_in_order():
    names = [type(step).__name__ for step in augment.original_pipeline(train=True).transforms]
    assert names == [
        "RandomCrop",
        "Resize",
        "RandomHorizontalFlip",
        "RandomRotation",
        "ToTensor",
        "Normalize",
    ]
    crop, resize, flip, rotation, _, normalize = augment.original_pipeline(train=True).transforms
    assert (crop.size, crop.padding, resize.size) == ((32, 32), 4, (224, 224))
    assert (flip.p, rotation.degrees) == (0.5, [-15.0, 15.0])
    assert tuple(normalize.mean) == ORIGINAL.mean and tuple(normalize.std) == ORIGINAL.std
    names = [type(step).__name__ for step in augment.original_pipeline(train=False).transforms]
    assert names == ["Resize", "ToTensor", "Normalize"]


@pytest.mark.parametrize("image_size", [16, 32, 64])
def test_to_input_is_torchvisions_resize_and_normalize(image_size):
    recipe = replace(REDUCED, image_size=image_size)
    images = noise(6).images
    expected = functional.resize(images.float() / 255, [image_size, image_size], antialias=True)
    expected = functional.normalize(expected, recipe.mean, recipe.std)
    found = to_input(images, recipe)
    assert found.dtype == torch.float32 and found.is_contiguous(memory_format=torch.channels_last)
    one_level = 1 / (255 * min(recipe.std)) if image_size != 32 else 0  # scaled pictures are rounded to bytes
    assert torch.allclose(found, expected, atol=one_level + 1e-5)


def test_to_input_leaves_the_pictures_alone():
    images = noise(2).images
    before = images.clone()
    to_input(images, REDUCED)
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("pictures", "sizes"), [(10, [4, 4, 2]), (9, [4, 4]), (8, [4, 4]), (3, [3]), (1, [1])]
)
def test_an_epoch_is_every_picture_once_but_for_a_last_batch_of_one(pictures, sizes):
    recipe = replace(REDUCED, batch_size=4, augmentation="none")
    image_set = noise(pictures)
    image_set = replace(image_set, labels=torch.arange(pictures), classes=tuple("abcdefghij"))
    found = list(train_batches(image_set, recipe, seeded()))
    assert [len(labels) for _, labels in found] == sizes
    assert count_batches(pictures, recipe, train=True) == len(sizes)
    labels = torch.cat([labels for _, labels in found]).tolist()
    assert len(set(labels)) == len(labels) == sum(sizes)
    for inputs, some in found:
        assert torch.equal(inputs, to_input(image_set.images[some], recipe)), (
            "pictures and labels stay together"
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


def test_original_batches_go_picture_by_picture_through_pil():
    image_set, recipe = noise(5), replace(ORIGINAL, batch_size=2, image_size=48)
    batches = list(eval_batches(image_set, recipe))
    assert [tuple(inputs.shape) for inputs, _ in batches] == [(2, 3, 48, 48), (2, 3, 48, 48), (1, 3, 48, 48)]
    picture = to_pil_image(image_set.images[3]).resize((48, 48), Image.Resampling.BILINEAR)
    expected = functional.normalize(functional.to_tensor(picture), recipe.mean, recipe.std)
    assert torch.equal(batches[1][0][1], expected)
    labels = torch.cat([labels for _, labels in train_batches(image_set, recipe, seeded())])
    assert labels.shape == (4,), "a last batch of one is left out here too"
