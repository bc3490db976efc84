"""Residual networks from scratch."""

from resnet_course.resnet.network import BasicBlock, ResNet, conv3x3, eval_mode, initialise, resnet18, stage

__all__ = ["BasicBlock", "ResNet", "conv3x3", "eval_mode", "initialise", "resnet18", "stage"]
