"""From a checkpoint and any image to a class, the way the images of its evaluation went."""

import io
import subprocess
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from parameters import some_are_slow
from PIL import Image

from resnet_course import machine, prediction
from resnet_course.data import ImageError, ImageSet
from resnet_course.evaluation import evaluate
from resnet_course.prediction import Classifier
from resnet_course.recipes import REDUCED
from resnet_course.resnet import resnet18
from resnet_course.training import checkpoint
from resnet_course.training.checkpoint import Checkpoint, CheckpointError

RECIPE = replace(REDUCED, image_size=48)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    model = resnet18(3, width=8)
    path = tmp_path_factory.mktemp("run") / "best.pt"
    return checkpoint.save(path, Checkpoint(model.state_dict(), ("cat", "dog", "eel"), 32, "pets", RECIPE))


def pixels(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_same_answer_for_every_form_of_a_image(saved, tmp_path):
    array = pixels(32, 32)
    path = tmp_path / "a image, ü.png"
    Image.fromarray(array).save(path)
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    classifier = Classifier.load(saved)
    answers = [
        classifier.predict(p) for p in (array, Image.fromarray(array), buffer.getvalue(), path, str(path))
    ]
    assert all(answer == answers[0] for answer in answers)


def test_it_predicts_what_evaluation_found(saved):
    arrays = [pixels(32, 32, seed) for seed in range(5)]
    images = torch.stack([torch.from_numpy(array).permute(2, 0, 1) for array in arrays])
    classes = ("cat", "dog", "eel")
    classifier = Classifier.load(saved)
    expected = evaluate(
        classifier.model, ImageSet(images, torch.zeros(5, dtype=torch.int64), classes, "x"), RECIPE
    )
    for array, probabilities in zip(arrays, expected.probabilities, strict=True):
        prediction = classifier.predict(array)
        for name, probability in zip(classes, probabilities.tolist(), strict=True):
            assert prediction.probabilities[name] == pytest.approx(probability, abs=1e-6)
        assert prediction.label == classes[int(probabilities.argmax())]
        assert prediction.confidence == max(prediction.probabilities.values())
        assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert list(prediction.probabilities.values()) == sorted(
            prediction.probabilities.values(), reverse=True
        )


def test_a_large_photograph_is_seen_as_the_training_images_were(saved):
    """Its middle square, at the size that the network learned from; nothing is squashed."""
    wide = np.zeros((64, 256, 3), np.uint8)
    wide[:, 96:160] = pixels(64, 64)
    classifier = Classifier.load(saved)
    square = classifier.square(wide)
    assert square.shape == (3, 32, 32) and square.dtype == torch.uint8
    assert torch.equal(square, classifier.square(wide[:, 96:160]))


def test_one_by_one_and_in_a_batch_agree(saved):
    classifier = Classifier.load(saved)
    squares = torch.stack([classifier.square(pixels(40, 50, seed)) for seed in range(4)])
    for square, batched in zip(squares, classifier.predict_squares(squares), strict=True):
        [alone] = classifier.predict_squares(square[None])
        assert alone.label == batched.label
        assert alone.probabilities == pytest.approx(batched.probabilities, abs=1e-6)


def test_many_images_are_computed_the_fastest_way_to_nearly_the_same_numbers(saved, monkeypatch):
    classifier, images = Classifier.load(saved), [pixels(32, 32, seed) for seed in range(8)]
    exact = list(classifier.predict_many(images))
    engine = machine.Engine("cpu", "bf16", "channels_last")
    monkeypatch.setattr(machine, "choose", lambda recipe: engine)
    assert list(classifier.predict_many(images)) == exact, "too few for a probe"
    monkeypatch.setattr(prediction.classifier, "MANY", 8)
    rounded = list(classifier.predict_many(images))
    assert rounded != exact
    for a, b in zip(exact, rounded, strict=True):
        assert a.probabilities == pytest.approx(b.probabilities, abs=0.05)


def test_logits_are_the_mean_over_the_recipes_views(saved, tmp_path):
    content = checkpoint.load(saved)
    path = checkpoint.save(tmp_path / "two.pt", replace(content, recipe=replace(RECIPE, test_views=2)))
    squares = torch.from_numpy(np.stack([pixels(32, 32, seed) for seed in range(3)])).permute(0, 3, 1, 2)
    one, two = Classifier.load(saved), Classifier.load(path)
    each = [one.logits(view) for view in (squares, squares.flip(-1))]
    assert not torch.allclose(*each, atol=1e-3)
    assert torch.allclose(two.logits(squares), sum(each) / 2, atol=1e-5)


def test_a_checkpoints_temperature_divides_the_logits(saved, tmp_path):
    path = checkpoint.save(tmp_path / "hot.pt", replace(checkpoint.load(saved), temperature=4.0))
    square = torch.from_numpy(pixels(32, 32)).permute(2, 0, 1)
    expected = (Classifier.load(saved).logits(square[None])[0] / 4).softmax(0)
    found = Classifier.load(path).predict(pixels(32, 32)).probabilities
    assert [found[name] for name in ("cat", "dog", "eel")] == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize("many", [False, True])
def test_prediction_keeps_to_the_threads_that_the_process_may_use(saved, monkeypatch, many):
    before, used = torch.get_num_threads(), []
    monkeypatch.setenv("RESNET_COURSE_THREADS", "1")
    monkeypatch.setattr(prediction.classifier, "MANY", 2 if many else 300)
    torch.set_num_threads(2)
    try:
        classifier = Classifier.load(saved)
        classifier.network.conv1.register_forward_pre_hook(lambda *_: used.append(torch.get_num_threads()))
        answers = classifier.predict_many([pixels(32, 32, seed) for seed in range(4)], batch_size=2)
        next(answers)
        assert torch.get_num_threads() == 2, "between the answers the threads are the caller's"
        list(answers)
    finally:
        torch.set_num_threads(before)
    assert used == [1, 1]


def test_bad_images_and_bad_checkpoints_are_one_line(saved, tmp_path):
    classifier = Classifier.load(saved)
    bad = tmp_path / "text.jpg"
    bad.write_text("hello")
    for image in (tmp_path / "absent.png", bad, tmp_path, b"", np.zeros((4, 4, 2), np.uint8)):
        with pytest.raises(ImageError) as error:
            classifier.predict(image)
        assert "\n" not in str(error.value)
    with pytest.raises(CheckpointError):
        Classifier.load(bad)


def test_many_images_are_predicted_batch_by_batch_in_their_order(saved, tmp_path):
    bad = tmp_path / "text.jpg"
    bad.write_text("hello")
    arrays = [pixels(40, 50, seed) for seed in range(7)]
    asked = []

    def images():
        for number, image in enumerate([*arrays[:3], bad, *arrays[3:], tmp_path / "absent.png"]):
            asked.append(number)
            yield image

    classifier = Classifier.load(saved)
    answers = classifier.predict_many(images(), batch_size=4)
    first = next(answers)
    assert len(asked) == 4, "no more than a batch is read ahead"
    answers = [first, *answers]
    assert [isinstance(answer, ImageError) for answer in answers] == [False] * 3 + [True] + [False] * 4 + [
        True
    ]
    right = [answer for answer in answers if not isinstance(answer, ImageError)]
    for array, answer in zip(arrays, right, strict=True):
        assert answer.probabilities == pytest.approx(classifier.predict(array).probabilities, abs=1e-6)
    assert list(classifier.predict_many([])) == []


def test_of_an_animation_the_first_frame_is_taken_and_that_is_said(saved, tmp_path, capsys):
    frames = [Image.fromarray(pixels(40, 40, seed)) for seed in range(3)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "still.gif")
    classifier = Classifier.load(saved)
    moving = classifier.predict(tmp_path / "moving.gif")
    assert "moving.gif has 3 frames; the first one is taken" in capsys.readouterr().err
    still = classifier.predict(tmp_path / "still.gif")
    assert capsys.readouterr().err == "" and still.probabilities == pytest.approx(
        moving.probabilities, abs=0.02
    )


def encoded(form, mode="RGB", size=(40, 40), **options):
    file = io.BytesIO()
    Image.new(mode, size).save(file, form, **options)
    return file.getvalue()


def bomb():
    """A PNG that claims to be 60,000 pixels a side."""
    small = encoded("PNG", "L")
    header = b"IHDR" + (60_000).to_bytes(4) * 2 + small[24:29]
    return small[:12] + header + zlib.crc32(header).to_bytes(4) + small[33:]


STRANGE = {
    "empty.png": b"",
    "text.jpg": b"these are words, not a image",
    "cut.jpg": encoded("JPEG", size=(400, 400))[:300],
    "bomb.png": bomb(),
    "phone.heic": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200),
}
UNUSUAL = {
    "one.png": encoded("PNG", size=(1, 1)),
    "thread.png": encoded("PNG", size=(10_000, 1)),
    "deep.tif": encoded("TIFF", "I;16"),
    "float.tif": encoded("TIFF", "F"),
    "print.jpg": encoded("JPEG", "CMYK"),
    "see through.png": encoded("PNG", "P", transparency=0),
    "a spaced näme.png": encoded("PNG"),
}


@pytest.mark.parametrize("name", some_are_slow([*STRANGE, *UNUSUAL], quick=[*STRANGE, *UNUSUAL][::3]))
def test_whatever_a_file_holds_there_is_a_prediction_or_one_clear_line(saved, tmp_path, name):
    path = tmp_path / name
    path.write_bytes((STRANGE | UNUSUAL)[name])
    (answer,) = Classifier.load(saved).predict_many([path])
    if name in UNUSUAL:
        assert answer.label in ("cat", "dog", "eel")
    else:
        assert isinstance(answer, ImageError) and str(answer).startswith(f"{path}: ")
        assert "\n" not in str(answer)


def test_a_folder_and_a_missing_file_are_named(saved, tmp_path):
    folder, missing = Classifier.load(saved).predict_many([tmp_path, tmp_path / "no.png"])
    assert "is a folder; give the path of an image file" in str(folder)
    assert "there is no such file" in str(missing)


MANY = """
import resource, sys
from resnet_course.prediction import Classifier
classifier = Classifier.load(sys.argv[1])
peaks = []
for number, answer in enumerate(classifier.predict_many([sys.argv[2]] * 1_500)):
    if number in (300, 1_499):
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(peaks[1] - peaks[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory as Linux gives it")
def test_thousands_of_images_take_no_more_memory_than_hundreds(saved, tmp_path):
    Image.fromarray(pixels(32, 32)).save(tmp_path / "a.png")
    command = [sys.executable, "-c", MANY, str(saved), str(tmp_path / "a.png")]
    grown = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert grown < 20, "megabytes"
