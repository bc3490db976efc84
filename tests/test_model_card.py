"""The model card: `resnet-course evaluate --report DIR` leaves it beside the report."""

import hashlib
import re
from dataclasses import replace
from importlib import metadata

import pytest
import torch

from resnet_course import __version__
from resnet_course.__main__ import main
from resnet_course.evaluation import evaluate, with_temperature
from resnet_course.evaluation.predictions import wilson_interval
from resnet_course.prediction.judging import Judged
from resnet_course.prediction.model_card import NOT_STATED, model_card, write_model_card
from resnet_course.recipes import REDUCED
from resnet_course.resnet import resnet18
from resnet_course.training import checkpoint
from resnet_course.training.checkpoint import Checkpoint
from tests.test_splitting import make

CLASSES = ("cat", "dog | wolf", "übung")
PLAIN = ("cat", r"dog \| wolf", "übung")  # as Markdown has it


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    network = Checkpoint(
        state_dict=resnet18(3, width=8).state_dict(),
        classes=CLASSES,
        stored_size=32,
        dataset="folder t",
        recipe=REDUCED,
        digests=("b" * 64, "a" * 64),
        temperature=2.0,
        threshold=0.3,
    )
    path = checkpoint.save(tmp_path / "best.pt", network)
    return path, checkpoint.load(path)


@pytest.fixture
def judged(saved, drawn_three):
    return Judged(drawn_three, evaluate(saved[1].model(), drawn_three, REDUCED), "test", 0, "A note.")


@pytest.fixture
def drawn_three():
    from resnet_course.data import shapes

    drawn = shapes.draw(90, 0, shapes.CLASSES[:3])
    return drawn.relabelled(drawn.labels, CLASSES).subset(torch.arange(70))


def test_it_says_what_the_network_is_and_what_it_learned_from(saved, judged):
    path, network = saved
    card = model_card(network, path, judged, "For pets in daylight.")
    assert f"SHA-256 of the file: {hashlib.sha256(path.read_bytes()).hexdigest()}" in card
    assert f"resnet_course {__version__}" in card and f"torchvision {metadata.version('torchvision')}" in card
    count = sum(parameter.numel() for parameter in network.model().parameters())
    assert f"{count:,} parameters" in card and ", ".join(PLAIN) in card
    assert "temperature 2.000" in card and "than the threshold: 0.300" in card
    together = hashlib.sha256(f"{'a' * 64}\n{'b' * 64}".encode()).hexdigest()
    assert "2 files, learned from or chosen by\n" in card and together in card
    assert "## Intended use\n\nFor pets in daylight.\n" in card and "- A note.\n" in card
    assert NOT_STATED in model_card(network, path, judged)


def test_its_figures_are_those_of_the_predictions_with_intervals(saved, judged):
    path, network = saved
    card, found = model_card(network, path, judged), with_temperature(judged.raw, 2.0)
    low, high = found.interval()
    assert f"Accuracy {found.accuracy:.1%}, 95% confidence interval {low:.1%} to {high:.1%}" in card
    for label in range(3):
        own = found.labels == label
        right, count = int(found.correct[own].sum()), int(own.sum())
        low, high = wilson_interval(right, count)
        assert f"| {PLAIN[label]} | {count} | {right / count:.1%} | {low:.1%} to {high:.1%} |\n" in card
    sure = found.probabilities.max(1).values >= 0.3
    assert f"At its threshold it answers {int(sure.sum())} of them" in card
    few = [name for label, name in enumerate(PLAIN) if int((found.labels == label).sum()) < 30]
    assert few and f"(fewer than 30): {', '.join(few)}." in card


def test_a_network_without_digests_threshold_or_a_class_has_a_card_too(saved, judged):
    path, network = saved
    first = judged.image_set.subset(judged.image_set.labels == 0)
    some = Judged(first, evaluate(network.model(), first, REDUCED), "unseen", 0, "")
    card = model_card(replace(network, digests=(), threshold=None, versions={}), path, some)
    assert (
        "files not recorded" in card and "Digest of these" not in card and "than the threshold: none" in card
    )
    assert "Written by: not recorded" in card and "| übung | 0 | – | – |" in card


@pytest.mark.slow
def test_the_command_writes_it_beside_the_report(saved, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "home"))
    path, network = saved
    pets = replace(network, classes=("cat", "dog", "übung"), digests=())
    path, tree = checkpoint.save(tmp_path / "pets.pt", pets), make(tmp_path / "t", {"cat": 20, "dog": 20})
    command = ["evaluate", str(path), "--data", f"folder:{tree}"]
    assert main([*command, "--report", str(tmp_path / "report"), "--intended-use", "For a test."]) == 0
    assert f"Model card: {tmp_path / 'report' / 'model_card.md'}" in capsys.readouterr().err
    card = (tmp_path / "report" / "model_card.md").read_text(encoding="utf-8")
    assert card.startswith("# Model card: pets.pt\n") and "\n\nFor a test.\n" in card
    assert not re.search("nan|None", card)
    assert main([*command, "--intended-use", "For a test."]) == 2
    assert "add --report DIR" in capsys.readouterr().err


def test_names_that_are_markdown_or_bytes_are_shown_as_they_are(saved, judged, tmp_path):
    path, network = saved
    names = ("<cat>", "a\nb", "_c_")
    odd = replace(network, classes=names, threshold=None)
    some = replace(judged, raw=replace(judged.raw, classes=names))
    card = model_card(odd, path, some)
    assert r"\<cat\>, a b, \_c\_" in card and "less probable than the threshold." not in card
    written = write_model_card(tmp_path, odd, path, some, "For R\udce9.")
    assert r"For R\udce9." in written.read_text(encoding="utf-8")
