"""The drawn images: the same everywhere, balanced, neither too easy nor told by their colours."""

import functools
import hashlib

import pytest
import torch
import torch.nn.functional as F

from resnet_course.common.errors import ArgumentError
from resnet_course.data import shapes


def digest(image_set):
    return hashlib.sha256(image_set.images.numpy().tobytes() + image_set.labels.numpy().tobytes()).hexdigest()


def test_the_same_bytes_on_every_platform():
    """Pinned once on Linux: another platform or another numpy that draws otherwise fails here."""
    assert digest(shapes.draw(300, 7)) == "b5dd6540b9972129af6a16c0aece2dbca7c2486d756dcbc89a21c24883d313d6"
    assert (
        digest(shapes.draw(300, 7, shapes.PRETRAINING_CLASSES))
        == "87e272c131cacb2bcb173251f5e9068763a5937520f7e2f39a14a779cf59e763"
    )


def test_a_seed_decides_the_images():
    assert digest(shapes.draw(50, 1)) == digest(shapes.draw(50, 1)) != digest(shapes.draw(50, 2))


@pytest.mark.parametrize("count", [0, 1, 10, 1_003])
def test_as_many_of_each_class_in_random_order(count):
    drawn = shapes.draw(count, 0)
    assert drawn.images.shape == (count, 3, 32, 32) and drawn.images.dtype == torch.uint8
    assert drawn.classes == shapes.CLASSES and len(drawn.classes) == 10
    counts = torch.bincount(drawn.labels, minlength=10)
    assert counts.sum() == count and counts.max() - counts.min() <= 1
    if count > 1_000:
        assert not torch.equal(drawn.labels, torch.arange(count) % 10)
        assert len(drawn.images.unique(dim=0)) == count, "no image twice"


def test_an_unknown_class_is_an_error_that_lists_the_known():
    with pytest.raises(ArgumentError, match="no shape 'cat'; it must be one of: circle, ring, square"):
        shapes.draw(10, 0, ("circle", "cat"))


@functools.cache
def drawn():
    """Images to learn from and images to test with."""
    return shapes.draw(4_000, 1), shapes.draw(2_000, 2)


def linear_accuracy(features, weight_decay):
    """The test accuracy of logistic regression on what `features` makes of an image set."""
    train, test = drawn()
    x, test_x = features(train.images.float() / 255), features(test.images.float() / 255)
    mean, std = x.mean(0), x.std(0) + 1e-3
    x, test_x = (x - mean) / std, (test_x - mean) / std
    weight = torch.zeros(x.shape[1], 10, requires_grad=True)
    bias = torch.zeros(10, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=20, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = F.cross_entropy(x @ weight + bias, train.labels) + weight_decay * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return ((test_x @ weight + bias).argmax(1) == test.labels).float().mean().item()


@pytest.mark.slow
def test_a_linear_model_on_raw_pixels_stays_below_60_per_cent():
    accuracy = linear_accuracy(lambda x: x.flatten(1), weight_decay=1.0)  # with 0.1 it is no better
    assert 0.15 < accuracy < 0.60


@pytest.mark.slow
def test_colours_alone_say_next_to_nothing():
    """The shapes differ in area, so the mean colour says a little; it must not be what a network learns."""
    assert linear_accuracy(lambda x: x.mean((2, 3)), 1e-5) < 0.20
