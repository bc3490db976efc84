"""`resnet-course compare`: two networks on images that neither has seen."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from resnet_course.__main__ import main
from resnet_course.data import load
from resnet_course.evaluation import Predictions, evaluate, reasons_to_refuse
from resnet_course.prediction import judging
from resnet_course.recipes import REDUCED
from resnet_course.resnet import resnet18
from resnet_course.settings import Settings
from resnet_course.training import checkpoint
from resnet_course.training.checkpoint import Checkpoint
from tests.test_splitting import make


def network(classes: tuple[str, ...] = ("cat", "dog"), seed: int = 0, **changes) -> Checkpoint:
    torch.manual_seed(seed)
    fields = {"stored_size": 32, "dataset": "folder t", "recipe": REDUCED} | changes
    return Checkpoint(state_dict=resnet18(len(classes), width=8).state_dict(), classes=classes, **fields)


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "home"))
    return make(tmp_path / "t", {"cat": 30, "dog": 30})


def run(capsys, tmp_path, tree, first: Checkpoint, second: Checkpoint, *more: str) -> tuple[int, str, str]:
    paths = [
        str(checkpoint.save(tmp_path / name, saved)) for name, saved in (("a.pt", first), ("b.pt", second))
    ]
    status = main(["compare", *paths, "--data", f"folder:{tree}", *more])
    return status, *capsys.readouterr()


def test_a_network_and_itself_differ_in_nothing(tree, tmp_path, capsys):
    status, out, _ = run(capsys, tmp_path, tree, network(), network(), "--json")
    found = json.loads(out)
    assert status == 0 and found["difference"] == found["churn"] == 0 and found["disagreements"] == []
    assert found["p_value"] == 1 and found["interval"][0] < 0 < found["interval"][1]
    assert "no difference beyond chance" in run(capsys, tmp_path, tree, network(), network())[1]


def test_the_numbers_are_those_of_a_plain_count(tree, tmp_path, capsys):
    first, second = network(), network(seed=1, stored_size=24)
    status, out, _ = run(capsys, tmp_path, tree, first, second, "--json", "--split", "val")
    found = json.loads(out)
    val = load(Settings.from_env({"RESNET_COURSE_DATA": f"folder:{tree}"})).val
    assert status == 0 and found["n"] == len(val)
    predicted = []
    for saved in (first, second):
        settings = Settings(data=f"folder:{tree}", home=tmp_path / "home")
        images, *_ = judging._images(saved, settings, "val", [])
        assert images.paths == val.paths and images.stored_size == saved.stored_size
        predicted.append(evaluate(saved.model(), images, saved.recipe).predicted)
    right = [(answer == val.labels).sum().item() for answer in predicted]
    assert found["difference"] == pytest.approx((right[1] - right[0]) / len(val))
    differ = (predicted[0] != predicted[1]).nonzero().flatten().tolist()
    assert {each["path"] for each in found["disagreements"]} == {val.paths[place] for place in differ}
    assert found["churn"] == pytest.approx(len(differ) / len(val))


def test_what_one_of_the_two_has_seen_is_left_out_for_both(tree, tmp_path, capsys):
    test = load(Settings.from_env({"RESNET_COURSE_DATA": f"folder:{tree}"})).test
    first = network(digests=test.digests[:2])
    second = network(seed=1, digests=test.digests[1:5])
    _, out, err = run(capsys, tmp_path, tree, first, second, "--json", "--split", "test")
    assert json.loads(out)["n"] == len(test) - 5 and json.loads(out)["left_out"] == 5
    assert f"trained on or chosen by: 5, left out of {len(test)}." in err


def test_classes_may_stand_in_another_order_but_not_differ(tree, tmp_path, capsys):
    first = network()
    weights = {
        name: tensor.flip(0) if name.startswith("fc.") else tensor
        for name, tensor in first.state_dict.items()
    }
    turned = replace(first, state_dict=weights, classes=("dog", "cat"), architecture={})
    _, out, _ = run(capsys, tmp_path, tree, first, turned, "--json")
    found = json.loads(out)
    assert found["difference"] == found["churn"] == 0
    status, _, err = run(capsys, tmp_path, tree, first, network(("cat", "eel")))
    assert status == 2 and "only one of the two knows dog, eel; both must know the same classes" in err


def test_disagreements_begin_with_those_of_which_both_are_surest():
    labels = torch.tensor([0, 0, 1])
    one = Predictions(torch.tensor([[1.0, 0.0], [4.0, 0.0], [0.0, 3.0]]), labels, ("cat", "dog"), "x")
    two = Predictions(torch.tensor([[0.0, 9.0], [0.0, 3.0], [0.0, 3.0]]), labels, ("cat", "dog"), "x")
    found = judging._disagreements(one, two, ())
    assert [each["path"] for each in found] == ["image 1 of the split", "image 0 of the split"]
    assert found[0] | {"path": ""} == {"path": "", "label": "cat", "first": "cat", "second": "dog"}


def test_each_summary_has_the_temperature_of_its_own_network(tree, tmp_path, capsys):
    _, out, _ = run(capsys, tmp_path, tree, network(temperature=2.0), network(), "--json")
    found = json.loads(out)
    assert (found["first"]["temperature"], found["second"]["temperature"]) == (2.0, 1.0)
    assert found["first"]["ece_without_temperature"] == pytest.approx(found["second"]["ece"])
    assert found["churn"] == 0, "a temperature changes no answer"


def answers(right: int, total: int = 200, of: int = 2) -> Predictions:
    """The first `right` of the answers are right; all others say the next class."""
    labels = torch.arange(total) % of
    said = torch.where(torch.arange(total) < right, labels, (labels + 1) % of)
    logits = torch.nn.functional.one_hot(said, of).float()
    return Predictions(logits, labels, tuple("ab"[:of]), "t")


@pytest.mark.parametrize(
    "used, new, most, reasons",
    [
        (180, 180, 0.0, []),
        (180, 182, 0.02, []),
        (180, 178, 0.02, []),  # worse, and not beyond chance
        (180, 150, 0.5, ["worse beyond chance: -15.0 points"]),
        (150, 180, 0.1, ["changes 15.0% of the answers, and 10.0% is the most allowed"]),
        (180, 150, 0.1, ["worse beyond chance", "changes 15.0%"]),
    ],
)
def test_an_update_is_refused_if_it_is_worse_beyond_chance_or_changes_too_much(used, new, most, reasons):
    found = reasons_to_refuse(answers(used), answers(new), most)
    assert len(found) == len(reasons)
    assert all(reason in text for reason, text in zip(reasons, found, strict=True))


def test_the_gate_decides_the_exit_status(tree, tmp_path, capsys):
    first = network()
    turned = {
        name: -tensor if name.startswith("fc.") else tensor for name, tensor in first.state_dict.items()
    }
    second = replace(first, state_dict=turned)  # of two classes it says the other one
    status, out, _ = run(capsys, tmp_path, tree, first, first, "--gate", "0")
    assert status == 0 and "the second may replace the first" in out
    status, out, _ = run(capsys, tmp_path, tree, first, second, "--json", "--gate", "0")
    assert status == 1 and "changes 100.0% of the answers" in json.loads(out)["refused"][-1]
    status, _, err = run(capsys, tmp_path, tree, first, second, "--gate", "10")
    assert status == 2 and "--gate is 10; it must be a share of the answers, 0 to 1" in err
