"""The weights that come with the package: small, whole, and worth starting from."""

from dataclasses import replace
from importlib import resources

import pytest
import torch

from resnet_course.data import shapes
from resnet_course.evaluation import evaluate
from resnet_course.recipes import REDUCED, strategy, suited_to
from resnet_course.resnet import resnet18
from resnet_course.training import fit, phases
from resnet_course.transfer import BUILTIN_FILE, build_model, load_weights

RECIPE = replace(REDUCED, epochs=3, batch_size=20, learning_rate=3e-3)


def test_the_file_is_small_and_fits():
    assert (resources.files("resnet_course.transfer") / BUILTIN_FILE).stat().st_size < 2_000_000
    state = load_weights("builtin")
    resnet18(len(shapes.PRETRAINING_CLASSES), width=16).load_state_dict(state, strict=True)
    assert all(tensor.isfinite().all() for tensor in state.values())
    assert not set(shapes.PRETRAINING_CLASSES) & set(shapes.CLASSES), (
        "what it learned is not what it is used for"
    )


@pytest.mark.slow
def test_twenty_pictures_a_class_are_worth_far_more_than_from_random():
    train, val, test = shapes.draw(200, 0), shapes.draw(50, 500), shapes.draw(500, 2_000_000)
    accuracy = {}
    for pretrained in (True, False):
        torch.manual_seed(0)
        model = resnet18(10, width=16)
        if pretrained:
            state = load_weights("builtin")
            trunk = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
            model.load_state_dict(trunk, strict=False)
        fit(model, train, val, RECIPE)
        accuracy[pretrained] = evaluate(model, test, RECIPE).accuracy
    assert accuracy[True] - accuracy[False] > 0.30, accuracy


@pytest.mark.slow
@pytest.mark.parametrize("name", ["few", "layer4"])
def test_what_starts_from_a_linear_probe_keeps_what_the_probe_knew(name, tmp_path, monkeypatch):
    train, test = shapes.draw(200, 0), shapes.draw(500, 2_000_000)

    def reached(recipe):
        torch.manual_seed(0)
        model = build_model(10, "builtin", recipe.train_from, recipe.dropout)
        history = fit(model, train, None, recipe, home=tmp_path)
        return evaluate(model, test, recipe).accuracy, history.best["val_accuracy"]

    recipe = strategy(name, len(train))
    accuracy, promised = reached(suited_to(recipe, 16))
    large, large_promised = reached(recipe)
    assert accuracy > 0.95 and accuracy > promised - 0.05
    assert large_promised - 0.05 < large < accuracy, "its frozen part has learned from smaller images"
    monkeypatch.setattr(phases, "take_statistics", lambda *_: None)
    assert reached(recipe)[0] < large - 0.05, "with the stored statistics fine-tuning spoils the probe"
