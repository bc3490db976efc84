"""One function a widget. A widget is an extra: whatever it shows, a plain cell before it showed too."""

from __future__ import annotations

from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import torch
from torch import Tensor

from resnet_course import anatomy, plots
from resnet_course.data.images import PictureError, read_picture
from resnet_course.prediction import Classifier
from resnet_course.stacks import stack


def uploader(classifier: Classifier) -> ipywidgets.Widget:
    """A button that takes a picture file, and below it the prediction for it."""
    button = ipywidgets.FileUpload(
        accept="image/*",
        multiple=False,
        description="Choose a picture",
        layout=ipywidgets.Layout(width="max-content"),
    )
    result = ipywidgets.Output()

    def show(change: dict[str, Any]) -> None:
        result.clear_output(wait=True)
        with result:
            for content in uploaded(change["new"]):
                try:
                    picture = read_picture(content)
                except PictureError as error:
                    print(error)
                else:
                    plots.prediction(picture, classifier.view(picture), classifier.predict(picture))
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
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = stack(depth, skip=skip, batchnorm=batchnorm, width=8)
        name = f"{'skips' if skip else 'plain'}, {'BatchNorm' if batchnorm else 'no BatchNorm'}"
        norms = anatomy.gradient_norms(model, inputs, labels)
        plots.gradient_norms({"before training": {name: norms}}, f"{depth} layers, {name}")
        plt.show()

    choices = {"depth": depth, "skip": skip, "batchnorm": batchnorm}
    return ipywidgets.VBox(
        [ipywidgets.HBox(list(choices.values())), ipywidgets.interactive_output(show, choices)]
    )


def uploaded(value: dict | tuple) -> list[bytes]:
    """The files' bytes, from FileUpload.value of ipywidgets 8 (a tuple of dicts) or 7 (a dict of dicts)."""
    files = value.values() if isinstance(value, dict) else value
    return [bytes(file["content"]) for file in files]
