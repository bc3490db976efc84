"""How good a network is, and where it is wrong.

What a network said is in `predictions`, with what every evaluation reports: accuracy, loss, how certain they
are. What takes a closer look is computed from that: `metrics` compares classes and networks, `uncertainty`
gives any number an interval, `calibration` compares confidence and accuracy, `selective` answers only what is
sure, `label_errors` finds wrong labels, `outliers` scores images that belong to no class, `drift` notices
images of another kind, `updates` refuses a worse network. `gradcam` asks the network itself.
"""

from resnet_course.evaluation.calibration import (
    Bin,
    ece_without_error,
    fit_temperature,
    overconfidence,
    reliability,
    with_temperature,
)
from resnet_course.evaluation.drift import drift_p_value
from resnet_course.evaluation.gradcam import grad_cam
from resnet_course.evaluation.label_errors import confident_joint, label_issues
from resnet_course.evaluation.metrics import (
    ClassScores,
    Comparison,
    brier_score,
    churn,
    class_scores,
    confusable_order,
    confusion_matrix,
    macro_recall,
    mcnemar,
    top_accuracy,
    worst_class,
)
from resnet_course.evaluation.outliers import (
    auroc_interval,
    false_positive_rate,
    maximum_softmax,
    negative_energy,
    negative_mahalanobis,
    negative_neighbour_distance,
    roc_curve,
)
from resnet_course.evaluation.predictions import Predictions, evaluate, mean_logits, wilson_interval
from resnet_course.evaluation.selective import (
    area_under_risk_coverage,
    conformal_quantile,
    coverage_curve,
    prediction_sets,
    threshold_for,
)
from resnet_course.evaluation.uncertainty import bootstrap_interval, difference_between_sets
from resnet_course.evaluation.updates import reasons_to_refuse

__all__ = [
    "Bin",
    "ClassScores",
    "Comparison",
    "Predictions",
    "area_under_risk_coverage",
    "auroc_interval",
    "bootstrap_interval",
    "brier_score",
    "churn",
    "class_scores",
    "confident_joint",
    "conformal_quantile",
    "confusable_order",
    "confusion_matrix",
    "coverage_curve",
    "difference_between_sets",
    "drift_p_value",
    "ece_without_error",
    "evaluate",
    "false_positive_rate",
    "fit_temperature",
    "grad_cam",
    "label_issues",
    "macro_recall",
    "maximum_softmax",
    "mcnemar",
    "mean_logits",
    "negative_energy",
    "negative_mahalanobis",
    "negative_neighbour_distance",
    "overconfidence",
    "prediction_sets",
    "reasons_to_refuse",
    "reliability",
    "roc_curve",
    "threshold_for",
    "top_accuracy",
    "wilson_interval",
    "with_temperature",
    "worst_class",
]
