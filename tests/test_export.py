"""The ONNX file: the same answers as `predict`, in another program."""

import importlib.util
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from parameters import some_are_slow
from PIL import Image, ImageOps

from resnet_course.__main__ import main
from resnet_course.common.errors import ArgumentError
from resnet_course.prediction import Classifier
from resnet_course.prediction.export import ByteResize, Deployed, export_onnx
from resnet_course.prediction.quantize import quantize_onnx
from resnet_course.recipes import FEW, REDUCED
from resnet_course.resnet import resnet18
from resnet_course.training import checkpoint
from resnet_course.training.checkpoint import Checkpoint


def trained(stored_size: int, recipe=FEW, temperature: float = 1.7) -> Checkpoint:
    torch.manual_seed(0)
    model = resnet18(3, width=8)
    for module in model.modules():  # statistics that differ from those of a new network
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return Checkpoint(
        state_dict=model.state_dict(),
        classes=("cat", "dog, small", "雪豹"),
        stored_size=stored_size,
        dataset="any",
        recipe=recipe,
        temperature=temperature,
    )


def squares(count: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size)
    return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("before", [16, 17, 32, 33, 100, 160, 161, 255, 256, 600])
@pytest.mark.parametrize("after", [16, 32, 96, 160, 224])
def test_bytes_are_scaled_to_the_same_bytes(before, after):
    images = squares(2, before).contiguous(memory_format=torch.channels_last)
    wanted = F.interpolate(images, (after, after), mode="bilinear", antialias=before > after)
    assert torch.equal(ByteResize(before, after)(images), wanted.float())


@pytest.mark.parametrize("recipe", [FEW, REDUCED], ids=["six views", "one view"])
@pytest.mark.parametrize("stored_size", [32, 100, 200])
def test_the_module_answers_as_the_classifier(recipe, stored_size):
    saved, images = trained(stored_size, recipe), squares(5, stored_size)
    wanted = (Classifier(saved).logits(images) / 1.7).softmax(1)
    torch.testing.assert_close(Deployed(saved).eval()(images), wanted, atol=1e-5, rtol=1e-4)


SIZES = ("640x480", "300x200", "2000x3000", "257x256", "97x131", "900x260")  # of photographs, in pixels


def in_plain_pillow(path, size, largest):
    """What notebook 05 does before the ONNX file, without the course: uint8 [1, 3, size, size]."""
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    if (side := min(picture.size)) > largest:
        smaller = [round(pixels * largest / side) for pixels in picture.size]
        picture = picture.resize(smaller, Image.Resampling.BILINEAR, reducing_gap=3.0)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    box = (left, top, left + side, top + side)
    square = picture.resize((size, size), Image.Resampling.BILINEAR, box)
    return torch.from_numpy(np.asarray(square).transpose(2, 0, 1).copy())[None]


@pytest.mark.parametrize("size", some_are_slow(SIZES, ["640x480"]))
@pytest.mark.parametrize("stored_size", some_are_slow([256, 160], [160]))
def test_photographs_of_any_size_are_answered_as_by_predict(tmp_path, size, stored_size):
    width, height = map(int, size.split("x"))
    noise = np.random.RandomState(0).randint(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    path, saved = tmp_path / "photograph.jpg", trained(stored_size)
    Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).save(path, quality=90)
    wanted = Classifier(saved).predict(path).probabilities
    [found] = Deployed(saved).eval()(in_plain_pillow(path, stored_size, saved.shorter_side)).tolist()
    assert found == pytest.approx(
        [wanted[name] for name in saved.classes], abs=5e-4
    )  # without the first: 6e-3


def test_without_its_packages_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else find_spec(name))
    path = checkpoint.save(tmp_path / "best.pt", trained(32))
    assert main(["export", str(path), "--onnx", str(tmp_path / "x.onnx")]) == 2
    said = capsys.readouterr().err
    assert "onnx is not installed; install resnet-course[onnx]" in said and said.count("\n") == 1
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.slow
def test_onnxruntime_answers_as_predict_for_any_number_of_images(tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    saved = trained(100)
    path, file = checkpoint.save(tmp_path / "best.pt", saved), tmp_path / "network.onnx"
    assert main(["export", str(path), "--onnx", str(file)]) == 0
    assert "100 × 100 RGB bytes in" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    assert tuple(json.loads(facts["classes"])) == saved.classes and facts["stored_size"] == "100"
    assert facts["shorter_side"] == "256"
    assert (facts["temperature"], facts["threshold"]) == ("1.7", "0.0")
    images = squares(100, 100)
    classifier = Classifier.load(path)
    wanted = [
        [answer.probabilities[name] for name in saved.classes]
        for answer in classifier.predict_squares(images)
    ]
    for count in (1, 5):
        batches = images.split(count)
        found = [session.run(["probabilities"], {"images": batch.numpy()})[0] for batch in batches]
        assert np.abs(np.concatenate(found) - np.array(wanted)).max() < 1e-4
    assert export_onnx(saved, file) == file, "again in its place"


@pytest.mark.slow
def test_eight_bits_take_a_quarter_of_the_file_and_say_nearly_the_same(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    saved = trained(48, REDUCED)
    exported = export_onnx(saved, tmp_path / "network.onnx")
    images = squares(100, 48)
    file = quantize_onnx(exported, images[:40], tmp_path / "eight.onnx")
    assert (
        file.stat().st_size < 0.4 * exported.stat().st_size
    )  # a narrow network is mostly what has no weights
    sessions = [onnxruntime.InferenceSession(str(path)) for path in (exported, file)]
    plain, rounded = (each.run(["probabilities"], {"images": images.numpy()})[0] for each in sessions)
    assert 0 < np.abs(plain - rounded).max() < 0.1 and not np.isnan(rounded).any()
    facts = sessions[1].get_modelmeta().custom_metadata_map
    assert tuple(json.loads(facts["classes"])) == saved.classes and facts["stored_size"] == "48"
    with pytest.raises(ArgumentError, match="squares is empty"):
        quantize_onnx(exported, images[:0], file)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["eight.onnx", "network.onnx"]
