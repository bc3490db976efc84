"""Pretrained weights, a new head, freezing, and the parameters that are tuned."""

from resnet_course.transfer.build import apply_recipe, build_model
from resnet_course.transfer.freezing import freeze, is_frozen
from resnet_course.transfer.parameter_groups import parameter_groups
from resnet_course.transfer.parts import PARTS, TRAIN_FROM, fused, split_at, trunk_of
from resnet_course.transfer.quantized import images_to_scale_on, is_quantizable, on_quantized_trunk, quantized
from resnet_course.transfer.weights import (
    BUILTIN_FILE,
    WeightsError,
    imagenet_path,
    imagenet_state,
    load_weights,
    width_of,
)

__all__ = [
    "BUILTIN_FILE",
    "PARTS",
    "TRAIN_FROM",
    "WeightsError",
    "apply_recipe",
    "build_model",
    "freeze",
    "fused",
    "imagenet_path",
    "imagenet_state",
    "images_to_scale_on",
    "is_frozen",
    "is_quantizable",
    "load_weights",
    "on_quantized_trunk",
    "parameter_groups",
    "quantized",
    "split_at",
    "trunk_of",
    "width_of",
]
