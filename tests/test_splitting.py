"""A picture's side is decided by its bytes: it stays there whatever is added, removed, renamed or copied."""

import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from parameters import some_are_slow
from PIL import Image

from resnet_course.__main__ import main
from resnet_course.data import load, load_split
from resnet_course.data.groups import group_function
from resnet_course.data.rows import DataError
from resnet_course.settings import Settings
from resnet_course.training import checkpoint


def photograph(path: Path, seed: int) -> Path:
    """A small picture, of its own for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = np.random.default_rng(seed).integers(0, 256, (1, 1, 3)).repeat(9, 0).repeat(12, 1)
    Image.fromarray(colour.astype(np.uint8)).save(path)
    return path


def make(directory: Path, counts: dict[str, int], start: int = 0) -> Path:
    for number, (name, count) in enumerate(counts.items()):
        for seed in range(count):
            photograph(directory / name / f"{start + seed}.png", 1000 * number + start + seed)
    return directory


def sides(directory: Path, home: Path, **changes) -> dict[str, str]:
    """The side of every picture, by its path in the directory."""
    splits = load(Settings(data=f"folder:{directory}", home=home, **changes))
    parts = {name: getattr(splits, name) for name in ("train", "val", "test")}
    return {
        Path(path).relative_to(directory).as_posix(): n for n, part in parts.items() for path in part.paths
    }


def test_a_picture_stays_on_its_side_whatever_is_added_or_removed(tmp_path):
    tree, home = make(tmp_path / "t", {"cat": 60, "dog": 60}), tmp_path / "home"
    before = sides(tree, home)
    assert len(before) == 120 and 8 <= sum(side == "test" for side in before.values()) <= 42
    make(tree, {"cat": 30, "dog": 5}, start=60)
    grown = sides(tree, home)
    assert {path: grown[path] for path in before} == before and len(grown) == 155
    for number in range(0, 60, 2):
        (tree / "cat" / f"{number}.png").unlink()
    shrunk = sides(tree, home)
    assert shrunk == {path: grown[path] for path in shrunk} and len(shrunk) == 125
    assert sides(tree, home, seed=7) == shrunk, "the seed decides nothing here"
    make(tree, {"cow": 60})
    assert {path: side for path, side in sides(tree, home).items() if path in shrunk} == shrunk


def test_copies_stay_together_under_any_name_and_in_any_class(tmp_path):
    tree, home = make(tmp_path / "t", {"cat": 40, "dog": 40}), tmp_path / "home"
    before = sides(tree, home)
    for number in range(40):
        (tree / "cat" / "deep").mkdir(exist_ok=True)
        shutil.copy(tree / "cat" / f"{number}.png", tree / "cat" / "deep" / f"copy of {number}.jpg")
    shutil.copy(tree / "cat" / "0.png", tree / "dog" / "a cat.png")
    after = sides(tree, home)
    for number in range(40):
        assert (
            after[f"cat/deep/copy of {number}.jpg"]
            == after[f"cat/{number}.png"]
            == before[f"cat/{number}.png"]
        )
    assert after["dog/a cat.png"] == after["cat/0.png"]
    (tree / "cat" / "1.png").rename(tree / "cat" / "renamed.png")
    assert sides(tree, home)["cat/renamed.png"] == before["cat/1.png"]


@pytest.mark.parametrize("count", [3, 4, 6])
def test_every_class_is_on_every_side_and_the_smallest_digests_fill_them(tmp_path, count):
    tree = make(tmp_path / "t", {f"class {n}": count for n in range(30)})
    splits = load(Settings(data=f"folder:{tree}", home=tmp_path / "home"))
    parts = (splits.train, splits.val, splits.test)
    assert all(part.labels.unique().tolist() == list(range(30)) for part in parts)
    for label in range(30):
        test = [d for d, own in zip(splits.test.digests, splits.test.labels, strict=True) if own == label]
        others = [d for p in parts[:2] for d, own in zip(p.digests, p.labels, strict=True) if own == label]
        by_share = [digest for digest in (*test, *others) if int(digest[:13], 16) / 16**13 < 0.2]
        if not by_share:
            assert test == [min((*test, *others))]


def test_with_a_test_folder_only_validation_is_set_aside(tmp_path):
    tree = make(tmp_path / "t" / "train", {"cat": 40, "dog": 40}).parent
    make(tree / "test", {"cat": 5, "dog": 5}, start=100)
    found = sides(tree, tmp_path / "home")
    assert {side for path, side in found.items() if path.startswith("test")} == {"test"}
    assert {side for path, side in found.items() if path.startswith("train")} == {"train", "val"}


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (
            {"cat": 9, "dog": 2},
            "the class dog has 2 different images; every class needs at least 3, one for each",
        ),
        (
            {"cat": 1, "dog": 9},
            "the class cat has 1 different images; every class needs at least 3, one for each",
        ),
    ],
)
def test_a_class_with_two_pictures_is_named(tmp_path, counts, message):
    tree = make(tmp_path / "t", counts)
    with pytest.raises(DataError, match=message):
        load(Settings(data=f"folder:{tree}", home=tmp_path / "home"))


def test_copies_do_not_make_a_class_large_enough(tmp_path):
    tree = make(tmp_path / "t", {"cat": 9, "dog": 2})
    for number in range(5):
        shutil.copy(tree / "dog" / "0.png", tree / "dog" / f"copy {number}.png")
    with pytest.raises(DataError, match="the class dog has 2 different images"):
        load(Settings(data=f"folder:{tree}", home=tmp_path / "home"))


def test_classes_of_the_same_pictures_cannot_be_split(tmp_path):
    tree = make(tmp_path / "t", {"cat": 2})
    photograph(tree / "cat" / "own.png", 77)
    shutil.copytree(tree / "cat", tree / "dog")
    found = sides(tree, tmp_path / "home")
    assert sorted(found[f"dog/{name}.png"] for name in ("0", "1", "own")) == ["test", "train", "val"]


# Groups


def grouped(directory: Path) -> Path:
    """Six objects of each class, ten pictures of each."""
    for number, name in enumerate(("cat", "dog")):
        for thing in range(6):
            for view in range(10):
                path = directory / name / f"thing{number}{thing}_{view}.png"
                photograph(path, 10_000 * number + 100 * thing + view)
    return directory


def groups_are_whole(found: dict[str, str]) -> bool:
    by_group = {}
    for path, side in found.items():
        by_group.setdefault(path.rpartition("_")[0], set()).add(side)
    return all(len(own) == 1 for own in by_group.values())


def test_groups_are_never_split(tmp_path):
    tree, home = grouped(tmp_path / "t"), tmp_path / "home"
    assert not groups_are_whole(sides(tree, home))
    by_pattern = sides(tree, home, group="([^/_]+)_[^/]*$")
    assert groups_are_whole(by_pattern) and set(by_pattern.values()) == {"train", "val", "test"}
    table = tmp_path / "photos.csv"
    for rows in ("file;object\n{}", "\ufefffile,object\r\n{}"):
        delimiter = ";" if ";" in rows else ","
        lines = [f"{path}{delimiter}{Path(path).name.partition('_')[0]}" for path in by_pattern]
        table.write_text(rows.format("\n".join(lines)), encoding="utf-8")
        assert sides(tree, home, group=f"{table}:object") == by_pattern
    splits = load(
        Settings(data=f"folder:{tree}", home=home),
        group=lambda path: path.rpartition("/")[2].partition("_")[0],
    )
    assert {Path(p).relative_to(tree).as_posix() for p in splits.test.paths} == {
        path for path, side in by_pattern.items() if side == "test"
    }
    photograph(tree / "cat" / "thing00_99.png", 99)
    grown = sides(tree, home, group="([^/_]+)_[^/]*$")
    assert {path: grown[path] for path in by_pattern} == by_pattern
    assert grown["cat/thing00_99.png"] == grown["cat/thing00_0.png"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "thing",
            "which has no brackets; give a regular expression with one group in brackets, or TABLE.csv:COL",
        ),
        ("(thing", "no regular expression"),
        ("(nothing)", r"finds nothing in the path cat/thing00_0\.png"),
        ("missing.csv:object", "missing.csv cannot be read: No such file"),
        (
            "{t}:session",
            "has the columns file, object; it needs 'session' and one for the images, called one of: path",
        ),
        ("{t}:object", "has no row for the image cat/thing00_1.png, or rows with different groups"),
    ],
)
def test_a_group_that_cannot_be_is_explained(tmp_path, setting, message):
    tree, table = grouped(tmp_path / "t"), tmp_path / "t.csv"
    table.write_text("file,object\nthing00_0.png,a\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        sides(tree, tmp_path / "home", group=setting.replace("{t}", str(table)))


def test_names_that_several_folders_have_are_told_apart_in_a_table(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("path,day\ncat/1.png,monday\ndog/1.png,friday\n", encoding="utf-8")
    group = group_function(f"{table}:day")
    assert (group("train/cat/1.png"), group("dog/1.png")) == ("monday", "friday")
    with pytest.raises(DataError, match="rows with different groups"):
        group("1.png")


def test_a_table_may_spell_accents_in_another_way(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("path,day\ncafé/1.png,monday\n", encoding="utf-8")
    assert group_function(f"{table}:day")("cafe\u0301/1.png") == "monday"


@pytest.mark.parametrize(
    ("text", "setting", "message"),
    [
        (
            "My photos\nfile,object\nthing00_0.png,a\n",
            "{t}:object",
            "has the columns My photos; it needs 'object'",
        ),
        ("file;object;\nthing00_0.png;a;;b\n", "{t}:day", "has the columns file, object, ; it needs 'day'"),
        ("file,object\n", "{t}:day", "has the columns file, object; it needs 'day'"),
        ('file,object\n"' + 200_000 * "x", "{t}:object", "cannot be read: field larger than"),
        ("", "~nobody-is-called-so/t.csv:object", "cannot be read: No such file"),
        ("", "(a{99999999999999999999})", "no regular expression"),
    ],
    ids=["title", "long row", "header only", "open quote", "home of nobody", "overflow"],
)
def test_a_table_that_is_not_as_it_should_be_is_explained(tmp_path, text, setting, message):
    table = tmp_path / "t.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        group_function(setting.replace("{t}", str(table)))


def test_a_table_in_another_encoding_is_told_and_empty_first_lines_do_no_harm(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("\n\nfile,object\na.png,x\n", encoding="utf-16")
    with pytest.raises(DataError, match="is no text in UTF-8; save it as CSV in UTF-8"):
        group_function(f"{table}:object")
    table.write_text("\n\nfile,object\na.png,x\n", encoding="utf-8")
    assert group_function(f"{table}:object")("a.png") == "x"


def test_a_group_is_not_on_two_sides_of_splits_that_the_folder_brings(tmp_path, capsys):
    tree, home = tmp_path / "t", tmp_path / "home"
    seeds = iter(range(100))
    for split, things in (("train", "abcd"), ("val", "def"), ("test", "afg")):
        for name, thing, view in itertools.product(("cat", "dog"), things, range(2)):
            photograph(tree / split / name / f"{thing}_{view}.png", next(seeds))
    before = sides(tree, home)
    found = sides(tree, home, group="([^/_]+)_[^/]*$")
    said = capsys.readouterr().err
    assert set(before) - set(found) == {
        path
        for path in before
        if path.startswith(("val/", "test/")) and path[-7] in "ad" + "f" * (path[0] == "t")
    }
    assert "4 of 12 images of val belong to groups of an earlier split" in said
    assert "8 of 12 images of test belong to groups of an earlier split" in said
    settings = Settings(data=f"folder:{tree}", home=home, group="([^/_]+)_[^/]*$")
    assert {Path(path).name[0] for path in load_split(settings, "test").paths} == {"g"}
    with pytest.raises(DataError, match="so none is left; divide the folder by groups"):
        sides(tree, home, group="/(cat|dog)/")
    with pytest.raises(DataError, match="no regular expression"):
        sides(tree, home, group="([")
    (tree / "test" / "cat" / "h1.png").write_bytes((tree / "test" / "cat" / "g_0.png").read_bytes() + b"1")
    assert "test/cat/h1.png" in sides(tree, home, group="([^/_]+)_[^/]*$")
    assert "1 of 13 images of test have no group; they stay" in capsys.readouterr().err


def test_folders_that_changed_their_names_are_read_anew(tmp_path):
    tree, home = tmp_path / "t", tmp_path / "home"
    for name, value in (("cat", 0), ("dog", 255)):
        for number in range(12):
            path = tree / name / f"{number}.bmp"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (9, 9), (value, number, 0)).save(path)
            os.utime(path, (1_000_000_000,) * 2)
    settings = Settings(data=f"folder:{tree}", home=home)

    def red_of_cats():
        train = load(settings).train
        return train.images[train.labels == train.classes.index("cat")][:, 0].float().mean().item()

    assert red_of_cats() == 0
    (tree / "cat").rename(tree / "x")
    (tree / "dog").rename(tree / "cat")
    (tree / "x").rename(tree / "dog")
    if os.name != "nt":
        assert red_of_cats() == 255, "size, time and name of every file are the same"


# What a network was trained on is never tested


def train(tree: Path, out: Path, *more: str) -> int:
    return main(["train", "--recipe", "reduced", "--data", f"folder:{tree}", "--weights", "builtin",
                 "--epochs", "1", "--out", str(out), *more])  # fmt: skip


@pytest.mark.slow
def test_evaluate_leaves_out_what_was_trained_on_or_chosen_by(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "home"))
    tree = make(tmp_path / "t", {"cat": 30, "dog": 30})
    before = sides(tree, tmp_path / "home")
    assert train(tree, tmp_path / "out") == 0
    capsys.readouterr()

    def evaluate(directory: Path, *more: str) -> dict:
        assert (
            main(
                [
                    "evaluate",
                    str(tmp_path / "out" / "best.pt"),
                    "--data",
                    f"folder:{directory}",
                    "--json",
                    *more,
                ]
            )
            == 0
        )
        return json.loads(capsys.readouterr().out)

    tests = [path for path, side in before.items() if side == "test"]
    judged = [evaluate(tree, *more) for more in ((), ("--split", "test"), ("--test-share", "0.2"))]
    assert [(found["n"], found["left_out"]) for found in judged] == [
        (len(tests), 60 - len(tests)),  # of a folder without splits what the network has not seen
        (len(tests), 0),
        (len(tests), 0),
    ]
    assert len({found["accuracy"] for found in judged}) == 1
    # A test folder of other names, with five that it knows, two of them under another class's name.
    known = [path for path, side in before.items() if side == "train"][:3] + [
        path for path, side in before.items() if side == "val"
    ][:2]
    for number, path in enumerate([*tests, *known]):
        place = tmp_path / "new" / "test" / path.partition("/")[0] / f"x{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tree / path, place)
    found = evaluate(tmp_path / "new")
    assert (found["n"], found["left_out"]) == (len(tests), 5)
    main(["evaluate", str(tmp_path / "out" / "best.pt"), "--data", f"folder:{tmp_path / 'new'}"])
    assert f"trained on or chosen by: 5, left out of {len(tests) + 5}." in capsys.readouterr().err
    main(["evaluate", str(tmp_path / "out" / "best.pt"), "--data", f"folder:{tree}", "--split", "val"])
    assert "among them, so this is no test" in capsys.readouterr().err
    for path in (tmp_path / "new" / "test").rglob("x*.png"):
        if int(path.stem[1:]) < len(tests):
            path.unlink()
    assert main(["evaluate", str(tmp_path / "out" / "best.pt"), "--data", f"folder:{tmp_path / 'new'}"]) == 2


@pytest.mark.slow
def test_of_a_folder_without_splits_all_that_is_new_is_judged(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "home"))
    tree = make(tmp_path / "t", {"cat": 20, "dog": 20})
    others = make(tmp_path / "others", {"cat": 7, "dog": 8}, start=100)
    shutil.copy(next((tree / "cat").iterdir()), others / "cat" / "known.png")
    assert train(tree, tmp_path / "out") == 0
    capsys.readouterr()
    arguments = [str(tmp_path / "out" / "best.pt"), "--data", f"folder:{others}"]
    assert main(["evaluate", *arguments]) == 0
    said = capsys.readouterr()
    assert "what was not seen before, 15 images" in said.out and "set aside" not in said.err
    assert main(["compare", arguments[0], *arguments]) == 0
    assert "what was not seen before, 15 images" in capsys.readouterr().out
    assert main(["evaluate", *arguments, "--group", r"(\w)\.png"]) == 0, (
        "the rest of a known group is no test"
    )
    assert "test split" in capsys.readouterr().out


@pytest.mark.slow
def test_a_folder_of_one_class_and_a_folder_with_val_alone_are_judged(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "home"))
    assert train(make(tmp_path / "t", {"cat": 20, "dog": 20}), tmp_path / "out") == 0
    one = make(tmp_path / "one", {"cat": 7}, start=100)
    alone = make(tmp_path / "alone" / "val", {"cat": 7, "dog": 5}, start=100).parent
    for tree, said in ((one, "7 images"), (alone, "12 images")):
        capsys.readouterr()
        assert main(["evaluate", str(tmp_path / "out" / "best.pt"), "--data", f"folder:{tree}"]) == 0
        assert said in capsys.readouterr().out
    assert train(one, tmp_path / "other") == 2 and "only one class, cat" in capsys.readouterr().err
    test = ["--split", "test"]
    assert main(["evaluate", str(tmp_path / "out" / "best.pt"), "--data", f"folder:{alone}", *test]) == 2
    assert "has no test split" in capsys.readouterr().err


def move_a_picture(tree: Path) -> None:
    path = next(path for path, side in sides(tree, tree.parent / "home").items() if side == "train")
    (tree / path).rename(tree / ("dog" if path.startswith("cat") else "cat") / "moved.png")


def exchange_a_picture(tree: Path) -> None:
    found = sides(tree, tree.parent / "home")
    path = next(path for path, side in found.items() if side == "train")
    for seed in range(5_000, 5_100):  # until one falls on the same side
        photograph(tree / path, seed)
        if sides(tree, tree.parent / "home").get(path) == "train":
            return


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", some_are_slow([move_a_picture, exchange_a_picture], quick=[move_a_picture])
)
def test_resume_refuses_other_labels_and_other_pictures(tmp_path, capsys, monkeypatch, change):
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "home"))
    tree = make(tmp_path / "t", {"cat": 12, "dog": 12})
    assert train(tree, tmp_path / "out") == 0
    assert train(tree, tmp_path / "out", "--resume") == 0, "nothing has changed"
    capsys.readouterr()
    change(tree)
    assert train(tree, tmp_path / "out", "--resume") == 2
    assert "other images, or on the same with other labels; give the same data, or" in capsys.readouterr().err


@pytest.mark.slow
def test_resume_names_the_settings_that_differ(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "home"))
    tree = make(tmp_path / "t", {"cat": 12, "dog": 12})
    assert train(tree, tmp_path / "out") == 0
    capsys.readouterr()
    assert train(tree, tmp_path / "out", "--resume", "--seed", "5") == 2
    assert "cannot be resumed: seed was 0, and now it is 5; give the same settings" in capsys.readouterr().err


def test_a_table_may_say_more_of_the_path_than_the_folder_or_less(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text(
        "path,day\nimages/cat/1.png,monday\nimages/dog/1.png,friday\n2.png,sunday\n", encoding="utf-8"
    )
    group = group_function(f"{table}:day")
    assert [group(path) for path in ("cat/1.png", "dog/1.png", "train/dog/1.png")] == [
        "monday",
        "friday",
        "friday",
    ]
    assert group("cat/2.png") == "sunday", "the table says less"
    with pytest.raises(DataError, match=r"no row for the image cow/1\.png"):
        group("cow/1.png")


def test_a_name_alone_is_no_match_where_both_say_the_folder(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("path,day\ndog/1.png,friday\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"no row for the image cat/1\.png"):
        group_function(f"{table}:day")("cat/1.png")


def test_rows_that_are_cut_short_are_told(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("session,file\nA,1.png\nB\n", encoding="utf-8")
    assert group_function(f"{table}:session")("1.png") == "A"
    table.write_text("file,session\n1.png,A\n2.png\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"has no session for the image 2\.png"):
        group_function(f"{table}:session")


@pytest.mark.slow
def test_a_share_that_was_asked_for_stays_a_test_even_for_few(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "home"))
    tree = make(tmp_path / "t", {"cat": 40, "dog": 40})
    common = ["train", "--recipe", "few", "--data", f"folder:{tree}", "--weights", "builtin", "--epochs", "1"]
    for share, learned in ((["--test-share", "0.3"], False), ([], True)):
        out = tmp_path / f"out {learned}"
        assert main([*common, "--out", str(out), *share]) == 0
        before = sides(tree, tmp_path / "home", **({"test_share": 0.3} if share else {}))
        tests = sum(side == "test" for side in before.values())
        digests = checkpoint.load(out / "best.pt").digests
        assert tests > 5 and len(digests) == 80 - (0 if learned else tests)
