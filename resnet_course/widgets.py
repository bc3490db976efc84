"""One function a widget. A widget is an extra: whatever it shows, a plain cell before it showed too."""

from __future__ import annotations

from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np

from resnet_course import plots
from resnet_course.data.images import PictureError, read_picture
from resnet_course.prediction import Classifier


def uploader(classifier: Classifier) -> ipywidgets.Widget:
    """A button that takes a picture file, and below it the prediction for it."""
    button = ipywidgets.FileUpload(accept="image/*", multiple=False, description="Choose a picture")
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
                    figure = plots.prediction(
                        np.asarray(picture), classifier.view(picture), classifier.predict(picture)
                    )
                    plt.show(figure)

    button.observe(show, names="value")
    return ipywidgets.VBox([button, result])


def uploaded(value: dict | tuple) -> list[bytes]:
    """The files' bytes, from FileUpload.value of ipywidgets 8 (a tuple of dicts) or 7 (a dict of dicts)."""
    files = value.values() if isinstance(value, dict) else value
    return [bytes(file["content"]) for file in files]
