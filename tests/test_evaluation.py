"""Every metric against a plain loop, on random and on degenerate predictions."""

import math
from dataclasses import replace

import pytest
import torch

from resnet_course.data import ImageSet
from resnet_course.evaluation import Predictions, evaluate, wilson_interval
from resnet_course.inputs import to_input, views_of
from resnet_course.recipes import REDUCED
from resnet_course.resnet import resnet18

CLASSES = ("a", "b", "c", "d")


def random_predictions(seed, count=200):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(count, 4, generator=generator)
    return Predictions(logits, torch.randint(0, 4, (count,), generator=generator), CLASSES, "noise")


def degenerate():
    one_class = torch.zeros(6, dtype=torch.int64)
    sure = torch.tensor([[100.0, 0, 0, 0]]).repeat(6, 1)
    return {
        "all right, certain": Predictions(sure, one_class, CLASSES, "x"),
        "all wrong, certain": Predictions(sure, one_class + 1, CLASSES, "x"),
        "all ties": Predictions(torch.zeros(6, 4), torch.arange(6) % 4, CLASSES, "x"),
        "one image": random_predictions(0, count=1),
    }


CASES = {**{f"seed {seed}": random_predictions(seed) for seed in range(5)}, **degenerate()}


def loop(predictions):
    """Accuracy, accuracy by class, loss and calibration error, one image at a time."""
    right, loss = [], 0.0
    bins = [[] for _ in range(15)]
    by_class = {name: [] for name in CLASSES}
    for logits, label in zip(predictions.logits.tolist(), predictions.labels.tolist(), strict=True):
        total = sum(math.exp(value - max(logits)) for value in logits)
        probabilities = [math.exp(value - max(logits)) / total for value in logits]
        guess = probabilities.index(max(probabilities))
        right.append(guess == label)
        by_class[CLASSES[label]].append(guess == label)
        loss -= logits[label] - max(logits) - math.log(total)
        edges = [i for i in range(15) if i / 15 < max(probabilities) <= (i + 1) / 15]
        bins[edges[0] if edges else 14].append((max(probabilities), guess == label))
    n = len(right)
    gaps = [
        abs(sum(c for c, _ in b) / len(b) - sum(r for _, r in b) / len(b)) * len(b) / n for b in bins if b
    ]
    per_class = {name: sum(found) / len(found) if found else None for name, found in by_class.items()}
    return sum(right) / n, per_class, loss / n, sum(gaps)


@pytest.mark.parametrize("name", CASES)
def test_metrics_equal_a_plain_loop(name):
    predictions = CASES[name]
    accuracy, per_class, loss, ece = loop(predictions)
    assert predictions.accuracy == pytest.approx(accuracy, abs=1e-9)
    assert predictions.per_class == pytest.approx(per_class, abs=1e-9)
    assert predictions.loss == pytest.approx(loss, rel=1e-5, abs=1e-6)
    assert predictions.ece() == pytest.approx(ece, abs=1e-6)


def test_wilson_interval_by_its_definition():
    """Its ends are the shares p for which the found share lies exactly z standard errors away."""
    for right, total in ((30, 32), (1, 10), (450, 500), (5, 5), (0, 7)):
        low, high = wilson_interval(right, total)
        assert 0 <= low < high <= 1 and low <= right / total <= high
        for p in (low, high):
            if 0 < p < 1:
                assert abs(right / total - p) == pytest.approx(
                    1.96 * math.sqrt(p * (1 - p) / total), rel=1e-9
                )


def test_an_interval_holds_what_was_found_in_spite_of_rounding():
    for total in range(1, 300):
        assert wilson_interval(0, total)[0] == 0
        assert wilson_interval(total, total)[1] == 1


def test_30_of_32_means_anything_from_80_to_98_per_cent():
    low, high = wilson_interval(30, 32)
    assert round(low, 2) == 0.80 and round(high, 2) == 0.98


def test_no_images_no_interval():
    with pytest.raises(ValueError, match="0 right of 0"):
        wilson_interval(0, 0)


def noise_set(count):
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, 3, 32, 32), generator=generator).to(torch.uint8)
    return ImageSet(images, torch.arange(count) % 4, CLASSES, "noise")


@pytest.mark.parametrize("batch_size", [2, 7, 64])
def test_evaluate_is_the_forward_pass_in_eval_mode_whatever_the_batches(batch_size):
    torch.manual_seed(0)
    model = resnet18(4, width=8, dropout=0.5).train()
    image_set = noise_set(20)
    predictions = evaluate(model, image_set, replace(REDUCED, batch_size=batch_size))
    assert model.training, "the mode it came in is kept"
    with torch.no_grad():
        expected = model.eval()(to_input(image_set.images, REDUCED))
    assert torch.allclose(predictions.logits, expected, atol=1e-5)
    assert torch.equal(predictions.labels, image_set.labels) and predictions.dataset == "noise"


def test_two_views_are_the_mean_of_a_image_and_its_mirror_image():
    torch.manual_seed(0)
    model, images = resnet18(4, width=8), noise_set(9)
    mirrored = replace(images, images=images.images.flip(-1))
    one, other = (evaluate(model, view, REDUCED).logits for view in (images, mirrored))
    assert not torch.allclose(one, other, atol=1e-3)
    both = evaluate(model, images, replace(REDUCED, test_views=2)).logits
    assert torch.allclose(both, (one + other) / 2, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 6])
def test_views_are_averaged(count):
    torch.manual_seed(0)
    model, image_set = resnet18(4, width=8), noise_set(9)
    found = evaluate(model, image_set, replace(REDUCED, test_views=count)).logits
    with torch.no_grad():
        each = [model.eval()(view) for view in views_of(to_input(image_set.images, REDUCED), count)]
    assert torch.allclose(found, torch.stack(each).mean(0), atol=1e-5)


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="noise has no images to evaluate on"):
        evaluate(resnet18(4, width=8), noise_set(0), REDUCED)


def test_a_network_that_was_evaluated_is_as_it_was_and_can_still_take_gradients():
    model = resnet18(4, width=8).train()
    before = {name: (t.clone(), t.stride()) for name, t in model.state_dict().items()}
    found = evaluate(model, noise_set(4), replace(REDUCED, memory_format="channels_last"))
    for name, tensor in model.state_dict().items():
        values, stride = before[name]
        assert torch.equal(tensor, values) and tensor.stride() == stride, name
    assert not found.logits.is_inference() and found.logits.device.type == "cpu"
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    assert model.conv1.weight.grad is not None
