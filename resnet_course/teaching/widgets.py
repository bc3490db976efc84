"""One function a widget. A widget is an extra: whatever it shows, a plain cell before it showed too.

Numbers have fields, not sliders: the browser knows no name of a slider of ipywidgets, so that a screen reader
could not say what it is for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import torch
from torch import Tensor

from resnet_course import machine, plots
from resnet_course.common.durations import format_duration
from resnet_course.common.errors import CourseError
from resnet_course.common.seeding import seeded
from resnet_course.data import ImageError, ImageSet
from resnet_course.evaluation.gradcam import grad_cam
from resnet_course.inputs import AUGMENTATIONS, augment, to_input
from resnet_course.inputs.corruptions import CORRUPTIONS, corrupt
from resnet_course.prediction import Classifier
from resnet_course.recipes import STRATEGIES, Recipe
from resnet_course.resnet.stacks import stack
from resnet_course.teaching import anatomy
from resnet_course.training.planning import expected_accuracy, most_images, strategy_table
from resnet_course.transfer import TRAIN_FROM


def uploader(classifier: Classifier) -> ipywidgets.Widget:
    """A button that takes an image file, and below it the prediction for it."""
    button = ipywidgets.FileUpload(
        accept="image/*",
        multiple=False,
        description="Choose an image",
        layout=ipywidgets.Layout(width="max-content"),
    )
    result = ipywidgets.Output()

    def show(change: dict[str, Any]) -> None:
        result.clear_output(wait=True)
        with result:
            for content in uploaded(change["new"]):
                try:
                    square = classifier.square(content)
                except ImageError as error:
                    print(error)
                else:
                    plots.prediction(content, square, classifier.predict_squares(square[None])[0])
                    plt.show()

    button.observe(show, names="value")
    return ipywidgets.VBox([button, result])


def gradient_explorer(inputs: Tensor, labels: Tensor) -> ipywidgets.Widget:
    """Choose depth, skips and BatchNorm; see the gradient in every layer of such a stack before training.

    inputs: float32 [N, 3, H, W]. labels: int64 [N].
    """
    depth = ipywidgets.Dropdown(options=(8, 14, 20, 26, 32, 38, 44), value=20, description="layers")
    skip = ipywidgets.Checkbox(value=True, description="skips")
    batchnorm = ipywidgets.Checkbox(value=True, description="BatchNorm")

    def show(depth: int, skip: bool, batchnorm: bool) -> None:
        with seeded(0):
            model = stack(depth, skip=skip, batchnorm=batchnorm, width=8, num_classes=int(labels.max()) + 1)
        name = f"{'skips' if skip else 'plain'}, {'BatchNorm' if batchnorm else 'no BatchNorm'}"
        norms = anatomy.gradient_norms(model, inputs, labels)
        plots.gradient_norms({"before training": {name: norms}}, f"{depth} layers, {name}")
        plt.show()

    choices = {"depth": depth, "skip": skip, "batchnorm": batchnorm}
    return ipywidgets.VBox(
        [ipywidgets.HBox(list(choices.values())), ipywidgets.interactive_output(show, choices)]
    )


Change = Callable[[Tensor, float, torch.Generator], Tensor]


def _of_any_strength(name: str) -> Change:
    """An augmentation as a recipe names it; the slider does not change it."""
    return lambda images, strength, generator: AUGMENTATIONS[name].batch(images, generator)


# What the explorer offers: by name, a change of a batch with a strength from 0 to 1.
EXPLORED: dict[str, Change] = {
    "crop": lambda images, strength, generator: augment.random_crop(images, round(16 * strength), generator),
    "turn": lambda images, strength, generator: augment.random_affine(images, generator, 180 * strength),
    "scale": lambda images, strength, generator: augment.random_affine(
        images, generator, 0, scale=(1 - strength / 2, 1 + strength)
    ),
    "colours": lambda images, strength, generator: augment.random_colors(images, strength, generator),
    "erase": lambda images, strength, generator: augment.random_erasing(images, generator, strength),
    **{
        name: _of_any_strength(name)
        for name, augmentation in AUGMENTATIONS.items()
        if not augmentation.image_by_image
    },
}


def augmentation_explorer(images: Tensor) -> ipywidgets.Widget:
    """Choose a change, its strength and an image; see eight draws and the time for one image.

    images: uint8 [N, 3, H, W].
    """
    change = ipywidgets.Dropdown(options=list(EXPLORED), description="change")
    strength = ipywidgets.BoundedFloatText(0.25, min=0, max=1, step=0.05, description="strength")
    image = ipywidgets.BoundedIntText(0, min=0, max=len(images) - 1, description="image")

    def show(change: str, strength: float, image: int) -> None:
        def draw(count: int = 8) -> Tensor:
            generator = torch.Generator().manual_seed(0)
            return EXPLORED[change](images[image].expand(count, -1, -1, -1), strength, generator)

        seconds = min(machine.seconds(lambda: draw(128), times=3, at_most=0.2)) / 128
        plots.rows({change: draw()}, f"{change}: {1e6 * seconds:.0f} microseconds an image")
        plt.show()

    choices = {"change": change, "strength": strength, "image": image}
    return ipywidgets.VBox([*choices.values(), ipywidgets.interactive_output(show, choices)])


def recipe_builder(images: int, classes: int) -> ipywidgets.Widget:
    """Choose size, frozen depth, epochs, cached views; see the predicted minutes and what was measured near.

    images: how many are to be learned from. classes: how many there are.
    """
    size = ipywidgets.Dropdown(options=(64, 96, 112, 128, 160), value=96, description="pixels")
    train_from = ipywidgets.Dropdown(options=TRAIN_FROM, value="layer4", description="train from")
    epochs = ipywidgets.BoundedIntText(4, min=1, max=12, description="epochs")
    views = ipywidgets.Dropdown(options=(0, 1, 2), value=2, description="cached views")

    def show(size: int, train_from: str, epochs: int, views: int) -> None:
        try:
            recipe = Recipe(
                "own", size, "flip", train_from=train_from, epochs=epochs, cached_views=views, test_views=2
            )
        except CourseError as error:
            print(error)
            return
        seconds = machine.estimate(recipe, images, images // 9)
        print(f"{images:,} images: about {format_duration(seconds)} on this machine")
        rows = [STRATEGIES[name] for name in strategy_table()["rows"]]
        depth = TRAIN_FROM.index(train_from)
        rows.sort(key=lambda row: (abs(TRAIN_FROM.index(row.train_from) - depth), abs(row.image_size - size)))
        for near in rows[:3]:
            accuracy = expected_accuracy(near.name, images / classes)
            guess = ", extrapolated" if images / classes > most_images(near.name) else ""
            print(f"{near.name}, {near.image_size} pixels: {accuracy:.0%} by the strategy table{guess}")

    choices = {"size": size, "train_from": train_from, "epochs": epochs, "views": views}
    return ipywidgets.VBox([*choices.values(), ipywidgets.interactive_output(show, choices)])


def prediction_explorer(
    classifier: Classifier, image_set: ImageSet, temperature: float | None = None
) -> ipywidgets.Widget:
    """Choose or upload an image, damage it, move the threshold; see prediction, probabilities, Grad-CAM.

    image_set: images to choose from. temperature: divides the logits before the softmax; None: the
        checkpoint's, as in `Classifier.predict`.
    """
    temperature = classifier.checkpoint.temperature if temperature is None else temperature
    chosen = ipywidgets.BoundedIntText(0, min=0, max=len(image_set) - 1, description="image")
    button = ipywidgets.FileUpload(accept="image/*", multiple=False, description="or a file")
    damage = ipywidgets.Dropdown(options=("none", *CORRUPTIONS), description="damage")
    strength = ipywidgets.BoundedIntText(3, min=1, max=5, description="strength")
    threshold = ipywidgets.BoundedFloatText(0.5, min=0, max=1, step=0.05, description="sure from")
    picture = {"square": image_set[0][0], "why_not": ""}  # what was chosen or uploaded last

    def take_chosen(change: dict[str, Any]) -> None:
        picture.update(square=image_set[change["new"]][0], why_not="")

    def take_uploaded(change: dict[str, Any]) -> None:
        try:
            for content in uploaded(change["new"]):
                picture.update(square=classifier.square(content), why_not="")
        except ImageError as error:
            picture["why_not"] = f"{error}. The image before it is still shown."

    chosen.observe(take_chosen, names="value")  # before `show` observes them, below
    button.observe(take_uploaded, names="value")

    def show(chosen: int, upload: Any, damage: str, strength: int, threshold: float) -> None:
        if picture["why_not"]:
            print(picture["why_not"])
        square = picture["square"]
        squares = square[None] if damage == "none" else corrupt(square[None], damage, strength)
        probabilities = (classifier.logits(squares) / temperature).softmax(1)[0]
        surest, label = probabilities.max(0)
        answer = f"{classifier.classes[label]} ({surest:.0%})"
        if surest < threshold:
            answer = f"I don't know; {answer} is not enough"
        for value, index in zip(*probabilities.topk(min(3, len(probabilities))), strict=True):
            print(f"{value:6.1%}  {classifier.classes[index]}")
        heat = grad_cam(classifier.model, to_input(squares, classifier.recipe), label[None])
        plots.heat_maps(squares, {"looks at": heat}, [f"damage: {damage}"], answer)
        plt.show()

    choices = {"chosen": chosen, "upload": button, "damage": damage, "strength": strength}
    choices["threshold"] = threshold
    return ipywidgets.VBox([*choices.values(), ipywidgets.interactive_output(show, choices)])


def uploaded(value: dict | tuple) -> list[bytes]:
    """The files' bytes, from FileUpload.value of ipywidgets 8 (a tuple of dicts) or 7 (a dict of dicts)."""
    files = value.values() if isinstance(value, dict) else value
    return [bytes(file["content"]) for file in files]
