"""Every plausible mistake in notebook 00's exercise gets a message of its own."""

import pytest
from exercise_harness import answer_of

from resnet_course.exercises import start_here as ex

USUAL = "sum(a == b for a, b in zip(answers, labels)) / len(labels)"
MISTAKES = {
    f"return {USUAL}": "That is the usual accuracy",
    "return 100 * mean(answers, labels)": "That is a percentage",
    "return 1 - mean(answers, labels)": "That is the mean error",
    "return mean(labels, answers)": "It groups by the answers",
    "return mean(answers, labels) * len(set(labels))": "That is the sum over the classes",
    "return mean(answers, labels) * len(set(labels)) / (max(labels) + 1)": "the largest label + 1",
    "return mean(answers, labels) * len(set(labels)) / len(set(answers + labels))": "that only answers have",
    "return sum(sum(a == b == n for a, b in zip(answers, labels)) / max(1, labels.count(n)) "
    "for n in set(answers)) / len(set(answers))": "the mean over the classes in labels is 0.5.",
    "return [mean(answers, labels)]": "It returns a list; it should be one number",
    "mean(answers, labels)": "Is a return missing?",
    "return 0.5": "For answers [0, 0, 1, 1, 2, 0] and labels [0, 0, 1, 2, 2, 2] it returns 0.5; the mean",
    "return labels.mean()": "Your code stopped in line",
}


@pytest.mark.parametrize("body", MISTAKES)
def test_mistakes_in_the_mean(body, said):
    mean = ex.q1.source.replace("mean_over_classes", "mean")
    assert MISTAKES[body] in said(ex.q1, answer_of(f"{mean}\n\ndef answer(answers, labels): {body}"))


def test_the_measure_by_hand():
    assert ex.mean_accuracy([0, 0, 1], [0, 1, 1]) == (1 + 0.5) / 2
    assert ex.mean_accuracy([0] * 10, [0] * 9 + [1]) == 0.5
