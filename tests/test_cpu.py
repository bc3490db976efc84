"""The probe measures, the choice follows it, and the estimate is of the right size."""

import time
from dataclasses import replace

import pytest
import torch

from resnet_course import cpu
from resnet_course.recipes import LAPTOP, ORIGINAL, REDUCED


def test_probe_is_quick_and_times_every_candidate():
    cpu.probe.cache_clear()
    start = time.perf_counter()
    times = cpu.probe()
    assert time.perf_counter() - start < 5, "a second on an idle machine"
    assert tuple(times) == cpu.CANDIDATES and all(milliseconds > 0 for milliseconds in times.values())


@torch.inference_mode()
def test_probe_trains_even_where_gradients_are_off():
    cpu.probe.cache_clear()
    assert len(cpu.probe()) == len(cpu.CANDIDATES)


def test_auto_takes_the_fastest_that_the_recipe_allows(monkeypatch):
    times = {("fp32", "contiguous"): 3.0, ("fp32", "channels_last"): 2.0, ("bf16", "channels_last"): 1.0}
    monkeypatch.setattr(cpu, "probe", lambda what: times)
    chosen = cpu.choose(LAPTOP)
    assert (chosen.precision, chosen.memory_format) == ("bf16", "channels_last")
    assert cpu.choose(replace(LAPTOP, precision="fp32")).memory_format == "channels_last"
    times["bf16", "channels_last"] = 9.0
    assert cpu.choose(LAPTOP).precision == "fp32"
    assert cpu.choose(replace(LAPTOP, precision="bf16")).precision == "bf16", "a demand is a demand"


def test_a_recipe_that_leaves_nothing_open_is_not_probed(monkeypatch):
    def refuse():
        raise AssertionError("probed")

    monkeypatch.setattr(cpu, "probe", refuse)
    assert cpu.choose(ORIGINAL).precision == "fp32" and cpu.choose(ORIGINAL).memory_format == "contiguous"
    assert cpu.choose(REDUCED).memory_format == "channels_last"


def test_bf16_computes_in_bf16_and_keeps_the_weights_in_fp32():
    engine = cpu.Engine("cpu", "bf16", "channels_last")
    convolution = engine.place(torch.nn.Conv2d(3, 8, 3))
    with engine.autocast():
        out = convolution(engine.place(torch.randn(1, 3, 8, 8)))
    assert out.dtype == torch.bfloat16 and convolution.weight.dtype == torch.float32
    with cpu.Engine("cpu", "fp32", "contiguous").autocast():
        assert convolution(torch.randn(1, 3, 8, 8)).dtype == torch.float32


def test_usable_cores_respects_affinity(monkeypatch):
    assert 1 <= cpu.usable_cores() <= (cpu.os.cpu_count() or 1)
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert cpu.usable_cores() == 1


def test_estimate_grows_with_the_work():
    recipe = replace(REDUCED, epochs=1)
    small, large = (cpu.estimate(recipe, pictures, 0, width=8) for pictures in (1_000, 10_000))
    assert 3 < large / small < 30, "ten times the pictures, on a machine that others use too"
    assert cpu.estimate(recipe, 1, 0, width=8) > 0


def test_no_global_setting_is_changed():
    before = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    cpu.probe.cache_clear()
    cpu.probe()
    cpu.estimate(replace(REDUCED, epochs=1), 10, 10, width=8)
    assert (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()) == before


def test_the_probe_draws_no_global_random_numbers():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    cpu.probe.cache_clear()
    cpu.probe()
    cpu.estimate(replace(REDUCED, epochs=1), 10, 10, width=8)
    assert torch.rand(1) == pytest.approx(float(expected), abs=0)


def test_features_are_probed_for_themselves(monkeypatch):
    times = {
        "pictures": {("fp32", "channels_last"): 1.0, ("bf16", "contiguous"): 2.0},
        "features": {("fp32", "channels_last"): 2.0, ("bf16", "contiguous"): 1.0},
    }
    monkeypatch.setattr(cpu, "probe", times.get)
    assert cpu.choose(LAPTOP, "pictures").memory_format == "channels_last"
    assert str(cpu.choose(LAPTOP, "features")) == f"{cpu.device()}, bf16, contiguous"


def test_cached_features_are_estimated_as_one_pass_and_then_the_head():
    recipe = replace(REDUCED, image_size=64, train_from="layer4", epochs=1, batch_size=32)
    one, many = (replace(recipe, epochs=epochs) for epochs in (1, 20))
    through = cpu.estimate(many, 1_000, width=32)
    once, cached = cpu.estimate(one, 1_000, width=32, views=1), cpu.estimate(many, 1_000, width=32, views=1)
    assert once < cached < through
    assert cpu.estimate(one, 1_000, width=32, views=8) > once
