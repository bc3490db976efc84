"""Convolutions as matrix products: the same numbers as PyTorch's, in every corner."""

import copy
import io
import itertools
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from resnet_course.machine import convolutions, products
from resnet_course.machine.convolutions import (
    PASSES,
    WAYS,
    Computing,
    Convolution,
    Convolutions,
    InWays,
    Ways,
)

# Every kernel, stride and padding of ResNet-18 and 34, on sides even and odd, down to a single place.
BY_TAPS = Ways("taps", "taps", "taps")
SIZES = [
    (kernel, stride, padding, side)
    for kernel, stride, padding in ((7, 2, 3), (3, 1, 1), (3, 2, 1), (1, 2, 0), (1, 1, 0))
    for side in (1, 2, 3, 4, 5, 6, 7, 9)
]


def exact(x, weight, gradient, stride, padding):
    """Output and gradients by PyTorch in float64."""
    x, weight = (each.detach().double().requires_grad_() for each in (x, weight))
    output = F.conv2d(x, weight, None, stride, padding)
    output.backward(gradient.double())
    return output, x.grad, weight.grad


def case(kernel, stride, padding, height, width, images=3, precision="fp32", channels=8, outputs=12):
    convolution = Convolution(channels, outputs, height, width, kernel, stride, padding, precision)
    generator = torch.Generator().manual_seed(0)
    shapes = (
        (images, channels, height, width),
        (outputs, channels, kernel, kernel),
        (images, outputs, *convolution.geometry.output),
    )
    x, weight, gradient = (torch.randn(shape, generator=generator) for shape in shapes)
    return convolution, x.requires_grad_(), nn.Parameter(weight), gradient


@pytest.mark.parametrize(("kernel", "stride", "padding", "side"), SIZES)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_computes_what_a_convolution_computes(kernel, stride, padding, side, way):
    for images, width in ((1, side), (3, side + 2)):
        convolution, x, weight, gradient = case(kernel, stride, padding, side, width, images)
        output = InWays.apply(x, weight, convolution, Ways(way, way, way))
        output.backward(gradient)
        for found, expected in zip(
            (output, x.grad, weight.grad), exact(x, weight, gradient, stride, padding), strict=True
        ):
            assert found.shape == expected.shape and found.dtype == torch.float32
            torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_layout_of_what_comes_in_does_not_matter(layout):
    convolution, x, weight, gradient = case(3, 2, 1, 6, 5)
    x = x.detach().contiguous(memory_format=layout).requires_grad_()
    weight = nn.Parameter(weight.detach().contiguous(memory_format=layout))
    output = InWays.apply(x, weight, convolution, Ways("taps", "columns", "taps"))
    output.backward(gradient.contiguous(memory_format=layout))
    expected = exact(x, weight, gradient, 2, 1)
    for found, right in zip((output, x.grad, weight.grad), expected, strict=True):
        torch.testing.assert_close(found.double(), right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("each", PASSES)
def test_in_bf16_sums_are_kept_in_float32(each):
    """An error of one rounding at the end, not one for each part of the sum."""
    convolution, x, weight, gradient = case(3, 1, 1, 3, 3, 8, "bf16", 64, 64)
    low = [tensor.detach().bfloat16() for tensor in (x, weight, gradient)]
    expected = dict(zip(PASSES, exact(*low, 1, 1), strict=True))[each].detach()
    x, weight, gradient = (tensor.to(memory_format=torch.channels_last) for tensor in low)
    tensors = {"output": (x, weight), "input_gradient": (gradient, weight, x)}.get(
        each, (x, gradient, weight)
    )
    for way in set(convolution.possible(each)) - {"conv2d", "contiguous"}:
        found = convolutions.compute(each, way, convolution, *tensors).double()
        assert (found - expected).abs().max() < 2**-8 * expected.abs().max(), way


def test_under_autocast_it_computes_in_bf16_and_gradients_have_their_own_types():
    convolution, x, weight, gradient = case(3, 1, 1, 3, 3, precision="bf16")
    everywhere = Convolutions(3, ((convolution, Ways("columns", "columns", "taps")),))
    with torch.autocast("cpu", torch.bfloat16), Computing(everywhere):
        output = F.conv2d(x, weight, None, 1, 1)
    assert output.dtype == torch.bfloat16 and "InWays" in str(output.grad_fn)
    output.float().backward(gradient)
    assert x.grad.dtype == weight.grad.dtype == torch.float32
    for found, right in zip((output, x.grad, weight.grad), exact(x, weight, gradient, 1, 1), strict=True):
        torch.testing.assert_close(found.double(), right, rtol=0.05, atol=0.05)


def test_columns_never_take_more_than_their_share(monkeypatch):
    convolution, x, weight, gradient = case(3, 1, 1, 4, 4, images=7)
    x, gradient = (tensor.detach().permute(0, 2, 3, 1).contiguous() for tensor in (x, gradient))
    weight = weight.detach().permute(0, 2, 3, 1).contiguous()
    whole = products.output_by_columns(x, weight, convolution.geometry)
    slope = products.weight_gradient_by_columns(x, gradient, convolution.geometry)
    monkeypatch.setattr(products, "COLUMNS", 2 * 16 * 9 * 8 * 4)  # of two images
    parts = list(products._columns(x, convolution.geometry))
    assert [len(part) // 16 for part in parts] == [2, 2, 2, 1]
    torch.testing.assert_close(products.output_by_columns(x, weight, convolution.geometry), whole)
    again = products.weight_gradient_by_columns(x, gradient, convolution.geometry)
    torch.testing.assert_close(again, slope)


def test_the_input_gradient_by_columns_is_made_in_parts_too(monkeypatch):
    convolution, _, weight, gradient = case(3, 2, 1, 6, 6, images=7)
    gradient = gradient.permute(0, 2, 3, 1).contiguous()
    weight = weight.detach().permute(0, 2, 3, 1).contiguous()
    whole = products.input_gradient_by_columns(gradient, weight, convolution.geometry)
    parts, spread = [], products._spread
    monkeypatch.setattr(products, "_spread", lambda part, _: parts.append(len(part)) or spread(part, _))
    monkeypatch.setattr(products, "COLUMNS", 2 * 9 * 9 * 8 * 4)  # of two images
    found = products.input_gradient_by_columns(gradient, weight, convolution.geometry)
    torch.testing.assert_close(found, whole)
    assert parts == [2, 2, 2, 1]


def computing(batch, *sizes, ways=BY_TAPS):
    return Computing(Convolutions(batch, ((Convolution(*sizes), ways),)))


def by_product(call):
    with computing(3, 8, 8, 5, 5, 3, 1, 1, "fp32"):
        return "InWays" in str(call().grad_fn)


class Half(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight / 2, self.bias)


def test_what_is_not_plain_takes_pytorchs_way():
    x = torch.randn(3, 8, 5, 5)

    def conv(**options):
        return nn.Conv2d(8, 8, **{"kernel_size": 3, "padding": 1, "bias": False, **options})

    plain = conv()
    assert by_product(lambda: plain(x))
    assert by_product(lambda: F.conv2d(input=x, weight=plain.weight, padding=(1, 1)))
    assert not by_product(lambda: plain(x[:2])), "not a full batch"
    assert not by_product(lambda: plain(torch.randn(3, 8, 6, 6))), "other sizes"
    assert not by_product(lambda: plain(x[0])), "no batch"
    for options in (
        {"bias": True},
        {"groups": 2},
        {"dilation": 2, "padding": 2},
        {"padding": "same"},
        {"padding": (1, 0)},
        {"padding": 3},
        {"stride": (1, 2)},
        {"padding_mode": "circular"},
        {"kernel_size": (3, 1)},
    ):
        other = conv(**options)
        assert not by_product(lambda other=other: other(x)), options
    half = Half(8, 8, 3, padding=1, bias=False)
    assert not by_product(lambda: half(x))
    normed = parametrizations.weight_norm(conv())
    assert not by_product(lambda: normed(x))
    double = conv(dtype=torch.float64)
    assert not by_product(lambda: double(x.double()))
    with torch.no_grad(), computing(3, 8, 8, 5, 5, 3, 1, 1, "fp32"):
        torch.testing.assert_close(plain(x), F.conv2d(x, plain.weight, padding=1))
    frozen = conv().requires_grad_(False)
    with_input = x.clone().requires_grad_()
    assert not by_product(lambda: frozen(with_input)), "what is frozen does not learn"
    assert by_product(lambda: plain(x)), "nothing is left behind by the calls before"
    assert "InWays" not in str(plain(x).grad_fn), "outside of the block"


@pytest.mark.parametrize("way", ["columns", "taps"])
def test_what_comes_out_may_be_changed_in_place(way):
    conv, x = nn.Conv2d(8, 8, 3, padding=1, bias=False), torch.randn(3, 8, 5, 5)
    for change in (torch.relu_, nn.ReLU(inplace=True), lambda output: output.add_(1)):
        with computing(3, 8, 8, 5, 5, 3, 1, 1, "fp32", ways=Ways(way, way, way)):
            output = change(conv(x))
        output.square().sum().backward()
        found, conv.weight.grad = conv.weight.grad, None
        change(conv(x)).square().sum().backward()
        torch.testing.assert_close(found, conv.weight.grad, rtol=1e-4, atol=1e-4)
        conv.weight.grad = None


def test_a_backward_pass_within_autocast_keeps_float32():
    for stride, way in ((1, "columns"), (2, "columns"), (2, "taps")):
        convolution, x, weight, gradient = case(3, stride, 1, 5, 5)
        output = InWays.apply(x, weight, convolution, Ways(way, way, way))
        with torch.autocast("cpu", torch.bfloat16):
            output.backward(gradient)
        expected = exact(x, weight, gradient, stride, 1)[1:]
        for found, right in zip((x.grad, weight.grad), expected, strict=True):
            torch.testing.assert_close(found.double(), right, rtol=1e-5, atol=1e-5)


def test_what_is_exported_takes_pytorchs_way():
    conv, x = nn.Conv2d(8, 8, 3, padding=1, bias=False), torch.randn(3, 8, 5, 5)
    with computing(3, 8, 8, 5, 5, 3, 1, 1, "fp32"):
        exported = torch.export.export(conv, (x,)).module()
    torch.testing.assert_close(exported(x), conv(x))


def test_second_derivatives_are_refused_not_wrong():
    conv, x = nn.Conv2d(8, 8, 3, padding=1, bias=False), torch.randn(3, 8, 5, 5)
    with computing(3, 8, 8, 5, 5, 3, 1, 1, "fp32"):
        (slope,) = torch.autograd.grad(conv(x).square().sum(), conv.weight, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.square().sum().backward()


def test_a_network_within_it_can_be_hooked_copied_pickled_and_saved(tmp_path):
    conv, seen = nn.Conv2d(8, 8, 3, padding=1, bias=False), []
    x = torch.randn(3, 8, 5, 5, requires_grad=True)
    before = set(conv.__dict__), list(conv.state_dict())
    hooks = (
        conv.register_forward_hook(lambda module, inputs, output: seen.append(output.shape)),
        conv.register_full_backward_hook(lambda module, into, out: seen.append(out[0].shape)),
    )
    with computing(3, 8, 8, 5, 5, 3, 1, 1, "fp32"):
        conv(x).sum().backward()
        for hook in hooks:
            hook.remove()
        other = copy.deepcopy(conv)
        torch.save(conv.state_dict(), tmp_path / "conv.pt")
        third = pickle.loads(pickle.dumps(conv))
        torch.testing.assert_close(other(x), third(x))
        stream = io.BytesIO()
        torch.save(conv, stream)
    assert seen == [torch.Size((3, 8, 5, 5))] * 2
    assert (set(conv.__dict__), list(conv.state_dict())) == before


def test_no_weight_is_kept_across_a_step_or_a_load():
    conv, x = nn.Conv2d(8, 8, 3, padding=1, bias=False), torch.randn(3, 8, 5, 5)
    with computing(3, 8, 8, 5, 5, 3, 1, 1, "fp32"):
        for change in (
            lambda: conv.weight.data.mul_(2),
            lambda: conv.load_state_dict({"weight": torch.ones(8, 8, 3, 3)}),
        ):
            conv(x)
            with torch.no_grad():
                change()
            torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight.detach(), padding=1))
        output = conv.to(memory_format=torch.channels_last)(x)
        with torch.no_grad():
            conv.weight.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            output.sum().backward()


def test_ways_survive_a_checkpoint():
    for ways in itertools.product(("conv2d", "taps"), repeat=2):
        found = Convolutions(128, ((Convolution(256, 512, 6, 6, 3, 2, 1, "fp32"), Ways(*ways)),))
        assert Convolutions.from_list(found.to_list()) == found and hash(found)
    assert str(found) == "2 of 3 passes of its convolutions as matrix products"
