"""What to train with these images in the minutes there are; what to mend in them before.

fitted = fit_in(5, load(Settings.from_env()), "runs/first")
"""

from resnet_course.training.planning.advice import Advice, advise
from resnet_course.training.planning.learning_curves import (
    TABLES,
    expected_accuracy,
    most_images,
    strategy_table,
    tables_for,
    typical_error,
)
from resnet_course.training.planning.plan import Plan, PlanError, Planner
from resnet_course.training.planning.within import Fitted, fit_in

__all__ = [
    "TABLES",
    "Advice",
    "Fitted",
    "Plan",
    "PlanError",
    "Planner",
    "advise",
    "expected_accuracy",
    "fit_in",
    "most_images",
    "strategy_table",
    "tables_for",
    "typical_error",
]
