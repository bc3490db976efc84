"""CIFAR-10 from a miniature archive in the official layout, served on this machine or put there by hand."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import re
import shutil
import socket
import struct
import tarfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import filelock
import numpy as np
import pytest
import torch
from servers import Mirror, serving
from torchvision.datasets import CIFAR10

from resnet_course.common.download import DownloadError
from resnet_course.data import cifar10

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
PICTURES = np.random.default_rng(0).integers(0, 256, (len(BATCHES), 4, 3, 32, 32), dtype=np.uint8)
LABELS = np.random.default_rng(1).integers(0, 10, (len(BATCHES), 4))
FOLDER, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"


def pickle_of_python_2(value) -> bytes:
    """The opcodes that Python 2 and the numpy of 2009 wrote: byte strings, and a dtype with align=0."""
    if isinstance(value, str | bytes):
        value = value if isinstance(value, bytes) else value.encode()
        return b"T" + struct.pack("<i", len(value)) + value
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, list):
        return b"(" + b"".join(map(pickle_of_python_2, value)) + b"l"
    if isinstance(value, dict):
        return b"(" + b"".join(pickle_of_python_2(part) for item in value.items() for part in item) + b"d"
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    shape = b"(" + b"".join(map(pickle_of_python_2, value.shape)) + b"t"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return empty + b"(K\x01" + shape + dtype + b"\x89" + pickle_of_python_2(value.tobytes()) + b"tb"


def miniature() -> dict[str, bytes]:
    """The files of CIFAR-10's folder, with four images each, as they were pickled in 2009."""
    files = {"batches.meta": {"num_cases_per_batch": 4, "label_names": list(CLASSES), "num_vis": 3072}}
    for name, pictures, labels in zip(BATCHES, PICTURES, LABELS, strict=True):
        data = pictures.reshape(len(pictures), -1)
        files[name] = {
            "batch_label": name,
            "labels": labels.tolist(),
            "data": data,
            "filenames": ["a.png"] * 4,
        }
    return {name: b"\x80\x02" + pickle_of_python_2(content) + b"." for name, content in files.items()}


def packed(files: dict[str, bytes]) -> bytes:
    """The archive of CIFAR-10's folder."""
    with tarfile.open(fileobj=(archive := io.BytesIO()), mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def stand_in(setattr, files: dict[str, bytes], archive: bytes) -> None:
    """Let the miniature's checksums take the place of the official ones, by this `setattr`."""
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    setattr(CIFAR10, "train_list", [[name, md5[name]] for name in BATCHES[:-1]])
    setattr(CIFAR10, "test_list", [["test_batch", md5["test_batch"]]])
    setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5["batches.meta"]})
    setattr(cifar10, "SIZE", len(archive))
    setattr(cifar10, "MD5", hashlib.md5(archive).hexdigest())


@pytest.fixture
def archive(monkeypatch):
    """The bytes of the miniature's archive, which the course takes for the official one."""
    archive = packed(files := miniature())
    stand_in(monkeypatch.setattr, files, archive)
    return archive


@pytest.fixture
def mirror(archive, monkeypatch):
    """The one mirror, running."""
    monkeypatch.setenv("no_proxy", "*")
    with serving(Mirror(archive)) as mirror:
        monkeypatch.setattr(cifar10, "MIRRORS", (mirror.url,))
        yield mirror


@pytest.fixture
def root(tmp_path):
    """The folder "data" of the home folder `tmp_path`, made."""
    root = tmp_path / "data"
    root.mkdir()
    return root


def visible(folder):
    """The names in a folder, without the hidden files of locks."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def assert_complete(train, test):
    assert torch.equal(train.images, torch.from_numpy(PICTURES[:5].reshape(-1, 3, 32, 32)))
    assert torch.equal(test.images, torch.from_numpy(PICTURES[5]))
    assert train.labels.tolist() == LABELS[:5].flatten().tolist()
    assert test.labels.tolist() == LABELS[5].tolist()


def test_mirrors_offer_the_file_that_torchvision_knows():
    assert len({urlsplit(url).netloc for url in cifar10.MIRRORS}) == 4
    assert all(urlsplit(url).path.endswith(f"/{CIFAR10.filename}") for url in cifar10.MIRRORS)
    assert cifar10.MIRRORS[-1] == CIFAR10.url
    assert CIFAR10.tgz_md5 == cifar10.MD5


def test_downloads_unpacks_and_reads(tmp_path, mirror, capfd):
    assert not cifar10.is_present(tmp_path)
    train, test = cifar10.load(tmp_path)
    assert_complete(train, test)
    for image_set in (train, test):
        assert image_set.images.is_contiguous()
        assert (image_set.name, image_set.classes) == ("CIFAR-10", CLASSES)
    official = CIFAR10(tmp_path / "data", train=False)
    assert np.array_equal(official[3][0], test.images[3].permute(1, 2, 0))
    assert (official[3][1], tuple(official.classes)) == (int(test.labels[3]), test.classes)
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(rf"Downloading {ARCHIVE} \(0\.\d MB\) from {urlsplit(mirror.url).netloc}\.\n", err)


def test_second_load_asks_nobody(tmp_path, mirror):
    cifar10.load(tmp_path)
    assert cifar10.is_present(tmp_path)
    assert_complete(*cifar10.load(tmp_path))
    assert len(mirror.ranges) == 1
    assert visible(tmp_path / "data") == [FOLDER, ARCHIVE]


def test_archive_put_there_by_hand_is_used(tmp_path, root, archive, mirror):
    (root / ARCHIVE).write_bytes(archive)
    assert cifar10.is_present(tmp_path)
    assert_complete(*cifar10.load(tmp_path))
    assert mirror.ranges == []


def test_truncated_archive_put_there_by_hand_is_replaced(tmp_path, root, archive, mirror, capsys):
    (root / ARCHIVE).write_bytes(archive[:-1])
    assert not cifar10.is_present(tmp_path)
    assert_complete(*cifar10.load(tmp_path))
    assert f"{ARCHIVE} is not the file it should be" in capsys.readouterr().err


def test_what_is_on_the_disk_is_verified_by_its_bytes(tmp_path, root, archive):
    """Before, doctor looked at names and at the archive's size alone."""
    assert cifar10.state(tmp_path) == "missing"
    (root / ARCHIVE).write_bytes(archive[:-1])
    assert cifar10.state(tmp_path) == f"cut short: {root / ARCHIVE}"
    (root / ARCHIVE).write_bytes(bytes([archive[0] ^ 1]) + archive[1:])
    assert cifar10.state(tmp_path) == f"damaged: {root / ARCHIVE}"
    (root / ARCHIVE).write_bytes(archive)
    assert cifar10.state(tmp_path) == "whole"
    cifar10.load(tmp_path)
    (root / ARCHIVE).unlink()
    assert cifar10.state(tmp_path) == "whole", "the folder is enough"
    for name in ("data_batch_3", "test_batch", "batches.meta"):
        path = root / FOLDER / name
        content = path.read_bytes()
        path.write_bytes(content[:-1])
        assert cifar10.state(tmp_path) == f"damaged: {path}"
        path.unlink()
        assert cifar10.state(tmp_path) == f"incomplete: {root / FOLDER}"
        path.write_bytes(content)
    (root / FOLDER / "data_batch_1").write_bytes(b"x")
    (root / ARCHIVE).write_bytes(archive)
    assert cifar10.state(tmp_path) == "whole", "the archive repairs the folder"


def test_folder_needs_no_archive(tmp_path, mirror):
    cifar10.load(tmp_path)
    (tmp_path / "data" / ARCHIVE).unlink()
    assert cifar10.is_present(tmp_path)
    assert_complete(*cifar10.load(tmp_path))
    assert len(mirror.ranges) == 1


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "changed"])
def test_damaged_folder_is_unpacked_again(tmp_path, mirror, name, damage, capsys):
    cifar10.load(tmp_path)
    file = tmp_path / "data" / FOLDER / name
    content = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes(content[:-1] + (b"!" if damage == "changed" else b""))
    assert_complete(*cifar10.load(tmp_path))
    assert f"{file.parent} is incomplete or damaged; unpacking it again." in capsys.readouterr().err
    assert len(mirror.ranges) == 1


def test_interrupted_unpacking_is_noticed_and_done_again(tmp_path, mirror, monkeypatch):
    copy, copied = shutil.copyfileobj, []

    def copy_two(content, file):
        if len(copied) == 2:
            raise KeyboardInterrupt
        copied.append(content)
        copy(content, file)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", copy_two)
        with pytest.raises(KeyboardInterrupt):
            cifar10.load(tmp_path)
    assert len(list((tmp_path / "data" / FOLDER).iterdir())) == 2
    assert_complete(*cifar10.load(tmp_path))
    assert len(mirror.ranges) == 1
    assert visible(tmp_path / "data") == [FOLDER, ARCHIVE]


@pytest.mark.parametrize("locks", [True, False])
def test_four_at_once_all_get_it_whether_or_not_the_file_system_has_locks(
    tmp_path, mirror, monkeypatch, locks
):
    """Before, one removed the folder that another was unpacking, and died when its own was gone."""
    if not locks:

        def refuse(*arguments, **options):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with ThreadPoolExecutor(4) as pool:
        for loaded in pool.map(lambda _: cifar10.load(tmp_path), range(4)):
            assert_complete(*loaded)
    assert (len(mirror.ranges) == 1) or not locks
    assert visible(tmp_path / "data") == [FOLDER, ARCHIVE]


def test_full_disk_is_a_clear_error(tmp_path, mirror, monkeypatch):
    def copy_nothing(content, file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", copy_nothing)
    folder = tmp_path / "data" / FOLDER
    message = f"{tmp_path / 'data' / ARCHIVE} cannot be unpacked into {folder}: No space left on device"
    with pytest.raises(DownloadError, match=re.escape(message)):
        cifar10.load(tmp_path)
    assert visible(folder) == []


def test_without_a_network_the_error_says_what_to_do(tmp_path, archive, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("resnet_course.common.download.PAUSE", 0.0)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    urls = (f"http://{host}/a/{ARCHIVE}", f"http://{host}/b/{ARCHIVE}")
    monkeypatch.setattr(cifar10, "MIRRORS", urls)
    with pytest.raises(DownloadError) as caught:
        cifar10.load(tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{ARCHIVE} could not be downloaded from {host}, {host}."
    assert [line.startswith(f"  {host}: ") for line in lines[1:3]] == [True, True]
    assert lines[3:] == [
        f"By hand: fetch one of these with a browser and put it, as {ARCHIVE}, into {tmp_path / 'data'}:",
        *(f"  {url}" for url in urls),
    ]
    assert visible(tmp_path / "data") == []
    with pytest.raises(DownloadError, match="refused") as caught:
        cifar10.load(tmp_path, patience=3)
    assert "\n" not in str(caught.value), "who can do without gets one line"


def test_impatience_reaches_the_download(tmp_path, archive, monkeypatch):
    def refuse(urls, *arguments, patient, **options):
        raise DownloadError(f"patient is {patient}, first {urls[0]}")

    monkeypatch.setattr(cifar10, "download", refuse)
    monkeypatch.setattr(cifar10, "answering", lambda urls, *_: [urls[2], *urls[:2]])
    with pytest.raises(DownloadError, match=f"patient is False, first {re.escape(cifar10.MIRRORS[2])}"):
        cifar10.load(tmp_path, patience=3)


def test_numpys_complaint_about_the_official_files_is_not_shown(tmp_path, mirror, monkeypatch):
    """Only some numpy versions complain (2.4.0 does), so the reader is made to."""
    load_meta = CIFAR10._load_meta

    def complain(self):
        message = "dtype(): align should be passed as Python or NumPy boolean but got `align=0`."
        warnings.warn(message, np.exceptions.VisibleDeprecationWarning, stacklevel=2)
        load_meta(self)

    monkeypatch.setattr(CIFAR10, "_load_meta", complain)
    assert_complete(*cifar10.load(tmp_path))
