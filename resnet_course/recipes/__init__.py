"""Named sets of hyper-parameters, and what their words mean. Does no work."""

from resnet_course.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD
from resnet_course.recipes.named import (
    FEW,
    FULL,
    FULL_FIRST,
    LAPTOP,
    ORIGINAL,
    PLAIN,
    RECIPES,
    REDUCED,
    STACK,
    TOP,
    for_mode,
    plain_for_mode,
)
from resnet_course.recipes.optimizers import OPTIMIZERS
from resnet_course.recipes.recipe import LEGAL, STATISTICS_OF, Recipe, RecipeError
from resnet_course.recipes.schedules import SCHEDULES, one_cycle, plateau
from resnet_course.recipes.strategies import (
    BUILTIN_SIDE,
    DETAILED,
    STRATEGIES,
    in_small_batches,
    strategy,
    suited_to,
    with_detail,
)

__all__ = [
    "BUILTIN_SIDE",
    "DETAILED",
    "FEW",
    "FULL",
    "FULL_FIRST",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "LAPTOP",
    "LEGAL",
    "OPTIMIZERS",
    "ORIGINAL",
    "PLAIN",
    "RECIPES",
    "REDUCED",
    "SCHEDULES",
    "STACK",
    "STATISTICS_OF",
    "STRATEGIES",
    "TOP",
    "Recipe",
    "RecipeError",
    "for_mode",
    "in_small_batches",
    "one_cycle",
    "plain_for_mode",
    "plateau",
    "strategy",
    "suited_to",
    "with_detail",
]
