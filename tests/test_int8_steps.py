"""What is frozen computes in int8 in training steps; what learns is the model's own."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from test_quantized import CHANGES, OPEN, bright_and_dark, difference, images, network
from torch import nn

from resnet_course import machine
from resnet_course.evaluation import evaluate
from resnet_course.machine import Cost, Engine, distributed, estimates
from resnet_course.machine.operations import operations
from resnet_course.recipes import FULL_FIRST, LAPTOP, REDUCED
from resnet_course.resnet import ResNet, resnet18
from resnet_course.training import checkpoint, fit, loop, phases
from resnet_course.transfer import freeze, images_to_scale_on, on_quantized_trunk, split_at

ON_IMAGES = replace(OPEN, train_from="layer3", batch_size=32, cached_views=0)


def sets(count=300, kept=100):
    pictures = bright_and_dark(count)
    return pictures.subset(torch.arange(kept, count)), pictures.subset(torch.arange(kept))


# One step


@pytest.mark.parametrize("train_from", ["layer2", "layer3", "layer4", "fc"])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_logits_and_gradients_are_nearly_those_of_the_network_itself(int8, layout, train_from):
    model, x, labels = network(16, train_from), images(24, 48), torch.arange(24) % 2
    model.to(memory_format=layout)
    x = x.contiguous(memory_format=layout)
    in_int8 = on_quantized_trunk(model, train_from, x[:16])
    assert in_int8 is not model

    def learned(network, x):
        model.zero_grad()
        network.eval()  # BatchNorm as it is, so that a picture does not depend on the others
        logits = network(x)
        F.cross_entropy(logits, labels).backward()
        return logits.detach(), {
            name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad
        }

    (exact, exact_gradients), (logits, gradients) = learned(model, x), learned(in_int8, x)
    assert logits.shape == exact.shape and 0 < difference(logits, exact) < 0.1
    assert gradients.keys() == exact_gradients.keys() and len(gradients) > 0
    _, of_others = learned(model, images(24, 48, seed=5))
    for name, gradient in gradients.items():
        apart = difference(of_others[name], exact_gradients[name])
        assert difference(gradient, exact_gradients[name]) < 0.6 * apart, f"{name}, apart for other pictures"
    assert all(p.grad is None for p in model.conv1.parameters()), "what is frozen takes no gradient"


def test_what_learns_is_the_models_own(int8):
    model = network(16, "layer3")
    in_int8 = on_quantized_trunk(model, "layer3", images())
    learning = {id(p) for p in model.parameters() if p.requires_grad}
    assert {id(p) for p in in_int8.parameters()} == learning
    in_int8.train()
    assert model.layer3.training and model.layer4[0].bn1.training and not model.layer2[0].bn1.training
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.autocast("cpu", torch.bfloat16):
        in_int8(images(8))
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved and all(name.startswith(("layer3", "layer4")) for name in moved), "BatchNorm's statistics"


def test_under_autocast_the_stem_computes_in_bf16_and_the_rest_in_int8(int8):
    model, x = network(16, "layer3"), images(32)
    in_int8, seen, stems = on_quantized_trunk(model, "layer3", x), [], []
    model.layer3.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    in_int8.trunk.stem.register_forward_hook(lambda module, inputs, output: stems.append(output.dtype))
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            in_int8(x)
    assert stems == [torch.float32, torch.bfloat16]
    assert {features.dtype for features in seen} == {torch.float32}
    assert 0 < (seen[0] - seen[1]).norm() < 0.05 * seen[0].norm()


# Where int8 cannot stand for the trunk


class Other(ResNet):
    def forward(self, x):
        return super().forward(x) * 2


def subclassed(model):
    model.__class__ = Other


def own_forward_of_the_model(model):
    model.forward = lambda x: x


def hooked_as_a_whole(model):
    model.register_forward_hook(lambda module, inputs, output: output * 2)


def hooked_for_gradients(model):
    model.register_full_backward_hook(lambda module, gradients, outputs: None)


def hooked_stem(model):
    model.bn1.register_forward_hook(lambda module, inputs, output: output * 2)


def hooked_pooling(model):
    model.maxpool.register_forward_pre_hook(lambda module, inputs: None)


def thawed(model):
    model.layer1[0].conv1.weight.requires_grad_(True)


def moving_batchnorm(model):
    freeze(model, "layer3", batchnorm_moves=True)
    model.train()


def all_learns(model):
    freeze(model, "all")


def damaged(model):
    with torch.no_grad():
        model.layer1[0].conv1.weight[0, 0, 0, 0] = float("nan")


class Standardised(nn.Conv2d):
    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias)


def own_convolution_in_the_stem(model):
    model.conv1.__class__ = Standardised  # BatchNorm's factor fused into its weight would be lost


def without_statistics(model):
    model.bn1.running_mean = model.bn1.running_var = None


MORE = (subclassed, own_forward_of_the_model, hooked_as_a_whole, hooked_for_gradients, hooked_stem)
MORE += (own_convolution_in_the_stem, without_statistics)
MOVING = (hooked_pooling, thawed, moving_batchnorm, all_learns, damaged)


@pytest.mark.parametrize("change", [*CHANGES, *MORE, *MOVING], ids=lambda change: change.__name__)
def test_another_network_computes_as_it_is(int8, change):
    model = network(16, "layer3")
    change(model)
    assert on_quantized_trunk(model, "layer3", images()) is model


@pytest.mark.parametrize("train_from", ["all", "layer1"])
def test_a_trunk_without_blocks_is_not_worth_it(train_from):
    model = network(16, train_from)
    assert on_quantized_trunk(model, train_from, images()) is model


def test_a_network_without_stages_trains_as_it_is(int8):
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    train, val = sets()
    recipe = replace(OPEN, train_from="all", image_size=32)
    history = fit(model, train, val, recipe)
    assert len(history.values("seconds")) == recipe.epochs and "int8" not in history.engine


# A whole training


def test_fit_learns_on_it_and_validates_with_the_exact_network(int8):
    train, val = sets()
    found, exact = network(16, "layer3"), network(16, "layer3")
    trunk = {name: tensor.clone() for name, tensor in found.state_dict().items() if name.startswith("layer1")}
    history = fit(found, train, val, ON_IMAGES)
    in_fp32 = fit(exact, train, val, replace(ON_IMAGES, precision="fp32"))
    assert "what is frozen in int8" in history.engine and "int8" not in in_fp32.engine
    assert all(torch.equal(tensor, found.state_dict()[name]) for name, tensor in trunk.items())
    weights, others = (model.layer3[0].conv1.weight.detach() for model in (found, exact))
    at_first = network(16, "layer3").layer3[0].conv1.weight.detach()
    assert 0 < difference(weights, others) < difference(at_first, others)
    validated = evaluate(found, val, replace(ON_IMAGES, precision="fp32"))
    assert validated.accuracy == pytest.approx(history.best["val_accuracy"])
    assert validated.loss == pytest.approx(history.best["val_loss"], rel=1e-3)
    assert validated.accuracy > 0.9


@pytest.mark.parametrize(
    "demanded",
    [
        {"precision": "fp32"},
        {"memory_format": "channels_last"},
        {"train_from": "all"},
        {"train_from": "layer4", "cached_views": 1},
    ],
    ids=str,
)
def test_a_recipe_that_leaves_nothing_open_or_frozen_has_no_int8_in_its_steps(int8, tmp_path, demanded):
    train, val = sets(120, 40)
    history = fit(network(8), train, val, replace(ON_IMAGES, epochs=1, **demanded), home=tmp_path)
    assert "what is frozen" not in history.engine


def test_few_looks_are_not_worth_the_scales(int8, monkeypatch):
    monkeypatch.setattr("resnet_course.machine.probing.LOOKS", 401)
    train, val = sets()  # 200 images to learn from
    two, three = (fit(network(8), train, val, replace(ON_IMAGES, epochs=epochs)) for epochs in (2, 3))
    assert "int8" not in two.engine and "int8" in three.engine


def test_the_scales_are_those_of_images_from_all_over_the_set(int8, monkeypatch):
    seen = []
    monkeypatch.setattr(
        phases, "on_quantized_trunk", lambda *given: (seen.append(given[2]), on_quantized_trunk(*given))[1]
    )
    train, val = sets()
    fit(network(8), train.subset(train.labels.argsort()), val, replace(ON_IMAGES, epochs=1))
    (inputs,) = seen
    assert len(inputs) == images_to_scale_on(ON_IMAGES.image_size) == 64
    bright = inputs.mean((1, 2, 3)) > inputs.mean()
    assert 0.4 < bright.double().mean() < 0.6, "as many of one class as of the other"


def test_one_process_that_cannot_makes_all_compute_exactly(int8, monkeypatch):
    train, _ = sets()
    model = network(8, "layer3")
    engine = Engine("cpu", "fp32", "channels_last", 1, frozen="int8")
    assert phases._network(model, train, ON_IMAGES, engine)[0] == engine
    asked = []
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "broadcast_state", lambda model: asked.append("weights"))
    monkeypatch.setattr(distributed, "all_reduce_sum", lambda few: asked.append(few[0]) or torch.tensor(1.0))
    for each in (engine, replace(engine, frozen=None)):  # one that cannot asks the others too
        found, taken = phases._network(model, train, ON_IMAGES, each)
        assert taken is model and found == replace(engine, frozen=None)
    assert asked == ["weights", True, "weights", False]


@pytest.mark.parametrize("train_from", ["layer3", "fc"])
def test_the_layout_of_layer4_does_not_keep_it_from_int8(int8, monkeypatch, train_from):
    two_layouts = Engine("cpu", "fp32", "channels_last", 1, layer4_format="contiguous")
    choose = machine.choose
    monkeypatch.setattr(
        machine,
        "choose",
        lambda recipe, kind="images", looks=1: (
            choose(recipe, kind, looks) if kind == "trunk" else two_layouts
        ),
    )
    train, val = sets(120, 40)
    model = network(8)
    history = fit(model, train, val, replace(ON_IMAGES, train_from=train_from, epochs=1))
    assert "what is frozen in int8" in history.engine
    assert ("layer4 contiguous" in history.engine) == (train_from == "layer3")
    assert not model.layer4._forward_pre_hooks


def test_large_images_find_their_scales_on_fewer(int8, monkeypatch):
    seen = []
    monkeypatch.setattr(phases, "images_to_scale_on", {32: 64, 48: 8, 512: 2}.get)
    monkeypatch.setattr(
        phases, "on_quantized_trunk", lambda model, _, some: (seen.append(len(some)), model)[1]
    )
    train, _ = sets(120, 40)
    for size in (32, 48, 512):
        recipe = replace(ON_IMAGES, image_size=size)
        phases._network(
            network(8, "layer3"), train, recipe, Engine("cpu", "fp32", "channels_last", 1, frozen="int8")
        )
    assert seen == [64, 8, 2]


# Stopped and taken up again


def trained(out, monkeypatch, stop_after=None):
    """The weights after ON_IMAGES' epochs; stopped before the given one and taken up again."""
    torch.manual_seed(0)
    train, val = sets()
    original = loop.fit_epoch

    def stopping(run, phase):
        if len(run.epochs) == stop_after:
            raise KeyboardInterrupt
        return original(run, phase)

    if stop_after is not None:
        monkeypatch.setattr(loop, "fit_epoch", stopping)
        fit(network(8), train, val, ON_IMAGES, out)
        monkeypatch.setattr(loop, "fit_epoch", original)
    model = network(8)
    history = fit(model, train, val, ON_IMAGES, out, resume=True)
    return model.state_dict(), history


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_training_goes_on_as_it_was_computed_before(int8, tmp_path, monkeypatch):
    whole, _ = trained(tmp_path / "whole", monkeypatch)
    parts, history = trained(tmp_path / "parts", monkeypatch, stop_after=1)
    assert same(whole, parts) and "int8" in history.engine
    assert checkpoint.load(tmp_path / "parts" / "last.pt").training["frozen"] == "int8"


@pytest.mark.parametrize("here", [True, False], ids=["same machine", "another machine"])
def test_what_was_begun_exactly_goes_on_exactly_but_on_another_machine(int8, tmp_path, monkeypatch, here):
    monkeypatch.setattr("resnet_course.machine.probing.INT8_AHEAD", 9.0)
    exactly, _ = trained(tmp_path / "exactly", monkeypatch)
    original, begun = phases._engine, []

    def engine(network, train, recipe, before):
        if before:  # the second call, when int8 is faster
            monkeypatch.setattr("resnet_course.machine.probing.INT8_AHEAD", 1.15)
            before = dict(before, convolutions=[machine.signature("cpu") if here else "other", None])
            before.pop("frozen")  # as in a checkpoint of an earlier version
        begun.append(original(network, train, recipe, before).frozen)
        return original(network, train, recipe, before)

    monkeypatch.setattr(phases, "_engine", engine)
    resumed, _ = trained(tmp_path / "parts", monkeypatch, stop_after=1)
    assert begun == [None, None if here else "int8"] and same(exactly, resumed) == here


def test_what_was_begun_in_int8_goes_on_so_though_it_is_no_longer_measured_as_faster(
    int8, tmp_path, monkeypatch
):
    whole, _ = trained(tmp_path / "whole", monkeypatch)
    original = phases._engine

    def engine(network, train, recipe, before):
        if before:
            monkeypatch.setattr("resnet_course.machine.probing.INT8_AHEAD", 9.0)
        return original(network, train, recipe, before)

    monkeypatch.setattr(phases, "_engine", engine)
    parts, history = trained(tmp_path / "parts", monkeypatch, stop_after=1)
    assert same(whole, parts) and "int8" in history.engine
    later, _ = trained(tmp_path / "later", monkeypatch)
    assert not same(whole, later), "it is measured as slower by now"


# What it will take


def test_an_estimate_computes_steps_as_fit_does(int8, monkeypatch):
    recipe = replace(FULL_FIRST, image_size=64, epochs=1, batch_size=16, memory_format="auto")
    rounded = []

    def counted(*given):
        rounded.append(on_quantized_trunk(*given))
        rounded[-1].register_forward_hook(lambda *_: rounded.append("called"))
        return rounded[-1]

    monkeypatch.setattr(estimates, "on_quantized_trunk", counted)
    (cost,) = machine.costs(recipe, 200, width=8, tuning_at_most=0.0)
    assert rounded.count("called") >= 2, "its steps are those that are timed"
    (exact,) = machine.costs(replace(recipe, precision="fp32"), 200, width=8, tuning_at_most=0.0)
    assert 0 < cost.int8_operations < cost.step_operations == exact.step_operations
    assert exact.int8_operations == 0
    model = freeze(resnet18(10, 8), "layer3")
    stages = nn.Sequential(model.layer1, model.layer2)
    assert cost.int8_operations == operations(stages, torch.zeros(1, 8, 16, 16)), "the stem is in float32"
    assert machine.costs(replace(REDUCED, image_size=32), 200, width=8)[0].int8_operations == 0
    limits = machine.Limits({"fp32": 100.0, "int8": 400.0}, 10.0)
    (share,) = machine.shares({"it": [cost]}, limits).values()
    at_least = (cost.step_operations - cost.int8_operations) / 100e9 + cost.int8_operations / 400e9
    assert share == pytest.approx(at_least / (cost.gradients + cost.update / 16))


def test_the_larger_images_of_a_second_phase_have_more_operations_in_int8(int8):
    first = replace(FULL_FIRST, image_size=64, epochs=1, batch_size=16)
    costs = machine.costs(replace(first, image_size=96, first=first), 200, width=8, tuning_at_most=0.0)
    one, other = (cost.int8_operations / cost.step_operations for cost in costs)
    assert one == pytest.approx(other, rel=0.05) and costs[1].int8_operations > costs[0].int8_operations


def test_what_is_scaled_from_laptop_has_its_frozen_part_at_the_pace_of_the_trunk_pass():
    known = Cost(replace(LAPTOP, image_size=64), "fp32", "int8", 1.0, 8.0, 0.0, 1.0, *laptop_operations(64))
    exact = replace(known, trunk_precision="fp32")
    for train_from in ("layer3", "fc", "layer1", "all"):
        recipe = replace(FULL_FIRST, image_size=64, train_from=train_from)
        ((found,), (slower,)) = (machine.scaled(each, recipe) for each in (known, exact))
        step = slower.step_operations
        assert slower.gradients == pytest.approx(8.0 * step / known.step_operations)
        assert (found.step_operations, slower.int8_operations) == (step, 0)
        pace, frozen = 8.0 / known.step_operations, found.int8_operations
        at_the_trunks = frozen / known.trunk_operations
        assert found.gradients == pytest.approx(pace * (step - frozen) + at_the_trunks)
        assert (frozen > 0) == (train_from in ("layer3", "fc"))


def laptop_operations(size):
    """Of LAPTOP's trunk, and of a step on its features."""
    model = freeze(resnet18(10), "layer4")
    trunk, head = split_at(model.eval(), "layer4")
    image = torch.zeros(1, 3, size, size)
    with torch.no_grad():
        features = trunk(image)
    return operations(trunk, image), operations(head, features, learning=True)


def test_damage_that_comes_later_shows_in_the_loss(int8):
    model, x = network(16, "layer3"), images()
    in_int8 = on_quantized_trunk(model, "layer3", x)
    assert in_int8(x).isfinite().all()
    x[3, 0, 5, 5] = float("nan")
    assert not in_int8(x).isfinite().all()
