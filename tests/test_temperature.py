"""The temperature that a training fits on its validation images, and where it is used."""

import json
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from resnet_course.__main__ import main
from resnet_course.data import ImageSet, load
from resnet_course.evaluation import evaluate
from resnet_course.prediction import Classifier
from resnet_course.recipes import REDUCED
from resnet_course.resnet import resnet18
from resnet_course.settings import Settings
from resnet_course.training import checkpoint, fit, validate
from resnet_course.training.history import chosen_by

TINY = replace(REDUCED, epochs=2, batch_size=32, learning_rate=1e-3, label_smoothing=0.3)


def noise(count: int, doubtful: float = 0.2) -> ImageSet:
    """Dark and bright images, of which some are called the other."""
    generator = torch.Generator().manual_seed(count)
    labels = torch.arange(count) % 2
    images = torch.randint(0, 160, (count, 3, 32, 32), generator=generator) + 60 * labels.view(-1, 1, 1, 1)
    wrong = torch.rand(count, generator=generator) < doubtful
    return ImageSet(images.to(torch.uint8), torch.where(wrong, 1 - labels, labels), ("dark", "bright"), "any")


def test_the_checkpoint_holds_the_temperature_with_the_lowest_loss_on_validation(tmp_path):
    train, val = noise(128), noise(120)
    torch.manual_seed(0)
    model = resnet18(2, width=8)
    history = fit(model, train, val, TINY, tmp_path)
    saved = checkpoint.load(tmp_path / "best.pt")
    assert saved.temperature == history.best["temperature"] != 1
    assert checkpoint.load(tmp_path / "last.pt").temperature == history.epochs[-1]["temperature"]
    predictions = evaluate(model, val, TINY.validating())

    def loss(temperature: float) -> float:
        return float(F.cross_entropy(predictions.logits.double() / temperature, predictions.labels))

    found = loss(saved.temperature)
    assert all(found <= loss(saved.temperature * factor) for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2))


@pytest.mark.slow
def test_the_classifier_divides_by_it(tmp_path):
    model = resnet18(2, width=8)
    fit(model, noise(128), noise(120), TINY, tmp_path)
    saved = checkpoint.load(tmp_path / "best.pt")
    image = noise(128).images[0].permute(1, 2, 0).numpy()
    classifier = Classifier(saved)
    logits = classifier.logits(classifier.square(image)[None])[0]
    expected = (logits / saved.temperature).softmax(0).max()
    assert classifier.predict(image).confidence == pytest.approx(float(expected), abs=1e-6)
    bare = Classifier(replace(saved, temperature=1.0)).predict(image).confidence
    assert bare == pytest.approx(float(logits.softmax(0).max()), abs=1e-6)


@pytest.mark.parametrize(
    ("count", "doubtful", "changes"),
    [(99, 0.2, {}), (120, 0.0, {}), (120, 0.2, {"select_on_test": True})],
    ids=["too few", "all are right", "chosen on test"],
)
def test_where_nothing_can_be_fitted_it_is_1(count, doubtful, changes):
    val = noise(count, doubtful)
    model = resnet18(2, width=8).eval()
    with torch.no_grad():  # bright pixels say bright, whatever else the network does
        bright = val.images.float().mean((1, 2, 3)) > 110
    if not doubtful:
        assert torch.equal(bright.long(), val.labels)
        model.forward = lambda x: torch.stack([-x.mean((1, 2, 3)), x.mean((1, 2, 3))], 1) * 9 + _level(val)
    assert validate(model, val, replace(TINY, **changes)).temperature == 1


def _level(val: ImageSet) -> torch.Tensor:
    """What puts the border between the dark and the bright images at 0."""
    mean, std = torch.tensor(TINY.mean), torch.tensor(TINY.std)
    border = ((110 / 255 - mean) / std).mean()
    return torch.tensor([border, -border]) * 9


@pytest.mark.slow
def test_evaluate_reports_what_predict_says(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RESNET_COURSE_MODE", "reduced")
    out = tmp_path / "out"
    arguments = ["--data", "shapes"]
    train = ["train", "--recipe", "reduced", "--epochs", "1", "--weights", "builtin", "--out", str(out)]
    assert main([*train, "--limit", "120", *arguments]) == 0
    saved = checkpoint.load(out / "best.pt")
    assert "calibrate" not in capsys.readouterr().out and saved.temperature != 1
    assert main(["evaluate", str(out / "best.pt"), "--json", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    test = load(Settings(mode="reduced", data="shapes")).test
    raw = evaluate(saved.model(), test, saved.recipe)
    assert found["temperature"] == saved.temperature
    assert found["loss"] == pytest.approx(
        float(F.cross_entropy(raw.logits / saved.temperature, raw.labels)), rel=1e-4
    )
    assert main(["evaluate", str(out / "best.pt"), *arguments]) == 0
    assert f"(at temperature {saved.temperature:.2f}; {raw.ece():.3f} without it)" in capsys.readouterr().out


def test_too_few_images_are_said():
    entry = {"val_accuracy": 0.5, "val_images": 40, "folds": 0}
    assert "to calibrate the confidence takes 100 images" in chosen_by(entry)
    assert "calibrate" not in chosen_by(entry | {"val_images": 100})
