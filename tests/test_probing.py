"""The probe measures within its time, the choice follows it, and it is made again when the pace says so."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from resnet_course import machine
from resnet_course.machine import distributed, gains, limits, probing, timing
from resnet_course.recipes import LAPTOP, ORIGINAL, PLAIN, REDUCED

LAYOUTS = ("channels_last", "contiguous")
ALL_WAYS = [(precision, layout) for precision in ("fp32", "bf16") for layout in LAYOUTS]


@pytest.fixture(autouse=True)
def all_cores(monkeypatch):
    """Whoever runs the tests may have limited their threads."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.fixture
def new_probe():
    """No probe has been asked for, before the test and after it."""
    machine.forget()
    yield
    machine.forget()


class Machine:
    """A machine on which each step takes as long as the test says, by a clock that only steps move."""

    def __init__(self, monkeypatch, seconds, cores=4, bf16_gain=2.0, int8_gain=0.0):
        self.now, self.seconds, self.steps = 1000.0, seconds, []
        monkeypatch.setattr(timing, "perf_counter", lambda: self.now)
        monkeypatch.setattr(timing.StepTimer, "step", lambda _, kind, engine: lambda: self.take(kind, engine))
        monkeypatch.setattr(gains, "bf16_gain", lambda on: bf16_gain)
        monkeypatch.setattr(gains, "int8_gain", lambda on, precisions: int8_gain)
        monkeypatch.setattr(limits, "usable_cores", lambda: cores)
        monkeypatch.setenv("RESNET_COURSE_DEVICE", "cpu")

    def take(self, kind, engine):
        self.steps.append((self.now - 1000.0, kind, engine, torch.get_num_threads()))
        self.now += self.seconds(kind, engine)

    @property
    def begun(self):
        """When the steps began, in seconds."""
        return [step[0] for step in self.steps]


def quick(kind, engine):
    """The seconds of a step where bf16 and all threads are fastest, and for features contiguous memory."""
    fp32, favourite = engine.precision == "fp32", LAYOUTS[kind == "features"]
    return 0.01 * (1 + fp32 + 0.5 * (engine.memory_format != favourite)) / engine.threads


# The probe


def test_a_probe_measures_images_and_features_in_every_way_once_a_process(monkeypatch, new_probe, capsys):
    here = Machine(monkeypatch, quick)
    found = machine.probe()
    steps = len(here.steps)
    assert machine.probe() is found and len(here.steps) == steps
    assert capsys.readouterr().err.count("Measuring this machine") == 1
    assert list(found.milliseconds) == ALL_WAYS and sorted(found.features) == sorted(ALL_WAYS)
    assert found.by_threads == pytest.approx({1: 20, 2: 10, 4: 5}) and found.threads == 4
    assert found.milliseconds["bf16", "channels_last"] == pytest.approx(2.5)
    assert found.features["bf16", "contiguous"] == pytest.approx(2.5)
    # One probe answers for both: what notebook 00 prints is what is chosen by.
    assert str(machine.choose(LAPTOP)) == "cpu, bf16, channels-last (layer4 contiguous), 4 threads"
    assert str(machine.choose(LAPTOP, "features")) == "cpu, bf16, contiguous, 4 threads"
    assert len(here.steps) == steps


@pytest.mark.parametrize("pause", [0.001, 0.05, 0.3, 0.9, 1.99, 2.0, 30.0])
def test_no_measurement_starts_after_two_seconds(monkeypatch, new_probe, pause):
    here = Machine(monkeypatch, lambda kind, engine: pause)
    found = machine.probe()
    assert here.begun[0] == 0 and max(here.begun) < 2
    assert found.milliseconds["fp32", "channels_last"] == pytest.approx(1000 * pause)
    assert found.gigaflops("fp32") > 0 and "GFLOP/s in fp32" in str(found)
    assert (found.gigaflops("bf16") is None) == ("bf16 was not tried: there was no time" in str(found))
    for recipe in (LAPTOP, PLAIN, ORIGINAL):
        for kind in ("images", "features"):
            assert machine.choose(recipe, kind).threads in (1, 2, 4)
    if pause >= 2:
        assert (machine.choose(LAPTOP, "features").precision, len(here.steps)) == ("bf16", 1)
    count = len(here.steps)
    here.now = 1000.0
    machine.retune(machine.Engine("cpu", "fp32", "contiguous", 1), LAPTOP)
    assert max(here.begun[count:]) < 2


def test_the_candidates_are_small():
    for kind, most in (("images", 5e9), ("features", 5e9)):
        part, batch = timing._part_and_batch(kind, "cpu")
        with FlopCounterMode(display=False) as counter:
            part(batch).mean().backward()
        assert counter.get_total_flops() < most
        if kind == "images":
            assert counter.get_total_flops() == timing.OPERATIONS * len(batch)


def test_a_warm_up_counts_only_where_there_was_time_for_no_other(monkeypatch, new_probe):
    seen = set()

    def seconds(kind, engine):
        first = (kind, engine) not in seen
        seen.add((kind, engine))
        return 0.05 if first else 0.01

    Machine(monkeypatch, seconds)
    assert list(machine.probe().milliseconds.values()) == pytest.approx([10] * 4)


@pytest.mark.parametrize(("ahead", "precision"), [(1.2, "bf16"), (1.3, "fp32")])
def test_fp32_is_taken_only_where_it_is_clearly_ahead(monkeypatch, new_probe, ahead, precision):
    """What bf16 gains in small steps is little beside the noise of a busy moment."""
    Machine(monkeypatch, lambda kind, engine: 0.01 if engine.precision == "fp32" else 0.01 * ahead)
    assert machine.probe().fastest[0] == machine.choose(LAPTOP).precision == precision


def test_slow_bf16_is_ruled_out_by_a_small_convolution(monkeypatch, new_probe):
    here = Machine(monkeypatch, quick, bf16_gain=0.05)
    found = machine.probe()
    assert all(engine.precision == "fp32" for _, _, engine, _ in here.steps)
    assert {precision for precision, _ in found.milliseconds} == {"fp32"}
    assert found.bf16_is_slow and found.gigaflops("bf16") is None
    assert "bf16 was not tried: a convolution took 20.0 times as long in it" in str(found)
    assert machine.choose(LAPTOP).precision == machine.choose(LAPTOP, "features").precision == "fp32"
    demanded = machine.choose(replace(LAPTOP, precision="bf16"))
    assert (demanded.precision, demanded.memory_format) == ("bf16", "channels_last"), "a demand is a demand"


def test_the_small_convolution_is_small_on_one_thread_and_learns(monkeypatch):
    seen = []

    def seconds(step, times, at_most):
        with FlopCounterMode(display=False) as counter:
            step()
        seen.append((torch.get_num_threads(), counter.get_total_flops()))
        return [0.001 * len(seen)]  # first fp32, then bf16

    monkeypatch.setattr(gains, "seconds", seconds)
    assert gains.bf16_gain("cpu") == 0.5
    one_way = 2 * 4 * 64 * 64 * 9 * 16 * 16
    assert seen == [(1, 2 * one_way)] * 2, "the output, and the gradient of the weights"
    assert one_way < 100e6
    assert gains.bf16_gain("cuda") == 1 and len(seen) == 2, "a GPU is not asked"


@pytest.mark.parametrize(("gain", "frozen"), [(0.0, None), (1.1, None), (1.2, "int8"), (4.0, "int8")])
def test_a_frozen_trunk_is_computed_in_int8_where_that_is_clearly_ahead(monkeypatch, new_probe, gain, frozen):
    Machine(monkeypatch, quick, int8_gain=gain)
    monkeypatch.setattr(gains.platform, "machine", lambda: "x86_64")
    engine = machine.choose(LAPTOP, "trunk")
    assert (engine.precision, engine.frozen) == ("bf16", frozen), "its stem in the best other precision"
    assert ("a frozen trunk in int8" in str(machine.probe())) == (gain > 0)
    few = machine.choose(LAPTOP, "trunk", probing.LOOKS - 1)
    assert few.frozen is None, "too few to find scales for"
    assert machine.choose(LAPTOP).frozen is machine.choose(LAPTOP, "features").frozen is None


@pytest.mark.parametrize(
    "demand", [{"precision": "fp32"}, {"precision": "bf16"}, {"memory_format": "contiguous"}]
)
def test_what_a_recipe_demands_a_trunk_gets(monkeypatch, new_probe, demand):
    Machine(monkeypatch, quick, int8_gain=4.0)
    recipe = replace(LAPTOP, **demand)
    assert machine.choose(recipe, "trunk") == machine.choose(recipe)
    assert machine.choose(REDUCED, "trunk").precision == machine.choose(ORIGINAL, "trunk").precision == "fp32"


def test_int8_is_not_tried_where_its_kernels_are_not_known(monkeypatch):
    monkeypatch.setattr(gains, "quantized", lambda *_: pytest.fail("tried"))
    assert gains.int8_gain("cuda", ("fp32",)) == 0
    monkeypatch.setattr(gains.platform, "machine", lambda: "arm64")
    assert gains.int8_gain("cpu", ("fp32",)) == 0
    assert gains.int8_gain("cuda:1", ("fp32",)) == 0


def test_a_process_that_was_told_of_a_gain_elsewhere_asks_for_its_own_processor(monkeypatch, new_probe):
    Machine(monkeypatch, quick, int8_gain=4.0)
    monkeypatch.setattr(gains.platform, "machine", lambda: "x86_64")
    assert machine.choose(LAPTOP, "trunk").frozen == "int8"
    monkeypatch.setattr(gains.platform, "machine", lambda: "aarch64")
    assert machine.choose(LAPTOP, "trunk") == machine.choose(LAPTOP)


@pytest.mark.parametrize("error", [AttributeError, RuntimeError, NotImplementedError, TypeError])
def test_int8_is_left_out_where_its_kernels_are_missing(monkeypatch, error):
    def missing(*_):
        raise error("no such kernel")

    monkeypatch.setattr(gains.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(gains, "quantized", missing)
    assert gains.int8_gain("cpu", ("fp32",)) == 0
    monkeypatch.setattr(
        gains, "quantized", lambda trunk, images: trunk
    )  # what they compute is something else
    assert gains.int8_gain("cpu", ("fp32",)) == 0


def test_the_gain_of_int8_is_against_the_fastest_other_precision_its_stem_in_any(monkeypatch):
    # int8 with a stem in fp32, all in fp32, int8 with a stem in bf16, all in bf16; three rounds
    times = iter([0.004, 0.009, 0.003, 0.006, 0.003, 0.008, 0.002, 0.005, *[0.1] * 4])
    in_bf16 = []
    monkeypatch.setattr(gains.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(gains, "fused", lambda trunk: lambda images: in_bf16.append(under_autocast()))
    monkeypatch.setattr(
        gains, "quantized", lambda *_: lambda images: in_bf16.append(under_autocast()) or images
    )
    monkeypatch.setattr(gains, "seconds", lambda step, **options: (step(), [next(times)])[1])
    assert gains.int8_gain("cpu", ("fp32", "bf16")) == pytest.approx(2.5)
    assert in_bf16 == [False, False, True, True] * 3


def under_autocast():
    return torch.is_autocast_enabled("cpu")


def test_int8_is_tried_on_x86(int8):
    assert gains.int8_gain("cpu", ("fp32",)) > 0


def test_a_probe_uses_no_more_threads_than_the_environment_allows(monkeypatch, new_probe):
    here = Machine(monkeypatch, quick, cores=8)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert machine.probe().cores == 3 and set(machine.probe().by_threads) == {1, 3}
    assert max(threads for *_, threads in here.steps) == 3
    machine.forget()
    here.steps.clear()
    here.now = 1000.0
    monkeypatch.setenv("RESNET_COURSE_THREADS", "2")
    assert machine.choose(LAPTOP).threads == 2 and {threads for *_, threads in here.steps} == {2}
    here.now = 1000.0
    assert machine.retune(machine.choose(LAPTOP), LAPTOP).threads == 2
    assert {threads for *_, threads in here.steps} == {2}


PAGE_FAULTS = """
import resource
import torch
from resnet_course import machine
from resnet_course.machine import timing
faults = {}
def step(timer, kind, engine):
    def allocate():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(2**25)  # 128 MB: more than glibc keeps between two blocks
        faults.setdefault((kind, engine), []).append(
            resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        )
    return allocate
timing.StepTimer.step = step
timing.SECONDS = 60  # on a busy machine 2 seconds may end before any step is repeated
machine.probe()
counts = sum(faults.values(), [])
print(sum(count > 1000 for count in counts), len(counts))
"""


@pytest.mark.slow
def test_a_steps_time_holds_neither_given_back_nor_new_memory():
    """In a process of its own, because what other tests have left of the heap decides too.

    A few steps find new memory, where a small block has settled in the old; without `keeping_memory` all do.
    """
    pytest.importorskip("resource")  # not on Windows
    done = subprocess.run([sys.executable, "-c", PAGE_FAULTS], capture_output=True, text=True, check=True)
    with_new_memory, steps = map(int, done.stdout.split())
    assert steps > 20 and with_new_memory < steps / 2


@torch.inference_mode()
@pytest.mark.slow
def test_a_real_probe_trains_even_where_gradients_are_off_and_changes_nothing(new_probe):
    def settings():
        return torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()

    before = settings()
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    found = machine.probe()
    assert torch.equal(torch.rand(1), expected) and settings() == before
    assert found.milliseconds["fp32", "channels_last"] > 0 and found.threads in found.by_threads
    assert found.cores == machine.threads_here() and found.memory_free > 0
    assert found.gigaflops("fp32") > 0
    if (in_bf16 := found.gigaflops("bf16")) is None:  # slow, or the machine is too busy to measure both
        assert any(why in str(found) for why in ("times as long in it", "there was no time"))
    else:
        assert in_bf16 > 0
    for part in ("usable cores", "GB of memory free", "GFLOP/s in fp32", "bf16", "threads: "):
        assert part in str(found)


def test_who_asked_alone_asks_again_in_a_group_and_measures_nothing_twice(monkeypatch, new_probe):
    here = Machine(monkeypatch, quick)
    alone = machine.probe()
    steps = len(here.steps)
    of_the_first = replace(alone, by_threads={1: 1.0})
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "broadcast", lambda value: of_the_first)
    assert machine.choose(LAPTOP).threads == 1, "processes that train together compute alike"
    assert len(here.steps) == steps


def probed(times, by_threads=None, features=None):
    return machine.Probe(2, 8 * 10**9, times, by_threads or {2: 1.0}, 10**9, features or {})


def test_the_figures_of_a_probe_are_computed_from_its_times():
    ways = {("fp32", "contiguous"): 4.0, ("fp32", "channels_last"): 2.0}
    found = probed(ways | {("bf16", "contiguous"): 1.0, ("bf16", "channels_last"): 2.0}, {2: 3.0, 1: 1.0})
    assert found.gigaflops("fp32") == 500 and found.gigaflops("bf16") == 1000
    assert found.channels_last_gain("fp32") == 2 and found.channels_last_gain("bf16") == 0.5
    assert found.threads == 1
    assert "channels-last is 0.50 times as fast as contiguous in bf16" in str(found)
    assert probed({("fp32", "channels_last"): 2.0}).channels_last_gain("fp32") is None


# The choice


def test_auto_takes_the_fastest_that_the_recipe_allows(monkeypatch):
    times = {("fp32", "contiguous"): 3.0, ("fp32", "channels_last"): 2.0, ("bf16", "channels_last"): 1.0}
    monkeypatch.setattr(probing, "probe", lambda: probed(times))
    chosen = machine.choose(LAPTOP)
    assert (chosen.precision, chosen.memory_format) == ("bf16", "channels_last")
    assert machine.choose(replace(LAPTOP, precision="fp32")).memory_format == "channels_last"
    times["bf16", "channels_last"] = 9.0
    assert machine.choose(LAPTOP).precision == "fp32"
    assert machine.choose(replace(LAPTOP, precision="bf16")).precision == "bf16", "a demand is a demand"
    assert machine.choose(replace(LAPTOP, memory_format="contiguous")).memory_format == "contiguous"


def test_layer4_has_a_layout_of_its_own_where_that_is_faster(monkeypatch):
    times = {("fp32", "channels_last"): 2.0, ("bf16", "channels_last"): 1.0}
    features = {("bf16", "channels_last"): 2.0, ("bf16", "contiguous"): 3.0}
    monkeypatch.setattr(probing, "probe", lambda: probed(times, features=features))
    assert machine.choose(PLAIN).layer4_format is None
    features["bf16", "contiguous"] = 1.0
    on = machine.device()
    assert str(machine.choose(PLAIN)) == f"{on}, bf16, channels-last (layer4 contiguous), 2 threads"
    assert machine.choose(PLAIN, "features").layer4_format is None
    assert machine.choose(replace(PLAIN, memory_format="channels_last")).layer4_format is None
    assert machine.choose(replace(PLAIN, precision="fp32")).layer4_format is None, "measured in bf16 only"
    del features["bf16", "channels_last"]
    assert machine.choose(PLAIN).layer4_format is None, "there was no time to compare"


def test_a_recipe_that_leaves_nothing_open_is_not_probed(monkeypatch):
    def refuse():
        raise AssertionError("probed")

    monkeypatch.setattr(probing, "probe", refuse)
    original, reduced = machine.choose(ORIGINAL), machine.choose(REDUCED)
    assert (original.precision, original.memory_format) == ("fp32", "contiguous")
    assert reduced.memory_format == "channels_last"


def test_choosing_needs_two_fields_of_a_recipe():
    class Demands:
        precision, memory_format = "fp32", "contiguous"

    assert machine.choose(Demands()).memory_format == "contiguous"


# Measured again


def test_threads_and_layout_are_measured_again_but_never_the_precision(monkeypatch, capsys):
    monkeypatch.setattr(distributed, "broadcast", lambda value: shared.append(value) or value)
    shared = []
    here = Machine(monkeypatch, quick)
    chosen_when_busy = machine.Engine("cpu", "fp32", "contiguous", 1)
    again = machine.retune(chosen_when_busy, LAPTOP)
    assert str(again) == "cpu, fp32, channels-last (layer4 contiguous), 4 threads" and shared == [again]
    assert all(engine.precision == "fp32" for _, _, engine, _ in here.steps)
    assert "Measuring this machine again" in capsys.readouterr().err
    here.now = 1000.0
    assert str(machine.retune(again, LAPTOP, "features")) == "cpu, fp32, contiguous, 4 threads"
    here.now = 1000.0
    demanded = machine.retune(chosen_when_busy, replace(LAPTOP, memory_format="contiguous"))
    assert str(demanded) == "cpu, fp32, contiguous, 4 threads"


def test_a_layout_that_there_was_no_time_to_compare_stays(monkeypatch):
    Machine(monkeypatch, lambda kind, engine: 0.6 / engine.threads)
    engine = machine.Engine("cpu", "fp32", "contiguous", 2, "channels_last")
    assert machine.retune(engine, LAPTOP) == replace(engine, threads=4)
    Machine(monkeypatch, lambda kind, engine: 3.0)
    assert machine.retune(engine, LAPTOP) == engine


@pytest.mark.parametrize(
    ("threads", "paces", "epoch_seconds", "due"),
    [
        (4, [], 0, False),
        (4, [1.0], 300, False),
        (1, [1.0], 300, True),  # of four cores: it was busy when it was chosen
        (None, [1.0], 300, False),
        (1, [1.0], 30, False),  # measuring would take longer than it could save
        (4, [1.0, 1.2], 300, False),
        (4, [1.0, 1.3], 300, True),  # something else has begun
        (4, [1.0, 1.2, 1.4], 300, True),
        (4, [1.3, 1.0], 300, True),  # something else has ended
        (4, [1.3, 1.0, 1.0], 300, False),
        (4, [1.0, 1.3], 30, False),
    ],
)
def test_measuring_again_is_due_when_the_pace_says_so(monkeypatch, threads, paces, epoch_seconds, due):
    monkeypatch.setattr(limits, "usable_cores", lambda: 4)
    engine = machine.Engine("cpu", "fp32", "channels_last", threads)
    assert machine.needs_retuning(engine, paces, epoch_seconds) is due


# The timing helper


def test_a_step_is_timed_after_a_warm_up_and_not_for_long(monkeypatch):
    now, lengths = [0.0], iter([5.0, 1.0, 2.0, 3.0])
    monkeypatch.setattr(timing, "perf_counter", lambda: now[0])

    def step():
        now[0] += next(lengths)

    assert machine.seconds(step, times=2, at_most=100) == [1.0, 2.0]
    lengths = iter([0.5] * 10)
    assert machine.seconds(step, times=9, at_most=1.4) == [0.5, 0.5]
    lengths = iter([5.0, 1.0])
    assert machine.seconds(step, times=9, at_most=1.4) == [1.0], "a long warm-up is no measurement"


@pytest.mark.parametrize("times", [0, -1])
def test_no_step_to_measure_is_refused_before_any_is_taken(times):
    steps = []
    with pytest.raises(ValueError, match=f"at least 1.*{times}"):
        machine.seconds(lambda: steps.append(1), times=times, at_most=1)
    assert not steps
