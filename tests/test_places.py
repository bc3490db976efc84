"""Folders that a training should not write into, patterns that the shell left alone, homes that are none."""

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest
import torch
from parameters import some_are_slow
from PIL import Image

from resnet_course import machine, settings
from resnet_course.__main__ import main
from resnet_course.common import files, places
from resnet_course.common.errors import ArgumentError
from resnet_course.common.files import why_not_writable
from resnet_course.common.places import belongs_to_system, check_out, expanded
from resnet_course.recipes import REDUCED
from resnet_course.resnet import resnet18
from resnet_course.settings import Settings, SettingsError
from resnet_course.training import checkpoint
from resnet_course.training.checkpoint import Checkpoint

TRAIN = ["train", "--recipe", "reduced", "--limit", "40", "--epochs", "1"]


def run(capsys, *arguments):
    """Exit status, stdout and stderr of a command."""
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as error:
        status = error.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def pets(tmp_path):
    """A folder of images of two classes."""
    for label in ("cat", "dog"):
        (tmp_path / "pets" / "train" / label).mkdir(parents=True)
        for number in range(6):
            Image.fromarray(np.full((32, 32, 3), 40 * number, np.uint8)).save(
                tmp_path / "pets" / "train" / label / f"{number}.png"
            )
    return tmp_path / "pets"


@pytest.fixture
def best(tmp_path):
    """A checkpoint of an untrained network."""
    state = resnet18(2, 8).state_dict()
    return checkpoint.save(tmp_path / "best.pt", Checkpoint(state, ("cat", "dog"), 32, "pets", REDUCED))


@pytest.mark.parametrize("inner", [".", "train", "train/cat", "new", "train/new/er", "train/../new"])
def test_out_inside_the_data_is_refused(capsys, pets, inner):
    before = sorted(pets.rglob("*"))
    status, out, err = run(capsys, *TRAIN, "--data", f"folder:{pets}", "--out", pets / inner)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"lies in the folder of images {pets}, which would change the data" in err
    assert sorted(pets.rglob("*")) == before


def test_out_inside_the_data_is_found_behind_links_and_relative_paths(capsys, pets, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(pets)
    (tmp_path / "deep").symlink_to(pets / "train" / "cat")
    monkeypatch.chdir(tmp_path)
    for data, out in (
        (pets, "link/new"),
        (pets, "deep"),
        ("link", pets / "new"),
        ("pets", "pets/new"),
        (pets, "other/../pets/new"),
        ("link/../pets", "pets/new"),
    ):
        status, _, err = run(capsys, *TRAIN, "--data", f"folder:{data}", "--out", out)
        assert status == 2 and "lies in the folder of images" in err, (data, out)
    for out in (tmp_path, tmp_path / "petshop", tmp_path / "pets2" / "new"):
        check_out(out, pets)  # beside it is no harm, nor is a folder that holds the data among other things


def test_what_is_no_folder_is_refused(capsys, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    for out, message in (
        (tmp_path / "file", "is a file; it must be a folder, or not exist yet"),
        (tmp_path / "file" / "a" / "b", f"cannot be written: {tmp_path / 'file'} is no folder; choose"),
        (tmp_path / "nowhere", "is a link to nowhere; it must be a folder"),
    ):
        status, _, err = run(capsys, *TRAIN, "--data", "shapes", "--out", out)
        assert status == 2 and message in err and err.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="names of the other systems")
@pytest.mark.parametrize(
    "out", ["/", "/etc", "/usr/lib/x", "/proc/x", "/dev", "/sys/a/b", "/var", "//etc/../etc/x"]
)
def test_a_folder_of_the_system_is_refused(capsys, out):
    status, _, err = run(capsys, *TRAIN, "--data", "shapes", "--out", out)
    assert (
        status == 2 and "belongs to the system; choose a folder of your own" in err and err.count("\n") == 1
    )


def test_folders_of_the_system_are_known_by_their_names():
    for path in ("C:/", "C:/Windows", "c:/windows/System32/x", "D:/Program Files/x", "C:/PROGRAMDATA"):
        assert belongs_to_system(PureWindowsPath(path)), path
    for path in ("C:/Users/a/runs", "D:/", "C:/runs", "//server/share", "E:/Windows98"):
        assert not belongs_to_system(PureWindowsPath(path)), path
    for path in (
        "/home/a",
        "/root",
        "/tmp/x",
        "/usr/local/x",
        "/dev/shm/x",
        "/var/tmp/x",
        "/etcetera",
        "/mnt/d",
    ):
        assert not belongs_to_system(PurePosixPath(path)), path
    for path in ("/System/x", "/private/etc", "/lib64/x", "/home", "/boot/x"):
        assert belongs_to_system(PurePosixPath(path)), path


def refuse(monkeypatch, folder, error=None):
    """The system refuses to make files in a folder, as it does to everyone but root in a test."""
    touch = Path.touch

    def refusing(path, *arguments, **options):
        if path.is_relative_to(folder):
            raise error or PermissionError(13, "Permission denied", str(path))
        return touch(path, *arguments, **options)

    monkeypatch.setattr(Path, "touch", refusing)


def test_a_folder_that_may_not_be_written_is_refused_before_the_training(capsys, tmp_path, monkeypatch):
    refuse(monkeypatch, tmp_path)
    for out in (tmp_path, tmp_path / "a" / "b"):
        status, _, err = run(capsys, *TRAIN, "--data", "shapes", "--out", out)
        assert status == 2 and "cannot be written: Permission denied; choose a folder that you may" in err
        assert err.count("\n") == 1 and not (tmp_path / "a").exists()
    refuse(monkeypatch, tmp_path, OSError(28, "No space left on device"))
    assert why_not_writable(tmp_path) == "no space left on this disk"


def test_the_look_at_a_folder_leaves_nothing_behind(tmp_path):
    assert why_not_writable(tmp_path / "a" / "b") is None
    assert list(tmp_path.iterdir()) == []


def test_a_drive_that_is_not_there_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    assert why_not_writable(tmp_path) == f"{tmp_path.anchor} is not there"


def home_is_a_file(tmp_path, monkeypatch):
    (tmp_path / "home").touch()


def home_lies_below_a_file(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "home").symlink_to(tmp_path / "file" / "x")


def home_is_locked(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    refuse(monkeypatch, tmp_path / "home")
    monkeypatch.setattr(
        files.FileLock, "acquire", lambda *a, **o: (_ for _ in ()).throw(PermissionError(13, "denied"))
    )


@pytest.mark.parametrize(
    "spoil",
    some_are_slow([home_is_a_file, home_lies_below_a_file, home_is_locked], quick=[]),
)
def test_without_a_home_the_commands_go_on_and_say_so(
    capsys, tmp_path, monkeypatch, pets, best, spoil, quick_doctor
):
    spoil(tmp_path, monkeypatch)
    settings._say_once.cache_clear()
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(machine, "estimate", lambda *args: 270.0)
    data = ["--data", f"folder:{pets}"]
    (tmp_path / "p.png").write_bytes((pets / "train" / "cat" / "0.png").read_bytes())
    status, out, err = run(
        capsys, "train", "--recipe", "few", "--epochs", "2", *data, "--out", tmp_path / "o"
    )
    assert status == 0 and out.count("\n") == 1 and "Traceback" not in err
    assert err.count("The home folder") == 1 and "cannot be written: " in err
    assert run(capsys, "evaluate", tmp_path / "o" / "best.pt", *data, "--split", "train")[0] == 0
    assert run(capsys, "predict", tmp_path / "o" / "best.pt", tmp_path / "p.png")[0] == 0
    status, out, _ = run(capsys, "doctor")
    assert status == 0 and f"home {tmp_path / 'home'}, CANNOT BE WRITTEN: " in out


def test_a_home_of_an_unknown_user_is_one_line(capsys, monkeypatch):
    monkeypatch.setenv("RESNET_COURSE_HOME", "~nobody-of-that-name/x")
    status, _, err = run(capsys, "doctor")
    assert status == 2 and err.count("\n") == 1 and "no home directory of that user is known" in err
    with pytest.raises(SettingsError, match="data folder is '~nobody-of-that-name/x'"):
        Settings(data="folder:~nobody-of-that-name/x")
    with pytest.raises(SettingsError, match="weights source is '~nobody-of-that-name/x'"):
        Settings(weights="~nobody-of-that-name/x")


def test_patterns_are_expanded_where_the_shell_does_not(capsys, tmp_path, monkeypatch, best):
    pixels = np.full((32, 32, 3), 90, np.uint8)
    (tmp_path / "in").mkdir()
    for name in ("b.png", "a.png", "a[1].png", "x*.png" if os.name != "nt" else "x.png", "in/c.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    paths, unmatched = expanded([Path("[ab].png"), Path("*.jpg"), Path("a[1].png"), Path("none.png")])
    assert (paths, unmatched) == (
        [Path("a.png"), Path("b.png"), Path("a[1].png"), Path("none.png")],
        [Path("*.jpg")],
    )
    assert [path.name for path in expanded([tmp_path / "**" / "c.p?g"])[0]] == ["c.png"]
    status, out, err = run(capsys, "predict", best, "[ab].png", "*.jpg", "a[1].png", "in/*")
    assert status == 2 and err == "resnet-course: *.jpg: no file matches this pattern\n"
    assert [line.partition(": ")[0] for line in out.splitlines()] == [
        "a.png",
        "b.png",
        "a[1].png",
        str(Path("in/c.png")),
    ]
    status, out, err = run(capsys, "predict", best, "*.jpg", "--json")
    assert (status, out.split()) == (2, ["[", "]"]) and err.count("\n") == 1


@pytest.mark.parametrize(
    ("seed", "shown"),
    [
        ("x", "'x'"),
        ("-1", "-1"),
        ("1.5", "'1.5'"),
        ("1e3", "'1e3'"),
        ("", "''"),
        ("4294967296", "4294967296"),
        ("٣", "'٣'"),
        ("1_000", "'1_000'"),
        ("9" * 5000, "'" + "9" * 59 + " …"),
    ],
)
def test_a_seed_that_is_none_is_one_line_with_the_legal_range(capsys, tmp_path, monkeypatch, seed, shown):
    message = f"seed is {shown}; it must be a whole number from 0 to 4294967295"
    status, _, err = run(capsys, *TRAIN, "--data", "shapes", "--out", tmp_path / "o", f"--seed={seed}")
    assert status == 2 and message in err and err.count("\n") == 1
    if seed:
        monkeypatch.setenv("RESNET_COURSE_SEED", seed)
        status, _, err = run(capsys, "doctor")
        assert status == 2 and "seed is" in err and "from 0 to 4294967295" in err and err.count("\n") == 1


def test_a_seed_may_be_the_highest(tmp_path):
    assert settings.read_seed(" 4294967295") == 2**32 - 1


def test_doctor_verifies_downloads_by_their_bytes(monkeypatch, tmp_path):
    from resnet_course.transfer import imagenet_path, imagenet_state, weights

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(weights, "IMAGENET_SIZE", 5)
    monkeypatch.setattr(
        weights,
        "IMAGENET_CHECKSUM",
        "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    )
    path = imagenet_path()
    path.parent.mkdir(parents=True)
    assert places.on_disk(imagenet_state) == "no"
    for content, said in (
        (b"hello", "yes, verified"),
        (b"hell", f"CUT SHORT: {path}; the next use downloads it again, or put the right file there"),
        (b"hallo", f"DAMAGED: {path}; the next use"),
        (b"hello!", f"DAMAGED: {path}; the next use"),
    ):
        path.write_bytes(content)
        assert places.on_disk(imagenet_state).startswith(said)
    path.unlink()
    path.mkdir()
    assert places.on_disk(imagenet_state).startswith(f"CANNOT BE READ: {path}")


def test_a_check_that_is_refused_is_of_the_courses_kind(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ArgumentError):
        check_out(tmp_path / "file", None)
