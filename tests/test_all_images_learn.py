"""Training without validation images: every one learns, and folds of a linear probe tell how well."""

from dataclasses import replace

import pytest
import torch

from resnet_course.__main__ import main
from resnet_course.data import DataError, Splits, load
from resnet_course.recipes import FEW, LAPTOP, ORIGINAL, RECIPES, REDUCED
from resnet_course.resnet import resnet18
from resnet_course.settings import Settings
from resnet_course.training import checkpoint, fit, fit_linear, learning_and_choosing, loop
from resnet_course.training.history import chosen_by
from resnet_course.training.linear import PROBE_DECAY, cross_validated
from tests.test_splitting import make

PROBED = replace(
    REDUCED, name="few", train_from="layer4", epochs=2, batch_size=16, head="linear_probe", cached_views=2
)


def noise(count: int, classes: int = 2, views: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Features that tell nothing, the same in every view, and labels in turn."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, count, 64, generator=generator).repeat(views, 1, 1), torch.arange(count) % classes


def test_what_was_learned_by_heart_does_not_count():
    features, labels = noise(100, views=3)
    found = cross_validated(features, labels, [str(number) for number in range(100)], 2)
    assert found.accuracy < 0.75, "the views of an image are in one fold"
    assert (found.images, found.folds) == (100, 5)


def test_a_group_is_in_one_fold():
    features, labels = noise(50)
    twice, names = features.repeat(1, 2, 1), [str(number) for number in range(50)]
    together = cross_validated(twice, labels.repeat(2), names * 2, 2)
    apart = cross_validated(twice, labels.repeat(2), [str(number) for number in range(100)], 2)
    assert together.accuracy < 0.75 < 0.9 < apart.accuracy, "a copy in another fold gives the answer away"


def test_the_folds_are_those_of_a_plain_loop_and_hold_every_class():
    generator = torch.Generator().manual_seed(1)
    features, labels = torch.randn(1, 40, 8, generator=generator), torch.arange(40) % 4
    features[0, :, 0] += labels
    seen = []

    def probe(inputs, targets, classes, decay):
        assert decay == PROBE_DECAY
        seen.append(targets.bincount(minlength=classes).tolist())
        return fit_linear(inputs, targets, classes, decay)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resnet_course.training.linear.fit_linear", probe)
        found = cross_validated(features, labels, [str(number) for number in range(40)], 4)
    assert seen == [[8] * 4] * 5, "each probe learns from four fifths of every class"
    assert 0.25 < found.accuracy < 1


def test_groups_of_several_classes_and_one_group_alone():
    features, labels = noise(20)
    found = cross_validated(features, labels, ["a"] * 8 + ["b"] * 12, 2)
    assert found.folds == 2


def test_fit_without_validation_keeps_the_last_epoch_and_goes_on_as_without_a_break(
    sets, tmp_path, monkeypatch, capsys
):
    train = sets[0]

    def trained(out, val=None, **options):
        torch.manual_seed(0)
        model = resnet18(2, width=8)
        return fit(model, train, val, PROBED, out, home=tmp_path, **options), model

    history, whole = trained(tmp_path / "whole")
    assert history.best["epoch"] == 2
    assert "on validation" not in capsys.readouterr().err
    assert {tuple(e[n] for n in ("val_accuracy", "val_images", "folds")) for e in history.epochs} == {
        (history.best["val_accuracy"], len(train), 5)
    }
    metrics = checkpoint.load(tmp_path / "whole" / "best.pt").metrics
    assert chosen_by(metrics) == chosen_by(history.best)
    assert f"5 folds of {len(train)} images, is right on" in chosen_by(metrics)
    with monkeypatch.context() as patch:
        epochs, train_epoch = [], loop.train_epoch

        def stop(*arguments, **options):
            epochs.append(1)
            if len(epochs) == 2:
                raise KeyboardInterrupt
            return train_epoch(*arguments, **options)

        patch.setattr(loop, "train_epoch", stop)
        trained(tmp_path / "broken")
    resumed, model = trained(tmp_path / "broken", val=train.subset(torch.arange(0)), resume=True)
    torch.testing.assert_close(model.fc.weight, whole.fc.weight, atol=1e-5, rtol=1e-4)
    assert resumed.best["val_accuracy"] == history.best["val_accuracy"]


@pytest.mark.parametrize("head", ["random", "linear_probe"])
def test_every_recipe_can_do_without_validation(sets, head):
    recipe = replace(PROBED, head=head, cached_views=0, epochs=1, train_from="all")
    history = fit(resnet18(2, width=8), sets[0].limit(40), None, recipe)
    assert history.best["folds"] == 5 and 0 <= history.best["val_accuracy"] <= 1


def test_copies_of_one_image_cannot_be_validated(tmp_path):
    tree = make(tmp_path / "t", {"cat": 12, "dog": 12})
    settings = Settings(data=f"folder:{tree}", home=tmp_path / "home", mode="reduced")
    train = load(settings).train
    with pytest.raises(DataError, match="of one group, so nothing can be validated"):
        fit(resnet18(2, width=8), train.grouped(["monday"] * len(train)), None, PROBED)


def test_only_what_the_loader_drew_from_train_joins_it(sets, tmp_path):
    train, val = sets
    drawn, own = Splits(train, val, val, ("test", "val")), Splits(train, val, val)
    learns, chooses = learning_and_choosing(drawn, FEW)
    assert (len(learns), len(chooses)) == (len(train) + 2 * len(val), 0)
    learns, chooses = learning_and_choosing(replace(drawn, set_aside=("val",)), FEW)
    assert (len(learns), len(chooses)) == (len(train) + len(val), 0)
    learns, chooses = learning_and_choosing(replace(drawn, set_aside=("test",)), FEW)
    assert (len(learns), chooses) == (len(train) + len(val), val)
    assert learning_and_choosing(own, FEW) == (train, val)
    assert learning_and_choosing(drawn, LAPTOP) == (train, val)
    assert learning_and_choosing(drawn, ORIGINAL)[1] is val
    tree = make(tmp_path / "t", {"cat": 12, "dog": 12})
    settings = Settings(data=f"folder:{tree}", home=tmp_path / "home", mode="reduced")
    assert load(settings).set_aside == ("test", "val")
    assert load(replace(settings, data="shapes")).set_aside == ("val",)


def test_groups_reach_the_folds(tmp_path):
    tree = make(tmp_path / "t", {"cat": 12, "dog": 12})
    settings = Settings(data=f"folder:{tree}", home=tmp_path / "home", mode="reduced")
    splits = load(settings, group=lambda path: path[-5])
    learns, _ = learning_and_choosing(splits, FEW)
    assert {path[-5] for path in learns.paths} == set(learns.groups)
    assert [path[-5] for path in learns.paths] == list(learns.groups)
    assert load(settings).train.groups == load(settings).train.digests, "copies are a group"


@pytest.mark.slow
def test_the_commands_say_that_nothing_was_kept_back(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(RECIPES, "few", PROBED)
    tree, out = make(tmp_path / "t", {"cat": 20, "dog": 12}), tmp_path / "out"
    arguments = ["--data", f"folder:{tree}"]
    assert main(["train", "--recipe", "few", "--weights", "builtin", "--out", str(out), *arguments]) == 0
    said = capsys.readouterr()
    assert "All 32 images are learned from, those set aside among them." in said.err
    assert "best.pt: epoch 2; no image was kept back; a linear probe, cross-validated in 5 folds" in said.out
    assert main(["evaluate", str(out / "best.pt"), *arguments]) == 2
    said = capsys.readouterr().err
    assert "no image was kept back" in said and "95% interval" in said
    assert "learned from all 32 images or was chosen" in said
    assert main(["evaluate", str(out / "best.pt"), *arguments, "--group", r"(.)\.[a-z]+$"]) == 2
    assert "images of its test split or was chosen" in capsys.readouterr().err
