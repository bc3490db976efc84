"""Widgets answer to what the learner does, with ipywidgets 7 and 8."""

import io
from dataclasses import replace

import ipywidgets
import matplotlib.pyplot as plt
import pytest
import torch
from PIL import Image

from resnet_course import plots
from resnet_course.data import shapes
from resnet_course.inputs import AUGMENTATIONS
from resnet_course.prediction import Classifier
from resnet_course.recipes import REDUCED
from resnet_course.resnet import resnet18
from resnet_course.teaching import widgets
from resnet_course.training import planning
from resnet_course.training.checkpoint import Checkpoint


@pytest.fixture
def shown(monkeypatch):
    """The titles of the figures that were shown."""
    titles = []
    monkeypatch.setattr(plt, "show", lambda: titles.append(plt.gcf().get_suptitle()))
    yield titles
    plt.close("all")


def find(widget, kind):
    """All widgets of a kind, inside others too."""
    inside = [found for child in getattr(widget, "children", ()) for found in find(child, kind)]
    return [widget, *inside] if isinstance(widget, kind) else inside


def png():
    content = io.BytesIO()
    Image.new("RGB", (50, 40)).save(content, "PNG")
    return content.getvalue()


def test_both_versions_of_an_upload_are_understood():
    content = png()
    assert widgets.uploaded(({"name": "a.png", "content": memoryview(content)},)) == [content]
    assert widgets.uploaded({"a.png": {"metadata": {}, "content": content}}) == [content]
    assert widgets.uploaded(()) == widgets.uploaded({}) == []


def test_the_uploader_predicts_and_says_when_it_cannot(shown, capsys):
    state = resnet18(10, width=8).state_dict()
    classifier = Classifier(Checkpoint(state, shapes.CLASSES, 32, "shapes", REDUCED))
    (button,) = find(widgets.uploader(classifier), ipywidgets.FileUpload)
    button.notify_change({"name": "value", "type": "change", "new": ({"content": png()},)})
    assert len(shown) == 1 and shown[0].startswith("The network says ")
    button.notify_change({"name": "value", "type": "change", "new": ({"content": b"no image"},)})
    assert len(shown) == 1 and "the image: not an image" in capsys.readouterr().out


def test_the_gradient_explorer_follows_its_controls(shown):
    explorer = widgets.gradient_explorer(torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3]))
    (depth,) = find(explorer, ipywidgets.Dropdown)
    skip, batchnorm = find(explorer, ipywidgets.Checkbox)
    depth.value = 8
    skip.value = False
    batchnorm.value = False
    assert shown == [
        "20 layers, skips, BatchNorm",
        "8 layers, skips, BatchNorm",
        "8 layers, plain, BatchNorm",
        "8 layers, plain, no BatchNorm",
    ]


def test_the_explorer_offers_every_augmentation_that_changes_a_batch():
    assert {n for n, a in AUGMENTATIONS.items() if not a.image_by_image} <= set(widgets.EXPLORED)


@pytest.mark.parametrize("change", widgets.EXPLORED)
@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_every_change_of_the_explorer_takes_both_ends_of_the_slider(change, strength):
    images = shapes.draw(8, seed=0).images
    found = widgets.EXPLORED[change](images, strength, torch.Generator().manual_seed(0))
    assert found.shape == images.shape and found.dtype == torch.uint8


def test_the_augmentation_explorer_follows_its_controls(shown):
    explorer = widgets.augmentation_explorer(shapes.draw(3, seed=0).images)
    (change,) = find(explorer, ipywidgets.Dropdown)
    (strength,) = find(explorer, ipywidgets.BoundedFloatText)
    change.value = "erase"
    strength.value = 0.9
    assert len(shown) >= 3 and shown[-1].startswith("erase: ")
    assert shown[-1].endswith("microseconds an image")


def test_the_recipe_builder_predicts_and_shows_what_was_measured_near_it(monkeypatch, capsys):
    monkeypatch.setattr(widgets.machine, "estimate", lambda recipe, *_: 60.0 * recipe.epochs)
    builder = widgets.recipe_builder(45_000, classes=90)
    (size, train_from, views), (epochs,) = (
        find(builder, k) for k in (ipywidgets.Dropdown, ipywidgets.BoundedIntText)
    )
    epochs.value = 3
    said = capsys.readouterr().out
    assert "45,000 images: about 3 min" in said
    known = planning.expected_accuracy("layer4", 500)
    assert f"layer4, 128 pixels: {known:.0%} by the strategy table" in said and "\nlayer3, " not in said
    train_from.value = "all"
    assert "only what is frozen can be kept" in capsys.readouterr().out
    views.value = 0
    said = capsys.readouterr().out
    assert said.index("\nall, 128 pixels: ") < said.index("\nlayer3, 128") and size.value == 96


@pytest.fixture
def explorer(shown):
    state = resnet18(10, width=8).state_dict()
    classifier = Classifier(Checkpoint(state, shapes.CLASSES, 32, "shapes", REDUCED))
    return widgets.prediction_explorer(classifier, shapes.draw(5, seed=0))


def test_the_prediction_explorer_answers_or_says_that_it_does_not_know(explorer, shown):
    chosen, strength = find(explorer, ipywidgets.BoundedIntText)
    (damage,), (threshold,) = (find(explorer, k) for k in (ipywidgets.Dropdown, ipywidgets.BoundedFloatText))
    threshold.value = 1.0
    assert "I don't know" in shown[-1]
    threshold.value = 0.0
    assert "I don't know" not in shown[-1]
    chosen.value, damage.value, strength.value = 3, "occlusion", 5
    assert len(shown) == 6


def test_the_prediction_explorer_shows_what_was_chosen_or_uploaded_last(explorer, shown, monkeypatch, capsys):
    squares = []
    monkeypatch.setattr(plots, "heat_maps", lambda images, *_: squares.append(images[0]))
    (button,) = find(explorer, ipywidgets.FileUpload)
    chosen, _ = find(explorer, ipywidgets.BoundedIntText)

    def upload(content):
        button.notify_change({"name": "value", "type": "change", "new": ({"content": content},)})

    chosen.value = 3
    upload(png())
    assert not torch.equal(squares[0], squares[1])
    upload(b"no image")
    assert torch.equal(squares[1], squares[2]) and "not an image" in capsys.readouterr().out
    chosen.value = 2
    chosen.value = 3
    assert torch.equal(squares[0], squares[-1]) and "not an image" not in capsys.readouterr().out


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_prediction_explorer_says_what_predict_says(shown, capsys, temperature):
    torch.manual_seed(0)
    recipe, state = replace(REDUCED, test_views=2), resnet18(10, width=8).state_dict()
    checkpoint = Checkpoint(state, shapes.CLASSES, 32, "shapes", recipe)
    classifier = Classifier(replace(checkpoint, temperature=temperature))
    images = shapes.draw(1, seed=3)
    widgets.prediction_explorer(classifier, images)
    said = capsys.readouterr().out
    expected = classifier.predict(plots.to_array(images.images[0]))
    for name, probability in list(expected.probabilities.items())[:3]:
        assert f"{probability:6.1%}  {name}\n" in said
