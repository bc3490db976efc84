"""The best epoch of a training."""

import pytest

from resnet_course.common.errors import ArgumentError
from resnet_course.training import History
from resnet_course.training.history import chosen_by


def test_of_epochs_that_are_equally_right_the_one_with_the_lowest_loss_is_the_best():
    pairs = [(0.75, 0.1), (1.0, 0.4), (1.0, 0.02), (1.0, 0.02), (0.9, 0.01)]
    entries = [
        {"epoch": number, "val_accuracy": accuracy, "val_loss": loss}
        for number, (accuracy, loss) in enumerate(pairs, start=1)
    ]
    assert History(entries).best["epoch"] == 3, "the first of those"


def test_without_an_epoch_it_says_what_to_do():
    with pytest.raises(ArgumentError, match="run the cell of that training again"):
        _ = History().best


def test_where_the_number_of_images_does_not_count_none_is_asked_for():
    assert chosen_by({"val_accuracy": 0.922, "val_images": 0, "folds": 0}) == (
        "accuracy 92.20% on the images that the epoch was chosen by"
    )
    assert "takes 100 images" in chosen_by({"val_accuracy": 0.9, "val_images": 50, "folds": 0})
