"""What the tests of the exercises share: an answer made from source text, and what `check` says to it."""

import importlib
import pkgutil
import re

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from resnet_course import exercises
from resnet_course.resnet import BasicBlock


def questions_of(module):
    """The questions of a module of exercises, by name: q1, q2, …"""
    return {name: question for name, question in vars(module).items() if re.fullmatch(r"q\d", name)}


MODULES = [
    module
    for found in pkgutil.iter_modules(exercises.__path__)
    for module in [importlib.import_module(f"resnet_course.exercises.{found.name}")]
    if questions_of(module)
]
QUESTIONS = [question for module in MODULES for question in questions_of(module).values()]


def answer_of(source):
    """The last thing that a cell with this source defines."""
    names = {"torch": torch, "nn": nn, "F": F, "np": np, "BasicBlock": BasicBlock}
    exec(source, names)
    return list(names.values())[-1]
