"""Terms of evaluating and shipping a network; see `terms`."""

from __future__ import annotations

from resnet_course.teaching.terms_of_networks import Term

TERMS_OF_EVALUATION = (
    Term(
        "Bonferroni correction",
        "Asking more of each of several comparisons, so that luck in one of them is not taken for a finding.",
        5,
    ),
    Term(
        "bootstrap",
        "Computing a number again from images drawn with replacement, to see how much it depends on them.",
        5,
    ),
    Term(
        "calibration",
        "How well confidence agrees with accuracy: of answers that are 80% sure, 80% should be right.",
        5,
    ),
    Term(
        "churn",
        "The part of the images that two networks give different classes, whatever is right.",
        5,
    ),
    Term(
        "conformal prediction",
        "Naming a set of classes that holds the truth as often as was asked for.",
        5,
    ),
    Term(
        "confusion matrix",
        "A table that counts how often each true class was predicted as each class.",
        5,
        "confusion",
    ),
    Term(
        "corruption",
        "Damage to an image, such as noise or blur, of a chosen strength, to test how robust a network is.",
        5,
    ),
    Term(
        "coverage",
        "The part of the images that a classifier answers, when it may say that it does not know.",
        5,
    ),
    Term(
        "distribution shift",
        "That new images come from elsewhere than the test images, so that the accuracy there differs.",
        5,
    ),
    Term(
        "drift check",
        "Comparing what a network says of new images with what it said of known ones, without any label.",
        5,
    ),
    Term(
        "expected calibration error",
        "The mean gap between confidence and accuracy over predictions that are sorted by confidence (ECE).",
        5,
        "calibration error",
    ),
    Term(
        "F1",
        "One number for a class that is high only when both precision and recall are: their harmonic mean.",
        5,
    ),
    Term(
        "Grad-CAM",
        "A map of the places in an image that spoke for a class, from the gradients at a late layer.",
        5,
    ),
    Term(
        "Kolmogorov-Smirnov distance",
        "The largest gap between two curves that say what share of a group is at most a given value.",
        5,
    ),
    Term(
        "model card",
        "One page: what a network is, what it learned from, how well it did, and where that no longer holds.",
        5,
    ),
    Term("ONNX", "A file format for networks that many other programs can run.", 5),
    Term(
        "out-of-distribution",
        "Unlike anything that a network was trained on, such as an image of an unknown class.",
        5,
        "unknown",
    ),
    Term(
        "permutation test",
        "Dividing two groups anew at random, many times, to see how often chance sets them so far apart.",
        5,
    ),
    Term(
        "pickle",
        "Python's way to store any object in a file; loading one can run any code, so trust its source.",
        5,
    ),
    Term(
        "precision",
        "Of the images that are called a class, the part that belong to it.",
        5,
        "Precision** of",
    ),
    Term("quantisation", "Storing and computing with few bits, mostly 8, in place of 32.", 4, "quantis"),
    Term(
        "release gate",
        "A rule that refuses a new network before it replaces the one in use.",
        5,
    ),
    Term(
        "ROC curve",
        "How many knowns are accepted against how many unknowns, over all thresholds; the area under it is 1 "
        "for a perfect score and 0.5 for a useless one.",
        5,
        "ROC",
    ),
    Term(
        "temperature",
        "A number by which logits are divided, to make a network as sure as it is right.",
        5,
    ),
)
