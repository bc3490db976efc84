"""One function a figure. They draw what the other rooms return, and compute no metric."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import Tensor

from resnet_course.data.images import ImageSet
from resnet_course.evaluation import Predictions
from resnet_course.prediction import Prediction
from resnet_course.training import History

# Okabe and Ito's colours, which people with any colour vision can tell apart (https://jfly.uni-koeln.de/color/).
BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#999999"


def samples(image_set: ImageSet, per_class: int = 8) -> Figure:
    """Some pictures of every class, a row each."""
    classes = len(image_set.classes)
    figure, axes = plt.subplots(classes, 1, figsize=(0.8 * per_class, 0.8 * classes), layout="constrained")
    for label, axis in enumerate(np.atleast_1d(axes)):
        members = (image_set.labels == label).nonzero().flatten()[:per_class]
        strip = np.full(
            (image_set.images.shape[-1], per_class * image_set.images.shape[-1], 3), 255, np.uint8
        )
        for place, index in enumerate(members.tolist()):
            side = image_set.images.shape[-1]
            strip[:, place * side : (place + 1) * side] = to_array(image_set.images[index])
        axis.imshow(strip)
        axis.set_ylabel(image_set.classes[label], rotation=0, ha="right", va="center")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    figure.suptitle(f"{image_set.name}: {classes} classes, {len(image_set):,} pictures to learn from")
    return figure


def history(history: History, dataset: str) -> Figure:
    """Loss and accuracy over the epochs, on the training and on the validation pictures."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    epochs = history.values("epoch")
    for axis, what, label in zip(axes, ("loss", "accuracy"), ("loss (nats)", "accuracy"), strict=True):
        axis.plot(epochs, history.values(f"train_{what}"), "o--", color=ORANGE, label="training pictures")
        axis.plot(epochs, history.values(f"val_{what}"), "s-", color=BLUE, label="validation pictures")
        axis.set(xlabel="epoch", ylabel=label)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend()
    axes[1].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    best = history.best
    minutes, seconds = divmod(round(history.seconds), 60)
    figure.suptitle(
        f"{dataset}: after epoch {best['epoch']:.0f}, {best['val_accuracy']:.1%} of the validation pictures "
        f"are right; {minutes} min {seconds} s in all"
    )
    return figure


def predictions(image_set: ImageSet, predictions: Predictions, rows: int = 3, columns: int = 4) -> Figure:
    """Right and wrong predictions beside each other: the first wrong ones, at most half, then right ones."""
    wrong = (~predictions.correct).nonzero().flatten().tolist()
    right = predictions.correct.nonzero().flatten().tolist()
    count = rows * columns
    shown_wrong = wrong[: max(count // 2, count - len(right))]
    shown = shown_wrong + right[: count - len(shown_wrong)]
    figure, axes = plt.subplots(rows, columns, figsize=(2.4 * columns, 2.7 * rows), layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    confidence = predictions.probabilities.max(1).values
    for axis, index in zip(axes.flat, shown, strict=False):
        said = predictions.classes[predictions.predicted[index]]
        truth = predictions.classes[predictions.labels[index]]
        correct = said == truth
        axis.imshow(to_array(image_set.images[index]))
        text = f"✓ {said}" if correct else f"✗ {said}, not {truth}"
        axis.set_title(
            f"{text}\n{confidence[index]:.0%} sure", color=BLUE if correct else VERMILION, fontsize=10
        )
    figure.suptitle(
        f"{predictions.dataset}: {len(wrong):,} of {len(predictions):,} test pictures are wrong; "
        f"{len(shown_wrong)} of them come first here"
    )
    return figure


def prediction(picture: np.ndarray, view: Tensor, prediction: Prediction) -> Figure:
    """A picture, what the network gets to see of it, and the probability of every class.

    picture: uint8 [H, W, 3]. view: uint8 [3, side, side], as `Classifier.view` returns it.
    """
    figure, (whole, seen, bars) = plt.subplots(
        1, 3, figsize=(11, 3.6), layout="constrained", width_ratios=(1, 1, 1.4)
    )
    for axis, pixels, title in (
        (whole, picture, "your picture"),
        (seen, to_array(view), "what the network sees"),
    ):
        axis.imshow(pixels)
        axis.set_title(f"{title}, {pixels.shape[1]} × {pixels.shape[0]} pixels", fontsize=10)
        axis.axis("off")
    names = list(prediction.probabilities)[:10][::-1]
    values = [prediction.probabilities[name] for name in names]
    bars.barh(names, values, color=[GREY] * (len(names) - 1) + [BLUE])
    bars.set(xlim=(0, 1), xlabel="probability")
    bars.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.suptitle(f"The network says {prediction.label}, and gives it {prediction.confidence:.0%}")
    return figure


def to_array(image: Tensor) -> np.ndarray:
    """uint8 [3, H, W] → uint8 [H, W, 3], as matplotlib wants it."""
    return image.permute(1, 2, 0).numpy()
