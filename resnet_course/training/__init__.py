"""The training loop and what it needs."""

from resnet_course.training.loop import (
    History,
    TrainingDiverged,
    fit,
    fit_linear,
    learning_and_choosing,
    make_optimizer,
    one_cycle,
    plateau,
    train_epoch,
)

__all__ = [
    "History",
    "TrainingDiverged",
    "fit",
    "fit_linear",
    "learning_and_choosing",
    "make_optimizer",
    "one_cycle",
    "plateau",
    "train_epoch",
]
