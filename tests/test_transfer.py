"""Frozen means frozen; trunk and head are the network; weights that do not fit are named."""

import copy
import hashlib
import io
import pickle
import runpy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from parameters import some_are_slow
from servers import Mirror, serving
from torch import nn

from resnet_course import settings, transfer
from resnet_course.common.download import DownloadError
from resnet_course.common.errors import ArgumentError
from resnet_course.recipes import ORIGINAL, PLAIN
from resnet_course.resnet import eval_mode, resnet18, stack
from resnet_course.transfer import (
    TRAIN_FROM,
    WeightsError,
    apply_recipe,
    build_model,
    freeze,
    is_frozen,
    load_weights,
    parameter_groups,
    split_at,
    weights,
)

# The parts that are frozen for each train_from, written out by hand.
FROZEN = {
    "all": (),
    "layer1": ("conv1", "bn1"),
    "layer2": ("conv1", "bn1", "layer1"),
    "layer3": ("conv1", "bn1", "layer1", "layer2"),
    "layer4": ("conv1", "bn1", "layer1", "layer2", "layer3"),
    "fc": ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4"),
}


def snapshot(model):
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def train_steps(model, steps):
    """Train as a learner's own loop would: calling train() before every step."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.1), lr=1e-2)
    for _ in range(steps):
        model.train()
        x = torch.randn(4, 3, 32, 32, generator=generator)
        loss = F.cross_entropy(model(x), torch.randint(0, 3, (4,), generator=generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("train_from", some_are_slow(TRAIN_FROM, quick=("layer2", "fc")))
def test_frozen_parameters_and_buffers_stay_bit_identical_over_50_steps(train_from):
    torch.manual_seed(0)
    model = freeze(resnet18(3, width=8, dropout=0.5), train_from)
    before = snapshot(model)
    train_steps(model, 50)
    for name, tensor in model.state_dict().items():
        frozen = name.split(".")[0] in FROZEN[train_from]
        same = torch.equal(tensor, before[name])
        assert same == frozen, f"{name} {'moved' if frozen else 'did not move'}"


def test_freezing_survives_train_calls_and_a_deep_copy():
    model = freeze(resnet18(3, width=8), "layer4")
    model.eval()
    clone = copy.deepcopy(model.train())
    for network in (model, clone):
        network.layer1[0].bn1.train()
        assert not any(module.training for module in network.layer3.modules())
        assert all(module.training for module in network.layer4.modules())
    clone.layer1.train()
    assert clone.layer1[0].train() is clone.layer1[0], "the copy's methods are the copy's own"


def pickled(model):
    return pickle.loads(pickle.dumps(model))


def saved_and_loaded(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("through", [pickled, saved_and_loaded, copy.deepcopy])
def test_a_frozen_network_stays_frozen_through_a_file_or_a_copy(through):
    torch.manual_seed(0)
    model = freeze(resnet18(3, width=8, dropout=0.5), "layer4")
    again = through(model)
    assert is_frozen(again, "layer4") and not is_frozen(again, "fc")
    before = snapshot(again)
    train_steps(again, 3)
    moved = {name for name, tensor in again.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved and {name.split(".")[0] for name in moved} == {"layer4", "fc"}
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not is_frozen(freeze(again, "all"), "layer1") and is_frozen(model, "layer4")


def test_a_frozen_network_stays_frozen_in_eval_mode_and_in_data_parallel():
    model = freeze(resnet18(3, width=8), "layer4").train()
    with eval_mode(model):
        assert not any(module.training for module in model.modules())
    assert is_frozen(model, "layer4") and all(module.training for module in model.layer4.modules())
    wrapped = nn.DataParallel(model).train()
    assert is_frozen(wrapped.module, "layer4") and model.layer4.training
    model.layer1.training = True  # behind train()'s back
    assert not is_frozen(model, "layer4")


def test_freezing_can_be_undone():
    model = freeze(freeze(resnet18(3, width=8), "fc"), "all").train()
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())


def test_the_original_flaw_moves_statistics_but_no_parameter():
    torch.manual_seed(0)
    model = freeze(resnet18(3, width=8), "layer4", batchnorm_moves=True)
    before = snapshot(model)
    train_steps(model, 3)
    now = model.state_dict()
    assert not torch.equal(now["layer1.0.bn1.running_mean"], before["layer1.0.bn1.running_mean"])
    assert torch.equal(now["layer1.0.bn1.weight"], before["layer1.0.bn1.weight"])


@pytest.mark.parametrize("train_from", TRAIN_FROM)
def test_head_of_trunk_is_the_network(train_from):
    model = resnet18(5, width=8).eval()
    trunk, head = split_at(model, train_from)
    x = torch.randn(2, 3, 40, 40)
    assert torch.equal(head(trunk(x)), model(x))
    owned = {id(p) for p in trunk.parameters()} | {id(p) for p in head.parameters()}
    assert owned == {id(p) for p in model.parameters()}, "trunk and head share the network's own parameters"
    assert {name.split(".")[0] for name, _ in trunk.named_parameters()} == set(FROZEN[train_from])


def test_unknown_train_from_lists_the_legal_ones():
    for call in (lambda: freeze(resnet18(2, 8), "layer5"), lambda: build_model(2, "none", "layer5")):
        with pytest.raises(
            ArgumentError, match="'layer5'; it must be one of: all, layer1, layer2, layer3, layer4, fc"
        ):
            call()


def test_build_model_takes_a_file_all_but_its_head(tmp_path):
    torch.manual_seed(1)
    source = resnet18(1000, width=8)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    model = build_model(4, tmp_path / "w.pth", train_from="fc", dropout=0.25)
    assert model.fc.out_features == 4 and model.dropout.p == 0.25
    for name, tensor in source.state_dict().items():
        if not name.startswith("fc."):
            assert torch.equal(model.state_dict()[name], tensor), name
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["fc.weight", "fc.bias"]


def test_none_means_random_and_untouched_statistics():
    for source in ("none", None):
        torch.manual_seed(3)
        model = build_model(4, source, train_from="all")
        assert model.width == 64 and float(model.bn1.running_mean.abs().max()) == 0


def test_files_that_do_not_fit_are_described(tmp_path):
    state = resnet18(10, width=8).state_dict()
    del state["layer1.0.conv1.weight"]
    state["layer9.weight"] = torch.zeros(1)
    state["layer2.0.conv1.weight"] = torch.zeros(3, 3)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError) as error:
        load_weights(tmp_path / "w.pth")
    text = str(error.value)
    assert "does not fit ResNet-18" in text and "\n" not in text
    assert "1 missing: layer1.0.conv1.weight" in text
    assert "1 unexpected: layer9.weight" in text
    assert "1 of the wrong shape: layer2.0.conv1.weight is [3, 3], not [16, 8, 3, 3]" in text


class Malicious:
    def __reduce__(self):
        return (exec, ("raise SystemExit('the pickle ran')",))


@pytest.mark.parametrize("content", [b"", b"not weights at all", pickle.dumps(Malicious()), None])
def test_files_that_are_no_weights_are_refused_in_one_line(tmp_path, content):
    path = tmp_path / "w.pth"
    if content is None:
        torch.save([1, 2, 3], path)
    else:
        path.write_bytes(content)
    with pytest.raises(WeightsError) as error:
        load_weights(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_missing_file_lists_the_sources(tmp_path):
    with pytest.raises(
        WeightsError, match=r"there is no such file; .* one of: auto, imagenet, builtin, none"
    ):
        load_weights(tmp_path / "absent.pth")


def test_auto_says_that_it_took_the_builtin_weights_and_why(monkeypatch, tmp_path, capsys):
    def refuse(urls, seconds, home):
        assert (urls, seconds, home) == ([weights.IMAGENET_URL], 3, tmp_path), "it waits no longer"
        raise DownloadError("no network\nby hand: …")

    monkeypatch.setattr(weights, "answering", refuse)
    monkeypatch.setattr(weights, "imagenet_path", lambda: tmp_path / "absent.pth")
    monkeypatch.setenv("RESNET_COURSE_PATIENCE", "3")
    monkeypatch.setenv("RESNET_COURSE_HOME", str(tmp_path))
    state = load_weights("auto")
    assert len(state["conv1.weight"]) == 16
    assert "the built-in ones" in (said := capsys.readouterr().err) and said.count("\n") == 1
    assert said.endswith("cannot be had now: no network; RESNET_COURSE_WEIGHTS=imagenet asks again.\n")


def test_auto_takes_imagenet_where_it_can(monkeypatch, tmp_path, capsys):
    path = tmp_path / "resnet18.pth"
    torch.save(resnet18(1000, width=8).state_dict(), path)
    monkeypatch.setattr(weights, "download", lambda *args, **options: path)
    monkeypatch.setattr(weights, "imagenet_path", lambda: path)
    assert len(load_weights("auto")["conv1.weight"]) == 8
    assert "ImageNet" in capsys.readouterr().err


def test_imagenet_weights_are_downloaded_verified_and_kept(monkeypatch, tmp_path):
    content = io.BytesIO()
    torch.save(resnet18(1000, width=8).state_dict(), content)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(weights, "IMAGENET_SIZE", len(content.getvalue()))
    right = f"sha256:{hashlib.sha256(content.getvalue()).hexdigest()}"
    with serving(Mirror(content.getvalue())) as mirror:
        monkeypatch.setattr(weights, "IMAGENET_URL", mirror.url.removesuffix("?download=1"))
        monkeypatch.setattr(weights, "IMAGENET_CHECKSUM", "sha256:" + 64 * "0")
        with pytest.raises(DownloadError, match="wrong checksum"):
            load_weights("imagenet")
        assert not transfer.imagenet_path().exists()
        monkeypatch.setattr(weights, "IMAGENET_CHECKSUM", right)
        assert len(load_weights("imagenet")["conv1.weight"]) == 8
        asked = len(mirror.ranges)
        load_weights("imagenet")
        assert len(mirror.ranges) == asked, "the second time it is on the disk"


def test_parameter_groups_decay_only_what_should_be():
    model = freeze(resnet18(3, width=8), "layer4")
    decayed, free = parameter_groups(model, 0.05)
    assert decayed["weight_decay"] == 0.05 and free["weight_decay"] == 0
    named = {id(p): name for name, p in model.named_parameters()}
    assert all(named[id(p)].endswith("weight") and p.ndim > 1 for p in decayed["params"])
    assert all(
        "bn" in named[id(p)] or "downsample.1" in named[id(p)] or named[id(p)] == "fc.bias"
        for p in free["params"]
    )
    everything = [id(p) for group in (decayed, free) for p in group["params"]]
    assert sorted(everything) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert all(group["weight_decay"] == 0.05 for group in parameter_groups(model, 0.05, decay_all=True))


@pytest.mark.parametrize("train_from", TRAIN_FROM)
def test_discriminative_rates_fall_by_the_same_factor_from_part_to_part(train_from):
    torch.manual_seed(0)
    model = freeze(resnet18(3, width=8), train_from)
    groups = parameter_groups(model, 0.1, layer_decay=0.5)
    rate_of = {id(p): group["rate"] for group in groups for p in group["params"]}
    powers = {"fc": 0, "layer4": 1, "layer3": 2, "layer2": 3, "layer1": 4, "conv1": 5, "bn1": 5}
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert len(rate_of) == sum(len(group["params"]) for group in groups) == len(trainable)
    for name, parameter in trainable.items():
        assert rate_of[id(parameter)] == 0.5 ** powers[name.partition(".")[0]], name
    for group in groups:
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] > 0}


def test_one_rate_makes_two_groups():
    groups = parameter_groups(resnet18(3, width=8), 0.1)
    assert [(group["rate"], group["weight_decay"]) for group in groups] == [(1.0, 0.1), (1.0, 0.0)]


def test_a_stack_has_its_own_stages_and_each_its_own_rate():
    model = stack(8, width=8)
    groups = parameter_groups(model, 0.1, layer_decay=0.5)
    rate_of = {id(p): group["rate"] for group in groups for p in group["params"]}
    powers = {"fc": 0, "layer3": 1, "layer2": 2, "layer1": 3, "conv1": 4, "bn1": 4}
    for name, parameter in model.named_parameters():
        assert rate_of[id(parameter)] == 0.5 ** powers[name.partition(".")[0]], name


def test_a_network_without_stages_has_one_rate():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    model.scale = nn.Parameter(torch.ones(()))
    groups = parameter_groups(model, 0.1, layer_decay=0.5)
    assert [group["rate"] for group in groups] == [1.0, 1.0]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_a_stack_is_trained_whole_or_not_at_all():
    model, x = stack(8, width=8).eval(), torch.randn(2, 3, 32, 32)
    trunk, head = split_at(model, "all")
    assert torch.equal(head(trunk(x)), model(x)) and not list(trunk.parameters())
    assert freeze(model.requires_grad_(False), "all") is model and is_frozen(model, "all")
    assert all(parameter.requires_grad for parameter in model.parameters())
    before = snapshot(model)
    for call in (split_at, freeze, is_frozen, transfer.trunk_of):
        with pytest.raises(ArgumentError) as error:
            call(model, "layer3")
        text = str(error.value)
        assert "this Sequential has no maxpool, layer4, dropout" in text and "train_from 'all'" in text
        assert "\n" not in text
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("start", TRAIN_FROM)
def test_a_network_is_brought_in_line_with_its_recipe(start):
    model = freeze(resnet18(3, width=8, dropout=0.5), start)
    recipe = replace(PLAIN, train_from="layer3", dropout=0.25)
    assert apply_recipe(model, recipe) is model
    assert model.dropout.p == 0.25
    assert [part for part in TRAIN_FROM if is_frozen(model, part)] == ["all", "layer1", "layer2", "layer3"]
    assert not any(p.requires_grad for p in split_at(model, "layer3")[0].parameters())
    assert all(p.requires_grad for p in split_at(model, "layer3")[1].parameters())
    assert apply_recipe(model, ORIGINAL).train().layer1[0].bn1.training, (
        "the original's flaw, batchnorm_moves"
    )


def test_a_network_that_cannot_follow_its_recipe_is_refused_in_one_line():
    recipe = replace(PLAIN, train_from="all", dropout=0.0)
    assert apply_recipe(stack(8, width=8), recipe)
    for changes, part in (({"dropout": 0.5}, "has no dropout"), ({"train_from": "fc"}, "has no maxpool")):
        with pytest.raises(ArgumentError, match=part) as error:
            apply_recipe(stack(8, width=8), replace(recipe, **changes))
        assert "\n" not in str(error.value)


def test_every_source_of_weights_has_its_function(monkeypatch):
    assert tuple(weights.SOURCES) == settings.WEIGHTS_SOURCES
    monkeypatch.setattr(settings, "WEIGHTS_SOURCES", (*settings.WEIGHTS_SOURCES, "new"))
    with pytest.raises(KeyError, match="new"):
        runpy.run_path(weights.__file__)


def test_weights_with_another_head_are_weights(tmp_path):
    source = resnet18(3, width=8)
    source.fc = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3))
    torch.save(source.state_dict(), tmp_path / "w.pth")
    model = build_model(4, tmp_path / "w.pth", "fc")
    assert torch.equal(model.layer4[1].conv2.weight, source.layer4[1].conv2.weight)
    assert model.fc.weight.shape == (4, 64)


def test_is_frozen_knows_what_freeze_did_and_what_it_did_not():
    model = resnet18(3, width=8)
    assert is_frozen(model, "all") and not is_frozen(model, "layer1")
    freeze(model, "layer3")
    assert [part for part in TRAIN_FROM if is_frozen(model, part)] == [
        "all",
        "layer1",
        "layer2",
        "layer3",
    ]
    model.layer1[0].conv1.weight.requires_grad = True
    assert not is_frozen(model, "layer3")
    assert not is_frozen(freeze(model, "layer3", batchnorm_moves=True), "layer3")
    by_hand = resnet18(3, width=8).requires_grad_(False).eval()  # the next train() would undo it
    assert not is_frozen(by_hand, "layer3")


@pytest.mark.parametrize("train_from", ["layer1", "layer3", "layer4", "fc"])
def test_a_fused_trunk_gives_the_same_and_leaves_the_network_as_it_was(train_from):
    torch.manual_seed(0)
    model = freeze(resnet18(3, width=8), train_from)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.uniform_(module.bias, -1, 1)
    with torch.no_grad():  # two dead filters: they answer nothing, and their statistics are exactly 0
        model.conv1.weight[:2] = 0
        model.bn1.running_mean[:2] = model.bn1.running_var[:2] = 0
    trunk, x = transfer.trunk_of(model, train_from), torch.randn(2, 3, 40, 40)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fused = transfer.fused(trunk)
    with torch.no_grad():
        wanted = trunk.eval()(x)
        assert (fused(x) - wanted).abs().max() / wanted.abs().max() < 1e-5
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fused.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
