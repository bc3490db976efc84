"""One function a figure. They draw what the other rooms return, and compute no metric."""

from resnet_course.plots.comparisons import accuracy_against_seconds, bars, spreads, waterfall
from resnet_course.plots.curves import history, lines, losses, panels, training_errors
from resnet_course.plots.figure import finish, subplots, to_array
from resnet_course.plots.images import gallery, heat_maps, prediction, predictions, rows, samples
from resnet_course.plots.networks import feature_maps, filters, gradient_norms
from resnet_course.plots.quality import confusion, reliability

__all__ = [
    "accuracy_against_seconds",
    "bars",
    "confusion",
    "feature_maps",
    "filters",
    "finish",
    "gallery",
    "gradient_norms",
    "heat_maps",
    "history",
    "lines",
    "losses",
    "panels",
    "prediction",
    "predictions",
    "reliability",
    "rows",
    "samples",
    "spreads",
    "subplots",
    "to_array",
    "training_errors",
    "waterfall",
]
