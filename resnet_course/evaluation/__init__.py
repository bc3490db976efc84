"""How good a network is, and where it is wrong.

What a network said is in `predictions`, with what every evaluation reports: accuracy, loss, how certain they
are. What takes a closer look is computed from that: `metrics` compares classes and networks, `calibration`
confidence and accuracy, `outliers` scores images that belong to no class. `gradcam` asks the network itself.
"""

from resnet_course.evaluation.calibration import (
    Bin,
    coverage_curve,
    fit_temperature,
    reliability,
    with_temperature,
)
from resnet_course.evaluation.gradcam import grad_cam
from resnet_course.evaluation.metrics import (
    ClassScores,
    Comparison,
    class_scores,
    confusable_order,
    confusion_matrix,
    mcnemar,
    top_accuracy,
)
from resnet_course.evaluation.outliers import (
    maximum_softmax,
    negative_energy,
    negative_mahalanobis,
    roc_curve,
)
from resnet_course.evaluation.predictions import Predictions, evaluate, mean_logits, wilson_interval

__all__ = [
    "Bin",
    "ClassScores",
    "Comparison",
    "Predictions",
    "class_scores",
    "confusable_order",
    "confusion_matrix",
    "coverage_curve",
    "evaluate",
    "fit_temperature",
    "grad_cam",
    "maximum_softmax",
    "mcnemar",
    "mean_logits",
    "negative_energy",
    "negative_mahalanobis",
    "reliability",
    "roc_curve",
    "top_accuracy",
    "wilson_interval",
    "with_temperature",
]
