"""The training loop and what it needs: phases, files, averages."""

from resnet_course.recipes import one_cycle, plateau
from resnet_course.training.history import History
from resnet_course.training.linear import fit_linear
from resnet_course.training.loop import TrainingDiverged, fit, train_epoch, validate
from resnet_course.training.phases import make_optimizer
from resnet_course.training.sets import all_that_may_learn, learning_and_choosing

__all__ = [
    "History",
    "TrainingDiverged",
    "all_that_may_learn",
    "fit",
    "fit_linear",
    "learning_and_choosing",
    "make_optimizer",
    "one_cycle",
    "plateau",
    "train_epoch",
    "validate",
]
