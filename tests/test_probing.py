"""The probe measures, the choice follows it, and the estimate is of the right size."""

import platform
import time
from dataclasses import replace

import psutil
import pytest
import torch

from resnet_course import machine
from resnet_course.machine import cpu
from resnet_course.recipes import LAPTOP, ORIGINAL, PLAIN, REDUCED
from resnet_course.resnet import resnet18


def test_probe_is_quick_and_times_every_candidate():
    machine.probe.cache_clear()
    start = time.perf_counter()
    found = machine.probe()
    assert time.perf_counter() - start < 8, "two seconds on an idle machine"
    assert tuple(found.milliseconds) == cpu.CANDIDATES and min(found.milliseconds.values()) > 0
    assert found.threads in found.by_threads and max(found.by_threads) == found.cores
    assert found.memory_free > 0 and all(found.gigaflops(precision) > 0.1 for precision in ("fp32", "bf16"))
    for part in ("usable cores", "GB of memory free", "GFLOP/s in fp32", "channels-last is", "threads: "):
        assert part in str(found)


def probed(times, by_threads=None, layer4=None):
    layer4 = layer4 or {"channels_last": 1.0, "contiguous": 2.0}
    return machine.Probe(2, 8 * 10**9, times, by_threads or {2: 1.0}, 10**9, layer4)


def test_the_figures_of_a_probe_are_computed_from_its_times():
    ways = {("fp32", "contiguous"): 4.0, ("fp32", "channels_last"): 2.0}
    found = probed(ways | {("bf16", "contiguous"): 1.0, ("bf16", "channels_last"): 2.0}, {2: 3.0, 1: 1.0})
    assert found.gigaflops("fp32") == 500 and found.gigaflops("bf16") == 1000
    assert found.channels_last_gain("fp32") == 2 and found.channels_last_gain("bf16") == 0.5
    assert found.threads == 1


def test_a_step_of_the_probe_is_counted_as_its_convolutions():
    operations = 0
    for channels, side, inputs, kernel in (
        (64, 48, 3, 7),
        *[(64, 24, 64, 3)] * 4,
        (128, 12, 64, 3),
        *[(128, 12, 128, 3)] * 3,
        (128, 12, 64, 1),
    ):
        operations += 2 * channels * side**2 * inputs * kernel**2 * 16
    stem = 2 * 64 * 48**2 * 3 * 49 * 16  # of the picture no gradient is computed
    assert machine.probe().operations == 3 * operations - stem


def test_the_threads_are_set_for_the_block_only():
    before = torch.get_num_threads()
    with machine.Engine("cpu", "fp32", "contiguous", 1).computing():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    with machine.Engine("cpu", "fp32", "contiguous").computing():
        assert torch.get_num_threads() == before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_memory_stays_with_the_process_within_the_block_only():
    import resource  # not on Windows

    def new_pages():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(5):
            torch.ones(2**24)  # 64 MB
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    def megabytes():
        return psutil.Process().memory_info().rss / 1e6

    outside = new_pages()
    before = megabytes()
    with machine.keeping_memory():
        for _ in range(5):
            new_pages()  # until every free block has been used once
        assert new_pages() < outside / 4
        with machine.keeping_memory():
            pass
        assert new_pages() < outside / 4, "an inner block ends, the outer one does not"
        torch.ones(2**27)
        assert megabytes() > before + 400
    assert megabytes() < before + 200


def test_elsewhere_nothing_is_told_to_the_c_library(monkeypatch):
    monkeypatch.setattr(cpu.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(cpu.ctypes, "CDLL", None)
    with machine.keeping_memory():
        torch.ones(10)


@torch.inference_mode()
def test_probe_trains_even_where_gradients_are_off():
    machine.probe.cache_clear()
    assert len(machine.probe().milliseconds) == len(cpu.CANDIDATES)


def test_auto_takes_the_fastest_that_the_recipe_allows(monkeypatch):
    times = {("fp32", "contiguous"): 3.0, ("fp32", "channels_last"): 2.0, ("bf16", "channels_last"): 1.0}
    monkeypatch.setattr(cpu, "probe", lambda what: probed(times))
    chosen = machine.choose(LAPTOP)
    assert (chosen.precision, chosen.memory_format) == ("bf16", "channels_last")
    assert machine.choose(replace(LAPTOP, precision="fp32")).memory_format == "channels_last"
    times["bf16", "channels_last"] = 9.0
    assert machine.choose(LAPTOP).precision == "fp32"
    assert machine.choose(replace(LAPTOP, precision="bf16")).precision == "bf16", "a demand is a demand"


def test_layer4_has_a_layout_of_its_own_where_that_is_faster(monkeypatch):
    times = {("fp32", "channels_last"): 2.0, ("bf16", "channels_last"): 1.0}
    slower, faster = {"channels_last": 2.0, "contiguous": 3.0}, {"channels_last": 3.0, "contiguous": 2.0}
    monkeypatch.setattr(cpu, "probe", lambda what: probed(times, layer4=slower))
    assert machine.choose(PLAIN).layer4_format is None
    monkeypatch.setattr(cpu, "probe", lambda what: probed(times, layer4=faster))
    assert (
        str(machine.choose(PLAIN))
        == f"{machine.device()}, bf16, channels-last (layer4 contiguous), 2 threads"
    )
    assert machine.choose(PLAIN, "features").layer4_format is None
    assert machine.choose(replace(PLAIN, memory_format="channels_last")).layer4_format is None
    assert machine.choose(replace(PLAIN, precision="fp32")).layer4_format is None, "measured in bf16 only"


def test_a_layout_of_its_own_changes_no_result_and_can_be_taken_back():
    torch.manual_seed(0)
    model, pictures = resnet18(3, width=8), torch.randn(4, 3, 64, 64)
    expected = model(pictures)
    model.zero_grad()
    for engine in (
        machine.Engine("cpu", "fp32", "channels_last", None, "contiguous"),
        machine.Engine("cpu", "fp32", "channels_last"),
    ):
        engine.place(engine.place(model))
        weights = model.layer3[0].conv1.weight, model.layer4[0].conv1.weight
        layouts = ["contiguous" if weight.is_contiguous() else "channels_last" for weight in weights]
        assert layouts == ["channels_last", engine.layer4_format or "channels_last"]
        found = model(engine.place(pictures))
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        found.sum().backward()
        assert model.layer4[1].conv2.weight.grad.abs().sum() > 0
    assert len(model.layer4._forward_pre_hooks) == 1


def test_a_recipe_that_leaves_nothing_open_is_not_probed(monkeypatch):
    def refuse():
        raise AssertionError("probed")

    monkeypatch.setattr(cpu, "probe", refuse)
    assert (
        machine.choose(ORIGINAL).precision == "fp32"
        and machine.choose(ORIGINAL).memory_format == "contiguous"
    )
    assert machine.choose(REDUCED).memory_format == "channels_last"


def test_bf16_computes_in_bf16_and_keeps_the_weights_in_fp32():
    engine = machine.Engine("cpu", "bf16", "channels_last")
    convolution = engine.place(torch.nn.Conv2d(3, 8, 3))
    with engine.autocast():
        out = convolution(engine.place(torch.randn(1, 3, 8, 8)))
    assert out.dtype == torch.bfloat16 and convolution.weight.dtype == torch.float32
    with machine.Engine("cpu", "fp32", "contiguous").autocast():
        assert convolution(torch.randn(1, 3, 8, 8)).dtype == torch.float32


def test_usable_cores_respects_affinity(monkeypatch):
    assert 1 <= machine.usable_cores() <= (cpu.os.cpu_count() or 1)
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert machine.usable_cores() == 1


def test_estimate_grows_with_the_work():
    recipe = replace(REDUCED, epochs=1)
    small, large = (machine.estimate(recipe, pictures, 0, width=8) for pictures in (1_000, 10_000))
    assert 3 < large / small < 30, "ten times the pictures, on a machine that others use too"
    assert machine.estimate(recipe, 1, 0, width=8) > 0


def test_no_global_setting_is_changed_and_no_global_random_number_drawn():
    def settings():
        return torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()

    before = settings()
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    machine.probe.cache_clear()
    machine.probe()
    machine.estimate(replace(REDUCED, epochs=1), 10, 10, width=8)
    assert torch.equal(torch.rand(1), expected) and settings() == before


def test_features_are_probed_for_themselves(monkeypatch):
    times = {
        "pictures": {("fp32", "channels_last"): 1.0, ("bf16", "contiguous"): 2.0},
        "features": {("fp32", "channels_last"): 2.0, ("bf16", "contiguous"): 1.0},
    }
    monkeypatch.setattr(cpu, "probe", lambda what: probed(times[what]))
    assert machine.choose(LAPTOP, "pictures").memory_format == "channels_last"
    assert str(machine.choose(LAPTOP, "features")) == f"{machine.device()}, bf16, contiguous, 2 threads"


def test_cached_features_are_estimated_as_one_pass_and_then_the_head():
    recipe = replace(REDUCED, image_size=64, train_from="layer4", epochs=1, batch_size=32)
    many = replace(recipe, epochs=20)
    through = machine.estimate(many, 1_000, width=32)
    one_view, eight = (replace(recipe, cached_views=views, augmentation="crop_flip") for views in (1, 8))
    once = machine.estimate(one_view, 1_000, width=32)
    cached = machine.estimate(replace(one_view, epochs=20), 1_000, width=32)
    assert once < cached < through
    assert machine.estimate(eight, 1_000, width=32) > once


def test_the_estimate_of_two_phases_is_that_of_both():
    first = replace(REDUCED, epochs=1)
    second = replace(first, first=first)
    alone, both = (machine.estimate(recipe, 2_000, width=8) for recipe in (first, second))
    assert 1.2 < both / alone < 3.3
