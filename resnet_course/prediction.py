"""From a checkpoint and a picture to a class: `Classifier.load(path).predict(picture)`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import length_hint

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from resnet_course import machine
from resnet_course.common.console import say
from resnet_course.data.reading import ImageError, count_frames, read_image, square
from resnet_course.evaluation.predictions import mean_logits, views_of
from resnet_course.inputs.batches import to_input
from resnet_course.training import checkpoint
from resnet_course.training.checkpoint import Checkpoint
from resnet_course.transfer import fused

MANY = 300  # pictures in one call that make up for the time of a probe

Picture = str | os.PathLike | bytes | Image | np.ndarray


@dataclass(frozen=True)
class Prediction:
    """What the network says about one picture.

    label: the most probable class. confidence: its probability, 0 to 1.
    probabilities: every class with its probability, the most probable first.
    """

    label: str
    confidence: float
    probabilities: dict[str, float]


class Classifier:
    """A trained network with all that it needs to predict."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.recipe = checkpoint.recipe
        # One picture is too little work for the choice of precision to matter: no probe, and exact.
        self.engine = machine.Engine("cpu", "fp32", "channels_last")
        self.model = self.engine.place(checkpoint.model())
        self.network = self.engine.place(fused(self.model))  # the same, with less to compute

    @classmethod
    def load(cls, path: str | os.PathLike) -> Classifier:
        """Read a checkpoint. Raises CheckpointError."""
        return cls(checkpoint.load(path))

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the outputs."""
        return self.checkpoint.classes

    def view(self, picture: Picture) -> Tensor:
        """What the network gets to see of a picture: its middle square, at the size it learned from.

        Returns uint8 [3, side, side]. Raises ImageError.
        """
        side = self.checkpoint.stored_size
        if isinstance(picture, str | os.PathLike) and (frames := count_frames(picture)) > 1:
            say(f"{picture} has {frames} frames; the first one is taken")
        pixels = square(read_image(picture, at_least=side), side)
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1)

    @torch.inference_mode()
    def predict(self, picture: Picture) -> Prediction:
        """Classify one picture: a path, the bytes of a file, a PIL picture or an array (see `read_image`).

        Raises ImageError for a picture that cannot be read.
        """
        return self.predict_views([self.view(picture)])[0]

    @torch.inference_mode()
    def predict_views(
        self, views: Sequence[Tensor], engine: machine.Engine | None = None
    ) -> list[Prediction]:
        """Classify a batch of pictures as `view` returns them. engine: where and how; None: the exact one."""
        engine = engine or self.engine
        network = engine.place(self.network)
        inputs = engine.place(to_input(torch.stack(list(views)), self.recipe))
        with engine.autocast():
            logits = mean_logits(network, views_of(inputs, self.recipe)).cpu()
        return [self._prediction(row) for row in logits.softmax(1)]

    def predict_many(
        self, pictures: Iterable[Picture], batch_size: int = 32
    ) -> Iterator[Prediction | ImageError]:
        """Classify any number of pictures, batch by batch, in their order.

        Only one batch is in memory. Of a list of at least 300 a two-second probe finds the fastest way to
        compute, which may round to 16 bits: probabilities then differ a little. Yields a
        ImageError in the place of a picture that cannot be read.
        """
        many = length_hint(pictures) >= MANY
        engine, rest = machine.choose(self.recipe) if many else self.engine, iter(pictures)
        while batch := list(itertools.islice(rest, batch_size)):
            views: list[Tensor | ImageError] = []
            for picture in batch:
                try:
                    views.append(self.view(picture))
                except ImageError as error:
                    views.append(error)
            readable = [view for view in views if isinstance(view, Tensor)]
            found = iter(self.predict_views(readable, engine) if readable else ())
            for view in views:
                yield next(found) if isinstance(view, Tensor) else view

    def _prediction(self, probabilities: Tensor) -> Prediction:
        ranked = probabilities.sort(descending=True, stable=True)
        names = [self.classes[index] for index in ranked.indices.tolist()]
        return Prediction(
            names[0], float(ranked.values[0]), dict(zip(names, ranked.values.tolist(), strict=True))
        )
