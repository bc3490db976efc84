"""`resnet-course predict`: folders, tables, thresholds, and what is left of it after a stop."""

import csv
import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnet_course.__main__ import main
from resnet_course.data import ImageError
from resnet_course.prediction import UNKNOWN, Classifier, images_of, write_csv
from resnet_course.recipes import REDUCED
from resnet_course.resnet import resnet18
from resnet_course.training import checkpoint
from resnet_course.training.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A network of three classes that nobody trained, at temperature 2."""
    torch.manual_seed(0)
    content = Checkpoint(
        state_dict=resnet18(3, width=8).state_dict(),
        classes=("cat", "dog, small", "rabbit"),
        stored_size=32,
        dataset="any",
        recipe=REDUCED,
        temperature=2.0,
    )
    return checkpoint.save(tmp_path_factory.mktemp("network") / "best.pt", content)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Four images in two folders, a text, and one that is damaged."""
    random = np.random.default_rng(0)
    for name in ("b/2.png", "b/10.jpg", "a.png", "ü.png"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (40, 40, 3), np.uint8)).save(path)
    (tmp_path / "pictures" / "notes.txt").write_text("no image")
    (tmp_path / "pictures" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return tmp_path / "pictures"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_stands_for_all_images_below_it(saved, folder, capsys):
    assert main(["predict", str(saved), str(folder)]) == 2, "one of them is damaged"
    said = capsys.readouterr()
    assert [Path(line.rpartition(": ")[0]).name for line in said.out.splitlines()] == [
        "a.png",
        "10.jpg",
        "2.png",
        "ü.png",
    ]
    assert said.err.count("\n") == 1 and "broken.png" in said.err


def test_a_folder_without_images_and_a_pattern_without_files(saved, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["predict", str(saved), str(tmp_path / "empty"), str(tmp_path / "*.png")]) == 2
    said = capsys.readouterr().err
    assert "empty: this folder has no images" in said and "*.png: no file matches this pattern" in said
    assert images_of([tmp_path / "absent.png"]) == ([tmp_path / "absent.png"], []), "reading it says why"


def test_the_table_holds_what_json_holds(saved, folder, tmp_path, capsys):
    table = tmp_path / "found.csv"
    assert main(["predict", str(saved), str(folder), "--csv", str(table), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert table.read_bytes().startswith(b"\xef\xbb\xbf"), "the mark by which Excel knows UTF-8"
    good = [row for row in rows(table) if not row["error"]]
    assert len(rows(table)) == 5 and len(good) == 4
    [bad] = [row for row in rows(table) if row["error"]]
    assert bad["path"].endswith("broken.png") and not bad["label"] and not bad["cat"]
    for row, answer in zip(good, found, strict=True):
        assert (row["path"], row["label"]) == (answer["path"], answer["label"])
        for name in ("cat", "dog, small", "rabbit"):
            assert float(row[name]) == pytest.approx(answer["probabilities"][name], abs=1e-6)
    assert main(["predict", str(saved), str(folder / "a.png"), "--csv", str(table)]) == 0
    assert capsys.readouterr().out == f"{table}: 1 image\n"


def test_a_threshold_makes_it_unknown_and_raw_leaves_the_temperature_out(saved, folder, capsys):
    def answer(*more: str) -> dict:
        assert main(["predict", str(saved), str(folder / "a.png"), "--json", *more]) == 0
        return json.loads(capsys.readouterr().out)[0]

    bare, raw = answer(), answer("--raw")
    classifier = Classifier.load(saved)
    logits = classifier.logits(classifier.square(folder / "a.png")[None])[0]
    assert raw["confidence"] == pytest.approx(float(logits.softmax(0).max()), abs=1e-6)
    assert bare["confidence"] == pytest.approx(float((logits / 2).softmax(0).max()), abs=1e-6)
    assert raw["confidence"] > bare["confidence"]
    above = answer("--threshold", str(bare["confidence"] + 1e-3))
    assert above == bare | {"label": UNKNOWN}, "all else is said as before"
    assert answer("--threshold", str(bare["confidence"] - 1e-3)) == bare
    carried = replace(checkpoint.load(saved), threshold=1.0)
    assert Classifier(carried).predict(folder / "a.png").label == UNKNOWN


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--threshold", "1.5"], "--threshold is 1.5; it must be a probability, 0 to 1"),
        (["--threshold", "nan"], "--threshold is nan; it must be a probability, 0 to 1"),
        (["--csv", "PICTURES/a.png/x.csv"], "a.png is no folder"),
    ],
)
def test_bad_options_are_refused_before_anything_is_read(saved, folder, capsys, more, message):
    more = [word.replace("PICTURES", str(folder)) for word in more]
    assert main(["predict", str(saved), str(folder), *more]) == 2
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1 and not said.out


def test_a_stop_keeps_the_rows_so_far_and_no_answer_no_file(saved, folder, tmp_path):
    classifier = Classifier.load(saved)

    def stopped():
        yield folder / "a.png", classifier.predict(folder / "a.png")
        yield folder / "x.png", ImageError("x.png: it is damaged")
        raise KeyboardInterrupt

    table = tmp_path / "found.csv"
    with pytest.raises(KeyboardInterrupt):
        list(write_csv(table, stopped(), classifier.classes))
    assert [row["error"] for row in rows(table)] == ["", "x.png: it is damaged"]
    assert list(write_csv(tmp_path / "none.csv", iter(()), classifier.classes)) == []
    assert not (tmp_path / "none.csv").exists()


def test_names_that_are_no_utf_8_come_back_from_the_table(saved, folder, tmp_path):
    classifier = Classifier.load(saved)
    path = Path("caf\udce9.png")  # as Python reads the Latin-1 name of a file
    list(write_csv(tmp_path / "t.csv", [(path, classifier.predict(folder / "a.png"))], classifier.classes))
    assert "caf\udce9.png" in (tmp_path / "t.csv").read_text(encoding="utf-8", errors="surrogateescape")


@pytest.mark.parametrize("kind", ["a folder", "an image", "the checkpoint"])
def test_a_table_takes_the_place_of_nothing_else(kind, saved, folder, capsys, tmp_path):
    image = folder / "a.png"
    (tmp_path / "there").mkdir()
    target = {"a folder": tmp_path / "there", "an image": image, "the checkpoint": saved}[kind]
    before = None if target.is_dir() else target.read_bytes()
    assert main(["predict", str(saved), str(image), "--csv", str(target)]) == 2
    said = capsys.readouterr()
    assert f"--csv {target} cannot be written: it is " in said.err and said.out == ""
    assert target.is_dir() or target.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_told_before_the_first_image(
    saved, folder, tmp_path, monkeypatch, capsys
):
    (tmp_path / "old.csv").write_text("a table of before")
    monkeypatch.setattr("resnet_course.prediction.writing.why_not_writable", lambda folder: "it is read-only")
    assert main(["predict", str(saved), str(folder / "a.png"), "--csv", str(tmp_path / "old.csv")]) == 2
    assert "cannot be written: it is read-only" in capsys.readouterr().err


def test_classes_that_are_called_like_a_column_or_like_no_answer(saved, folder, tmp_path, capsys):
    names = ("error", "path", "unknown")
    path = checkpoint.save(tmp_path / "odd.pt", replace(checkpoint.load(saved), classes=names))
    table = tmp_path / "found.csv"
    command = ["predict", str(path), str(folder / "a.png"), "--csv", str(table), "--threshold", "0.999"]
    assert main(command) == 0
    [row] = rows(table)
    assert row["path"].endswith("a.png") and not row["error"]
    assert row["label"] == "unknown, none of the classes"
    shares = [float(row[name]) for name in ("class error", "class path", "unknown")]
    assert sum(shares) == pytest.approx(1, abs=1e-5) and max(shares) == float(row["confidence"])


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither")
@pytest.mark.parametrize("option", ["--csv", "--onnx"])
def test_a_pipe_is_refused_and_a_link_leads_to_the_file(saved, folder, tmp_path, capsys, option):
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "target.csv"
    os.mkfifo(pipe)
    command = ["predict", str(saved), str(folder / "a.png")] if option == "--csv" else ["export", str(saved)]
    assert main([*command, option, str(pipe)]) == 2
    assert f"{option} {pipe} cannot be written: it is a device or a pipe" in capsys.readouterr().err
    assert pipe.is_fifo()
    link.symlink_to(target)
    assert main([*command, option, str(link)]) == 0
    assert link.is_symlink() and target.stat().st_size > 50
    link.unlink()
    link.symlink_to(link)
    assert main([*command, option, str(link)]) == 0 and link.stat().st_size > 50, "a link to itself"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipe of that kind")
def test_a_picture_in_a_pipe_is_refused_with_what_helps(saved, folder, capsys):
    reader, writer = os.pipe()
    os.write(writer, (folder / "a.png").read_bytes()[:1000])
    os.close(writer)
    try:
        assert main(["predict", str(saved), f"/dev/fd/{reader}"]) == 2
    finally:
        os.close(reader)
    assert "is a pipe, and only files can be read; save it as a file" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows asks for a right to make links")
def test_a_folder_that_cannot_be_read_and_a_link_to_itself_stop_nothing(saved, folder, capsys, monkeypatch):
    (folder / "broken.png").unlink()
    (folder / "b" / "circle.png").symlink_to("circle.png")
    (folder / "closed").mkdir()
    scandir = os.scandir

    def closed(path):
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert main(["predict", str(saved), str(folder)]) == 2
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 4, "all that can be read"
    assert "closed: this folder cannot be read: Permission denied" in said.err
    assert "circle.png" in said.err and said.err.count("\n") == 2


@pytest.mark.parametrize(
    "arguments",
    [["predict", "CHECKPOINT", ""], ["advise", ""], ["train", "--out", ""], ["export", "x", "--onnx", ""]],
)
def test_an_empty_path_is_not_the_current_folder(saved, capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(saved) if word == "CHECKPOINT" else word for word in arguments])
    assert ended.value.code == 2
    assert "it is empty; give a path" in capsys.readouterr().err


def test_a_tilde_that_the_shell_left_is_the_home_folder(saved, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("USERPROFILE" if os.name == "nt" else "HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["predict", str(saved), str(folder / "a.png"), "--csv=~/found.csv"]) == 0
    assert (tmp_path / "found.csv").is_file() and not (tmp_path / "~").exists()
