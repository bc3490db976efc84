"""`resnet-course evaluate`: its report, a split that is not there; going on from a network of one's own."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import torch
from bs4 import BeautifulSoup
from torchvision.transforms.functional import to_pil_image

from resnet_course import training
from resnet_course.__main__ import main
from resnet_course.data import shapes
from resnet_course.evaluation.predictions import Predictions
from resnet_course.evaluation.selective import threshold_of_doubt
from resnet_course.recipes import REDUCED
from resnet_course.resnet import resnet18
from resnet_course.training import checkpoint
from resnet_course.training.checkpoint import Checkpoint

NAMES = ("<cat>", "dog & co", "übung")


def write(images, directory, names):
    for number, (image, name) in enumerate(zip(images, names, strict=True)):
        path = directory / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        to_pil_image(image).save(path)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A folder with train and val, no test, and a network that nobody trained, at temperature 2."""
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "home"))
    drawn = shapes.draw(60, 0).images
    for split, images in (("train", drawn[:36]), ("val", drawn[36:])):
        write(images, tmp_path / "pets" / split, [NAMES[number % 3] for number in range(len(images))])
    torch.manual_seed(0)
    content = Checkpoint(
        state_dict=resnet18(3, width=8).state_dict(),
        classes=NAMES,
        stored_size=32,
        dataset="folder pets",
        recipe=REDUCED,
        temperature=2.0,
    )
    return checkpoint.save(tmp_path / "best.pt", content), f"folder:{tmp_path / 'pets'}", tmp_path / "report"


@pytest.mark.slow
def test_the_report_is_a_page_and_the_same_as_json(world, capsys):
    saved, data, report = world
    assert main(["evaluate", str(saved), "--data", data, "--json", "--report", str(report)]) == 0
    said = capsys.readouterr()
    assert f"Report: {report / 'report.html'}" in said.err
    found, printed = json.loads((report / "report.json").read_text(encoding="utf-8")), json.loads(said.out)
    assert printed.items() <= found.items()
    wrong = [row for row in found["most_wrong"] if row["label"] != row["said"]]
    assert len(wrong) == len(found["most_wrong"]) == round(24 * (1 - found["accuracy"]))
    assert all(row["label"] in row["path"] for row in wrong), "the paths are those of the images"
    page = BeautifulSoup((report / "report.html").read_text(encoding="utf-8"), "html.parser")
    assert f"{found['accuracy']:.1%}" in page.find("strong").text
    assert set(NAMES) <= {cell.text for cell in page.find_all("td")}, "names are escaped"
    figures = page.find_all("img")
    assert len(figures) >= 3 and all(len(figure["alt"]) > 40 for figure in figures)
    assert "temperature 2.00: calibration error" in page.find_all("img")[1]["alt"]
    assert [heading.text for heading in page.find_all("h2")] == [
        "Each class",
        "Labels to look at: the network is sure of another class",
        "Furthest from right",
    ]


def test_without_a_test_split_it_offers_val_and_says_what_that_is(world, capsys):
    saved, data, _ = world
    assert main(["evaluate", str(saved), "--data", data, "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (found["split"], found["n"]) == ("val", 24)
    assert found["note"].startswith("There is no test split. The best epoch was chosen by val")
    assert main(["evaluate", str(saved), "--data", data]) == 0
    assert "chosen by val" in capsys.readouterr().out
    assert main(["evaluate", str(saved), "--data", data, "--split", "test"]) == 2
    assert "has no test split" in capsys.readouterr().err


def test_val_of_which_nothing_was_seen_flatters_nobody(world, capsys):
    saved, data, report = world
    elsewhere = replace(checkpoint.load(saved), digests=("a" * 64,))
    other = str(checkpoint.save(report.parent / "other.pt", elsewhere))
    assert main(["evaluate", other, "--data", data, "--json"]) == 0
    note = json.loads(capsys.readouterr().out)["note"]
    assert note == "There is no test split, so val takes its place; the network has seen none of its images."
    assert main(["compare", other, other, "--data", data]) == 0
    assert capsys.readouterr().err.count("val takes its place") == 1, "it is said once, not for each network"


def test_a_share_for_test_is_set_aside_where_it_is_asked_for(world, capsys):
    saved, data, _ = world
    assert main(["evaluate", str(saved), "--data", data, "--json", "--test-share", "0.5"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["split"] == "test" and 8 <= found["n"] <= 28
    assert main(["evaluate", str(saved), "--data", data, "--test-share", "1.5"]) == 2
    assert "test_share is 1.5; it must be a share, 0 to 0.9" in capsys.readouterr().err


@pytest.mark.slow
def test_training_takes_all_of_train_where_val_is_there(world, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RESNET_COURSE_WEIGHTS", "builtin")
    _, data, _ = world
    for name, share, count in (("all", [], 36), ("part", ["--test-share", "0.3"], 0)):
        out = tmp_path / name
        assert main(["train", "--recipe", "reduced", "--data", data, "--out", str(out), *share]) == 0
        said = capsys.readouterr().err
        assert re.search(rf"{'none' if count else '30%'} of train is set aside", said)
        trained = int(re.search(r"(\d+) train,", said)[1])
        assert trained == 36 if count else trained < 36


@pytest.mark.slow
def test_going_on_takes_over_the_rows_of_known_classes(world, tmp_path, capsys, monkeypatch):
    saved, data, _ = world
    before = checkpoint.load(saved)
    before = replace(before, classes=("<cat>", "horse", "übung"), digests=("a" * 64,))
    before.state_dict["fc.weight"] += 1
    saved = checkpoint.save(tmp_path / "before.pt", before)
    taken = {}

    def fit(model, train, *rest, seen, **more):
        taken.update(model=model, seen=seen, classes=train.classes)
        return training.History([], "", True)

    monkeypatch.setattr(training, "fit", fit)
    assert main(["train", "--data", data, "--weights", str(saved), "--out", str(tmp_path / "x")]) == 130
    said = capsys.readouterr().err
    assert "its head knows 2 of 3 classes; new: dog & co; no longer there: horse" in said
    assert taken["classes"] == NAMES and taken["seen"] == ("a" * 64,)
    head = before.state_dict["fc.weight"]
    assert torch.equal(taken["model"].fc.weight[0], head[0])
    assert torch.equal(taken["model"].fc.weight[2], head[2])
    assert not torch.equal(taken["model"].fc.weight[1], head[1])


@pytest.mark.slow
def test_what_was_seen_before_stays_out_of_every_test(world, tmp_path):
    _, data, _ = world
    begin = ["train", "--recipe", "reduced", "--epochs", "1", "--data", data, "--test-share", "0.5"]
    assert main([*begin, "--weights", "builtin", "--out", str(tmp_path / "first")]) == 0
    first = checkpoint.load(tmp_path / "first" / "best.pt")
    earlier = checkpoint.save(tmp_path / "earlier.pt", replace(first, digests=(*first.digests, "b" * 64)))
    assert main([*begin, "--weights", str(earlier), "--out", str(tmp_path / "second")]) == 0
    assert "b" * 64 in checkpoint.load(tmp_path / "second" / "best.pt").digests


@pytest.mark.parametrize(
    ("confidence", "right", "wanted"),
    [
        ([0.9, 0.8, 0.7, 0.6], [1, 1, 1, 1], 0.0),  # all are right: nothing is unknown
        ([0.9, 0.8, 0.7, 0.6], [1, 1, 0, 0], 0.8),
        ([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], 0.7),  # as good as 0.9, and it answers more
        ([0.9, 0.8, 0.7, 0.6], [1, 0, 0, 1], 0.9),
    ],
)
def test_below_the_threshold_of_doubt_answers_are_more_often_wrong(confidence, right, wanted):
    logits = torch.tensor([[c, 1 - c] for c in confidence]).log()
    labels = 1 - torch.tensor(right)
    found = threshold_of_doubt(Predictions(logits, labels, ("a", "b"), "any"))
    assert found == pytest.approx(wanted, abs=1e-6)
