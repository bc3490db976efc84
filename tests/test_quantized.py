"""A frozen trunk in int8: near to the exact one, refused where it cannot stand for it, and never mistaken."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from resnet_course import machine
from resnet_course.data import ImageSet
from resnet_course.evaluation import evaluate
from resnet_course.features import FeaturesError, cache, cache_features
from resnet_course.recipes import REDUCED
from resnet_course.resnet import resnet18, resnet34
from resnet_course.resnet.network import BasicBlock
from resnet_course.resnet.stacks import PlainBlock, stack
from resnet_course.training import fit
from resnet_course.transfer import freeze, fused, images_to_scale_on, is_quantizable, quantized, trunk_of
from resnet_course.transfer.quantized import FAITHFUL, QuantizedConvolution, Scale

OPEN = replace(
    REDUCED, epochs=2, augmentation="none", train_from="layer4", precision="auto", memory_format="auto"
)


def images(count=48, size=64, seed=1):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def network(width=16, train_from="layer4", build=resnet18):
    """A frozen network whose BatchNorms have seen images."""
    torch.manual_seed(0)
    model = build(2, width)
    with torch.no_grad():
        for seed in range(30):
            model(images(16, 32, seed))
    return freeze(model, train_from).eval()


def difference(found, wanted):
    return float((found - wanted).norm() / wanted.norm())


def bright_and_dark(count=300):
    labels = torch.arange(count) % 2
    noise = torch.randint(0, 160, (count, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    return ImageSet(
        (noise + 60 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels, ("dark", "bright"), "noise"
    )


# The numbers


@pytest.mark.parametrize("size", [32, 45, 70])
@pytest.mark.parametrize("train_from", ["layer2", "layer4", "fc"])
@pytest.mark.parametrize("width", [8, 16, 24])
def test_features_are_nearly_those_of_the_exact_trunk(int8, width, train_from, size):
    trunk, x = trunk_of(network(width, train_from), train_from), images(24, size)
    exact, found = fused(trunk)(x), quantized(trunk, x[:16])(x)
    assert found.shape == exact.shape and found.dtype == torch.float32
    assert 0 < difference(found, exact) < 0.12
    mirrored = fused(trunk)(x.flip(3))
    assert difference(mirrored, exact) > 0.2, "other images give features that differ by more"


def test_deeper_networks_and_whole_batches_are_computed_alike(int8):
    trunk, x = trunk_of(network(16, build=resnet34), "layer4"), images(16, 40)
    in_int8 = quantized(trunk, x)
    whole = in_int8(x)
    assert difference(whole, fused(trunk)(x)) < 0.1
    for part in (x[:1], x[:7], x.contiguous(memory_format=torch.channels_last)[:16]):
        assert torch.equal(in_int8(part), whole[: len(part)]), "whatever stands beside an image"
    of_larger = quantized(trunk, images(16, 96))
    assert difference(of_larger(x), fused(trunk)(x)) < 0.15, "a size that it was not made for"


@pytest.mark.parametrize("zero", [0, 40])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (1, 2, 0), (1, 1, 0)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_is_that_of_the_rounded_numbers(int8, kernel, stride, padding, bias, zero):
    torch.manual_seed(0)
    convolution = nn.Conv2d(16, 24, kernel, stride, padding, bias=bias)
    inputs = Scale(0.05, zero)
    x = torch.randint(0, 60, (3, 16, 9, 11), dtype=torch.uint8)
    sizes = convolution.weight.detach().abs().amax((1, 2, 3), keepdim=True) / 127
    exact = nn.Conv2d(16, 24, kernel, stride, padding, bias=bias).double()
    exact.weight.data = (convolution.weight / sizes).round().double() * sizes
    if bias:
        exact.bias.data = convolution.bias.double()
    with torch.no_grad():
        wanted = exact((x.double() - zero) * inputs.size)
    outputs = Scale.of(wanted)
    found = QuantizedConvolution(convolution, inputs, outputs, x.shape)(x)
    assert found.dtype == torch.uint8
    assert ((found.double() - outputs.zero) * outputs.size - wanted).abs().max() < 0.51 * outputs.size


def test_a_scale_holds_its_ends_and_zero():
    for low, high in ((0.0, 3.0), (-1.0, 4.0), (2.0, 5.0), (-7.0, -2.0), (0.0, 0.0)):
        numbers = torch.tensor([low, high])
        scale = Scale.of(numbers)
        back = (scale.rounded(numbers).float() - scale.zero) * scale.size
        assert torch.allclose(back, numbers, atol=0.51 * scale.size)
        assert (scale.rounded(torch.zeros(1)) == scale.zero).all(), "padding is exactly 0"
        assert scale.rounded(numbers + 1e3).max() == 255 and scale.rounded(numbers - 1e3).min() == 0


# Where it cannot stand for the exact trunk


def test_a_trunk_whose_numbers_8_bits_cannot_hold_is_computed_exactly(int8):
    model = network()
    block, x = model.layer2[0], images()
    with torch.no_grad():
        model.layer1[1].bn2.bias[0] = -1e3  # its first channel is always 0 now …
        block.conv1.weight[:, 0] *= (
            1e4  # … so the weights that meet it change nothing; but the rest rounds to 0
        )
        block.downsample[0].weight[:, 0] *= 1e4
    trunk = trunk_of(model, "layer4")
    assert is_quantizable(trunk)
    found = quantized(trunk, x)
    assert isinstance(found, nn.Module) and difference(found(x), fused(trunk)(x)) < 1e-5
    assert not isinstance(quantized(trunk_of(network(), "layer4"), x), nn.Module)


@pytest.mark.parametrize("damage", [float("nan"), float("inf")])
def test_damaged_weights_are_found_out(int8, tmp_path, damage):
    model = network()
    with torch.no_grad():
        model.layer2[0].conv1.weight[0, 0, 0, 0] = damage
    with pytest.raises(FeaturesError, match="not a finite number"):
        cache_features(model, bright_and_dark(), OPEN, tmp_path, views=1)


def test_what_is_not_finite_in_one_picture_is_not_hidden(int8):
    trunk, x = trunk_of(network(), "layer4"), images(16)
    in_int8 = quantized(trunk, x)
    assert in_int8(x).isfinite().all()
    for damage in (float("nan"), float("inf")):
        x[3, 0, 5, 5] = damage
        assert not in_int8(x).isfinite().all() and not fused(trunk)(x).isfinite().all()


class Halved(BasicBlock):
    def forward(self, x):
        return super().forward(x) / 2


def other_block(model):
    model.layer1[0].__class__ = Halved


def without_the_sum(model):
    model.layer1[0].__class__ = PlainBlock


def own_forward(model):
    model.layer1[0].forward = lambda x: x


def own_residual(model):
    model.layer1[0].residual = lambda x: x


def reflected(model):
    model.layer1[0].conv1.padding_mode = "reflect"


def named_padding(model):
    model.layer1[0].conv1.padding = "same"


def other_activation(model):
    model.layer1[0].relu = nn.LeakyReLU(0.1)


def other_norm(model):
    model.layer1[0].bn1 = nn.GroupNorm(2, 16)


def one_part_more(model):
    model.layer1[0].attention = nn.Identity()


def other_order(model):
    block = model.layer1[0]
    block._modules["conv1"] = block._modules.pop("conv1")


def other_shortcut(model):
    model.layer2[0].downsample = nn.Sequential(nn.MaxPool2d(2), *model.layer2[0].downsample)


def no_stage(model):
    model.layer1 = nn.Identity()


def a_stage_of_nothing(model):
    model.layer1 = nn.Sequential()


def a_bare_block(model):
    model.layer1 = model.layer1[0]


def one_block_less(model):
    model.layer2[1] = nn.Identity()


def blocks_in_a_block(model):
    model.layer1 = nn.Sequential(model.layer1)


def two_convolutions(model):
    block = model.layer1[0]
    block.conv1 = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 16, 1))


def no_second_convolution(model):
    model.layer1[0].conv2 = nn.Identity()


def hooked(model):
    model.layer1[0].conv1.register_forward_hook(lambda module, inputs, output: output * 2)


def hooked_before(model):
    model.layer2.register_forward_pre_hook(lambda module, inputs: None)


def parametrised(model):
    nn.utils.parametrizations.weight_norm(model.layer1[0].conv1)


CHANGES = [
    *(other_block, without_the_sum, own_forward, own_residual, reflected, named_padding, other_activation),
    *(other_norm, one_part_more, other_order, other_shortcut, hooked),
    *(hooked_before, parametrised, no_stage, a_stage_of_nothing, a_bare_block, one_block_less),
    *(blocks_in_a_block, two_convolutions, no_second_convolution),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_trunk_that_is_another_network_is_not_rounded(int8, tmp_path, change):
    model = network()
    assert is_quantizable(trunk_of(model, "layer4"))
    change(model)
    assert not is_quantizable(trunk_of(model, "layer4"))
    if change in (hooked, one_block_less, two_convolutions):  # its features are those of its own
        freeze(model, "layer4")
        free, exact = (
            cache_features(model, bright_and_dark(40), recipe, tmp_path / recipe.precision, views=1)
            for recipe in (OPEN, replace(OPEN, precision="fp32"))
        )
        assert torch.equal(free.read(torch.arange(40)), exact.read(torch.arange(40)))


def test_a_stem_of_another_kind_is_computed_as_it_is(int8):
    model, x = network(), images(24)
    model.relu, model.maxpool = nn.LeakyReLU(0.3), nn.AvgPool2d(3, 2, 1)
    trunk = trunk_of(model, "layer4")
    assert is_quantizable(trunk)
    in_int8 = quantized(trunk, x[:16])
    assert not isinstance(in_int8, nn.Module) and difference(in_int8(x), fused(trunk)(x)) < 0.12


def test_the_rounding_takes_the_place_of_the_stems_relu(int8, monkeypatch):
    trunk, x = trunk_of(network(), "layer4"), images(24)
    without = quantized(trunk, x[:16])
    assert not any(isinstance(part, nn.ReLU) for part in without.stem)
    monkeypatch.setitem(quantized.__globals__, "_without_relu", lambda stem: stem)
    assert torch.equal(without(x), quantized(trunk, x[:16])(x)), "to the last bit"


@pytest.mark.parametrize("name", ["relu", "maxpool"])
def test_what_sees_the_stems_maps_keeps_its_relu(int8, name):
    model, x, lowest = network(), images(24), []
    getattr(model, name).register_forward_hook(
        lambda module, inputs, output: lowest.append(float(output.min()))
    )
    in_int8 = quantized(trunk_of(model, "layer4"), x[:16])
    lowest.clear()
    in_int8(x)
    assert lowest == [0.0]


def test_many_images_are_computed_in_parts_and_nothing_changes(int8, monkeypatch):
    trunk, x = trunk_of(network(), "layer4"), images(40)
    in_int8, sizes = quantized(trunk, x[:16]), []
    in_int8.stem.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    found = in_int8(x)
    assert sizes == [32, 8]
    monkeypatch.setitem(quantized.__globals__, "TOGETHER", 40)
    assert torch.equal(in_int8(x), found)


def test_each_precision_of_the_stem_and_int8_have_files_of_their_own(int8, tmp_path, monkeypatch):
    pictures, rows, found = bright_and_dark(40), torch.arange(40), {}
    for precision in ("fp32", "bf16"):
        for frozen in (None, "int8"):
            engine = machine.Engine("cpu", precision, "channels_last", 1, frozen=frozen)
            monkeypatch.setattr(machine, "choose", lambda *_, engine=engine: engine)
            features = cache_features(network(), pictures, OPEN, tmp_path, views=1)
            found[precision, frozen] = features.read(rows)
    assert len([*(tmp_path / "features").glob("*.npy")]) == 4
    for one, other in itertools.combinations(found.values(), 2):
        assert 0 < difference(one, other) < FAITHFUL / 2


def test_what_has_no_blocks_is_not_rounded():
    assert not is_quantizable(trunk_of(network(train_from="layer1"), "layer1"))
    assert not is_quantizable(nn.Sequential())
    assert not is_quantizable(stack(8))


# Features of an int8 trunk


def test_features_in_int8_are_another_file_and_the_trunk_stays_as_it_was(int8, tmp_path):
    model, pictures = network(), bright_and_dark()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    free = cache_features(model, pictures, OPEN, tmp_path, views=1)
    exact = cache_features(model, pictures, replace(OPEN, precision="fp32"), tmp_path, views=1)
    assert len([*(tmp_path / "features").glob("*.npy")]) == 2
    rows = torch.arange(len(pictures))
    assert 0 < difference(free.read(rows), exact.read(rows)) < FAITHFUL / 2
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not model.layer1[0]._forward_hooks and all(not p.requires_grad for p in model.layer1.parameters())


def test_the_scales_are_those_of_images_from_all_over_the_set(int8, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(cache, "quantized", lambda trunk, x: (seen.append(len(x)), quantized(trunk, x))[1])
    pictures = bright_and_dark()
    order = pictures.labels.argsort()  # as a folder has them: one class after the other
    found = cache_features(network(), pictures.subset(order), OPEN, tmp_path, views=1)
    exact = cache_features(
        network(), pictures.subset(order), replace(OPEN, precision="fp32"), tmp_path, views=1
    )
    for label in (0, 1):
        rows = (found.labels == label).nonzero().flatten()
        assert difference(found.read(rows), exact.read(rows)) < FAITHFUL / 2
    assert seen == [64]
    cache_features(network(), pictures.subset(order), OPEN, tmp_path, views=1)
    cache_features(network(), pictures.subset(order[:1]), OPEN, tmp_path, views=1)
    assert seen == [64, 1], "not for a file that is there"
    monkeypatch.setattr(cache, "images_to_scale_on", {32: 8}.get)
    cache_features(network(), pictures.subset(order[:48]), OPEN, tmp_path, views=1)
    assert seen == [64, 1, 8], "as few as the size of images demands"


def test_scales_of_large_images_need_no_more_memory():
    assert [images_to_scale_on(size) for size in (1, 96, 224, 225, 448, 5000)] == [64, 64, 64, 63, 16, 2]


def test_a_stopped_pass_in_int8_goes_on_with_the_same_scales(int8, tmp_path, monkeypatch):
    pictures = bright_and_dark()
    whole = cache_features(network(), pictures, OPEN, tmp_path / "whole", views=1)
    original = cache._inputs

    def inputs(*arguments):
        if arguments[-1]:  # the second chunk
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(cache, "_inputs", inputs)
    with pytest.raises(KeyboardInterrupt):
        cache_features(network(), pictures, OPEN, tmp_path, views=1)
    monkeypatch.setattr(cache, "_inputs", original)
    found = cache_features(network(), pictures, OPEN, tmp_path, views=1)
    rows = torch.arange(len(pictures))
    assert torch.equal(found.read(rows), whole.read(rows))


def test_what_learned_from_int8_features_predicts_from_images(int8, tmp_path):
    pictures = bright_and_dark()
    train, val = pictures.subset(torch.arange(200)), pictures.subset(torch.arange(200, 300))
    recipe = replace(OPEN, cached_views=1, batch_size=32)
    model = network()
    history = fit(model, train, val, recipe, home=tmp_path)
    on_images = evaluate(model, val, replace(recipe, cached_views=0, precision="fp32"))
    assert on_images.accuracy > 0.9 and abs(on_images.accuracy - history.values("val_accuracy")[-1]) < 0.05
