"""Networks for inference: the same numbers as PyTorch's own convolutions, for whatever they are given."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_course.evaluation import evaluate
from resnet_course.evaluation import predictions as predictions_module
from resnet_course.machine import Engine, for_inference, inference, is_plain, on_frozen_trunk
from resnet_course.recipes import LAPTOP, ORIGINAL
from resnet_course.resnet import resnet18, resnet34
from resnet_course.resnet.network import BasicBlock
from resnet_course.transfer import TRAIN_FROM, freeze, fused, split_at, trunk_of

FP32 = Engine("cpu", "fp32", "channels_last")
BF16 = Engine("cpu", "bf16", "channels_last")


def moved_statistics(model: nn.Module) -> nn.Module:
    """The network with BatchNorms that do something, as after a training."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return model.eval()


@pytest.fixture(params=[8, 64])
def model(request):
    torch.manual_seed(0)
    return FP32.place(moved_statistics(resnet18(10, request.param)))


def kernels(network: nn.Module) -> int:
    return sum(isinstance(module, inference._Convolution) for module in network.modules())


needs_kernels = pytest.mark.skipif(not inference._works("fp32"), reason="oneDNN's kernels are not there")


@needs_kernels
@pytest.mark.parametrize("size", [32, 33, 47, 64])
@torch.inference_mode()
def test_the_numbers_are_those_of_pytorch(model, size):
    fast = for_inference(model, FP32)
    assert kernels(fast) == (19 if model.width == 8 else 20)  # a narrow projection computes as before
    for images in (5, 1, 1, 3):  # the weights are ordered anew for a single one
        x = FP32.place(torch.randn(images, 3, size, size))
        torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(fast(x.contiguous()), model(x), rtol=1e-4, atol=1e-4)


@needs_kernels
@torch.inference_mode()
def test_weights_are_ordered_once_for_one_image_and_once_for_many(model, monkeypatch):
    ordered, order = [], inference._Convolution._order_weights
    monkeypatch.setattr(
        inference._Convolution,
        "_order_weights",
        lambda self, shape: (ordered.append((shape[0], shape[-1])), order(self, shape)),
    )
    fast = for_inference(trunk_of(model, "layer1"), FP32)
    for images, size in ((4, 32), (4, 32), (3, 32), (1, 32), (1, 32), (2, 32), (2, 64)):
        x = FP32.place(torch.randn(images, 3, size, size))
        torch.testing.assert_close(fast(x), trunk_of(model, "layer1")(x), rtol=1e-4, atol=1e-4)
    assert ordered == [(4, 32), (1, 32), (2, 32), (2, 64)]


@needs_kernels
@torch.inference_mode()
def test_what_lies_contiguous_computes_in_pytorchs_way(model):
    x = FP32.place(torch.randn(3, 3, 64, 64))
    for layer4, count in ("contiguous", 15), (None, 20):
        engine = replace(FP32, layer4_format=layer4)
        with engine.hosting(model):
            fast = for_inference(model, engine)
            assert kernels(fast) == count - (model.width == 8)
            torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-4)


@needs_kernels
@torch.inference_mode()
def test_resnet34_too():
    model = FP32.place(moved_statistics(resnet34(10, 16)))
    fast, x = for_inference(model, FP32), torch.randn(2, 3, 40, 40)
    assert kernels(fast) == 36
    torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-4)


@needs_kernels
@pytest.mark.parametrize("train_from", TRAIN_FROM[1:])
@torch.inference_mode()
def test_parts_of_a_network_too(model, train_from):
    x = torch.randn(3, 3, 48, 48)
    trunk = trunk_of(model, train_from)
    assert kernels(for_inference(trunk, FP32))
    torch.testing.assert_close(for_inference(trunk, FP32)(x), trunk(x), rtol=1e-4, atol=1e-4)
    trunk, head = split_at(model, train_from)
    torch.testing.assert_close(for_inference(head, FP32)(trunk(x)), model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not inference._works("bf16"), reason="oneDNN's kernels are not there")
@torch.inference_mode()
def test_in_bf16_no_further_from_the_exact_numbers_than_pytorch(model):
    x = torch.randn(16, 3, 64, 64)
    exact = copy.deepcopy(model).double()(x.double())
    fast = for_inference(model, BF16)
    with BF16.autocast():
        errors = [(network(x).double() - exact).square().mean().sqrt() for network in (fast, model)]
    assert kernels(fast) and errors[0] < 1.3 * errors[1]


@torch.inference_mode()
def test_where_the_kernels_are_not_there_batchnorms_alone_are_fused(model, monkeypatch):
    monkeypatch.setattr(inference, "_works", lambda precision: False)
    fast, x = for_inference(model, FP32), torch.randn(2, 3, 32, 32)
    assert not kernels(fast) and not any(isinstance(part, nn.BatchNorm2d) for part in fast.modules())
    torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-4)


def broken(*_):
    raise RuntimeError("could not create a primitive descriptor")


@pytest.mark.parametrize("kernel", [broken, lambda x, weight, *_: torch.zeros(2, 32, 5, 5)])
def test_kernels_that_fail_or_compute_wrongly_are_found_out(monkeypatch, kernel):
    monkeypatch.setattr(inference._Convolution, "forward", lambda self, *inputs: kernel(*inputs, None))
    assert not inference._works.__wrapped__("fp32")


def test_another_processor_keeps_pytorchs_way(monkeypatch):
    monkeypatch.setattr(inference.platform, "machine", lambda: "arm64")
    assert not inference._works.__wrapped__("fp32")


@needs_kernels
def test_it_is_a_copy_and_the_network_is_left_as_it_was(model):
    model.train()
    before = {name: (tensor.clone(), tensor.stride()) for name, tensor in model.state_dict().items()}
    fast = for_inference(model, FP32)
    with torch.inference_mode():
        fast(torch.randn(2, 3, 32, 32))
    assert model.training and not fast.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name][0]) and tensor.stride() == before[name][1]


class Reversed(BasicBlock):
    """Its parts are computed in another order than they are defined in."""

    def residual(self, x):
        return self.conv2(self.relu(self.bn1(self.bn2(self.conv1(x)))))


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.layer2[0].bn1.register_forward_hook(lambda *_: None),
        lambda model: model.layer2[0].register_forward_pre_hook(lambda *_: None),
        lambda model: setattr(model.layer1[0], "__class__", Reversed),
        lambda model: nn.utils.parametrizations.weight_norm(model.layer1[0].conv1),
        lambda model: model.layer1.append(nn.GELU()),
    ],
    ids=["hook", "pre-hook", "another block", "parametrised", "another part"],
)
def test_what_is_not_plain_is_seen_and_evaluated_as_it_is(model, change, sets, monkeypatch):
    assert is_plain(model)
    change(model)
    assert not is_plain(model) and on_frozen_trunk(freeze(model, "layer3"), "layer3", FP32) is model
    monkeypatch.setattr(predictions_module, "MANY", 0)
    network = predictions_module._network(model, sets[1], LAPTOP, FP32)
    assert network is model


@needs_kernels
def test_evaluate_finds_the_same_with_and_without(model, sets, monkeypatch):
    recipe = replace(LAPTOP, image_size=32)
    monkeypatch.setattr(predictions_module, "MANY", 10**12)
    without = evaluate(model, sets[1], recipe).logits
    monkeypatch.setattr(predictions_module, "MANY", 0)
    torch.testing.assert_close(evaluate(model, sets[1], recipe).logits, without, rtol=1e-3, atol=1e-3)
    assert predictions_module._network(model, sets[1], ORIGINAL, FP32) is model


@needs_kernels
@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
@pytest.mark.parametrize("train_from", ["layer1", "layer3", "fc"])
def test_a_step_on_a_frozen_trunk_has_the_gradients_of_the_whole_network(model, train_from, layout):
    engine = Engine("cpu", "fp32", layout)
    freeze(engine.place(model), train_from).train()
    learning = on_frozen_trunk(model, train_from, engine)
    assert learning is not model and bool(kernels(learning.trunk[0])) == (layout == "channels_last")
    own = {id(parameter) for parameter in learning.parameters()}
    assert own == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    x, found = engine.place(torch.randn(8, 3, 96, 96)), []
    state = copy.deepcopy(model.state_dict())
    for network in (learning, model):
        model.load_state_dict(state)  # the same running statistics for both
        model.zero_grad()
        network.train()
        F.cross_entropy(network(x), torch.arange(8)).backward()
        found.append(
            [parameter.grad.clone() for parameter in network.parameters() if parameter.requires_grad]
        )
    for one, other in zip(*found, strict=True):
        # Of few images BatchNorm magnifies what was rounded otherwise.
        assert (one - other).norm() < 1e-3 * other.norm() + 1e-6


def test_a_trunk_that_moves_is_not_taken_out(model):
    assert on_frozen_trunk(model, "all", FP32) is model
    assert on_frozen_trunk(model, "layer3", FP32) is model
    assert on_frozen_trunk(freeze(model, "layer3", batchnorm_moves=True), "layer3", FP32) is model


@torch.inference_mode()
def test_fused_and_fast_agree_bit_by_bit_in_fp32():
    model = FP32.place(moved_statistics(resnet18(10, 64)))
    x = FP32.place(torch.randn(4, 3, 64, 64))
    plain = FP32.place(fused(model))
    torch.testing.assert_close(for_inference(model, FP32)(x), plain(x), rtol=1e-6, atol=1e-6)
