"""From a checkpoint and an image to a class: `Classifier.load(path).predict(image)`."""

from __future__ import annotations

import copy
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import length_hint

import torch
from torch import Tensor, nn

from resnet_course import machine
from resnet_course.common.console import say
from resnet_course.data import ImageError, count_frames, read_square
from resnet_course.data.reading import ImageSource
from resnet_course.evaluation import mean_logits
from resnet_course.inputs import to_input, views_of
from resnet_course.settings import Settings
from resnet_course.training import checkpoint
from resnet_course.training.checkpoint import Checkpoint
from resnet_course.transfer import fused

UNKNOWN = "unknown"  # the label of an image whose class is not probable enough
MANY = 300  # images in one call that make up for the time of a probe


@dataclass(frozen=True)
class Prediction:
    """What the network says about one image.

    label: the most probable class, or `Classifier.unknown` where it is less probable than the checkpoint's
        threshold.
    confidence: the probability of the most probable class, 0 to 1.
    probabilities: every class with its probability, the most probable first.
    """

    label: str
    confidence: float
    probabilities: dict[str, float]


class Classifier:
    """A trained network with all that it needs to predict.

    It computes in float32 on the processor, unless `RESNET_COURSE_DEVICE` names another device: for one image
    the way there and back would take longer than the network. `predict_many` finds the fastest way for many.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.recipe = checkpoint.recipe
        device = "cpu" if Settings.from_env().device == "auto" else machine.device()
        # One image is too little work for the choice of precision to matter: no probe, and exact.
        self.engine = machine.Engine(device, "fp32", "channels_last")
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

    @property
    def unknown(self) -> str:
        """The label of an image whose class is not probable enough: UNKNOWN, unless a class is called so."""
        return f"{UNKNOWN}, none of the classes" if UNKNOWN in self.classes else UNKNOWN

    def square(self, image: ImageSource) -> Tensor:
        """What the network gets to see of an image: its middle square, at the size it learned from.

        Returns uint8 [3, stored_size, stored_size]. Raises ImageError.
        """
        if isinstance(image, str | os.PathLike) and (frames := count_frames(image)) > 1:
            say(f"{image} has {frames} frames; the first one is taken")
        return read_square(image, self.checkpoint.stored_size, self.checkpoint.shorter_side)

    def predict(self, image: ImageSource) -> Prediction:
        """Classify one image: a path, the bytes of a file, a PIL image or an array (see `read_image`).

        Raises ImageError for an image that cannot be read.
        """
        return self.predict_squares(self.square(image)[None])[0]

    def predict_squares(self, squares: Tensor) -> list[Prediction]:
        """Classify a batch of images as `square` returns them: uint8 [N, 3, stored_size, stored_size]."""
        return self._predictions(self.logits(squares))

    def logits(self, squares: Tensor) -> Tensor:
        """The mean of the logits over the recipe's views of each image: float32 [N, C], on the CPU.

        squares: uint8 [N, 3, stored_size, stored_size]. The checkpoint's temperature is not applied yet.
        """
        return self._logits(squares, self.network, self.engine)

    def predict_many(
        self, images: Iterable[ImageSource], batch_size: int = 32
    ) -> Iterator[Prediction | ImageError]:
        """Classify any number of images, batch by batch, in their order.

        Only one batch is in memory. Of a list of at least 300 a two-second probe finds the fastest way to
        compute, which may round to 16 bits: probabilities then differ a little.
        Yields an ImageError in the place of an image that cannot be read.
        """
        network, engine = self.network, self.engine
        if length_hint(images) >= MANY:
            engine = machine.choose(self.recipe)
            network = engine.place(copy.deepcopy(network))
        rest = iter(images)
        while batch := list(itertools.islice(rest, batch_size)):
            found = [self._square_or_error(image) for image in batch]
            squares = [square for square in found if isinstance(square, Tensor)]
            answers = iter(())
            if squares:
                answers = iter(self._predictions(self._logits(torch.stack(squares), network, engine)))
            for square_or_error in found:
                yield next(answers) if isinstance(square_or_error, Tensor) else square_or_error

    def _square_or_error(self, image: ImageSource) -> Tensor | ImageError:
        try:
            return self.square(image)
        except ImageError as error:
            return error

    @torch.inference_mode()
    def _logits(self, squares: Tensor, network: nn.Module, engine: machine.Engine) -> Tensor:
        views = views_of(to_input(squares, self.recipe), self.recipe.test_views)
        with engine.computing(), engine.autocast():
            return mean_logits(network, map(engine.place, views)).cpu()

    def _predictions(self, logits: Tensor) -> list[Prediction]:
        return [self._prediction(row) for row in (logits / self.checkpoint.temperature).softmax(1)]

    def _prediction(self, probabilities: Tensor) -> Prediction:
        ranked = probabilities.sort(descending=True, stable=True)
        names = [self.classes[index] for index in ranked.indices.tolist()]
        confidence, threshold = float(ranked.values[0]), self.checkpoint.threshold
        label = self.unknown if threshold is not None and confidence < threshold else names[0]
        return Prediction(label, confidence, dict(zip(names, ranked.values.tolist(), strict=True)))
