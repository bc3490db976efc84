"""From a checkpoint and any picture to a class, the way the pictures of its evaluation went."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from resnet_course import checkpoint
from resnet_course.checkpoint import Checkpoint, CheckpointError
from resnet_course.data import ImageSet, PictureError
from resnet_course.evaluation import evaluate
from resnet_course.prediction import Classifier
from resnet_course.recipes import REDUCED
from resnet_course.resnet import resnet18

RECIPE = replace(REDUCED, image_size=48)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    model = resnet18(3, width=8)
    path = tmp_path_factory.mktemp("run") / "best.pt"
    return checkpoint.save(path, Checkpoint(model.state_dict(), ("cat", "dog", "eel"), 32, "pets", RECIPE))


def pixels(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_same_answer_for_every_form_of_a_picture(saved, tmp_path):
    array = pixels(32, 32)
    path = tmp_path / "a picture, ü.png"
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


def test_a_large_photograph_is_seen_as_the_training_pictures_were(saved):
    """Its middle square, at the size that the network learned from; nothing is squashed."""
    wide = np.zeros((64, 256, 3), np.uint8)
    wide[:, 96:160] = pixels(64, 64)
    classifier = Classifier.load(saved)
    view = classifier.view(wide)
    assert view.shape == (3, 32, 32) and view.dtype == torch.uint8
    assert torch.equal(view, classifier.view(wide[:, 96:160]))


def test_one_by_one_and_in_a_batch_agree(saved):
    classifier = Classifier.load(saved)
    views = [classifier.view(pixels(40, 50, seed)) for seed in range(4)]
    for view, batched in zip(views, classifier.predict_views(views), strict=True):
        alone = classifier.predict_views([view])[0]
        assert alone.label == batched.label
        assert alone.probabilities == pytest.approx(batched.probabilities, abs=1e-6)


def test_bad_pictures_and_bad_checkpoints_are_one_line(saved, tmp_path):
    classifier = Classifier.load(saved)
    bad = tmp_path / "text.jpg"
    bad.write_text("hello")
    for picture in (tmp_path / "absent.png", bad, tmp_path, b"", np.zeros((4, 4, 2), np.uint8)):
        with pytest.raises(PictureError) as error:
            classifier.predict(picture)
        assert "\n" not in str(error.value)
    with pytest.raises(CheckpointError):
        Classifier.load(bad)
