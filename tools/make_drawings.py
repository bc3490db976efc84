"""Writes docs/drawings: the blocks and ResNet-18 as their modules compute, and a filter on an image."""

from pathlib import Path

import torch

from resnet_course.common.files import write_atomically
from resnet_course.resnet import BasicBlock, resnet18
from resnet_course.resnet.stacks import PlainBlock
from resnet_course.teaching.drawings import convolution, draw
from resnet_course.teaching.svg import Drawing

FOLDER = Path(__file__).parents[1] / "docs" / "drawings"
SHAPE = (64, 56, 56)


def drawings() -> dict[str, Drawing]:
    """Every drawing, by the name of its file."""
    image = torch.tensor([[0, 0, 1, 1, 1]] * 5)
    edges = torch.tensor([[-1, 0, 1]] * 3)
    return {
        "convolution": convolution(image, edges, at=(1, 1)),
        "plain_block": draw(PlainBlock(64, 64), SHAPE, "plain block"),
        "identity_block": draw(BasicBlock(64, 64), SHAPE, "identity block"),
        "projection_block": draw(BasicBlock(64, 128, stride=2), SHAPE, "projection block"),
        "resnet18": draw(resnet18(), (3, 224, 224), "ResNet-18", whole=(BasicBlock,)),
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, drawing in drawings().items():
        write_atomically(FOLDER / f"{name}.svg", lambda file, svg=drawing.svg: file.write(svg.encode()))
