"""The network from scratch against torchvision's: same names, same numbers, same gradients."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from parameters import some_are_slow
from torch import nn

from resnet_course.common.errors import CourseError
from resnet_course.resnet import BasicBlock, ResNet, resnet18, resnet34, stack
from resnet_course.resnet.architecture import ArchitectureError, build, describe, describe_weights
from resnet_course.transfer import fused

STAGES = ("conv1", "bn1", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc")


@pytest.fixture(scope="module")
def pair():
    """Our network and torchvision's with the same weights, BatchNorm statistics away from 0 and 1."""
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(weights=None)
    for name, buffer in theirs.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    ours = resnet18()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def outputs_by_stage(model, x):
    """The output of every stage, by name, and of the whole network."""
    outputs = {}
    hooks = [
        getattr(model, name).register_forward_hook(
            # A copy: the ReLU that follows bn1 works in place.
            lambda module, args, out, name=name: outputs.__setitem__(name, out.detach().clone())
        )
        for name in STAGES
    ]
    outputs["logits"] = model(x)
    for hook in hooks:
        hook.remove()
    return outputs


def assert_close(ours, theirs, what):
    error = (ours - theirs).abs().max() / theirs.abs().max().clamp(min=1)
    assert error < 1e-5, f"{what}: relative error {error:.1e}"


TRAIN_NARROW = """
import torch
from resnet_course.resnet import resnet18, stack

torch.set_num_threads(1)
images = torch.randn(5, 3, 64, 64).contiguous(memory_format=torch.channels_last)
for model in (resnet18(10, width=4), stack(14, width=4)):
    model.to(memory_format=torch.channels_last)
    for _ in range(20):
        model(images).square().mean().backward()
"""


@pytest.mark.slow
def test_a_narrow_network_learns_channels_last_without_damage_to_the_memory():
    done = subprocess.run([sys.executable, "-c", TRAIN_NARROW], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_a_narrow_projection_is_the_convolution(size):
    torch.manual_seed(0)
    ours, images = BasicBlock(8, 16, stride=2).downsample[0], torch.randn(3, 8, *size, dtype=torch.float64)
    theirs = nn.Conv2d(8, 16, 1, 2, bias=False).double()
    theirs.load_state_dict(ours.double().state_dict(), strict=True)
    for convolution in (ours, theirs):
        convolution(images).square().sum().backward()
    torch.testing.assert_close(ours(images), theirs(images))
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    norm = nn.BatchNorm2d(16).double().eval()
    norm.running_mean.normal_()
    torch.testing.assert_close(fused(nn.Sequential(ours, norm))(images), norm(theirs(images)))


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("image_size", some_are_slow([32, 64, 97, 224], quick=[97]))
def test_agrees_with_torchvision_forward_and_gradient(pair, image_size, train):
    count = 4 if image_size < 224 else 2
    x = torch.randn(count, 3, image_size, image_size, generator=torch.Generator().manual_seed(image_size))
    results = []
    for model in pair:
        model.train(train)
        statistics = {name: buffer.clone() for name, buffer in model.named_buffers()}
        model.zero_grad()
        inputs = x.clone().requires_grad_()
        outputs = outputs_by_stage(model, inputs)
        outputs["logits"].square().mean().backward()
        moved = {name: buffer.clone() for name, buffer in model.named_buffers()}
        model.load_state_dict(statistics, strict=False)
        results.append((outputs, {name: p.grad for name, p in model.named_parameters()}, inputs.grad, moved))
    (ours, our_gradients, our_input, our_moved), (theirs, their_gradients, their_input, their_moved) = results
    for name in (*STAGES, "logits"):
        assert_close(ours[name].flatten(), theirs[name].flatten(), f"output of {name}")
    assert our_gradients.keys() == their_gradients.keys()
    for name, gradient in their_gradients.items():
        assert_close(our_gradients[name], gradient, f"gradient of {name}")
    assert_close(our_input, their_input, "gradient of the input")
    for name, buffer in their_moved.items():
        assert_close(our_moved[name].float(), buffer.float(), f"statistics {name}")


def test_state_dict_has_the_names_and_the_order_of_torchvision():
    ours, theirs = resnet18().state_dict(), torchvision.models.resnet18(weights=None).state_dict()
    assert list(ours) == list(theirs)
    assert [tensor.shape for tensor in ours.values()] == [tensor.shape for tensor in theirs.values()]


def test_resnet34_is_torchvisions():
    theirs = torchvision.models.resnet34(weights=None).eval()
    ours = resnet34().eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert_close(ours(x), theirs(x), "ResNet-34")


def test_same_initialisation_as_torchvision():
    """Same distributions, layer by layer: the standard deviations agree to a few per cent."""
    torch.manual_seed(0)
    ours, theirs = resnet18().state_dict(), torchvision.models.resnet18(weights=None).state_dict()
    for name, tensor in theirs.items():
        if tensor.numel() > 5000:
            assert ours[name].std() == pytest.approx(float(tensor.std()), rel=0.05), name


@pytest.mark.parametrize("width", [8, 16, 64])
def test_width_and_classes(width):
    model = resnet18(num_classes=7, width=width)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    assert model.layer4[1].conv2.weight.shape[:2] == (8 * width, 8 * width)


def test_a_block_projects_only_where_the_shape_changes():
    assert BasicBlock(8, 8).downsample is None
    assert BasicBlock(8, 8, stride=2).downsample is not None
    assert BasicBlock(8, 16).downsample is not None
    assert BasicBlock(8, 16, stride=2)(torch.randn(2, 8, 10, 10)).shape == (2, 16, 5, 5)


def test_a_block_leaves_its_input_alone():
    x = torch.randn(2, 8, 6, 6)
    before = x.clone()
    BasicBlock(8, 8)(x)
    assert torch.equal(x, before)


def test_dropout_acts_while_training_only():
    torch.manual_seed(0)
    model, x = resnet18(num_classes=5, width=8, dropout=0.5).eval(), torch.randn(2, 3, 32, 32)
    assert torch.equal(model(x), model(x))
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.train()
    assert not torch.equal(model(x), model(x))


def test_real_weights_load_strictly():
    path = os.environ.get("RESNET_COURSE_TEST_WEIGHTS", "")
    if not Path(path).is_file():
        pytest.skip("RESNET_COURSE_TEST_WEIGHTS names no file of torchvision's resnet18 weights")
    resnet18().load_state_dict(torch.load(path, weights_only=True), strict=True)


def with_head(*layers):
    model = resnet18(3, width=8, dropout=0.25)
    model.fc = nn.Sequential(*layers)
    return model


def test_a_description_is_plain_and_complete():
    assert describe(resnet34(7, width=8, dropout=0.5)) == {
        "name": "resnet",
        "blocks": [3, 4, 6, 3],
        "width": 8,
        "num_classes": 7,
        "dropout": 0.5,
        "hidden": [],
    }
    two = with_head(nn.Linear(64, 16), nn.ReLU(inplace=True), nn.Linear(16, 9), nn.ReLU(), nn.Linear(9, 3))
    assert describe(two)["hidden"] == [16, 9]
    assert describe(stack(14, skip=False, batchnorm=False, width=4, num_classes=3)) == {
        "name": "stack",
        "depth": 14,
        "skip": False,
        "batchnorm": False,
        "width": 4,
        "num_classes": 3,
    }


class OwnBlock(BasicBlock):
    def forward(self, x):
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class OwnNetwork(nn.Module):
    """The same network as a learner may write it: other classes, no dropout, functions for modules."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(OwnBlock(8, 8))
        for number, channels in ((2, 16), (3, 32), (4, 64)):
            self.add_module(f"layer{number}", nn.Sequential(OwnBlock(channels // 2, channels, 2)))
        self.fc = nn.Linear(64, 3)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.fc(self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3)))


def test_the_learners_own_network_is_described_if_it_computes_the_same():
    model = OwnNetwork()
    assert describe(model) == describe(ResNet((1, 1, 1, 1), 3, width=8))
    model.forward = lambda x: OwnNetwork.forward(model, x.flip(1))
    with pytest.raises(ArchitectureError, match="computes something else"):
        describe(model)


def test_describing_changes_nothing():
    model = with_head(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3)).train()
    model.layer1.eval()
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    describe(model)
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def wide_stem():
    model = resnet18(3, width=8)
    model.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    return model


def with_sigmoid():
    model = stack(8, width=4)
    model.relu = nn.Sigmoid()
    return model


REFUSED = {
    "another activation": (lambda: with_head(nn.Linear(64, 9), nn.Tanh(), nn.Linear(9, 3)), "something else"),
    "another layer": (lambda: with_head(nn.Dropout(), nn.Linear(64, 3)), "2 missing: fc.weight, fc.bias"),
    "another stem": (wide_stem, "conv1.weight is [8, 3, 3, 3], not [8, 3, 7, 7]"),
    "a stack of sigmoids": (with_sigmoid, "something else"),
    "bottlenecks": (lambda: torchvision.models.resnet50(weights=None), "unexpected: layer1.0.conv3.weight"),
    "another family": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 2)), "no convolution conv1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_network_that_could_not_be_rebuilt_is_refused_in_one_line(name):
    make, reason = REFUSED[name]
    with pytest.raises(ArchitectureError) as error:
        describe(make())
    text = str(error.value)
    assert isinstance(error.value, CourseError) and isinstance(error.value, ValueError)
    assert reason in text and "what can be saved is" in text and "\n" not in text
    assert "cannot be saved: " in text


def test_nothing_is_drawn_for_a_network_without_memory(monkeypatch):
    """To draw normal numbers on the meta device PyTorch imports its compiler: seconds a prediction."""
    drawn = []
    monkeypatch.setattr(
        nn.init, "kaiming_normal_", lambda tensor, **options: drawn.append(tensor.device.type)
    )
    with torch.device("meta"):
        resnet18(3, width=8)
        stack(8, width=4)
    assert not drawn
    resnet18(3, width=8)
    assert set(drawn) == {"cpu"}


def test_a_network_that_is_built_has_new_weights_and_takes_gradients():
    model = resnet18(3, width=8, dropout=0.5)
    torch.manual_seed(0)
    built = build(describe(model))
    assert built.training and built.dropout.p == 0.5
    assert not torch.equal(built.fc.weight, model.fc.weight)
    built(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None for p in built.parameters())
    assert describe_weights(model.state_dict(), 0.5) == describe(built)
