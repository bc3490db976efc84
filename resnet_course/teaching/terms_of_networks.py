"""What a term is, and the terms of PyTorch and of networks; the others are in terms.py, which joins them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A term of the course.

    definition: one sentence. notebook: the number of the first notebook in which it stands.
    spelled: how it begins there, if not like the name.
    """

    name: str
    definition: str
    notebook: int
    spelled: str = ""


TERMS_OF_NETWORKS = (
    Term(
        "bottleneck block",
        "A residual block of 1×1, 3×3 and 1×1 convolutions, of which the 3×3 one works on few channels.",
        1,
        "bottleneck",
    ),
    Term(
        "control",
        "The same experiment with one thing changed, to see whether that thing was the cause.",
        0,
    ),
    Term(
        "He initialisation",
        "Random first weights whose spread keeps values and gradients level through layers with ReLU.",
        1,
    ),
    Term("module", "A part of a network in PyTorch: a class with numbers and a forward pass.", 1),
    Term("nat", "The unit of a loss that is computed with the natural logarithm.", 0),
    Term("padding", "Rows and columns of zeros around an image, so that a filter fits at its border.", 1),
    Term(
        "shape",
        "How long each dimension of a tensor is, such as images, channels, height, width.",
        1,
        "shape** says",
    ),
    Term("sigmoid", "A function that squeezes any number into the range from 0 to 1.", 1),
    Term("stage", "A row of blocks with the same number of channels and the same height and width.", 1),
    Term(
        "state dict",
        "All numbers of a module by name, as they are kept in a file of weights.",
        1,
        "state_dict",
    ),
    Term("stem", "The first layers of a network, which make the image small before the stages.", 1),
    Term(
        "train mode",
        "How a network computes while it learns; in eval mode BatchNorm and dropout act otherwise.",
        1,
    ),
)
