"""An example of every kind of figure, for the tests of what all of them have in common."""

from collections.abc import Callable

import numpy as np
import torch
from matplotlib.figure import Figure

from resnet_course import plots
from resnet_course.data import shapes
from resnet_course.evaluation import Bin, Predictions
from resnet_course.prediction import Prediction
from resnet_course.training import History


def history(errors=(0.9, 0.5), loss=0.5):
    keys = ("train_loss", "val_loss", "val_accuracy")
    entries = [
        {"epoch": n, "train_accuracy": 1 - error, "seconds": 31.0, **dict.fromkeys(keys, loss)}
        for n, error in enumerate(errors, start=1)
    ]
    return History(entries)


def predictions(count=20, sure=5.0):
    logits = torch.eye(10)[torch.arange(count) % 10] * sure
    labels = (torch.arange(count) + (torch.arange(count) < 3)) % 10  # the first three are wrong
    return Predictions(logits, labels, shapes.CLASSES, "shapes")


def bins(accuracy=0.75):
    return [Bin(0, 0.5, 0, None, None), Bin(0.5, 1, 4, 0.9, accuracy)]


def images(count=4):
    return shapes.draw(count, 0).images


# By the function's name, a figure in which one number is the argument.
KINDS: dict[str, Callable[[float], Figure]] = {
    "samples": lambda value: plots.samples(shapes.draw(50, 0), per_class=3),
    "history": lambda value: plots.history(history(loss=value), "shapes"),
    "losses": lambda value: plots.losses(
        {"by heart": {"training": [2.0, value], "validation": [2.0, 1.9]}}, "curves"
    ),
    "predictions": lambda value: plots.predictions(shapes.draw(20, 0), predictions(sure=value), 2, 4),
    "prediction": lambda value: plots.prediction(
        np.zeros((40, 60, 3), np.uint8), images()[0], Prediction("ring", 0.7, {"ring": 0.7, "star": value})
    ),
    "training_errors": lambda value: plots.training_errors(
        {(8, False): history(), (38, False): history((0.8, value)), (38, True): history()}, "deeper"
    ),
    "gradient_norms": lambda value: plots.gradient_norms(
        {"before": {"plain": {"conv1": 2.0, "fc": value}, "other": {"conv1": 1.0, "fc": 1.0}}}, "levels"
    ),
    "filters": lambda value: plots.filters(torch.full((20, 3, 7, 7), value), "edges", columns=8),
    "feature_maps": lambda value: plots.feature_maps(
        images()[0], {"conv1": torch.full((1, 16, 8, 8), value), "layer1": torch.rand(1, 9, 4, 4)}, "where"
    ),
    "bars": lambda value: plots.bars({"x": {"a": 1.0, "b": 2.0}, "y": {"b": value}}, "t", "metres", line=0.5),
    "waterfall": lambda value: plots.waterfall({"all": 600.0, "half": 300.0, "less": value}, "savings"),
    "rows": lambda value: plots.rows({"some": images(3), "one": images(1)}, "sizes"),
    "accuracy_against_seconds": lambda value: plots.accuracy_against_seconds(
        {"fast": [(1.0, 0.5), (1.0, 0.7)], "slow": [(4.0, 0.8)], "slower": [(5.0, value)]}, "choices", True
    ),
    "spreads": lambda value: plots.spreads({"good": [(2.0, 0.8), (4.0, 0.9)], "bad": [(1.0, value)]}, "two"),
    "lines": lambda value: plots.lines(
        {"one": {10: [0.2, value], 100: [0.6]}, "two": {10: 0.1}}, "t", "x", "y"
    ),
    "panels": lambda value: plots.panels(
        {"blur": {"one": {0: 0.9, 5: value}, "two": {0: 0.2}}, "noise": {"one": {0: 0.9}}}, "t", "x", "y"
    ),
    "confusion": lambda value: plots.confusion(torch.tensor([[8, 2], [1, 9]]), ("cat", "dog"), "title"),
    "reliability": lambda value: plots.reliability({"as trained": bins(value), "b": bins()}, "title"),
    "gallery": lambda value: plots.gallery(images(5), list("abcde"), "gallery"),
    "heat_maps": lambda value: plots.heat_maps(
        images(2), {"one": torch.full((2, 4, 4), value), "two": torch.rand(2, 4, 4)}, list("ab"), "heat"
    ),
}
ONLY_IMAGES = {"samples", "rows", "gallery", "confusion"}  # whole numbers, which are always finite
