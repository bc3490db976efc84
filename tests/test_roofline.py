"""Operations are counted without padding's zeros, and set against what the machine could do."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from resnet_course import machine
from resnet_course.machine import roofline
from resnet_course.machine.estimates import Cost
from resnet_course.machine.operations import operations, real_taps
from resnet_course.recipes import FULL, LAPTOP, REDUCED
from resnet_course.resnet import resnet18
from resnet_course.transfer import freeze


@pytest.mark.parametrize("side", [1, 2, 3, 7, 8])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (1, 2, 0), (7, 2, 3), (3, 1, 0)]
)
def test_real_taps_are_those_that_meet_a_pixel(side, kernel, stride, padding):
    if side + 2 * padding < kernel:
        return
    ones = torch.ones(1, 1, side, side)
    met = nn.functional.conv2d(ones, torch.ones(1, 1, kernel, kernel), stride=stride, padding=padding)
    assert real_taps(side, kernel, stride, padding) ** 2 == int(met.sum())


def test_operations_of_a_resnet18_are_those_of_the_paper():
    found = operations(resnet18().eval(), torch.zeros(1, 3, 224, 224))
    # 1.8 billion multiplications with an addition (He et al., 2015, table 1), of which 7% meet padding.
    assert 0.92 < found / (2 * 1_814_073_344) < 0.93


@pytest.mark.parametrize("train_from", ["fc", "layer4", "all"])
def test_learning_counts_the_gradients_that_are_computed(train_from):
    network, image = freeze(resnet18(10), train_from), torch.zeros(1, 3, 64, 64)
    forward, learning = operations(network, image), operations(network, image, learning=True)
    head = 2 * 512 * 10
    layer4 = forward - head - operations(nn.Sequential(*list(network.children())[:7]), image)
    into_conv1 = 2 * real_taps(64, 7, 2, 3) ** 2 * 3 * 64
    into_layer4 = sum(2 * real_taps(4, k, 2, padding) ** 2 * 256 * 512 for k, padding in ((3, 1), (1, 0)))
    assert (
        learning
        == {
            "fc": forward + head,  # nothing before it learns, so its input needs no gradient
            "layer4": forward + 2 * (layer4 + head) - into_layer4,
            "all": 3 * forward - into_conv1,
        }[train_from]
    )


def test_the_limits_are_those_of_a_product_and_a_copy(monkeypatch):
    monkeypatch.setattr(roofline, "SIDE", 256)
    monkeypatch.setattr(roofline, "BYTES", 2**20)
    times = iter([[0.002, 0.001], [0.0005]])
    monkeypatch.setattr(roofline, "seconds", lambda step, **options: (step(), next(times))[1])
    slow_in_bf16 = machine.Probe(1, 1, {("fp32", "contiguous"): 1.0}, {1: 1.0}, 1, {}, 0.2)
    monkeypatch.setattr(roofline, "probe", lambda: slow_in_bf16)
    found = machine.measure_limits(REDUCED)
    assert found.gigaflops == {"fp32": pytest.approx(2 * 256**3 / 0.001 / 1e9)}, "bf16 is slow: not tried"
    assert found.gigabytes == pytest.approx(2 * 2**20 / 0.0005 / 1e9)
    assert "GFLOP/s in fp32" in str(found) and "bf16" not in str(found)


def test_the_limit_of_int8_is_measured_where_a_trunk_is_computed_in_it(monkeypatch, int8):
    monkeypatch.setattr(roofline, "SIDE", 256)
    monkeypatch.setattr(roofline, "BYTES", 2**20)
    times = iter([[0.001], [0.00025], [0.0005]])
    monkeypatch.setattr(roofline, "seconds", lambda step, **options: (step(), next(times))[1])
    slow_in_bf16 = machine.Probe(1, 1, {("fp32", "contiguous"): 1.0}, {1: 1.0}, 1, {}, 0.2)
    monkeypatch.setattr(roofline, "probe", lambda: slow_in_bf16)
    found = machine.measure_limits(LAPTOP)
    assert found.gigaflops["int8"] == pytest.approx(4 * found.gigaflops["fp32"])
    assert "134 GOP/s in int8" in str(found)


def test_shares_set_the_work_against_the_limit_of_its_precision():
    limits = machine.Limits({"fp32": 100.0, "bf16": 400.0}, 10.0)
    cached = Cost(LAPTOP, "bf16", "fp32", 0.01, 0.02, 1.28, 0.0, 2_000_000_000, 6_000_000_000)
    two = [Cost(phase, "fp32", "fp32", 0.0, 0.1, 0.0, 0.0, 0, 5_000_000_000) for phase in FULL.phases]
    found = machine.shares({"laptop": [cached], "full": two}, limits)
    assert found == {
        "trunk pass of laptop": pytest.approx(200 / 100),
        "step of laptop": pytest.approx(6 / (0.02 + 0.01) / 400),
        "step of full": pytest.approx(0.5),
    }


@pytest.mark.slow
def test_what_is_measured_here_stays_below_the_limit():
    recipe = replace(REDUCED, image_size=64)
    limits, costs = machine.measure_limits(recipe), machine.costs(recipe, 1_000)
    (share,) = machine.shares({"reduced": costs}, limits).values()
    assert 0 < share < 1.2, "a step cannot do more than the processor can, but for a busy moment"
    assert 0 < machine.prediction_share(64, limits) < 1.2
