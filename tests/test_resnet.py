"""The network from scratch against torchvision's: same names, same numbers, same gradients."""

import os
from pathlib import Path

import pytest
import torch
import torchvision

from resnet_course.resnet import BasicBlock, resnet18

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


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("image_size", [32, 64, 97, 224])
def test_agrees_with_torchvision_forward_and_gradient(pair, image_size, train):
    x = torch.randn(4, 3, image_size, image_size, generator=torch.Generator().manual_seed(image_size))
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
