"""What is given in the place of a folder of images is named, with what to do."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from resnet_course.data.mistaken import explain


def packed(mode):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as tar:
        tar.addfile(tarfile.TarInfo("pets/train/cat/1.png"))
    return content.getvalue()


def zipped():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("pets/train/cat/1.png", b"")
    return content.getvalue()


FILES = {
    "pets.zip": (zipped(), "is an archive; unpack it first and give the folder that comes out; the layout"),
    "pets.tar.gz": (packed("w:gz"), "is an archive; unpack it first"),
    "pets.tar": (packed("w"), "is an archive; unpack it first"),
    "pets": (packed("w:xz"), "is an archive; unpack it first"),
    "pets.bz2": (packed("w:bz2"), "is an archive; unpack it first"),
    "pets.7z": (b"7z\xbc\xaf\x27\x1c", "is an archive; unpack it first"),
    "pets.rar": (b"Rar!\x1a\x07", "is an archive; unpack it first"),
    "cifar-10-python.tar.gz": (packed("w:gz"), "and take --data cifar10"),
    "1.png": (b"\x89PNG", "is a file, not a folder; the layout is DIR/train/"),
    "empty": (b"", "is a file, not a folder"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_named(tmp_path, name):
    content, message = FILES[name]
    (tmp_path / name).write_bytes(content)
    text = explain(tmp_path / name)
    assert message in text and str(tmp_path / name) in text and "\n" not in text


FOLDERS = {
    "batches": (["data_batch_1", "data_batch_2", "test_batch", "batches.meta"], "take --data cifar10"),
    "batches as bytes": (["data_batch_1.bin", "test_batch.bin"], "which downloads the version for Python"),
    "batches for Matlab": (["data_batch_1.mat"], "which downloads the version for Python"),
    "batches within": (["cifar-10-batches-py/data_batch_1"], "take --data cifar10"),
    "MNIST": (["train-images-idx3-ubyte.gz"], "MNIST's own files (train-images-idx3-ubyte.gz)"),
    "records": (["pets-train.tfrecord-00000-of-00004"], "holds TFRecords"),
    "Parquet": (["train-00000-of-00001.parquet"], "holds Parquet tables"),
    "an archive within": (["pets.zip", "readme.txt"], "holds pets.zip, an archive; unpack it first"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_other_files_is_named(tmp_path, name):
    files, message = FOLDERS[name]
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    text = explain(tmp_path)
    assert message in text and str(tmp_path) in text and "\n" not in text


def test_batches_in_their_place_need_only_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "course"))
    folder = tmp_path / "mine" / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    (folder / "data_batch_1").touch()
    assert f"take --data cifar10 with RESNET_COURSE_HOME={tmp_path / 'mine'}" in explain(folder)
    assert str(tmp_path / "course" / "data" / "cifar-10-batches-py") in explain(
        folder.rename(tmp_path / "cifar")
    )


def test_what_may_be_a_folder_of_images_is_left_alone(tmp_path):
    assert explain(tmp_path / "absent") is None and explain(Path("a" * 5000)) is None
    assert explain(tmp_path) is None, "an empty one: who reads it says more"
    for name in ("cat/1.png", "dog/data_batch_1", "pets.zip", ".hidden/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert explain(tmp_path) is None
