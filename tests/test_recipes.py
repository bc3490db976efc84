"""The original is the published recipe; no other has its flaws; wrong values list the right ones."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from resnet_course import recipes
from resnet_course.recipes import (
    FEW,
    FULL,
    FULL_FIRST,
    LAPTOP,
    ORIGINAL,
    RECIPES,
    REDUCED,
    STRATEGIES,
    TOP,
    Recipe,
    RecipeError,
    strategy,
)
from resnet_course.transfer import width_of


def test_original_is_the_published_recipe():
    published = {
        "image_size": 224,
        "mean": (0.4914, 0.4822, 0.4465),
        "std": (0.2023, 0.1994, 0.2010),
        "train_from": "layer4",
        "dropout": 0.5,
        "epochs": 10,
        "batch_size": 32,
        "optimizer": "adamw",
        "learning_rate": 5e-4,
        "weight_decay": 1e-4,
        "decay_all": True,
        "schedule": "plateau",
        "label_smoothing": 0.0,
        "precision": "fp32",
        "batchnorm_moves": True,
        "select_on_test": True,
    }
    assert {name: getattr(ORIGINAL, name) for name in published} == published


def test_no_other_recipe_has_the_flaws():
    for recipe in RECIPES.values():
        assert (recipe.batchnorm_moves or recipe.select_on_test) == (recipe is ORIGINAL), recipe.name


def test_phases_are_in_order_and_their_epochs_add_up():
    third = replace(LAPTOP, name="third", first=replace(LAPTOP, name="second", first=LAPTOP))
    assert [phase.name for phase in third.phases] == ["laptop", "second", "third"]
    assert third.all_epochs == 3 * LAPTOP.epochs and LAPTOP.phases == (LAPTOP,)
    assert Recipe.from_dict(third.to_dict()) == third


def test_round_trip_through_plain_values():
    for recipe in RECIPES.values():
        assert Recipe.from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adam"}, "optimizer is 'adam'; it must be one of: adamw, sgd"),
        ({"augmentation": "flop"}, "augmentation is 'flop'; it must be one of: none, flip, vertical_flip, "),
        ({"test_views": 3}, "test_views is 3; it must be one of: 1, 2, 6"),
        ({"epochs": 0}, "epochs is 0; it must be a whole number from 1 on"),
        ({"image_size": 64.0}, "image_size is 64.0; it must be a whole number from 1 on"),
        ({"dropout": 1.0}, "dropout is 1.0; it must be from 0 up to, not including, 1"),
        ({"label_smoothing": -0.1}, "label_smoothing is -0.1; it must be from 0 up to, not including, 1"),
        ({"batch_size": 1}, "batch_size is 1; it must be a whole number from 2 on"),
        ({"std": (0.2, 0.0, 0.2)}, "std is (0.2, 0.0, 0.2); it must be above 0 in every channel"),
        (
            {"augmentation": "original", "mix": "mixup"},
            "mix is 'mixup', but the augmentation 'original' changes images one by one",
        ),
        (
            {"cached_views": 2, "train_from": "all"},
            "cached_views is 2 and train_from 'all', but only what is",
        ),
        ({"cached_views": -1}, "cached_views is -1; it must be a whole number from 0 on"),
        ({"average": 1.0}, "average is 1.0; it must be from 0 up to"),
        ({"layer_decay": 0.0}, "layer_decay is 0.0; it must be above 0 and at most 1"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0; it must be above 0"),
    ],
)
def test_a_wrong_value_is_an_error_that_says_what_is_right(changes, message):
    with pytest.raises(ValueError) as error:
        replace(LAPTOP, **changes)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("name", recipes.STRATEGIES)
def test_a_strategy_looks_more_often_at_few_images(name):
    epochs = [recipes.strategy(name, images).epochs for images in (100, 3_000, 45_000)]
    fixed = {"head": 1, "head at 96 pixels": 1, "laptop": LAPTOP.epochs, "full": FULL.epochs}
    fixed |= {"layer4 in two epochs": 2, "full, first phase": FULL_FIRST.epochs, "top": TOP.epochs}
    own = recipes.STRATEGIES[name].epochs
    assert epochs == ([fixed[name]] * 3 if name in fixed else [own, 4, 2])
    assert recipes.strategy(name, 100).train_from == recipes.STRATEGIES[name].train_from


def test_a_strategy_keeps_one_view_of_many_images():
    for name, kept in (("few", (4, 4, 1)), ("layer4", (4, 2, 1)), ("all", (0, 0, 0))):
        assert tuple(recipes.strategy(name, n).cached_views for n in (100, 3_000, 45_000)) == kept


@pytest.mark.parametrize("name", recipes.STRATEGIES)
def test_a_strategy_takes_small_batches_of_few_images(name):
    few, many = (recipes.strategy(name, images) for images in (100, 45_000))
    assert {phase.batch_size for phase in few.phases} == {32}
    usual = [phase.batch_size for phase in recipes.STRATEGIES[name].phases]
    assert [phase.batch_size for phase in many.phases] == usual


def test_only_large_batches_of_few_images_become_small():
    few, many = (recipes.in_small_batches(FULL, images) for images in (9_999, 10_000))
    assert [phase.batch_size for phase in few.phases] == [32, 32] and many == FULL
    assert replace(few, batch_size=FULL.batch_size, first=FULL.first) == FULL, "nothing else"
    for recipe in (FEW, REDUCED):
        assert recipes.in_small_batches(recipe, 100) == recipe


def test_the_built_in_network_sees_what_it_learned_from_and_no_more():
    builtin = recipes.suited_to(FULL, width_of("builtin"))
    assert [phase.image_size for phase in builtin.phases] == [64, 64] == 2 * [recipes.BUILTIN_SIDE]
    assert replace(builtin, image_size=160, first=FULL.first) == FULL, "nothing else"
    assert recipes.suited_to(REDUCED, 16) == REDUCED, "32 pixels stay"
    for width in (64, width_of("none"), 8):
        assert recipes.suited_to(FULL, width) == FULL


def test_features_are_not_mixed():
    with pytest.raises(RecipeError, match="take cached_views 0, or mix 'none'"):
        replace(LAPTOP, mix="mixup")


def test_an_earlier_checkpoint_with_both_is_read_as_it_was_trained():
    values = replace(LAPTOP, mix="none").to_dict() | {"mix": "mixup"}
    assert Recipe.from_dict(values) == LAPTOP


def test_notebook_03_names_every_strategy_with_its_pixels_and_epochs():
    notebook = Path(__file__).parents[1] / "notebooks" / "03_freezing_and_fine_tuning.ipynb"
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    (text,) = [text for cell in cells if "| name | what learns |" in (text := "".join(cell["source"]))]
    lines = [[part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines() if "| `" in line]
    rows = {name.strip("`"): (epochs, pixels) for name, _, _, epochs, pixels, _ in lines}
    assert set(rows) == set(STRATEGIES)
    for name, (epochs, pixels) in rows.items():
        phases = [strategy(name, images).phases for images in (100, 1_000_000)]
        assert pixels == ", then ".join(str(phase.image_size) for phase in phases[0])
        few, many = (", then ".join(str(phase.epochs) for phase in each) for each in phases)
        said = few if few == many else f"{few} to {many}"
        assert epochs == ("" if name.startswith("head") else said), name
