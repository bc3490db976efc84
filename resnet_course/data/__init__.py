"""Turns any source of images into `Splits` of `ImageSet`.

splits = load(Settings.from_env())
"""

from resnet_course.data.images import DataError, ImageSet, LabelledSet, Splits, concatenate, split_off
from resnet_course.data.reading import ImageError, count_frames, read_image
from resnet_course.data.sources import load, load_split, load_whole
from resnet_course.data.store import read_square

__all__ = [
    "DataError",
    "ImageError",
    "ImageSet",
    "LabelledSet",
    "Splits",
    "concatenate",
    "count_frames",
    "load",
    "load_split",
    "load_whole",
    "read_image",
    "read_square",
    "split_off",
]
