"""The rule for devices (CONTRIBUTING), held by a device whose tensors refuse to mix with the CPU's.

A function that computes with a model works on the model's engine or where the model is, moves its inputs
there itself, returns results on the CPU, and leaves the caller's model and tensors where they were.
"""

import contextlib
import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fake_device import NAME, FakeDevice, tensors_in
from parameters import some_are_slow

from resnet_course import machine, prediction
from resnet_course.data import ImageSet
from resnet_course.evaluation import evaluate, grad_cam
from resnet_course.features import cache_features
from resnet_course.inputs import to_input
from resnet_course.machine import devices
from resnet_course.prediction import Classifier
from resnet_course.recipes import REDUCED
from resnet_course.resnet import resnet18
from resnet_course.teaching import anatomy
from resnet_course.training import checkpoint, fit
from resnet_course.training.checkpoint import Checkpoint
from resnet_course.training.loop import train_epoch, validate
from resnet_course.transfer import freeze

RECIPE = replace(REDUCED, epochs=1, batch_size=16, train_from="layer4", dropout=0.2, test_views=2)
CACHED = replace(RECIPE, cached_views=2, augmentation="flip")


@pytest.fixture
def device(monkeypatch):
    """The fake device, and the machine's choice of it."""
    monkeypatch.setattr(devices, "device", lambda: NAME)
    monkeypatch.setattr(machine, "device", lambda: NAME)
    monkeypatch.setenv(
        "RESNET_COURSE_THREADS", "1"
    )  # more would only wait for each other, on networks so small
    with FakeDevice() as fake:
        yield fake


def noise(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, 32, 32), generator=generator).to(torch.uint8)
    return ImageSet(images, torch.arange(count) % 2, ("a", "b"), "noise")


def network(where="cpu", train_from="layer4"):
    torch.manual_seed(0)
    return freeze(resnet18(2, width=8, dropout=0.2), train_from).to(where)


def on_cpu(function):
    """What a function returns without the device."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "device", lambda: "cpu")
        patch.setattr(machine, "device", lambda: "cpu")
        return function()


@contextlib.contextmanager
def left_as_they_were(model, *sets):
    """Fails unless a block leaves a model where it was, and images where and as they were."""
    where = {name: tensor.device for name, tensor in model.state_dict().items()}
    strides = {name: tensor.stride() for name, tensor in model.state_dict().items()}
    parameters, images = list(model.parameters()), [one.images.clone() for one in sets]
    yield
    assert {name: tensor.device for name, tensor in model.state_dict().items()} == where
    assert {name: tensor.stride() for name, tensor in model.state_dict().items()} == strides
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    for one, before in zip(sets, images, strict=True):
        assert one.images.device.type == "cpu" and torch.equal(one.images, before)


def all_on_cpu(result):
    return all(tensor.device.type == "cpu" for tensor in tensors_in(result))


class TestTheFakeDevice:
    """That it would notice."""

    def test_there_and_back(self, device):
        x = torch.randn(4, 3)
        there = x.to(NAME)
        assert there.device.type == NAME and x.device.type == "cpu" and device.holds(there)
        assert torch.equal(there.cpu(), x) and there.cpu().device.type == "cpu"
        assert (there * 2).device.type == there.T.device.type == torch.zeros_like(there).device.type == NAME
        assert (there.sum() + 1).item() == pytest.approx(float(x.sum()) + 1)
        assert torch.ones(2, device=NAME).tolist() == [1, 1]
        assert x.to(there).device.type == NAME and there.to(x).device.type == "cpu"
        assert copy.deepcopy(there).device.type == there[torch.tensor([0, 1])].device.type == NAME

    @pytest.mark.parametrize(
        "mixed",
        [
            lambda here, there: here + there,
            lambda here, there: torch.cat([there, here]),
            lambda here, there: F.linear(here, there),
            lambda here, there: here[torch.tensor([0], device=NAME)],
            lambda here, there: F.cross_entropy(there, torch.zeros(4, dtype=torch.int64)),
        ],
        ids=["add", "cat", "linear", "index", "loss"],
    )
    def test_what_a_gpu_refuses_it_refuses(self, device, mixed):
        here = torch.randn(4, 3)
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            mixed(here, here.to(NAME))

    def test_its_memory_cannot_be_read(self, device):
        with pytest.raises(TypeError, match=r"Use Tensor\.cpu\(\)"):
            torch.ones(2, device=NAME).numpy()
        with pytest.raises(TypeError, match=r"Use Tensor\.cpu\(\)"):
            np.asarray(torch.ones(2, device=NAME))

    def test_a_network_learns_there_as_it_does_here(self, device):
        losses = {}
        for where in ("cpu", NAME):
            model, losses[where] = network(where, "all").train(), []
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
            x, y = to_input(noise(8).images, RECIPE).to(where), noise(8).labels.to(where)
            for _ in range(2):
                torch.manual_seed(0)  # for dropout
                loss = F.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses[where].append(loss.item())
            assert {tensor.device.type for tensor in model.state_dict().values()} == {where}
            assert model.conv1.weight.grad.device.type == where
        # Threads add in any order, and AdamW's first steps make much of the smallest gradients.
        assert losses["cpu"] == pytest.approx(losses[NAME], rel=0.02)

    def test_who_forgets_to_move_is_caught(self, device):
        model, images = network(NAME), noise(4)
        with pytest.raises(RuntimeError, match="same device"):
            model(to_input(images.images, RECIPE))
        model = network()
        with pytest.raises(AssertionError), left_as_they_were(model):
            model.to(NAME)


@pytest.mark.parametrize(
    "recipe",
    some_are_slow([RECIPE, CACHED, replace(RECIPE, average=0.9), replace(RECIPE, first=CACHED)], [CACHED]),
    ids=["images", "features", "averaged", "phases"],
)
def test_fit(device, tmp_path, recipe):
    train, val, model = noise(32), noise(16, seed=1), network()
    with left_as_they_were(model, train, val):
        history = fit(model, train, val, recipe, tmp_path / "out", home=tmp_path / "home")
    twin = network()
    expected = on_cpu(lambda: fit(twin, train, val, recipe, home=tmp_path / "other home"))
    for name in ("train_loss", "val_loss", "val_accuracy"):
        assert history.values(name) == pytest.approx(expected.values(name), rel=1e-5)
    for (name, a), b in zip(model.state_dict().items(), twin.state_dict().values(), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6), name
    assert all_on_cpu(checkpoint.load(tmp_path / "out" / "best.pt").state_dict)


@pytest.mark.slow
def test_fit_goes_on_from_its_files(device, tmp_path):
    train, val, recipe = noise(32), noise(16, seed=1), replace(RECIPE, epochs=2, average=0.9)
    whole, out = fit(network(), train, val, recipe, tmp_path / "whole"), tmp_path / "stopped"

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        calls = []
        real = evaluate

        def second_time(*arguments):
            calls.append(1)
            return stop() if len(calls) == 2 else real(*arguments)

        patch.setattr("resnet_course.training.loop.evaluate", second_time)
        assert fit(network(), train, val, recipe, out).interrupted
    model = network()
    with left_as_they_were(model, train, val):
        resumed = fit(model, train, val, recipe, out, resume=True)
    assert resumed.values("val_loss") == pytest.approx(whole.values("val_loss"), rel=1e-5)


def test_a_model_that_the_caller_put_there_stays_there(device, tmp_path):
    train, val, model = noise(32), noise(16, seed=1), network(NAME)
    with left_as_they_were(model, train, val):
        fit(model, train, val, RECIPE, home=tmp_path)
        assert all_on_cpu(evaluate(model, val, RECIPE).logits)
        cache_features(model, train, RECIPE, tmp_path, views=1)


def test_train_epoch_and_validate_work_where_the_model_is(device):
    model, val = network(NAME), noise(20)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    batches = [(to_input(noise(8).images, RECIPE), noise(8).labels)] * 2
    with left_as_they_were(model, val):
        assert train_epoch(model, batches, optimizer).images == 16
        assert validate(model, val, RECIPE).images == 20


@pytest.mark.parametrize("of", ["images", "features"])
def test_evaluate(device, tmp_path, of):
    images, model = noise(20), network()
    test = images if of == "images" else cache_features(model, images, RECIPE, tmp_path, dtype="fp32")
    with left_as_they_were(model, images):
        found = evaluate(model, test, RECIPE)
    expected = on_cpu(lambda: evaluate(model, images, RECIPE))
    assert all_on_cpu((found.logits, found.labels))
    assert torch.allclose(found.logits, expected.logits, atol=1e-5)


@pytest.mark.parametrize("train_from", ["layer4", "fc"])
def test_cache_features(device, tmp_path, train_from):
    images, model, recipe = noise(20), network(train_from=train_from), replace(CACHED, train_from=train_from)
    with left_as_they_were(model, images):
        there = cache_features(model, images, recipe, tmp_path / "a", views=2)
    here = on_cpu(lambda: cache_features(model, images, recipe, tmp_path / "b", views=2))
    for view in range(2):
        assert there.read(torch.arange(20), view).device.type == "cpu"
        assert torch.equal(there.read(torch.arange(20), view), here.read(torch.arange(20), view))


@pytest.mark.parametrize("where", ["cpu", NAME])
@pytest.mark.parametrize("classes", [None, torch.tensor([0, 1, 0])])
def test_grad_cam(device, where, classes):
    inputs, model = to_input(noise(3).images, RECIPE), network(where)
    with left_as_they_were(model):
        heat = grad_cam(model, inputs, classes)
    assert heat.device.type == inputs.device.type == "cpu"
    assert torch.allclose(heat, grad_cam(network(), inputs, classes), atol=1e-5)


LOOKING_INSIDE = {
    "walk": lambda model, inputs, labels: anatomy.walk(model, 32),
    "multiply_adds": lambda model, inputs, labels: anatomy.multiply_adds(model, 32),
    "outputs": lambda model, inputs, labels: anatomy.outputs(model, inputs),
    "gradient_norms": anatomy.gradient_norms,
    "residual_shares": lambda model, inputs, labels: anatomy.residual_shares(model, inputs),
    "without_block": lambda model, inputs, labels: anatomy.outputs(
        anatomy.without_block(model, "layer1.1"), inputs
    ),
}


@pytest.mark.parametrize("name", LOOKING_INSIDE)
def test_anatomy(device, name):
    look, inputs, labels = LOOKING_INSIDE[name], to_input(noise(4).images, RECIPE), noise(4).labels
    model = network(NAME, "all")
    with left_as_they_were(model):
        found = look(model, inputs, labels)
    assert all_on_cpu((found, inputs, labels))
    expected = look(network(train_from="all"), inputs, labels)
    if isinstance(found, dict):
        assert found.keys() == expected.keys()
        for key, value in found.items():
            assert torch.allclose(torch.as_tensor(value), torch.as_tensor(expected[key]), rtol=1e-4)
    else:
        assert found == expected


@pytest.mark.parametrize("setting", some_are_slow(["auto", "cuda"], quick=["auto"]))
@pytest.mark.parametrize("many", some_are_slow([False, True], quick=[True]))
def test_classifier(device, monkeypatch, setting, many):
    content = Checkpoint(network().state_dict(), ("a", "b"), 32, "noise", RECIPE)
    expected = on_cpu(lambda: Classifier(content).logits(noise(4).images).softmax(1))
    monkeypatch.setenv("RESNET_COURSE_DEVICE", setting)
    monkeypatch.setattr(prediction.classifier, "MANY", 4 if many else 300)
    classifier = Classifier(content)
    where = "cpu" if setting == "auto" else NAME
    assert next(classifier.network.parameters()).device.type == where
    arrays = [image.permute(1, 2, 0).numpy() for image in noise(4).images]
    with left_as_they_were(classifier.network):
        answers = list(classifier.predict_many(arrays, batch_size=3))
        answers.append(classifier.predict(arrays[0]))
    for answer, row in zip(answers, [*expected, expected[0]], strict=True):
        assert [answer.probabilities[name] for name in ("a", "b")] == pytest.approx(row.tolist(), abs=1e-5)
    assert all_on_cpu(classifier.logits(noise(4).images))
    assert all_on_cpu(content.state_dict)
