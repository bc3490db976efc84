"""One pass of images through a frozen trunk, kept on disk.

`cache` says what is kept, `store` how it lies in its file, `feature_set` how it takes the images' place.
"""

from resnet_course.features.cache import cache_features
from resnet_course.features.feature_set import FeatureSet, network_for, trunk_digest
from resnet_course.features.store import FeaturesError

__all__ = ["FeatureSet", "FeaturesError", "cache_features", "network_for", "trunk_digest"]
