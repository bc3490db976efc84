"""From stored images to what a network takes: augmented, scaled, normalised, in batches, in views."""

from resnet_course.inputs.augmentations import AUGMENTATIONS, MIXES, Augmentation
from resnet_course.inputs.batches import (
    count_batches,
    eval_batches,
    train_batches,
    train_order,
    view_batches,
)
from resnet_course.inputs.original import OriginalImages, original_pipeline
from resnet_course.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD, InputFormat, to_input
from resnet_course.inputs.views import VIEWS, views_of

__all__ = [
    "AUGMENTATIONS",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "MIXES",
    "VIEWS",
    "Augmentation",
    "InputFormat",
    "OriginalImages",
    "count_batches",
    "eval_batches",
    "original_pipeline",
    "to_input",
    "train_batches",
    "train_order",
    "view_batches",
    "views_of",
]
