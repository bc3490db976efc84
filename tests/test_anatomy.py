"""What is read off a network agrees with a plain computation, and the network stays as it was."""

import copy

import pytest
import torch
import torch.nn.functional as F
import torchvision
from parameters import some_are_slow
from torch import nn

from resnet_course.common.errors import ArgumentError
from resnet_course.resnet import resnet18
from resnet_course.resnet.stacks import stack
from resnet_course.teaching import anatomy


@pytest.fixture
def images():
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return stack(8, width=8)


def test_the_walk_through_resnet18_is_the_published_table():
    parts = {part.name: part for part in anatomy.walk(resnet18(), 224)}
    assert {name: part.output_shape for name, part in parts.items()} == {
        "conv1": (64, 112, 112),
        "bn1": (64, 112, 112),
        "maxpool": (64, 56, 56),
        "layer1": (64, 56, 56),
        "layer2": (128, 28, 28),
        "layer3": (256, 14, 14),
        "layer4": (512, 7, 7),
        "avgpool": (512, 1, 1),
        "fc": (1000,),
    }
    assert sum(part.parameters for part in parts.values()) == 11_689_512
    # torchvision publishes 1.814 billion for these weights
    published = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta["_ops"]
    assert sum(part.multiply_adds for part in parts.values()) / 1e9 == pytest.approx(published, abs=1e-3)
    assert parts["layer1"].operation == "2 × BasicBlock"
    assert parts["conv1"].operation == "7×7 convolution, stride 2"


@pytest.mark.parametrize("name", some_are_slow(["vgg16", "mobilenet_v3_small"], quick=["mobilenet_v3_small"]))
def test_multiply_adds_are_those_that_torchvision_publishes(name):
    options = {"init_weights": False} if name == "vgg16" else {}
    model = torchvision.models.get_model(name, **options)
    published = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta["_ops"]
    assert anatomy.multiply_adds(model, 224) / 1e9 == pytest.approx(published, abs=2e-3)


def test_outputs_are_those_of_the_parts_one_after_another(model, images):
    found = anatomy.outputs(model, images)
    assert tuple(found) == tuple(name for name, _ in model.named_children())
    model.eval()
    x = images
    with torch.no_grad():
        for name, part in model.named_children():
            x = part(x)
            assert torch.equal(found[name], x), name


def test_gradient_norms_are_those_of_a_backward_pass(model, images):
    labels = torch.tensor([0, 1, 2, 3])
    norms = anatomy.gradient_norms(model, images, labels)
    assert len(norms) == 8 and all(parameter.grad is None for parameter in model.parameters())
    F.cross_entropy(model.train()(images), labels).backward()
    assert norms["conv1"] == pytest.approx(float(model.conv1.weight.grad.norm()), rel=1e-5)
    assert norms["fc"] == pytest.approx(float(model.fc.weight.grad.norm()), rel=1e-5)


def test_residual_shares_by_hand(model, images):
    shares = anatomy.residual_shares(model, images)
    model.eval()
    with torch.no_grad():
        x = model.relu(model.bn1(model.conv1(images)))
        block = model.layer1[0]
        ratios = [block.residual(x)[i].norm() / x[i].norm() for i in range(4)]
        assert shares["layer1.0"] == pytest.approx(float(sum(ratios) / 4), rel=1e-5)
    nn.init.zeros_(model.layer1[0].bn2.weight)
    assert anatomy.residual_shares(model, images)["layer1.0"] == 0


def test_a_calibrated_network_computes_in_eval_mode_what_it_does_on_that_batch(model, images):
    found = anatomy.calibrated(model, images)
    assert not found.training and found is not model
    with torch.no_grad():
        x = found.conv1(images)
        assert torch.allclose(found.bn1(x), model.train().bn1(model.conv1(images)), atol=0.05)
        assert abs(float(found.bn1(x).mean())) < 1e-5 and float(found.bn1(x).std()) == pytest.approx(
            1, abs=0.01
        )
    assert model.layer1[0].bn1.num_batches_tracked == 0, "the network itself stays as it was"


def test_a_removed_block_lets_its_input_pass(model, images):
    assert anatomy.removable_blocks(model) == ["layer1.0", "layer2.0", "layer3.0"]
    for name in anatomy.removable_blocks(model):
        expected = copy.deepcopy(model)
        nn.init.zeros_(expected.get_submodule(name).bn2.weight)  # F = 0
        with torch.no_grad():
            found = anatomy.without_block(model, name).eval()(images)
            assert torch.allclose(found, expected.eval()(images), atol=1e-6), name


def test_a_plain_block_that_changes_the_shape_cannot_go(images):
    plain = stack(14, skip=False, width=8)
    assert anatomy.removable_blocks(plain) == ["layer1.0", "layer1.1", "layer2.1", "layer3.1"]
    assert anatomy.without_block(plain, "layer2.1")(images).shape == (4, 10)
    with pytest.raises(ArgumentError, match=r"layer2\.0 changes the shape, .* removable are: layer1\.0"):
        anatomy.without_block(plain, "layer2.0")


def test_a_dead_input_does_not_count_as_moved(model, images):
    nn.init.zeros_(model.bn1.weight)  # nothing but its bias, which is 0, arrives at the first block
    assert anatomy.residual_shares(model, images)["layer1.0"] == 0
    nn.init.ones_(model.layer1[0].bn2.bias)  # F(x) is something, and x is nothing: no division
    assert anatomy.residual_shares(model, images)["layer1.0"] == 0


def test_a_block_that_is_not_there_cannot_go(model):
    with pytest.raises(ArgumentError, match=r"no block 'layer9'; removable are: layer1\.0"):
        anatomy.without_block(model, "layer9")


def test_the_network_stays_as_it_was(model, images):
    before, mode = copy.deepcopy(model.state_dict()), model.training
    anatomy.walk(model, 32)
    anatomy.outputs(model, images)
    anatomy.gradient_norms(model, images, torch.tensor([0, 1, 2, 3]))
    anatomy.residual_shares(model, images)
    anatomy.without_block(model, "layer1.0")
    assert model.training == mode and not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
