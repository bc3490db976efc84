"""Residual networks from scratch."""

from resnet_course.resnet.network import (
    BasicBlock,
    ResNet,
    conv3x3,
    eval_mode,
    initialise,
    resnet18,
    resnet34,
    stage,
)
from resnet_course.resnet.stacks import PlainBlock, stack

__all__ = [
    "BasicBlock",
    "PlainBlock",
    "ResNet",
    "conv3x3",
    "eval_mode",
    "initialise",
    "resnet18",
    "resnet34",
    "stack",
    "stage",
]
