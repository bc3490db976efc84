"""Data pruning: what an epoch leaves out, that it stays unbiased, and that a training goes on with it."""

import math
from dataclasses import replace

import pytest
import torch

from resnet_course.data.images import ImageSet
from resnet_course.recipes import FULL, LAPTOP, REDUCED, RecipeError, epochs_of_work
from resnet_course.resnet import resnet18
from resnet_course.training import checkpoint, fit, loop
from resnet_course.training.pruning import DataPruning

COUNT = 1_000


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def knowing(losses):
    """What has learned once from images with these losses."""
    found = DataPruning(len(losses))
    found.weigh(torch.arange(len(losses)), losses)
    found.gather()
    return found


def skewed(count=COUNT):
    """Losses as they are in training: most of them small, a few large."""
    return torch.rand(count, generator=seeded(7)) ** 4


def test_without_a_share_or_without_losses_all_images_are_learned_from_and_count_the_same():
    generator = seeded()
    before = generator.get_state()
    for pruning, share in ((knowing(skewed()), 0.0), (DataPruning(COUNT), 0.0)):
        assert torch.equal(pruning.draw(share, generator), torch.arange(COUNT))
        assert torch.equal(pruning.weights, torch.ones(COUNT))
    assert torch.equal(generator.get_state(), before), "nothing is drawn where nothing is left out"
    assert torch.equal(DataPruning(COUNT).draw(0.5, generator), torch.arange(COUNT))


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_only_known_images_are_left_out_each_as_often_as_the_share_says(share):
    losses = skewed()
    known, pruning, drawn = losses < losses.mean(), knowing(losses), torch.zeros(COUNT)
    generator = seeded()
    for _ in range(200):
        drawn[pruning.draw(share, generator)] += 1
    assert (drawn[~known] == 200).all(), "what is not known is never left out"
    assert drawn[known].mean() / 200 == pytest.approx(1 - share, abs=0.01)
    assert drawn[known].min() > 0 and drawn[known].max() < 200, "others are left out every time"


def test_on_average_an_epoch_learns_what_it_would_from_all_images():
    losses, generator, means = skewed(), seeded(), []
    for _ in range(200):
        pruning = knowing(losses)
        drawn = pruning.draw(0.5, generator)
        weights = pruning.weigh(drawn, losses[drawn])
        means.append(((losses[drawn] * weights).sum() / COUNT, losses[drawn].mean()))
    weighted, plain = torch.tensor(means).mean(0).tolist()
    assert weighted == pytest.approx(losses.mean().item(), rel=0.01)
    assert plain > 1.2 * losses.mean().item(), "without the weights it would learn from hard images alone"


def test_what_was_left_out_keeps_its_loss_and_may_come_back():
    pruning = knowing(torch.tensor([0.1, 0.1, 5.0]))
    pruning.weigh(torch.tensor([2]), torch.tensor([0.01]))
    assert pruning.losses[2] == 5, "noted, and not yet taken over"
    pruning.gather()
    assert pruning.losses.tolist() == pytest.approx([0.1, 0.1, 0.01])
    pruning.weigh(torch.tensor([0]), torch.tensor([0.0]))
    pruning.gather()
    assert pruning.losses[0] == 0, "a loss of 0 is a loss"


def test_a_step_learns_from_the_weighted_mean_of_its_losses():
    inputs, labels, weights = (
        torch.randn(4, 6, generator=seeded()),
        torch.arange(4) % 2,
        torch.tensor([1.0, 2, 2, 1]),
    )
    models = [torch.nn.Linear(6, 2) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in models]
    measured = loop.train_epoch(
        models[0], [(inputs, labels)], optimizers[0], weigh=lambda step, losses: weights
    )
    each = torch.nn.functional.cross_entropy(models[1](inputs), labels, reduction="none")
    loss = (each * weights).sum() / weights.sum()
    right = ((models[1](inputs).argmax(1) == labels) * weights).sum() / weights.sum()
    loss.backward()
    optimizers[1].step()
    assert torch.allclose(models[0].weight, models[1].weight)
    assert (measured.loss, measured.accuracy) == pytest.approx((loss.item(), right.item()))
    assert measured.images == 4


@pytest.fixture(scope="module")
def image_set():
    labels = torch.arange(200) % 2
    noise = torch.randint(0, 160, (200, 3, 32, 32), generator=seeded())
    return ImageSet((noise + 60 * labels.view(-1, 1, 1, 1)).byte(), labels, ("dark", "bright"), "noise")


RECIPE = replace(REDUCED, epochs=2, batch_size=20, data_pruning=0.8)


def test_fit_learns_from_fewer_images_after_the_first_epoch_of_all_phases(image_set, tmp_path, capsys):
    torch.manual_seed(0)
    recipe = replace(RECIPE, first=RECIPE)
    history = fit(resnet18(2, width=8), image_set, image_set, recipe, tmp_path)
    images = history.values("train_images")
    assert images[0] == 200 and all(20 <= each < 190 for each in images[1:]), images
    assert history.best["val_accuracy"] > 0.8
    said = capsys.readouterr().err
    assert "on 100% of train" in said and f"on {images[2] / 200:.0%} of train" in said
    losses = checkpoint.load(tmp_path / "last.pt").training["losses"]
    assert losses.isfinite().all() and losses.min() > 0


def test_without_data_pruning_every_epoch_learns_from_all(image_set, capsys):
    torch.manual_seed(0)
    history = fit(resnet18(2, width=8), image_set, image_set, replace(RECIPE, data_pruning=0.0))
    assert history.values("train_images") == [200, 200] and "% of train" not in capsys.readouterr().err


def test_labels_that_are_mixed_are_refused():
    for mix in ("mixup", "cutmix"):
        with pytest.raises(RecipeError, match=r"data_pruning 0\.5.*take data_pruning 0, or mix 'none'"):
            replace(REDUCED, mix=mix, data_pruning=0.5)
    for share in (-0.1, 1.0, math.nan):
        with pytest.raises(RecipeError, match=r"data_pruning is .*from 0 up to, not including, 1"):
            replace(REDUCED, data_pruning=share)


def test_an_estimate_knows_that_epochs_after_the_first_are_shorter():
    assert epochs_of_work(LAPTOP) == LAPTOP.epochs
    alone, second = replace(RECIPE, epochs=3), replace(RECIPE, epochs=3, first=RECIPE)
    assert epochs_of_work(alone) == pytest.approx(1 + 2 * 0.36)
    assert epochs_of_work(second) == pytest.approx(3 * 0.36)
    assert sum(map(epochs_of_work, FULL.phases)) < 0.7 * FULL.all_epochs
