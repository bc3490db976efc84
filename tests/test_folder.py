"""A folder of images becomes a set, once; damage, change and kill -9 included."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image

from resnet_course.common.files import STRAY_AGE
from resnet_course.data import folder, store
from resnet_course.data.folder import load_split
from resnet_course.data.reading import read_image, read_quietly
from resnet_course.data.rows import DataError


def noise(seed: int = 0, width: int = 8, height: int = 8) -> Image.Image:
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def make(directory: Path, *paths: str, width: int = 8, height: int = 8) -> Path:
    """A tree with a different image at each path."""
    for seed, path in enumerate(paths):
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        noise(seed, width, height).save(directory / path)
    return directory


@pytest.fixture
def tree(tmp_path):
    paths = [
        f"{split}/{name}/{i}.png"
        for split in ("train", "val", "test")
        for name in ("b", "a")
        for i in range(3)
    ]
    return make(tmp_path / "my pets", *paths)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def kept(home: Path, hidden: bool = False) -> list[str]:
    """The names of the files in the course's folder. Hidden ones are locks and temporary files."""
    return sorted(path.name for path in (home / "folders").iterdir() if path.name.startswith(".") == hidden)


def forbid_decoding(monkeypatch):
    monkeypatch.setattr(store, "read_quietly", lambda *a, **k: pytest.fail("decoded again"))


# What comes out


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_images_labels_classes_and_name(tree, home, split):
    pets = load_split(tree, split, home)
    assert pets.classes == ("a", "b")
    assert pets.name == "folder my pets"
    assert pets.labels.tolist() == [0, 0, 0, 1, 1, 1]
    expected = [np.asarray(Image.open(tree / split / name / f"{i}.png")) for name in "ab" for i in range(3)]
    assert np.array_equal(pets.images.permute(0, 2, 3, 1), expected)


def test_splits_that_are_not_there(tmp_path, home):
    tree = make(tmp_path / "t", "train/a/1.png", "train/b/1.png")
    assert load_split(tree, "val", home) is None
    assert load_split(tree, "test", home) is None


def test_class_folders_alone_are_train(tmp_path, home):
    tree = make(tmp_path / "t", "dog/1.png", "cat/1.png")
    assert load_split(tree, "train", home).classes == ("cat", "dog")
    assert load_split(tree, "test", home) is None


def test_a_test_split_alone_is_enough_even_with_one_class(tmp_path, home):
    tree = make(tmp_path / "t", "test/cat/1.png")
    assert load_split(tree, "test", home).classes == ("cat",)
    assert load_split(tree, "train", home) is None


def test_labels_of_test_index_the_classes_of_train(tmp_path, home):
    tree = make(
        tmp_path / "t", "train/a/1.png", "train/b/1.png", "train/c/1.png", "test/c/1.png", "test/b/1.png"
    )
    test = load_split(tree, "test", home)
    assert (test.classes, test.labels.tolist()) == (("a", "b", "c"), [1, 2])


def test_order_is_that_of_the_paths_and_nested_folders_count(tmp_path, home):
    paths = ["a-b/0.png", "a/deep/er/1.png", "a/Z.png", "a/0.png", "a/é ö.png"]
    tree = make(tmp_path / "t", *paths)
    pets = load_split(tree, "train", home)
    assert pets.classes == ("a", "a-b")
    expected = [paths.index(path) for path in sorted(paths)]
    assert [noise(i).getpixel((0, 0)) for i in expected] == [
        tuple(image[:, 0, 0].tolist()) for image in pets.images
    ]
    assert pets.labels.tolist() == [1, 0, 0, 0, 0]


def test_names_in_other_alphabets_and_spellings(tmp_path, home):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    tree = make(
        tmp_path / "데이터", "train/日本 語/ä ö.png", f"train/{decomposed}/1.png", f"test/{composed}/1.png"
    )
    assert load_split(tree, "train", home).classes == (composed, "日本 語")
    assert load_split(tree, "test", home).labels.tolist() == [0]
    assert load_split(tree, "test", home).name == "folder 데이터"


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG", "jpe", "webp", "bmp", "gif", "Tif", "tiff", "ppm"])
def test_suffixes(tmp_path, home, suffix):
    tree = make(tmp_path / "t", f"a/1.{suffix}", f"b/1.{suffix}")
    assert len(load_split(tree, "train", home)) == 2


def test_what_is_clearly_no_image_is_ignored_silently(tmp_path, home, capsys):
    tree = make(tmp_path / "t", "train/a/1.png", "train/b/1.png")
    for path in (
        "a/Thumbs.db",
        "a/.DS_Store",
        "a/notes.txt",
        "a/._1.png",
        "a/.hidden.jpg",
        "README",
        "a/png",
        "a/.png",
    ):
        (tree / "train" / path).write_bytes(b"?")
    for path in (".ipynb_checkpoints", "__MACOSX", "a/.ipynb_checkpoints"):
        make(tree / "train" / path, "1-checkpoint.png")
    pets = load_split(tree, "train", home)
    assert (len(pets), pets.classes) == (2, ("a", "b"))
    assert capsys.readouterr().err == ""


# The stored size


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(32, 32)] * 3, 32),
        ([(160, 160)] * 3, 160),
        ([(400, 300)] * 3, 256),
        ([(90, 50), (60, 70), (200, 100)], 60),
        ([(40, 40), (50, 50)], 40),
        ([(1, 1000)] * 2, 1),
    ],
)
def test_stored_size(tmp_path, home, sizes, expected):
    for i, (width, height) in enumerate(sizes):
        make(tmp_path / "t", f"{'ab'[i % 2]}/{i}.png", width=width, height=height)
    assert load_split(tmp_path / "t", "train", home).images.shape == (len(sizes), 3, expected, expected)


def test_all_splits_share_the_size_of_the_first(tmp_path, home):
    tree = make(tmp_path / "t", "train/a/1.png", "train/b/1.png", width=20, height=30)
    make(tree, "test/a/1.png", width=90, height=90)
    assert load_split(tree, "test", home).images.shape == (1, 3, 20, 20)
    alone = make(tmp_path / "alone", "test/a/1.png", width=90, height=90)
    assert load_split(alone, "test", home).images.shape == (1, 3, 90, 90)
    assert load_split(alone, "test", home, stored_size=20).images.shape == (1, 3, 20, 20)


def test_images_are_upright_and_whole_and_jpegs_are_shrunk_on_the_way(tmp_path, home, monkeypatch):
    asked = []

    def spy(path, at_least=0):
        asked.append(at_least)
        return read_quietly(path, at_least)

    monkeypatch.setattr(store, "read_quietly", spy)
    exif = Image.Exif()
    exif[0x0112] = 6
    x = np.tile(np.linspace(0, 255, 600, dtype=np.uint8), (400, 1))
    for name in ("a", "b"):
        (tmp_path / "t" / name).mkdir(parents=True)
        Image.fromarray(x).save(tmp_path / "t" / name / "1.jpg", exif=exif, quality=95)
    pets = load_split(tmp_path / "t", "train", home, shorter_side=40)
    (whole, _), square = pets.whole(torch.tensor([0, 1])), pets.images[0]
    assert pets.photographs and whole.shape == (3, 60, 40) and square.shape == (3, 40, 40)
    expected = np.asarray(read_image(tmp_path / "t/a/1.jpg").resize((40, 60), Image.Resampling.BILINEAR))
    assert np.abs(whole.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 2
    assert torch.equal(square, whole[:, 10:50])
    assert asked == [40, 40]
    assert whole[0, -1, 0] > whole[0, 0, 0] + 100  # bright is below, no longer to the right


def test_an_eps_does_not_decide_the_stored_size(tmp_path, home, monkeypatch):
    """Formats are known by the content: nothing is handed to Ghostscript, whatever a file is called."""
    tree = make(tmp_path / "t", "a/2.png", "b/1.png", width=40, height=40)
    for number in (0, 1):
        Image.new("RGB", (9, 9)).save(tree / f"a/{number}.png", "EPS")
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: pytest.fail("Ghostscript was asked"))
    assert load_split(tree, "train", home).images.shape == (2, 3, 40, 40)


# Images that cannot be read


def test_unreadable_images_are_named_at_every_start(tree, home, capsys):
    (tree / "train/a/1.png").write_bytes(b"")
    (tree / "train/b/0.heic").write_bytes(b"unknown")
    expected = (
        f"{tree}: 2 of 7 images could not be read and were left out: "
        "train/a/1.png (is empty), "
        "train/b/0.heic (not an image that can be read; PNG and JPEG always can)\n"
    )
    for _ in range(2):
        pets = load_split(tree, "train", home)
        assert pets.labels.tolist() == [0, 0, 1, 1, 1]
        assert np.array_equal(pets.images[1].permute(1, 2, 0), Image.open(tree / "train/a/2.png"))
        assert capsys.readouterr().err == expected


def test_at_most_five_are_named(tmp_path, home, capsys):
    tree = make(tmp_path / "t", "a/x.png", "b/x.png")
    for i in range(6):
        (tree / f"a/{i}.jpg").write_text("no", encoding="utf-8")
    load_split(tree, "train", home)
    said = capsys.readouterr().err
    assert said.startswith(f"{tree}: 6 of 8 images could not be read and were left out: a/0.jpg (")
    assert "a/4.jpg" in said
    assert "a/5.jpg" not in said
    assert said.endswith("), …\n")


def test_damage_of_many_kinds(tmp_path, home, capsys):
    tree = make(tmp_path / "t", "a/good.png", "b/good.png")
    data = (tree / "a/good.png").read_bytes()
    (tree / "a/cut.png").write_bytes(data[:120])
    (tree / "a/flipped.png").write_bytes(data[:50] + bytes(byte ^ 255 for byte in data[50:]))
    (tree / "a/text.jpg").write_text("text", encoding="utf-8")
    (tree / "a/folder.png").mkdir()
    assert load_split(tree, "train", home).labels.tolist() == [0, 1]
    assert "3 of 5 images" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_links(tmp_path, home, capsys):
    tree = make(tmp_path / "t", "a/1.png", "b/1.png")
    (tree / "a/broken.png").symlink_to(tmp_path / "nowhere.png")
    (tree / "a/round").symlink_to(tree, target_is_directory=True)
    (tree / "a/circle.png").symlink_to("circle.png")
    (tree / "c").symlink_to(tree / "b", target_is_directory=True)
    pets = load_split(tree, "train", home)
    assert (pets.labels.tolist(), pets.classes) == ([0, 1, 2], ("a", "b", "c"))
    said = capsys.readouterr().err
    assert "2 of 5 images could not be read and were left out: a/broken.png (there is no such file)" in said
    assert "a/circle.png (Too many levels of symbolic links)" in said or sys.platform != "linux"


# Errors


def refused(directory: Path, home: Path, split: str = "train") -> str:
    with pytest.raises(DataError) as caught:
        load_split(directory, split, home)
    assert "\n" not in str(caught.value)
    return str(caught.value)


LAYOUT = "the layout is DIR/train/<class>/<images>, optionally DIR/val/... and DIR/test/..."


def test_no_directory(tmp_path, home):
    assert refused(tmp_path / "t", home) == f"{tmp_path / 't'} does not exist; {LAYOUT}"
    (tmp_path / "t").write_text("", encoding="utf-8")
    assert refused(tmp_path / "t", home).startswith(f"{tmp_path / 't'} is a file, not a folder; ")


def test_no_class_folder(tmp_path, home):
    (tmp_path / "t" / "train").mkdir(parents=True)
    train = tmp_path / "t" / "train"
    assert refused(tmp_path / "t", home) == f"{train} has no class folders, and no images either; {LAYOUT}"
    make(train, "1.png", "2.jpg")
    assert refused(tmp_path / "t", home) == (
        f"{train} has no class folders, and 2 images that belong to no class; {LAYOUT}"
    )
    assert refused(train, home) == (
        f"{train} has no class folders, and 2 images that belong to no class; {LAYOUT}"
    )


def test_one_class(tmp_path, home):
    tree = make(tmp_path / "t", "train/cat/1.png", "test/cat/1.png")
    message = f"{tree / 'train'} has only one class, cat; it needs at least two: {LAYOUT}"
    assert refused(tree, home) == refused(tree, home, "test") == message


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_empty_class(tree, home, split, monkeypatch):
    (tree / split / "a/0.png").rename(tree / split / "b/9.png")
    for path in (tree / split / "a").iterdir():
        path.write_text("no image", encoding="utf-8")
        path.rename(path.with_suffix(".txt"))
    forbid_decoding(monkeypatch)  # known without
    assert refused(tree, home, split) == (
        f"the class a in {tree / split} has no image that can be read; "
        "add PNG or JPEG files or remove its folder"
    )


@pytest.mark.parametrize("damaged", ["a", "ab"])
def test_a_class_of_which_nothing_can_be_read_is_empty(tree, home, damaged, capsys):
    for name in damaged:
        for path in (tree / "train" / name).iterdir():
            path.write_bytes(b"")
    for _ in range(2):
        assert refused(tree, home).startswith(
            f"the class a in {tree / 'train'} has no image that can be read"
        )
        assert f"{3 * len(damaged)} of 6 images could not be read" in capsys.readouterr().err


def test_a_class_that_train_does_not_have(tree, home):
    make(tree, "test/zebra/1.png")
    assert (
        refused(tree, home, "test")
        == f"{tree / 'test'} has the class zebra, which the split train does not have"
    )


def test_a_class_may_be_called_valid(tmp_path, home):
    tree = make(tmp_path / "t", "valid/1.png", "broken/1.png")
    assert load_split(tree, "train", home).classes == ("broken", "valid")


def test_a_folder_that_may_not_be_listed(tree, home, monkeypatch):
    allowed = folder.os.scandir

    def denied(path):
        if Path(path) == tree / "train" / "a":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return allowed(path)  # pathlib itself uses it from Python 3.13 on

    monkeypatch.setattr(folder.os, "scandir", denied)
    assert refused(tree, home) == f"{tree / 'train' / 'a'} cannot be read: Permission denied"


# The kept array


def test_the_second_start_decodes_nothing_and_gives_the_same(tree, home, monkeypatch):
    first = load_split(tree, "train", home)
    assert [name.rpartition(".")[2] for name in kept(home)] == ["json", "rgb"]
    forbid_decoding(monkeypatch)
    second = load_split(tree, "train", home)
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.labels, second.labels)


def test_writing_into_the_images_changes_no_file(tree, home):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of memory that may not be written to
        pets = load_split(tree, "train", home)
    before = pets.images.clone()
    pets.images.zero_()
    assert torch.equal(load_split(tree, "train", home).images, before)


def touch(tree: Path) -> None:
    state = (tree / "train/a/0.png").stat()
    os.utime(tree / "train/a/0.png", ns=(state.st_atime_ns, state.st_mtime_ns + 10**10))


def lengthen(tree: Path) -> None:
    state = (tree / "train/a/0.png").stat()
    with (tree / "train/a/0.png").open("ab") as file:
        file.write(b"?")
    os.utime(tree / "train/a/0.png", ns=(state.st_atime_ns, state.st_mtime_ns))


def rename(tree: Path) -> None:
    (tree / "train/a/0.png").rename(tree / "train/a/9.png")


def move_to_another_class(tree: Path) -> None:
    (tree / "train/a/0.png").rename(tree / "train/b/9.png")


def remove(tree: Path) -> None:
    (tree / "train/a/0.png").unlink()


def add(tree: Path) -> None:
    make(tree, "train/a/9.png")


@pytest.mark.parametrize("change", [touch, lengthen, rename, move_to_another_class, remove, add])
def test_any_change_decodes_again_and_removes_the_stale_array(tree, home, change):
    before = kept_after(tree, home)
    change(tree)
    after = kept_after(tree, home)
    assert len(before) == len(after) == 2
    assert not set(before) & set(after)
    fresh = load_split(tree, "train", home / "another")
    again = load_split(tree, "train", home)
    assert torch.equal(again.images, fresh.images)
    assert torch.equal(again.labels, fresh.labels)
    assert (again.paths, again.digests) == (fresh.paths, fresh.digests)


def test_of_a_folder_that_grew_only_the_new_image_is_decoded(tree, home, monkeypatch):
    load_split(tree, "train", home)
    make(tree, "train/a/8.png", "train/a/9.png", width=20)
    (tree / "train/a/0.png").unlink()
    decoded = []

    def spy(path, at_least=0):
        decoded.append(path.name)
        return read_quietly(path, at_least)

    monkeypatch.setattr(store, "read_quietly", spy)
    again = load_split(tree, "train", home)
    assert sorted(decoded) == ["8.png", "9.png"]
    fresh = load_split(tree, "train", home / "another")
    assert torch.equal(again.images, fresh.images) and again.digests == fresh.digests


def kept_after(tree: Path, home: Path) -> list[str]:
    load_split(tree, "train", home)
    return kept(home)


def test_splits_other_sizes_and_other_trees_keep_their_own(tree, tmp_path, home, monkeypatch):
    other = make(tmp_path / "other", "a/1.png", "b/1.png")
    requests = [(tree, "train", 256), (tree, "test", 256), (tree, "train", 4), (other, "train", 256)]
    for directory, split, side in requests:
        load_split(directory, split, home, shorter_side=side)
    assert len(kept(home)) == 2 * len(requests)
    forbid_decoding(monkeypatch)
    for directory, split, side in requests:
        load_split(directory, split, home, shorter_side=side)


def test_a_new_decoder_decodes_again(tree, home, monkeypatch):
    before = kept_after(tree, home)
    monkeypatch.setattr(store, "DECODER", store.DECODER + 1)
    assert len(kept_after(tree, home)) == 2 * len(before)


@pytest.mark.parametrize("damage", ["array cut", "array gone", "note cut", "note gone"])
def test_a_damaged_cache_is_made_again(tree, home, damage):
    expected = load_split(tree, "train", home).images.clone()
    file = next((home / "folders").glob("*.rgb" if "array" in damage else "*.json"))
    if "gone" in damage:
        file.unlink()
    else:
        data = file.read_bytes()
        file.unlink()  # not written to in place: it is mapped
        file.write_bytes(data[: len(data) // 2])
    assert torch.equal(load_split(tree, "train", home).images, expected)
    assert len(kept(home)) == 2


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda note: note | {"files": [[*file, 0] for file in note["files"]]},
        lambda note: note | {"shapes": [8 for _ in note["shapes"]]},
        lambda note: {key: value for key, value in note.items() if key != "digests"},
        lambda note: [*note],
    ],
    ids=["a column more", "other shapes", "a key less", "a list"],
)
def test_a_cache_of_another_version_is_made_again(tree, home, change, earlier):
    expected = load_split(tree, "train", home).images.clone()
    note = next((home / "folders").glob("*.json"))
    note.write_text(json.dumps(change(json.loads(note.read_text(encoding="utf-8")))), encoding="utf-8")
    if earlier:  # then it is the note of an earlier state of the folder
        os.utime(tree / "train" / "a" / "1.png", (1, 1))
    assert torch.equal(load_split(tree, "train", home).images, expected)
    assert len(kept(home)) == 2


def test_an_interrupt_leaves_nothing(tree, home, monkeypatch):
    def interrupted(path, at_least=0):
        if path.name == "1.png":
            raise KeyboardInterrupt
        return read_quietly(path, at_least)

    monkeypatch.setattr(store, "read_quietly", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_split(tree, "train", home)
    assert kept(home) == []
    assert not [name for name in kept(home, hidden=True) if not name.endswith(".lock")]


KILLED = """
import os, sys
from pathlib import Path
from resnet_course.data import folder, store
read_quietly = store.read_quietly
def read(path, at_least=0):
    if path.name == "2.png":
        os._exit(9)  # as abrupt as a kill
    return read_quietly(path, at_least)
store.read_quietly = read
folder.load_split(Path(sys.argv[1]), "train", Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_kill_leaves_nothing_that_loads_wrongly(tree, home):  # "note gone" is a kill between the two files
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tree), str(home)], check=False)
    assert killed.returncode == 9
    (temporary,) = (home / "folders").glob(".*.tmp")
    assert kept(home) == []
    pets = load_split(tree, "train", home)
    assert torch.equal(pets.images, load_split(tree, "train", home / "another").images)
    os.utime(temporary, (time.time() - 2 * STRAY_AGE,) * 2)
    make(tree, "train/a/new.png")
    load_split(tree, "train", home)
    assert len(kept(home)) == 2
    assert not temporary.exists(), "it was removed with what an earlier state left"


def test_a_file_of_another_process_that_writes_now_is_left_alone(tree, home):
    load_split(tree, "train", home)
    array = next((home / "folders").glob("*.rgb"))
    writing = array.with_name(f".{array.name}.1.tmp")
    writing.write_bytes(b"")
    make(tree, "train/a/new.png")
    load_split(tree, "train", home)
    assert writing.exists()


def test_of_four_runs_at_once_one_decodes_and_all_have_the_images(tree, home, monkeypatch):
    decoded, ready = [], threading.Barrier(4)

    def slow(path, at_least=0):
        decoded.append(path.name)
        time.sleep(0.02)
        return read_quietly(path, at_least)

    def run(number):
        ready.wait()
        return load_split(tree, "train", home, stored_size=8)

    monkeypatch.setattr(store, "read_quietly", slow)
    with ThreadPoolExecutor(4) as pool:
        sets = list(pool.map(run, range(4)))
    assert len(decoded) == 6, "each of the six images was decoded once"
    monkeypatch.undo()
    expected = load_split(tree, "train", home / "another", stored_size=8).images
    assert all(torch.equal(each.images, expected) for each in sets)


def test_a_home_that_cannot_be_written_costs_one_notice(tree, home, capsys):
    home.write_text("a file where a folder should be", encoding="utf-8")
    sets = [load_split(tree, split, home) for split in ("train", "val", "test")]
    said = capsys.readouterr().err
    assert said.startswith(f"Decoded images cannot be kept in {home / 'folders'} (")
    assert said.endswith("); they are decoded again at every start.\n")
    assert said.count("\n") == 1
    expected = np.asarray(Image.open(tree / "train/a/0.png"))
    assert np.array_equal(sets[0].images[0].permute(1, 2, 0), expected)
    sets[0].images.zero_()


def test_a_full_disk_costs_a_notice_and_leaves_nothing(tree, home, capsys, monkeypatch):
    really_decode, calls = store._decode_all, []

    def full(directory, files, side, into, earlier):
        calls.append(into)
        if len(calls) == 1:
            into.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return really_decode(directory, files, side, into, earlier)

    monkeypatch.setattr(store, "_decode_all", full)
    (tree / "train/a/0.png").write_bytes(b"")
    pets = load_split(tree, "train", home)
    assert pets.labels.tolist() == [0, 0, 1, 1, 1]
    assert f"cannot be kept in {home / 'folders'} (No space left on device)" in capsys.readouterr().err
    assert kept(home) == []
    assert not [name for name in kept(home, hidden=True) if not name.endswith(".lock")]


def test_the_note_is_readable(tree, home):
    (tree / "train/a/1.png").write_bytes(b"")
    load_split(tree, "train", home)
    note = json.loads(next((home / "folders").glob("*.json")).read_text(encoding="utf-8"))
    assert note["folder"] == str(tree.resolve())
    assert list(note["unreadable"]) == ["train/a/1.png"]


def test_a_relative_directory_and_an_absolute_one_share_a_cache(tree, home, monkeypatch):
    load_split(tree, "train", home)
    monkeypatch.chdir(tree)
    forbid_decoding(monkeypatch)
    assert load_split(Path(), "train", home).name == "folder my pets"
