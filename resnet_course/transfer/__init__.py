"""Pretrained weights, a new head, freezing, and the parameters that are tuned."""

from resnet_course.transfer.transfer import (
    BUILTIN_FILE,
    TRAIN_FROM,
    WeightsError,
    build_model,
    freeze,
    fused,
    imagenet_path,
    is_frozen,
    load_weights,
    parameter_groups,
    split_at,
    trunk_of,
)

__all__ = [
    "BUILTIN_FILE",
    "TRAIN_FROM",
    "WeightsError",
    "build_model",
    "freeze",
    "fused",
    "imagenet_path",
    "is_frozen",
    "load_weights",
    "parameter_groups",
    "split_at",
    "trunk_of",
]
