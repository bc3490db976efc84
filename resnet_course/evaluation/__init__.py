"""How good a network is, and where it is wrong."""

from resnet_course.evaluation.predictions import Predictions, evaluate, mean_logits, views_of, wilson_interval

__all__ = ["Predictions", "evaluate", "mean_logits", "views_of", "wilson_interval"]
