"""The environment variables: legal values, defaults, and what reduced mode may touch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from resnet_course.settings import Settings, SettingsError


def test_defaults_of_a_learner():
    settings = Settings.from_env({})
    assert (settings.mode, settings.data, settings.weights, settings.seed) == ("laptop", "auto", "auto", 0)
    assert (settings.device, settings.threads) == ("auto", None)
    assert "resnet_course" in settings.home.parts and settings.home.is_absolute()


def test_reduced_mode_needs_nothing_of_the_users():
    settings = Settings.from_env({"RESNET_COURSE_MODE": "reduced"})
    assert (settings.data, settings.weights) == ("shapes", "builtin")
    assert settings.home.is_dir() and settings.home != Settings.from_env({}).home
    assert Settings.from_env({"RESNET_COURSE_MODE": "reduced"}).home == settings.home


def test_the_temporary_home_goes_with_its_process():
    code = "from resnet_course.settings import Settings; print(Settings.from_env().home)"
    environment = {**os.environ, "RESNET_COURSE_MODE": "reduced", "RESNET_COURSE_HOME": ""}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert not Path(run.stdout.strip()).exists()


def test_every_variable_is_read(tmp_path):
    weights = tmp_path / "w.pth"
    weights.touch()
    settings = Settings.from_env(
        {
            "RESNET_COURSE_MODE": "full",
            "RESNET_COURSE_DATA": "folder:my pictures",
            "RESNET_COURSE_WEIGHTS": str(weights),
            "RESNET_COURSE_HOME": str(tmp_path / "home"),
            "RESNET_COURSE_SEED": "4294967295",
            "RESNET_COURSE_DEVICE": "mps",
            "RESNET_COURSE_THREADS": " 3 ",
        }
    )
    data = "folder:my pictures"
    assert settings == Settings("full", data, str(weights), tmp_path / "home", 2**32 - 1, "mps", 3)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("MODE", "fast", "mode is 'fast'; it must be one of: reduced, laptop, full"),
        ("DATA", "mnist", "data source is 'mnist'; it must be one of: auto, cifar10, shapes, folder:PATH"),
        ("DATA", "folder:", "data source is 'folder:' with no path; write folder:PATH"),
        (
            "WEIGHTS",
            "vgg",
            "weights source is 'vgg', which is no file; it must be one of: auto, imagenet, builtin, none, "
            "or the path of a file",
        ),
        ("SEED", "-1", "seed is '-1'; it must be a whole number from 0 to 4294967295"),
        ("SEED", "4294967296", "seed is 4294967296; it must be a whole number from 0 to 4294967295"),
        ("SEED", "1.5", "seed is '1.5'; it must be a whole number from 0 to 4294967295"),
        ("DEVICE", "gpu", "device is 'gpu'; it must be one of: auto, cpu, cuda, mps"),
        ("THREADS", "0", "threads is 0; it must be a whole number from 1 on"),
        ("THREADS", "99999999999", "threads is 99999999999; it must be at most 4096"),
        ("THREADS", "two", "threads is 'two'; it must be a whole number from 1 on"),
    ],
)
def test_an_unknown_value_is_an_error_that_lists_the_legal_ones(variable, value, message):
    with pytest.raises(SettingsError) as error:
        Settings.from_env({f"RESNET_COURSE_{variable}": value})
    assert str(error.value) == message


def test_empty_means_default():
    empty = {f"RESNET_COURSE_{name}": " " for name in ("MODE", "DATA", "SEED", "DEVICE", "THREADS")}
    assert Settings.from_env(empty) == Settings.from_env({})


def test_reading_the_settings_does_not_wait_for_torch():
    code = "import sys, resnet_course.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
