"""What every figure has in common: a title, a description for those who do not see it, finite numbers."""

from __future__ import annotations

import base64
import html
import io
import sys
from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from torch import Tensor

from resnet_course.common.console import printable
from resnet_course.common.errors import ArgumentError
from resnet_course.plots.texts import make_writable, without_font_warnings


class DescribedFigure(Figure):
    """A figure that shows itself to JupyterLab, and in exported HTML, as an image with a description.

    Neither JupyterLab 4 nor nbconvert 7 gives an image/png output an alt text, whatever its metadata say;
    both prefer HTML, so the same image goes there too. The PNG stays for exports without HTML.
    """

    alt = ""

    def draw(self, renderer: RendererBase) -> None:
        """As of every figure, but without a warning for every character that no font has."""
        with without_font_warnings():
            super().draw(renderer)

    def get_tightbbox(self, *arguments: object, **options: object) -> Bbox:
        """The same; it measures texts, and so looks for their characters."""
        with without_font_warnings():
            return super().get_tightbbox(*arguments, **options)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        file = io.BytesIO()
        self.savefig(file, format="png", bbox_inches="tight")  # a long title makes it wider
        png = base64.b64encode(file.getvalue()).decode()
        image = f'<img src="data:image/png;base64,{png}" alt="{html.escape(self.alt)}">'
        return {"text/html": image, "image/png": png, "text/plain": self.alt}


def subplots(rows: int = 1, columns: int = 1, **options: object) -> tuple[DescribedFigure, np.ndarray]:
    """A figure and its axes, [rows, columns], as `plt.subplots` takes the options."""
    return plt.subplots(
        rows, columns, layout="constrained", squeeze=False, FigureClass=DescribedFigure, **options
    )


def finish(figure: DescribedFigure, title: str, alt: str) -> DescribedFigure:
    """The last step of every figure: its title, and its description.

    title: what the figure shows to be so. alt: what is drawn, with the main numbers, in one or two sentences.
    """
    figure.suptitle(title)
    make_writable(figure)
    figure.alt = printable(" ".join(f"{title}. {alt}".split()))
    ipython = sys.modules.get("IPython")
    if shell := ipython and ipython.get_ipython():  # else it would draw the figure a second time, for a PNG
        shell.display_formatter.formatters["image/png"].for_type(DescribedFigure, lambda figure: None)
    return figure


def check_finite(figure: str, values: object, name: str = "") -> None:
    """Raise ArgumentError, naming it, for the first value that is not finite, and for a curve without values.

    figure: who draws. values: a number, a tensor, or these in sequences and mappings of any depth.
    name: what leads to the value.
    """
    if name and isinstance(values, Mapping | Sequence) and not values:
        raise ArgumentError(
            f"plots.{figure}: {name} is empty, as after a training that was stopped before it learned "
            "anything; run the cell of that training again"
        )
    if isinstance(values, Mapping):
        for key, value in values.items():
            check_finite(figure, value, f"{name} → {key}" if name else str(key))
    elif isinstance(values, Sequence):
        for place, value in enumerate(values):
            check_finite(figure, value, f"{name}[{place}]")
    else:
        values = torch.as_tensor(values)
        if not (finite := values.isfinite()).all():
            place = (~finite).nonzero()[0].tolist()
            found = float(values[tuple(place)])
            raise ArgumentError(
                f"plots.{figure}: {name}{place or ''} is {found}; only finite numbers can be drawn"
            )


def listed(parts: Iterable[str], at_most: int = 8) -> str:
    """ "a, b and c"; of more than `at_most` parts the first ones, and how many there are besides."""
    parts = list(parts)
    if len(parts) > at_most:
        parts = [*parts[: at_most - 1], f"{len(parts) - at_most + 1} more"]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def show_image(axis: plt.Axes, image: Tensor | np.ndarray, **options: object) -> None:
    """Draw an image, uint8 [3, H, W] or [H, W, 3], without ticks and frame."""
    axis.imshow(to_array(image) if isinstance(image, Tensor) else image, **options)


def bare(axes: np.ndarray) -> None:
    """Take ticks and frames from axes that hold images."""
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)


def to_array(image: Tensor) -> np.ndarray:
    """uint8 [3, H, W] → uint8 [H, W, 3], as matplotlib wants it."""
    return image.permute(1, 2, 0).cpu().numpy()
