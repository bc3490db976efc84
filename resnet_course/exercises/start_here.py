"""The exercise of notebook 00: an accuracy in which every class counts the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from resnet_course.exercises.core import Exercise, Mistake, must_be_function

MODULE = "start_here"

Measure = Callable[[Sequence[int], Sequence[int]], float]

CASES = (
    ([0] * 10, [0] * 9 + [1]),  # always the largest class
    ([0, 0, 1, 1, 2, 0], [0, 0, 1, 2, 2, 2]),
    ([3, 3, 1], [3, 1, 1]),  # classes that are not numbered from 0
    ([0, 2, 1, 1], [0, 0, 1, 1]),  # an answer that no label has
)


def _by_class(answers: Sequence[int], labels: Sequence[int], groups: Sequence[int]) -> list[float]:
    """The share of right answers where `groups` holds each class."""
    shares = []
    for name in sorted(set(groups)):
        right = [a == b for a, b, group in zip(answers, labels, groups, strict=True) if group == name]
        shares.append(sum(right) / len(right))
    return shares


def mean_accuracy(answers: Sequence[int], labels: Sequence[int]) -> float:
    """The mean over the classes of each one's own accuracy, 0 to 1."""
    shares = _by_class(answers, labels, labels)
    return sum(shares) / len(shares)


def _of_answers(answers: Sequence[int], labels: Sequence[int]) -> float:
    shares = _by_class(answers, labels, answers)
    return sum(shares) / len(shares)


WRONG: dict[str, Measure] = {
    "That is the usual accuracy, in which a large class counts more. Take each class by itself first.": (
        lambda answers, labels: sum(a == b for a, b in zip(answers, labels, strict=True)) / len(labels)
    ),
    "That is a percentage. Return a share from 0 to 1.": lambda a, b: 100 * mean_accuracy(a, b),
    "That is the mean error. Count what is right.": lambda a, b: 1 - mean_accuracy(a, b),
    "It groups by the answers. Group by the labels: of the pictures that are a class, which part is right?": (
        _of_answers
    ),
    "That is the sum over the classes. Divide by how many classes there are.": (
        lambda answers, labels: sum(_by_class(answers, labels, labels))
    ),
    "It also counts classes that only answers have. Take those that occur in labels.": (
        lambda answers, labels: sum(_by_class(answers, labels, labels)) / len({*answers, *labels})
    ),
    "It divides by the largest label + 1. Divide by the number of classes that occur in labels.": (
        lambda answers, labels: sum(_by_class(answers, labels, labels)) / (max(labels) + 1)
    ),
}


def check_mean(answer: Measure) -> None:
    """Compare with a plain loop, on classes of uneven size."""
    must_be_function(answer, "ex.q1.check(mean_over_classes)")
    found = [answer(list(answers), list(labels)) for answers, labels in CASES]
    for value in found:
        if value is None:
            raise Mistake("It returns None. Is a return missing?")
        if not isinstance(value, (int, float)):
            raise Mistake(f"It returns a {type(value).__name__}; it should be one number, the mean.")
    if _alike(found, mean_accuracy):
        return
    for message, wrong in WRONG.items():
        if _alike(found, wrong):
            raise Mistake(message)
    cases = zip(CASES, found, strict=True)
    (answers, labels), value = next(
        (case, value) for case, value in cases if not abs(value - mean_accuracy(*case)) < 1e-6
    )
    raise Mistake(
        f"For answers {answers} and labels {labels} it returns {value:.3g}; the mean over the classes in "
        f"labels is {mean_accuracy(answers, labels):.3g}."
    )


def _alike(found: Sequence[float], measure: Measure) -> bool:
    return all(abs(value - measure(*case)) < 1e-6 for value, case in zip(found, CASES, strict=True))


q1 = Exercise(
    MODULE,
    "q1",
    stub='''
def mean_over_classes(answers, labels):
    """answers, labels: lists of class numbers. Returns the mean of the classes' own accuracies, 0 to 1."""
    raise NotImplementedError
''',
    hints=(
        "set(labels) holds every class once. For each, look only at the places where labels has it.",
        "Collect the share of right answers of each class in a list; return its sum divided by its length.",
    ),
    source='''
def mean_over_classes(answers, labels):
    """answers, labels: lists of class numbers. Returns the mean of the classes' own accuracies, 0 to 1."""
    accuracies = []
    for name in set(labels):
        right = [a == b for a, b in zip(answers, labels, strict=True) if b == name]
        accuracies.append(sum(right) / len(right))
    return sum(accuracies) / len(accuracies)
''',
    checker=check_mean,
    praise="Always naming the largest of two classes gets 50% by this measure, however large it is.",
)
