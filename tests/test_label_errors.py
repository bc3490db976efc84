"""Confident learning against a plain loop, and on labels that are known to be wrong."""

import pytest
import torch

from resnet_course.evaluation import confident_joint, label_issues


def loop(probabilities, labels):
    """The class that each image confidently belongs to, None for none; one image at a time."""
    rows, labels = probabilities.tolist(), labels.tolist()
    classes = range(len(rows[0]))
    threshold = {}
    for c in classes:
        own = [row[c] for row, label in zip(rows, labels, strict=True) if label == c]
        threshold[c] = sum(own) / len(own) if own else None
    found = []
    for row in rows:
        reached = [c for c in classes if threshold[c] is not None and row[c] >= threshold[c] - 1e-7]
        found.append(max(reached, key=lambda c: row[c]) if reached else None)
    return found


def drawn(seed, count=60, classes=4):
    generator = torch.Generator().manual_seed(seed)
    probabilities = (2 * torch.randn(count, classes, generator=generator)).softmax(1)
    return probabilities, torch.randint(0, classes, (count,), generator=generator)


@pytest.mark.parametrize("seed", range(5))
def test_joint_and_issues_are_those_of_a_plain_loop(seed):
    probabilities, labels = drawn(seed)
    if seed == 0:
        labels = labels.clamp(max=2)  # a class that nobody was labelled as
    confident = loop(probabilities, labels)
    joint = confident_joint(probabilities, labels)
    for label in range(4):
        for c in range(4):
            pairs = sum(a == label and b == c for a, b in zip(labels.tolist(), confident, strict=True))
            assert joint[label, c] == pairs
    most = probabilities.argmax(1)
    wanted = [n for n, c in enumerate(confident) if c not in (None, labels[n]) and most[n] != labels[n]]
    assert sorted(label_issues(probabilities, labels).tolist()) == wanted


def test_the_least_probable_label_comes_first():
    probabilities, labels = drawn(9)
    found = label_issues(probabilities, labels)
    of_label = probabilities[found, labels[found]].tolist()
    assert len(found) > 5 and of_label == sorted(of_label)


def test_planted_errors_are_found_and_right_labels_left_alone():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 4, (500,), generator=generator)
    logits = 6.0 * torch.nn.functional.one_hot(truth, 4) + torch.randn(500, 4, generator=generator)
    labels = truth.clone()
    planted = torch.randperm(500, generator=generator)[:40]
    labels[planted] = (labels[planted] + 1) % 4
    found = set(label_issues(logits.softmax(1), labels).tolist())
    assert len(found & set(planted.tolist())) >= 36 and len(found - set(planted.tolist())) <= 4
    assert not len(label_issues(logits.softmax(1), truth))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"probabilities are \[60, 4\] and labels \[59\]; they must be"):
        label_issues(drawn(0)[0], drawn(0)[1][:59])


def test_a_label_that_the_network_says_too_is_not_suspected():
    probabilities = torch.tensor([[0.95, 0.05], [0.95, 0.05], [0.6, 0.4], [0.7, 0.3], [0.8, 0.2]])
    labels = torch.tensor([0, 0, 0, 1, 1])
    assert confident_joint(probabilities, labels)[0, 1] == 1, "confidently of class 1 by its low threshold"
    assert not len(label_issues(probabilities, labels))
    labels[2] = 1
    probabilities[2] = torch.tensor([0.96, 0.04])
    assert label_issues(probabilities, labels).tolist() == [2]
