"""What a learner's own folder may hold, the figures and the check of a data set take."""

import matplotlib.pyplot as plt
import pytest
import torch
from own_folders import FOLDERS, Folder, draw_folder
from PIL import Image

from resnet_course import data, machine, plots
from resnet_course.data.rows import Photographs
from resnet_course.evaluation import Predictions
from resnet_course.settings import Settings
from resnet_course.training import planning


@pytest.fixture
def splits(tmp_path):
    directory = draw_folder(FOLDERS["three_mixed"], tmp_path / "mixed")
    return data.load(Settings(data=f"folder:{directory}", home=tmp_path / "home"))


@pytest.fixture
def squares_of_all_are_refused(monkeypatch):
    def refuse(self):
        raise AssertionError("squares of all photographs are made")

    monkeypatch.setattr(Photographs, "tensor", refuse)


def test_folders_are_drawn_as_they_are_asked_for(tmp_path):
    directory = draw_folder(Folder([3, 1], [(30, 20), (20, 50)], ".jpg"), tmp_path / "pets")
    files = sorted(directory.glob("*/*"))
    assert [file.relative_to(directory).as_posix() for file in files] == [
        *(f"circle/000{n}.jpg" for n in range(3)),
        "ring/0000.jpg",
    ]
    sizes = []
    for file in files:
        with Image.open(file) as image:
            sizes.append(image.size)
    assert sizes == [(30, 20), (20, 50), (30, 20), (30, 20)]


def test_there_is_a_class_for_each_number_of_pictures(tmp_path):
    directory = draw_folder(Folder([1] * 100, [(8, 8)]), tmp_path / "hundred")
    assert len(list(directory.iterdir())) == 100


@pytest.mark.slow
def test_figures_and_advice_take_only_the_photographs_that_they_need(
    splits, squares_of_all_are_refused, monkeypatch
):
    monkeypatch.setattr(machine, "estimate", lambda recipe, images, validation: 120.0)
    assert splits.train.photographs
    assert len(plots.samples(splits.train).axes) == 3
    test = splits.test
    logits = torch.eye(3)[test.labels]
    plots.predictions(test, Predictions(logits, test.labels, test.classes, test.name))
    plt.close("all")
    assert any("out of balance: circle" in warning for warning in planning.advise(splits).warnings)
