"""Sets of images: their parts, and how they are drawn."""

import pickle
import re
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch

from resnet_course.data.images import DataError, ImageSet, concatenate, draw_stratified, split_off


def image_set(labels, classes=("a", "b", "c")) -> ImageSet:
    """A set whose image i is filled with i."""
    labels = torch.as_tensor(labels, dtype=torch.int64)
    images = torch.arange(len(labels)).to(torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2).contiguous()
    return ImageSet(images, labels, classes, "test set")


def numbers(some: ImageSet) -> list[int]:
    return some.images[:, 0, 0, 0].tolist()


def test_a_set_is_a_dataset():
    some = image_set([0, 2, 1])
    image, label = some[1]
    assert (len(some), image.shape, image[0, 0, 0].item(), label) == (3, (3, 2, 2), 1, 2)
    batch, labels = next(iter(torch.utils.data.DataLoader(some, batch_size=3)))
    assert batch.shape == (3, 3, 2, 2)
    assert labels.tolist() == [0, 2, 1]


IMAGES, LABELS = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1])
RIGHT = "they must be torch.uint8 [N, 3, S, S], square"


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.float(), LABELS, f"images are torch.float32 [2, 3, 4, 4]; {RIGHT}"),
        (IMAGES[0], LABELS, f"images are torch.uint8 [3, 4, 4]; {RIGHT}"),
        (IMAGES[:, :, 1:], LABELS, f"images are torch.uint8 [2, 3, 3, 4]; {RIGHT}"),
        (IMAGES, LABELS[:1], "labels are torch.int64 [1]; they must be torch.int64 [2]"),
        (IMAGES.permute(0, 2, 3, 1), LABELS, f"images are torch.uint8 [2, 4, 4, 3]; {RIGHT}"),
        (IMAGES, LABELS.int(), "labels are torch.int32 [2]; they must be torch.int64 [2]"),
        (IMAGES, LABELS + 1, "a label is outside 0..1, the 2 classes"),
        (IMAGES, LABELS - 1, "a label is outside 0..1, the 2 classes"),
    ],
)
def test_a_set_that_makes_no_sense_is_refused(images, labels, message):
    with pytest.raises(DataError, match=re.escape(message)):
        ImageSet(images, labels, ("a", "b"), "test set")


def test_an_empty_set_is_allowed():
    assert len(image_set([])) == 0


def test_subset_keeps_the_order_asked_for():
    part = image_set([0, 1, 2, 0]).subset(torch.tensor([3, 1]))
    assert (numbers(part), part.labels.tolist(), part.classes) == ([3, 1], [0, 1], ("a", "b", "c"))


def test_parts_of_parts_are_what_plain_indexing_gives():
    images = torch.randint(0, 256, (50, 3, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    whole = ImageSet(images, torch.arange(50) % 5, tuple("abcde"), "noise")
    assert whole.images is images
    rest, part = split_off(whole, 0.4)
    shuffled = torch.randperm(len(rest), generator=torch.Generator().manual_seed(1))
    last = rest.subset(shuffled).limit(20).per_class(3).in_classes(tuple("edcba"))
    rows = torch.tensor([int(row) for row in last.rows.rows])
    assert torch.equal(last.labels, 4 - whole.labels[rows])
    some = torch.tensor([3, 0, 3, 14])
    for each, expected in ((whole, images), (part, images[part.rows.rows]), (last, images[rows])):
        picked = some % len(each)
        assert torch.equal(each.take(picked), expected[picked])
        assert torch.equal(each.take(slice(2, 5)), expected[2:5])
        assert torch.equal(each.take(each.labels == 1), expected[each.labels == 1])
        assert torch.equal(torch.stack([image for image, _ in each]), expected)
        assert [len(chunk) for chunk in each.chunks(4)] == [len(chunk) for chunk in expected.split(4)]
        assert torch.equal(torch.cat(list(each.chunks(4))), expected)
        assert torch.equal(each.subset(each.labels == 1).images, expected[each.labels == 1])
        assert torch.equal(each.images, expected), "the contract: one tensor"
        assert each.images is each.images, "made once"
        assert torch.equal(each.take(picked), expected[picked]), "and after that"
        assert torch.equal(pickle.loads(pickle.dumps(each)).images, expected)


def test_the_indices_of_a_part_are_its_own():
    indices = torch.tensor([3, 1])
    part = image_set([0, 1, 2, 0]).subset(indices)
    indices.zero_()
    assert numbers(part) == [3, 1]


def test_dataclasses_replace_on_a_part():
    part = image_set([0, 1, 2, 0]).subset(torch.tensor([3, 1, 2]))
    named = replace(part, classes=("x", "y", "z"), name="other")
    assert (numbers(named), named.classes, named.name) == ([3, 1, 2], ("x", "y", "z"), "other")
    assert torch.equal(replace(part, images=part.images + 1).images, part.images + 1)
    with pytest.raises(
        DataError, match=re.escape("labels are torch.int64 [1]; they must be torch.int64 [3]")
    ):
        replace(part, labels=torch.tensor([0]))
    assert repr(part) == "<test set: 3 images of 2×2 pixels, 3 classes>"


def resident() -> int:
    return psutil.Process().memory_info().rss


def test_splitting_copies_no_image():
    size = 200_000_000
    images = torch.full((size // (3 * 100 * 100), 3, 100, 100), 7, dtype=torch.uint8)
    whole = ImageSet(images, torch.arange(len(images)) % 4, tuple("abcd"), "grey")
    before = resident()
    train, test = split_off(whole, 0.2)
    test = test.subset(torch.randperm(len(test)))
    train, val = split_off(train, 0.1)
    parts = [train, val, test, train.limit(4_000), train.per_class(1_000), concatenate(train, val)]
    batches = [part.take(torch.arange(32)) for part in parts]
    assert sum(map(len, parts)) > 2 * len(whole)
    assert all((batch == 7).all() for batch in batches)
    assert resident() - before < size / 10


def test_concatenate():
    whole = image_set([0, 1, 2, 0, 1])
    first, second = whole.subset(torch.tensor([4, 1])), whole.subset(torch.tensor([0, 3, 2]))
    both = concatenate(first, second)
    assert (numbers(both), both.labels.tolist()) == ([4, 1, 0, 3, 2], [1, 1, 0, 0, 2])
    other = replace(first, images=first.images + 100)  # of another tensor
    assert numbers(concatenate(second, other)) == [0, 3, 2, 104, 101]
    assert numbers(concatenate(whole, first)) == [0, 1, 2, 3, 4, 4, 1]
    with pytest.raises(DataError, match="cannot be joined; their classes and sizes must be the same"):
        concatenate(first, replace(second, classes=tuple("xyz")))
    with pytest.raises(DataError, match="<test set: 3 images of 1×1 pixels, 3 classes> cannot be joined"):
        concatenate(first, replace(second, images=second.images[:, :, :1, :1]))


def test_per_class():
    some = image_set([0] * 10 + [1] * 3 + [2] * 10)
    part = some.per_class(4)
    assert torch.bincount(part.labels).tolist() == [4, 3, 4]
    assert numbers(part) == sorted(numbers(part))
    assert torch.equal(part.labels, some.labels[numbers(part)])
    assert numbers(part) == numbers(some.per_class(4))
    assert numbers(part) != numbers(some.per_class(4, seed=1))


@pytest.mark.parametrize("sizes", [(7, 7, 7), (100, 10, 1), (3, 0, 50)])
def test_limit_gives_exactly_what_was_asked_in_proportion(sizes):
    some = image_set(np.repeat([0, 1, 2], sizes))
    for count in range(sum(sizes) + 3):
        part = some.limit(count)
        assert len(part) == min(count, sum(sizes))
        found = torch.bincount(part.labels, minlength=3)
        share = torch.tensor(sizes) * len(part) / sum(sizes)
        if count < 3 or share[share > 0].min() >= 1:
            assert (found - share).abs().max() < 1
        else:  # a rare class is not left out
            assert found[torch.tensor(sizes) > 0].min() >= 1 and (found - share).abs().max() < 2
        assert len(set(numbers(part))) == len(part)
    assert numbers(some.limit(9)) == numbers(some.limit(9))
    assert numbers(some.limit(9)) != numbers(some.limit(9, seed=1))


def test_portions_are_exact_where_floating_point_is_not():
    labels = torch.arange(3).repeat_interleave(49)
    for count in range(0, 147, 3):
        found = torch.bincount(labels[draw_stratified(labels, 3, count, seed=0)], minlength=3)
        assert found.tolist() == [count // 3] * 3


def test_in_classes_matches_by_name():
    some = image_set([0, 1, 2], ("a", "b", "c"))
    moved = some.in_classes(("c", "x", "b", "a"))
    assert moved.labels.tolist() == [3, 2, 0]
    assert moved.classes == ("c", "x", "b", "a")
    assert some.in_classes(("a", "b", "c")) is some
    with pytest.raises(DataError, match="test set has the classes b, c, which the model was not trained on"):
        some.in_classes(("a", "x"))


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 1.0])
def test_split_off(fraction):
    some = image_set([0] * 40 + [1] * 2 + [2] * 23)
    rest, part = split_off(some, fraction)
    assert sorted(numbers(rest) + numbers(part)) == list(range(65))  # disjoint and complete
    assert numbers(rest) == sorted(numbers(rest))
    for half in (rest, part):
        assert torch.equal(half.labels, some.labels[numbers(half)])
    for label, size in enumerate((40, 2, 23)):
        expected = min(size - 1, max(1, round(size * fraction)))
        assert int((part.labels == label).sum()) == expected
    assert numbers(part) == numbers(split_off(some, fraction)[1])


def test_split_off_depends_on_the_seed():
    some = image_set([0] * 40 + [1] * 40, ("a", "b"))
    assert numbers(split_off(some, 0.2)[1]) != numbers(split_off(some, 0.2, seed=1)[1])


def test_split_off_needs_two_images_of_each_class():
    with pytest.raises(DataError, match=r"test set: the class c has 1 image\(s\); every class needs"):
        split_off(image_set([0, 0, 1, 1, 2]), 0.5)
    with pytest.raises(DataError, match=r"test set: the class b has 0 image\(s\)"):
        split_off(image_set([0, 0, 2, 2]), 0.5)


def test_a_rare_class_is_drawn_at_the_cost_of_the_largest():
    labels = torch.tensor([0] * 1000 + [1] * 12 + [2] * 200)

    def drawn(count, least):
        places = draw_stratified(labels, 3, count, seed=0, least=least)
        return labels[places].bincount(minlength=3).tolist()

    assert drawn(100, 0) == [83, 1, 16] and drawn(100, 10) == [74, 10, 16]
    assert drawn(1000, 20) == [823, 12, 165], "all that there are"
    assert drawn(10, 10) == [4, 3, 3], "fewer, where there is no room"
