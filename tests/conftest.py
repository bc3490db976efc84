"""Fixtures that several test modules use.

PyTorch is imported where it is used: the process that only shares the tests out reads this file too.
"""

import sys

import pytest


@pytest.fixture(autouse=True, scope="session")
def exact_on_a_gpu():
    """Whole 32-bit numbers, and kernels that add in a fixed order: tests compare bits, or up to rounding."""
    import torch

    if torch.cuda.is_available():
        for operators in (torch.backends.cudnn.conv, torch.backends.cudnn.rnn):
            operators.fp32_precision = "ieee"
        torch.backends.cudnn.deterministic = True


@pytest.fixture(scope="module")
def sets():
    """Dark pictures and bright ones, 128 to train and 32 to validate: any loop that works learns them."""
    import torch

    from resnet_course.data import ImageSet, split_off

    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(160) % 2
    noise = torch.randint(0, 160, (160, 3, 32, 32), generator=generator)
    images = (noise + 60 * labels.view(-1, 1, 1, 1)).to(torch.uint8)
    return split_off(ImageSet(images, labels, ("dark", "bright"), "noise"), 0.2)


@pytest.fixture
def int8(monkeypatch):
    """A machine that computes frozen trunks in int8; elsewhere than on x86 the test is skipped."""
    import platform

    from resnet_course.machine import gains, probing

    if platform.machine() not in gains.X86:
        pytest.skip("int8 is for x86 processors alone")
    way = ("fp32", "channels_last")
    found = probing.Probe(1, 2**33, {way: 1.0}, {1: 1.0}, 1, {way: 1.0}, bf16_gain=0.1, int8_gain=3.0)
    monkeypatch.setattr(probing, "probe", lambda: found)
    monkeypatch.setattr(probing, "LOOKS", 1)
    monkeypatch.setenv("RESNET_COURSE_DEVICE", "cpu")


@pytest.fixture
def quick_doctor(monkeypatch):
    """What `doctor` would measure for many seconds, tested elsewhere: 270 seconds for every recipe."""
    from resnet_course.machine import Limits
    from resnet_course.machine.estimates import Cost

    class Known(Cost):
        def seconds(self, images, validation_images):
            return 270.0

    def costs(recipe, images, **options):
        return [Known(recipe, "fp32", "fp32", 0.0, 1.0, 0.0, 0.3, 0, 70_000_000_000)]  # 70 GFLOP a second

    module = sys.modules["resnet_course.machine.report"]
    monkeypatch.setattr(module, "costs", costs)
    monkeypatch.setattr(module, "measure_limits", lambda recipe: Limits({"fp32": 100.0}, 12.0))
    monkeypatch.setattr(module, "prediction_share", lambda size, limits: 0.4)


@pytest.fixture
def exercise_home(tmp_path, monkeypatch):
    """A learner who has tried nothing yet, and does not ask for strictness."""
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path))
    monkeypatch.delenv("RESNET_COURSE_STRICT", raising=False)


@pytest.fixture
def said(exercise_home, capsys):
    """A function: what `question.check(answer)` prints."""

    def check(question, answer):
        question.check(answer)
        return capsys.readouterr().out

    return check


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab server and a browser for all tests of a module."""
    from jupyterlab_harness import Lab

    lab = Lab(tmp_path_factory.mktemp("jupyterlab"))
    yield lab
    lab.close()
