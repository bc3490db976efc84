"""Folders as people have them: which are splits, which are classes, what is passed over, what is named."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_course.data.folder import load_split
from resnet_course.data.layout import LAYOUT, class_name, find_splits
from resnet_course.data.rows import DataError
from resnet_course.data.sources import load_split as load_one
from resnet_course.settings import Settings


def encoded(seed: int = 0, file_format: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, file_format)
    return file.getvalue()


def make(directory: Path, *paths: str) -> Path:
    """A tree with a different PNG at each path, whatever its suffix; what ends with / is an empty folder."""
    for seed, path in enumerate(paths):
        place = directory / path
        if path.endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(seed))
    return directory


def splits_of(directory: Path) -> dict[str, list[str]]:
    """The classes of each split, as one reads them."""
    return {split: sorted(classes) for split, classes in find_splits(directory).items()}


BOTH = ["cat", "dog"]


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("training_set", None, "test_set"),
        ("Training", None, "Testing"),
        ("TRAIN", "VALID", "TEST"),
        ("train_images", "validation_images", "test_images"),
        ("trainset", "valset", "testset"),
        ("train-data", "dev", "test data"),
        ("Train", "validate", None),
        ("training", "validation set", "testing"),
        ("train_split", "val_split", "test_split"),
    ],
)
@pytest.mark.parametrize("below", [False, True])
def test_splits_go_by_many_names_above_the_classes_and_below_them(tmp_path, train, val, test, below):
    names = {"train": train, "val": val, "test": test}
    paths = {
        split: [f"{name}/{kind}/1.png" if below else f"{kind}/{name}/1.png" for kind in BOTH]
        for split, name in names.items()
        if name
    }
    tree = make(tmp_path / "t", *(path for some in paths.values() for path in some))
    assert splits_of(tree) == dict.fromkeys(paths, BOTH)
    for split, some in paths.items():
        found = load_split(tree, split, tmp_path / "home")
        assert sorted(found.paths) == sorted(str(tree / path) for path in some)
        assert [BOTH[label] for label in found.labels] == [
            next(kind for kind in BOTH if f"/{kind}/" in f"/{path}") for path in sorted(some)
        ]


@pytest.mark.parametrize(
    "names",
    [
        ("valid", "invalid"),
        ("test tube", "beaker"),
        ("train", "plane", "car"),
        ("test strip", "test tube"),
        ("val", "mont", "col"),
        ("training shoe", "sandal"),
        ("testudo", "trainer"),
    ],
)
def test_classes_may_have_such_names(tmp_path, names):
    tree = make(tmp_path / "t", *(f"{name}/1.png" for name in names))
    assert splits_of(tree) == {"train": sorted(names)}


def test_a_class_called_train_may_be_in_a_split_and_have_folders(tmp_path):
    tree = make(
        tmp_path / "t", "train/train/1.png", "train/plane/1.png", "test/train/1.png", "test/plane/1.png"
    )
    assert splits_of(tree) == {"train": ["plane", "train"], "test": ["plane", "train"]}
    tree = make(tmp_path / "u", "cat/monday/1.png", "cat/tuesday/1.png", "dog/1.png")
    assert splits_of(tree) == {"train": BOTH}


def test_folders_beside_the_splits_are_passed_over_aloud(tmp_path, capsys):
    tree = make(
        tmp_path / "t",
        *(f"{split}/{kind}/1.png" for split in ("train", "val") for kind in BOTH),
        *("test/1.png", "unlabelled/1.png", "annotations/", "labels/"),
    )
    (tree / "labels" / "1.txt").write_text("cat", encoding="utf-8")
    assert splits_of(tree) == {"train": BOTH, "val": BOTH}
    load_split(tree, "train", tmp_path / "home")
    load_split(tree, "val", tmp_path / "home")
    said = f"{tree}: images in test, unlabelled belong to no class of a split and are passed over.\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (
            ["train/1.png", "test/1.png"],
            "{t}/test has no class folders, and 1 images that belong to",
        ),
        (["train/"], "{t}/train has no class folders, and no images either; "),
        (
            ["train/1.png", "test/a/1.png"],
            "{t}/train has no class folders, and 1 images that belong to no class",
        ),
        (
            ["train/a/1.png", "plane/1.png"],
            "{t} has a folder train, which holds classes, and beside it images in",
        ),
        (
            ["val/a/1.png", "valid/a/1.png"],
            "{t} has two folders for the split val: val and valid; keep one of",
        ),
        (["Train/a/1.png", "training_set/a/1.png", "test/a/1.png"], "has two folders for the split train: "),
        (
            ["cat/train/1.png", "cat/test/1.png", "dog/1.png"],
            "the class cat is split into test, train, and the",
        ),
        (
            ["pets/cat/1.png", "pets/dog/1.png"],
            "only one folder, pets, with the folders cat, dog in it; perhaps ",
        ),
        (["pets/train/cat/1.png", "pets/test/cat/1.png"], "perhaps you mean {t}/pets: "),
    ],
)
def test_other_layouts_are_refused_in_one_line_that_names_what_was_found(tmp_path, paths, message):
    if "Train/a/1.png" in paths and sys.platform in ("win32", "darwin"):
        paths = [path.replace("training_set", "trainset") for path in paths]
    tree = make(tmp_path / "t", *paths)
    with pytest.raises(DataError) as caught:
        load_split(tree, "train", tmp_path / "home")
    assert message.replace("{t}/", f"{tree}{os.sep}").replace("{t}", str(tree)) in str(caught.value)
    assert "\n" not in str(caught.value)


LEFT = [
    *("@eaDir/1.jpg/SYNOPHOTO_THUMB_XL.jpg", ".@__thumb/1.jpg", "@__thumb/1.jpg", "#recycle/1.jpg"),
    *("$RECYCLE.BIN/1.jpg", "System Volume Information/1.jpg", "lost+found/1.jpg", "__MACOSX/1.jpg"),
    *(".picasaoriginals/1.jpg", ".thumbnails/1.jpg", ".Trash-1000/files/1.jpg", "Previews.lrdata/1.jpg"),
    *(
        ".ipynb_checkpoints/1.png",
        "iPod Photo Cache/1.jpg",
        "#snapshot/1.jpg",
        "@Recycle/1.jpg",
        "FOUND.000/1.jpg",
    ),
]


def test_what_systems_and_programs_leave_behind_is_passed_over_everywhere(tmp_path, capsys):
    own = ["train/cat/1.png", "train/dog/1.png"]
    left = [f"{at}{path}" for path in LEFT for at in ("", "train/", "train/cat/", "train/cat/deep/")]
    files = [
        "SYNOFILE_THUMB_M.jpg",
        "._1.png",
        ".hidden.jpg",
        "Thumbs.db",
        "desktop.ini",
        "AlbumArtSmall.jpg",
    ]
    tree = make(
        tmp_path / "t", *own, *left, *(f"train/cat/{name}" for name in files), "train/cat/thumbs/1.jpg"
    )
    assert splits_of(tree) == {"train": BOTH}
    assert load_split(tree, "train", tmp_path / "home").paths == tuple(str(tree / path) for path in own)
    assert capsys.readouterr().err == ""


NAMES = [
    "1.pjpeg",
    "2.jpg_large",
    "3",
    "4.PNG.bak",
    "5.dat",
    "6.JPEG",
    "7.jfif",
    "8.image",
    *([] if sys.platform == "win32" else ["9.jpg?size=large"]),
]


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_the_content_decides_and_no_suffix(tmp_path, capsys, file_format):
    for kind in BOTH:
        (tmp_path / "t" / kind).mkdir(parents=True)
        for seed, name in enumerate(NAMES):
            (tmp_path / "t" / kind / name).write_bytes(encoded(seed, file_format))
        (tmp_path / "t" / kind / "notes.txt").write_text("P1 is a name, BM another, II*", encoding="utf-8")
        (tmp_path / "t" / kind / "film.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(99))
        (tmp_path / "t" / kind / "empty").write_bytes(b"")
    assert len(load_split(tmp_path / "t", "train", tmp_path / "home")) == 2 * len(NAMES)
    assert capsys.readouterr().err == ""


def test_what_looks_like_an_image_and_is_not_read_is_counted_with_the_remedy(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("resnet_course.data.formats._heif_can_be_read", lambda: False)
    tree = make(tmp_path / "t", "cat/1.png", "dog/1.png")
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99)
    for number in range(3):
        (tree / "cat" / f"IMG_{number}.HEIC").write_bytes(heic)
    (tree / "dog" / "phone").write_bytes(heic)
    (tree / "dog" / "art.psd").write_bytes(b"8BPS\0\x01" + bytes(99))
    (tree / "dog" / "renamed.jpg").write_bytes(heic)
    assert len(load_split(tree, "train", tmp_path / "home")) == 2
    said = capsys.readouterr().err
    assert (
        "5 files look like images and are not read: 4 HEIC (install pillow-heif, then start again), " in said
    )
    assert "1 PSD (export it as PNG or JPEG): cat/IMG_0.HEIC, " in said
    assert "dog/renamed.jpg (" in said and "install pillow-heif" in said.splitlines()[1]


@pytest.mark.skipif(sys.platform == "win32", reason="no such files there")
def test_pipes_and_files_that_may_not_be_read_do_no_harm(tmp_path, capsys):
    tree = make(tmp_path / "t", "cat/1.png", "dog/1.png", "dog/secret.png")
    os.mkfifo(tree / "cat" / "pipe")
    (tree / "dog" / "secret.png").chmod(0)
    found = load_split(tree, "train", tmp_path / "home")
    if os.geteuid():  # root may read everything
        assert len(found) == 2 and "dog/secret.png (Permission denied)" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_no_utf_8_are_read_and_can_be_printed(tmp_path):
    folder = os.fsencode(tmp_path / "t") + b"/caf\xe9"
    os.makedirs(folder)  # noqa: PTH103  Path cannot make it
    with open(folder + b"/\xff.png", "wb") as file:  # noqa: PTH123
        file.write(encoded())
    make(tmp_path / "t", "dog/1.png")
    found = load_split(tmp_path / "t", "train", tmp_path / "home")
    assert found.classes == ("caf\\xe9", "dog")
    assert len(load_split(tmp_path / "t", "train", tmp_path / "home")) == 2, "from the array file"


def test_the_layout_is_in_the_message(tmp_path):
    (tmp_path / "t").mkdir()
    with pytest.raises(DataError, match=LAYOUT.replace("...", r"\.\.\.").replace("/", r"\/")):
        find_splits(tmp_path / "t")


def test_half_a_character_in_a_name_is_escaped():
    assert class_name("cat\ud83d") == "cat\\ud83d"  # Windows allows it
    assert class_name("na\udcef") == "na\\xef"  # the byte EF


def test_classes_that_only_look_like_what_programs_leave_behind_are_classes(tmp_path):
    tree = make(tmp_path / "t", "recycle/1.png", "trash/1.png", "RECYCLER/1.png", "$RECYCLE.BIN/1.png")
    assert splits_of(tree) == {"train": ["recycle", "trash"]}


def test_a_class_named_like_a_split_beside_classes_with_folders_is_told(tmp_path):
    tree = make(tmp_path / "t", *(f"train/{kind}/1.png" for kind in BOTH), "bus/city/1.png", "car/city/1.png")
    with pytest.raises(
        DataError, match="has a folder train, which holds classes, and beside it images in bus"
    ):
        find_splits(tree)


@pytest.mark.parametrize("name", ["Test", "test_set", "Testing"])
def test_one_split_is_read_under_any_name(tmp_path, name):
    tree = make(tmp_path / "t", *(f"{name}/{kind}/1.png" for kind in BOTH))
    found = load_one(Settings(data=f"folder:{tree}", home=tmp_path / "home"), "test")
    assert len(found) == 2 and found.classes == tuple(BOTH)


def test_a_test_folder_without_classes_is_no_test_split(tmp_path):
    paths = [f"{split}/{kind}/{n}.png" for split in ("train", "val") for kind in BOTH for n in range(4)]
    tree = make(tmp_path / "t", *paths, "test/1.png", "test/2.png")
    settings = Settings(data=f"folder:{tree}", home=tmp_path / "home", test_share=0.0)
    assert len(load_one(settings, "test")) == 0 and len(load_one(settings, "val")) == 8
