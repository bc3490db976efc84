"""The command line as a user meets it: whole commands, their files, their exit status, their one line."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from resnet_course import machine, training
from resnet_course.__main__ import main
from resnet_course.common.download import DownloadError
from resnet_course.common.errors import ArgumentError
from resnet_course.common.files import only_one
from resnet_course.data import ImageSet
from resnet_course.training import checkpoint
from resnet_course.training.sets import say_balance
from tests.test_splitting import make


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """One trained run on shapes: what most tests look at."""
    out = tmp_path_factory.mktemp("runs") / "a"
    status = main(
        [
            "train",
            "--recipe",
            "reduced",
            "--data",
            "shapes",
            "--limit",
            "200",
            "--epochs",
            "2",
            "--out",
            str(out),
        ]
    )
    assert status == 0
    return out


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "my picture.png"
    Image.fromarray(np.full((50, 80, 3), 90, np.uint8)).save(path)
    return path


def run(capsys, *arguments):
    """Exit status, stdout and stderr of a command."""
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as error:
        status = error.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_train_writes_its_three_files(run_folder):
    shown = sorted(path.name for path in run_folder.iterdir() if not path.name.startswith("."))
    assert shown == ["best.pt", "history.json", "last.pt"]
    history = json.loads((run_folder / "history.json").read_text(encoding="utf-8"))
    assert [entry["epoch"] for entry in history] == [1, 2]


@pytest.mark.slow
def test_train_names_result_on_stdout_and_progress_on_stderr(capsys, tmp_path):
    command = (
        "train",
        "--recipe",
        "reduced",
        "--data",
        "shapes",
        "--limit",
        64,
        "--epochs",
        1,
        "--weights",
        "none",
    )
    status, out, err = run(capsys, *command, "--out", tmp_path / "b")
    assert status == 0
    assert out.startswith(str(tmp_path / "b" / "best.pt")) and out.count("\n") == 1
    assert "Data: shapes" in err and "epoch 1/1" in err
    assert re.search(r"1 epoch, batches of 64, about \d", err)


@pytest.mark.slow
def test_resume_on_the_command_line_goes_on(capsys, tmp_path):
    command = [
        "train",
        "--recipe",
        "reduced",
        "--data",
        "shapes",
        "--limit",
        64,
        "--epochs",
        2,
        "--out",
        tmp_path / "c",
    ]
    assert run(capsys, *command)[0] == 0
    status, _, err = run(capsys, *command)
    assert status == 2 and "holds a training already; add --resume" in err
    status, _, err = run(capsys, *command, "--resume")
    assert status == 0 and "resuming after epoch 2 of 2" in err


def test_evaluate_json_is_one_object_and_nothing_else(capsys, run_folder):
    status, out, _ = run(capsys, "evaluate", run_folder / "best.pt", "--data", "shapes", "--json")
    result = json.loads(out)
    assert status == 0 and result["n"] == 500 and result["dataset"] == "shapes"
    assert 0 <= result["accuracy"] <= 1 and 0 <= result["ece"] <= 1
    assert result["interval"][0] < result["accuracy"] < result["interval"][1]
    assert len(result["per_class"]) == 10
    mean = sum(result["per_class"].values()) / 10
    assert mean == pytest.approx(result["accuracy"]), "500 pictures, 50 a class"


def test_evaluate_prints_the_accuracy_with_its_interval(capsys, run_folder):
    status, out, _ = run(capsys, "evaluate", run_folder / "best.pt", "--data", "shapes", "--split", "val")
    assert status == 0 and "shapes, val split, 100 images" in out and "95% interval" in out


def test_evaluate_refuses_classes_that_the_model_does_not_know(capsys, run_folder, tmp_path, picture):
    for name in ("cat", "dog"):
        (tmp_path / "pets" / "test" / name).mkdir(parents=True)
        Image.open(picture).save(tmp_path / "pets" / "test" / name / "1.png")
    status, out, err = run(
        capsys, "evaluate", run_folder / "best.pt", "--data", f"folder:{tmp_path / 'pets'}"
    )
    assert status == 2 and out == "" and "which the model was not trained on" in err and err.count("\n") == 1


def folder_of(path, **counts):
    random = np.random.default_rng(0)
    for name, count in counts.items():
        (path / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path / name / f"{number}.png")
    return path


def test_a_folder_of_photographs_as_people_type_it(capsys, tmp_path, monkeypatch):
    """Without "folder:", out of balance, and then evaluated without saying where the images are."""
    pictures, out = folder_of(tmp_path / "mine", ants=40, bees=4), tmp_path / "run"
    train = "train", "--recipe", "reduced", "--epochs", "1", "--out", out, "--data"
    status, _, err = run(capsys, *train, pictures)
    assert status == 2 and err.strip().endswith(f"for that folder write folder:{pictures}")
    status, _, err = run(capsys, *train, f"folder:{pictures}")
    assert status == 0
    assert re.search(r"The class bees has only \d images? to learn from", err)
    assert re.search(r"Always answering ants, the largest class, is right on \d+% of validation images", err)
    monkeypatch.setenv("RESNET_COURSE_MODE", "laptop")  # where images are downloaded, if none are asked for
    status, out, err = run(capsys, "evaluate", out / "best.pt")
    assert (status, out) == (2, "") and "--data folder:DIR" in err and err.count("\n") == 1
    assert "was trained on folder mine, with the classes ants, bees" in err


def test_an_even_folder_is_no_reason_for_words(capsys):
    labels = torch.arange(40) % 2
    even = ImageSet(torch.zeros(40, 3, 8, 8, dtype=torch.uint8), labels, ("a", "b"), "even")
    say_balance(even, even)
    assert capsys.readouterr().err == ""


def test_predict_json_is_one_document(capsys, run_folder, picture):
    status, out, err = run(capsys, "predict", run_folder / "best.pt", picture, picture, "--json")
    results = json.loads(out)
    assert status == 0 and err == "" and len(results) == 2
    assert set(results[0]) == {"path", "label", "confidence", "probabilities"}
    assert results[0]["path"] == str(picture)
    assert results[0]["confidence"] == max(results[0]["probabilities"].values())
    assert sum(results[0]["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_predict_goes_on_after_a_bad_image(capsys, run_folder, picture, tmp_path):
    status, out, err = run(capsys, "predict", run_folder / "best.pt", tmp_path / "absent.png", picture)
    assert status == 2 and out.startswith(f"{picture}: ") and err.count("\n") == 1 and "no such file" in err


BAD = {
    "no command": ([], "the following arguments are required: COMMAND"),
    "unknown command": (["fly"], "invalid choice: 'fly'"),
    "unknown option": (["doctor", "--fast"], "unrecognized arguments: --fast"),
    "no out": (["train"], "the following arguments are required: --out"),
    "unknown recipe": (
        ["train", "--recipe", "fast", "--out", "OUT"],
        "must be one of: original, laptop, full, top, few, reduced",
    ),
    "unknown data": (["train", "--data", "mnist", "--out", "OUT"], "auto, cifar10, shapes, folder:PATH"),
    "missing folder": (["train", "--data", "folder:OUT", "--out", "OUT"], "does not exist"),
    "missing weights": (["train", "--weights", "OUT", "--out", "OUT"], "auto, imagenet, builtin, none"),
    "epochs": (["train", "--data", "shapes", "--epochs", "0", "--out", "OUT"], "epochs is 0"),
    "limit": (
        ["train", "--data", "shapes", "--limit", "1", "--out", "OUT"],
        "--limit is 1; it must be 2 or more",
    ),
    "missing checkpoint": (["evaluate", "OUT", "--data", "shapes"], "there is no such file"),
    "missing checkpoint for predict": (["predict", "OUT", "x.png"], "there is no such file"),
    "no image": (["predict", "OUT"], "the following arguments are required: IMAGE"),
    "unknown split": (["evaluate", "OUT", "--split", "dev"], "invalid choice: 'dev'"),
    "seed": (["train", "--data", "shapes", "--seed", "-1", "--out", "OUT"], "seed is -1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_status_2_and_one_line(capsys, tmp_path, name):
    arguments, message = BAD[name]
    out = tmp_path / "out"
    status, stdout, err = run(capsys, *(argument.replace("OUT", str(out)) for argument in arguments))
    assert status == 2 and stdout == ""
    assert message in err and err.startswith("resnet-course") and err.count("\n") == 1
    assert not out.exists(), "nothing half-written"


def test_a_bad_environment_variable_is_one_line_too(capsys, monkeypatch):
    monkeypatch.setenv("RESNET_COURSE_MODE", "fast")
    status, _, err = run(capsys, "doctor")
    assert status == 2 and "must be one of: reduced, laptop, full" in err and err.count("\n") == 1


def test_doctor_says_what_runs_here(capsys, monkeypatch, quick_doctor):
    monkeypatch.setenv("RESNET_COURSE_SEED", "7")
    status, out, _ = run(capsys, "doctor")
    assert status == 0
    for part in ("Python", "torch", "usable cores", "ms", "CIFAR-10", "laptop", "free disk", "seed 7"):
        assert part in out
    assert "recipe full, 50,000 pictures, 6 epochs: about 4 min 30 s" in out
    assert "recipe top, 50,000 pictures, 8 epochs: about 4 min 30 s" in out
    assert "recipe few, 500 pictures, 4 epochs: about 4 min 30 s" in out
    assert "limits: 100 GFLOP/s in fp32 (one matrix product); memory 12.0 GB/s (copy)" in out
    assert "reached of them: step of laptop 70%, step of full 70%, prediction 40%" in out


def fake_evaluation(error):
    """In the place of the command's work."""

    def load(path):
        raise error

    return load


@pytest.mark.parametrize(
    ("error", "expected", "line"),
    [
        (ArgumentError("views is 3; it must be 1, 2 or 6"), 2, "views is 3; it must be 1, 2 or 6"),
        (DownloadError("no mirror gave the file"), 1, "no mirror gave the file"),
        (FileNotFoundError(2, "No such file or directory", "a.pt"), 2, "a.pt: No such file or directory"),
        (OSError("the network is down"), 2, "the network is down"),
        (KeyboardInterrupt(), 130, "stopped by hand"),
    ],
)
def test_an_error_that_a_user_can_put_right_is_one_line_and_a_status(
    capsys, monkeypatch, error, expected, line
):
    monkeypatch.setattr(checkpoint, "load", fake_evaluation(error))
    assert run(capsys, "evaluate", "best.pt") == (expected, "", f"resnet-course: {line}\n")


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes"), ValueError("bad shape"), KeyError("x")]
)
def test_an_error_that_is_not_the_courses_own_keeps_its_traceback(capsys, monkeypatch, error):
    """Before, torch's RuntimeErrors and every ValueError were one line, as if the input were wrong."""
    monkeypatch.setattr(checkpoint, "load", fake_evaluation(error))
    with pytest.raises(type(error)):
        main(["evaluate", "best.pt"])


@pytest.mark.parametrize(
    "arguments", [["--traceback", "evaluate", "OUT"], ["evaluate", "--traceback", "OUT"]]
)
def test_traceback_shows_where_an_error_of_the_course_arose(capsys, tmp_path, arguments):
    status, out, err = run(capsys, *(a.replace("OUT", str(tmp_path / "absent.pt")) for a in arguments))
    assert (status, out) == (2, "")
    assert err.startswith("Traceback (most recent call last):") and "in evaluate" in err
    assert "there is no such file" in err.splitlines()[-1]


@pytest.mark.slow
def test_epochs_are_shared_among_the_phases_and_the_seed_reaches_all_of_them(capsys, monkeypatch, tmp_path):
    """Before, `--recipe full --epochs 1` trained 5 epochs, and `--seed` changed the last phase alone."""
    trained = []

    def fit(model, train, val, recipe, *arguments, **options):
        trained.extend((phase.epochs, phase.seed, phase.batch_size) for phase in recipe.phases)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", fit)
    monkeypatch.setattr(machine, "estimate", lambda *args: 1.0)
    command = ["train", "--data", "shapes", "--recipe", "full", "--limit", 64, "--out", tmp_path / "a"]
    for epochs, phases in ((1, [1]), (2, [1, 1]), (12, [8, 4])):
        trained.clear()
        assert run(capsys, *command, "--epochs", epochs, "--seed", 5)[0] == 130
        assert trained == [(count, 5, 32) for count in phases], "of few images in small batches"
    monkeypatch.setenv("RESNET_COURSE_SEED", "6")
    trained.clear()
    run(capsys, *command)
    assert trained == [(4, 6, 32), (2, 6, 32)]


def test_the_module_runs_as_a_program_and_usage_errors_do_not_wait_for_torch():
    command = [sys.executable, "-X", "importtime", "-m", "resnet_course", "fly"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 2 and "invalid choice: 'fly'" in result.stderr
    assert "| torch\n" not in result.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_ctrl_c_keeps_what_was_learned(tmp_path):
    out = tmp_path / "d"
    command = [sys.executable, "-m", "resnet_course", "train", "--recipe", "reduced", "--data", "shapes"]
    # What a script starts in the background ignores SIGINT, and so does all that it starts.
    process = subprocess.Popen(
        [*command, "--limit", "64", "--epochs", "1000", "--out", str(out)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (out / "last.pt").exists() and process.poll() is None:  # however busy the machine is
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130 and "stopped by hand" in err and "Traceback" not in err
    assert (out / "best.pt").exists()


@pytest.mark.slow
def test_a_start_does_not_wait_for_torchvision():
    code = (
        "import sys, resnet_course.prediction, resnet_course.training; sys.exit('torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("there", "more", "said"),
    [
        (["last.pt"], [], "holds a training already; add --resume"),
        (["best.pt"], ["--resume"], "holds best.pt and no last.pt to go on from"),
        (["best.pt"], ["--minutes", "1"], "holds a training already; choose another folder"),
    ],
)
def test_a_folder_with_a_part_of_a_training_is_not_written_over(tmp_path, capsys, there, more, said):
    for name in there:
        (tmp_path / name).write_bytes(b"mine")
    assert main(["train", "--out", str(tmp_path), "--data", "shapes", *more]) == 2
    assert said in capsys.readouterr().err
    assert all((tmp_path / name).read_bytes() == b"mine" for name in there)


def test_two_trainings_do_not_write_into_one_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "home"))
    command = ["train", "--recipe", "reduced", "--data", "shapes", "--weights", "builtin", "--limit", "40"]
    out = tmp_path / "run"
    with only_one(out / "training") as free:
        assert free
        assert main([*command, "--out", str(out), "--epochs", "1"]) == 2
    assert f"another training writes into --out {out}" in capsys.readouterr().err
    assert not (out / "best.pt").exists()


def test_the_original_is_refused_where_it_could_not_choose(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path / "home"))
    for split in ("train", "val"):
        make(tmp_path / "t" / split, {"cat": 4, "dog": 4}, start=10 * (split == "val"))
    command = ["train", "--recipe", "original", "--data", f"folder:{tmp_path / 't'}", "--weights", "builtin"]
    assert main([*command, "--out", str(tmp_path / "run")]) == 2
    assert "chooses its epoch on the test split, and folder t has none" in capsys.readouterr().err
