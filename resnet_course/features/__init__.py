"""One pass of pictures through a frozen trunk, kept on disk."""

from resnet_course.features.cache import FeaturesError, cache_features, network_for
from resnet_course.features.feature_set import FeatureSet

__all__ = ["FeatureSet", "FeaturesError", "cache_features", "network_for"]
