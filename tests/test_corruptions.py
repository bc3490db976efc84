"""Corruptions keep shape and type, grow with their strength, and are the same at every call."""

import pytest
import torch

from resnet_course.inputs.corruptions import CORRUPTIONS, corrupt


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(0)
    smooth = torch.rand(6, 3, 8, 8, generator=generator)
    return (torch.nn.functional.interpolate(smooth, 32, mode="bilinear") * 200).byte()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_damage_grows_and_is_the_same_at_every_call(images, name):
    before = images.clone()
    damage = []
    for strength in range(1, 6):
        damaged = corrupt(images, name, strength, seed=3)
        assert damaged.shape == images.shape and damaged.dtype == torch.uint8
        assert torch.equal(damaged, corrupt(images, name, strength, seed=3))
        damage.append(float((damaged.float() - images.float()).abs().mean()))
    assert damage == sorted(damage) and damage[0] > 0 and damage[4] > 1.5 * damage[0]
    assert torch.equal(images, before), "the images that came in stay as they are"


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("side", [8, 160])
def test_any_size_will_do(name, side):
    images = torch.full((2, 3, side, side), 100, dtype=torch.uint8)
    assert corrupt(images, name, 5).shape == images.shape


@pytest.mark.parametrize("strength", [1, 3, 5])
def test_a_rotation_leaves_no_black_corners(strength):
    images = torch.randint(150, 250, (8, 3, 32, 32), dtype=torch.uint8)
    assert corrupt(images, "rotation", strength).min() >= 140


def test_an_occlusion_covers_the_share_that_it_says(images):
    covered = (corrupt(images, "occlusion", 4) == 127).all(1).float().mean((1, 2))
    assert covered.tolist() == pytest.approx([0.25] * 6, abs=0.02)


def test_wrong_names_and_strengths_list_the_right_ones(images):
    with pytest.raises(
        ValueError, match="corruption is 'fog'; it must be one of: blur, noise, brightness, JPEG"
    ):
        corrupt(images, "fog", 1)
    with pytest.raises(ValueError, match="strength is 6; it must be one of: 1, 2, 3, 4, 5"):
        corrupt(images, "blur", 6)
