"""Grad-CAM against gradients by finite differences, and that it follows what is looked for."""

import pytest
import torch
import torch.nn.functional as F

from resnet_course.evaluation.gradcam import deepest_layer, grad_cam
from resnet_course.resnet import resnet18
from resnet_course.transfer import freeze, split_at


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = resnet18(3, width=8).double()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
    return model.eval()


@pytest.mark.parametrize(("layer", "after"), [("layer4", "fc"), ("layer3", "layer4")])
def test_it_is_the_formula_with_gradients_by_finite_differences(model, layer, after):
    inputs = torch.randn(2, 3, 40, 40, dtype=torch.float64)
    classes = torch.tensor([2, 0])
    trunk, head = split_at(model, after)
    with torch.no_grad():
        maps, step = trunk(inputs), 1e-5
        weights = torch.zeros(maps.shape[:2], dtype=torch.float64)
        for image in range(2):
            for channel in range(maps.shape[1]):
                # The mean gradient over a map is the slope when the whole map is raised a little.
                ends = []
                for sign in (1, -1):
                    moved = maps[image : image + 1].clone()
                    moved[0, channel] += sign * step
                    ends.append(head(moved)[0, classes[image]])
                weights[image, channel] = (ends[0] - ends[1]) / (2 * step) / maps[0, 0].numel()
        heat = (weights[..., None, None] * maps).sum(1, keepdim=True).relu()
        heat = F.interpolate(heat, (40, 40), mode="bilinear")[:, 0]
        wanted = heat / heat.amax((1, 2), keepdim=True).clamp(min=1e-12)
    assert torch.allclose(grad_cam(model, inputs, classes, layer), wanted, atol=1e-4)


def test_the_model_is_left_as_it_was_and_works_frozen(model):
    freeze(model.train(), "fc")
    model.zero_grad()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.inference_mode(False), torch.no_grad():
        heat = grad_cam(model, torch.randn(2, 3, 32, 32, dtype=torch.float64))
    assert heat.shape == (2, 32, 32) and 0 <= float(heat.min()) <= float(heat.max()) <= 1
    assert model.training and all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_another_class_gives_another_map(model):
    inputs = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    maps = [grad_cam(model, inputs, torch.tensor([label]), layer="layer1") for label in range(3)]
    assert not torch.allclose(maps[0], maps[1]) and not torch.allclose(maps[1], maps[2])
    predicted = model(inputs).argmax(1)
    assert torch.equal(grad_cam(model, inputs, layer="layer1"), maps[int(predicted)])


def test_another_layer_is_refused(model):
    with pytest.raises(
        ValueError, match="layer is 'conv1'; it must be one of: layer1, layer2, layer3, layer4"
    ):
        grad_cam(model, torch.zeros(1, 3, 32, 32), layer="conv1")


@pytest.mark.parametrize(
    "side, layer, places",
    [(32, "layer2", 4), (64, "layer3", 4), (96, "layer4", 3), (80, "layer4", 3), (40, "layer3", 3)],
)
def test_without_a_layer_it_takes_the_last_one_whose_maps_say_where(model, side, layer, places):
    inputs = torch.randn(2, 3, side, side, dtype=torch.float64)
    after = {"layer2": "layer3", "layer3": "layer4", "layer4": "fc"}[layer]
    assert deepest_layer(side) == layer
    assert split_at(model, after)[0](inputs).shape[-2:] == (places, places)
    assert torch.equal(grad_cam(model, inputs), grad_cam(model, inputs, layer=layer))
    assert grad_cam(model, inputs).std((1, 2)).min() > 0
