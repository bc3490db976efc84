"""The best epoch of a training."""

from resnet_course.training import History


def test_of_epochs_that_are_equally_right_the_one_with_the_lowest_loss_is_the_best():
    pairs = [(0.75, 0.1), (1.0, 0.4), (1.0, 0.02), (1.0, 0.02), (0.9, 0.01)]
    entries = [
        {"epoch": number, "val_accuracy": accuracy, "val_loss": loss}
        for number, (accuracy, loss) in enumerate(pairs, start=1)
    ]
    assert History(entries).best["epoch"] == 3, "the first of those"
