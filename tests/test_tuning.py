"""The choice of a way for each convolution: by measurement, bounded, remembered, and taken over by resume."""

import math
from dataclasses import replace

import pytest
import torch

from resnet_course import machine
from resnet_course.data import ImageSet
from resnet_course.machine import tuning
from resnet_course.machine.convolutions import NEVER, PASSES, WAYS, Convolution, Convolutions, Ways
from resnet_course.machine.engine import Engine
from resnet_course.recipes import LAPTOP, ORIGINAL, REDUCED, STACK
from resnet_course.resnet import resnet18
from resnet_course.training import checkpoint, fit, phases
from resnet_course.transfer import freeze, split_at

ENGINE = Engine("cpu", "fp32", "channels_last", 1)
LEARNS = replace(
    REDUCED, memory_format="auto", epochs=2, batch_size=16, train_from="layer4", augmentation="none"
)


class Clock:
    """Time that only a convolution's pass moves, as long as `seconds(each, way, convolution)` says."""

    def __init__(self, monkeypatch, seconds):
        self.now, self.begun, self.seconds = 0.0, [], seconds
        monkeypatch.setattr(tuning, "perf_counter", lambda: self.now)
        monkeypatch.setattr(tuning, "compute", self.compute)

    def compute(self, each, way, convolution, *tensors):
        self.begun.append((self.now, each, way, convolution, len(tensors[0])))
        self.now += self.seconds(each, way, convolution)


@pytest.fixture(autouse=True)
def nothing_known():
    machine.forget()
    yield
    machine.forget()


def layer4(width=8):
    torch.manual_seed(0)
    return split_at(freeze(resnet18(2, width=width), "layer4"), "layer4")[1]


def image(channels=32, side=6):
    return torch.randn(1, channels, side, side)


def quick(each, way, convolution):
    """Weights by taps, all of 1 × 1 by columns, else PyTorch's."""
    favourite = "columns" if convolution.kernel == 1 else {"weight_gradient": "taps"}.get(each, "conv2d")
    return 0.001 if way == favourite else 0.002


def test_the_fastest_way_of_each_pass_is_taken(monkeypatch):
    Clock(monkeypatch, quick)
    found = machine.tuned(ENGINE, layer4(), image(), 128, 10**9)
    ways = dict(found.convolutions.ways)
    assert found.convolutions.batch == 128 and len(ways) == 3
    for convolution, chosen in ways.items():
        # Of the first convolutions the input learns nothing, so its gradient is never computed.
        plain = Ways("conv2d", "conv2d" if convolution.channels == 64 else NEVER, "taps")
        assert chosen == (Ways("columns", NEVER, "columns") if convolution.kernel == 1 else plain)
    assert {(c.channels, c.stride) for c in ways} == {(32, 2), (64, 1)}
    assert (
        str(found)
        == "cpu, fp32, channels-last, 1 thread, 4 of 7 passes of its convolutions as matrix products"
    )


def test_what_is_hardly_faster_is_not_taken(monkeypatch):
    Clock(monkeypatch, lambda each, way, convolution: 0.001 if way == "conv2d" else 0.00097)
    found = machine.tuned(ENGINE, layer4(), image(), 128, 10**9)
    assert not found.convolutions and found.convolutions.ways == ()
    contiguous = replace(ENGINE, memory_format="contiguous")
    found = machine.tuned(contiguous, layer4(), image(), 128, 10**9)
    assert found == replace(contiguous, convolutions=found.convolutions), "the layout stays, too"


@pytest.mark.parametrize("layout", [{"memory_format": "contiguous"}, {"layer4_format": "contiguous"}])
def test_what_is_saved_is_counted_from_the_layout_of_the_engine(monkeypatch, layout):
    """All compute channels-last if one takes another way, so a gain over that layout alone is none."""
    times = {"conv2d": 0.002, "contiguous": 0.001}
    engine = replace(ENGINE, **layout)
    clock = Clock(monkeypatch, lambda each, way, convolution: times.get(way, 0.00097))
    found = machine.tuned(engine, layer4(), image(), 128, 10**9)
    assert found == replace(engine, convolutions=found.convolutions) and not found.convolutions
    machine.forget()
    clock.seconds = lambda each, way, convolution: times.get(way, 0.0009)
    found = machine.tuned(engine, layer4(), image(), 128, 10**9)
    assert found.convolutions and found.memory_format == "channels_last"


def test_without_time_a_pass_stays_in_the_layout_of_the_engine(monkeypatch):
    Clock(monkeypatch, quick)
    convolution = Convolution(64, 64, 6, 6, 3, 1, 1, "fp32")
    for contiguous, own in ((True, "contiguous"), (False, "conv2d")):
        assert tuning._fastest(convolution, "output", 128, 128, 0.0, contiguous) == (own, {})


@pytest.mark.parametrize("pause", [0.001, 0.05, 0.9, 30.0])
def test_no_measurement_starts_after_two_seconds(monkeypatch, pause):
    clock = Clock(monkeypatch, lambda each, way, convolution: pause)
    found = machine.tuned(ENGINE, layer4(), image(), 128, 10**9)
    assert max(start for start, *_ in clock.begun) < tuning.SECONDS <= 3
    assert not found.convolutions, "nothing was faster"
    # Where the most operations are, and where the most is to be won, comes first.
    assert clock.begun[0][1] == "weight_gradient"


def test_measuring_takes_a_twentieth_of_a_training_at_most(monkeypatch):
    clock = Clock(monkeypatch, lambda each, way, convolution: 0.01)
    network, one = layer4(), image()
    operations = sum(
        (2 + all(inputs)) * convolution.operations * len(inputs)
        for convolution, inputs in tuning._recorded(ENGINE, network, one).items()
    )
    steps = int(0.4 * tuning.PACE / operations / 128)
    assert machine.tuned(ENGINE, network, one, 128, steps).convolutions is not None
    assert 0.3 < clock.now < 0.6
    assert machine.tuned(ENGINE, network, one, 128, steps // 2) is ENGINE


def test_a_hopeless_way_is_tried_once_and_large_maps_with_a_part_of_the_batch(monkeypatch):
    clock = Clock(monkeypatch, lambda each, way, convolution: 0.1 if way == "columns" else 0.01)
    convolution = Convolution(64, 64, 56, 56, 3, 1, 1, "fp32")
    images = tuning._images(convolution, 128, math.inf)
    way, times = tuning._fastest(convolution, "output", 128, images, until=100.0)
    assert way == "conv2d" and times["conv2d"] == pytest.approx(0.01 * 128 / 17), "of a whole batch"
    assert [way for _, _, way, _, _ in clock.begun] == [
        "conv2d",
        "contiguous",
        "columns",
        "conv2d",
        "contiguous",
    ]
    assert {images for *_, images in clock.begun} == {17}


def test_a_way_whose_first_call_is_slow_is_judged_by_the_later_ones(monkeypatch):
    """As a matrix product in bf16, whose first call makes its kernels."""
    called = set()

    def seconds(each, way, convolution):
        if way != "columns":
            return 0.01
        cold = (each, convolution) not in called
        called.add((each, convolution))
        return 0.03 if cold else 0.005

    clock = Clock(monkeypatch, seconds)
    found = machine.tuned(replace(ENGINE, precision="bf16"), layer4(), image(), 128, 10**9)
    assert {way for _, ways in found.convolutions.ways for way in ways} == {"columns", NEVER}
    assert clock.now < tuning.SECONDS + 0.03


def test_what_is_known_well_enough_is_repeated_within_its_share_of_the_time_alone(monkeypatch):
    clock = Clock(monkeypatch, lambda each, way, convolution: 0.01)
    convolution = Convolution(64, 64, 6, 6, 3, 1, 1, "bf16")
    ways = len(convolution.possible("output"))
    tuning._fastest(convolution, "output", 128, 128, 100.0)
    assert len(clock.begun) == tuning.ROUNDS[0] * ways, "no share is left"
    clock.begun.clear()
    tuning._fastest(convolution, "output", 128, 128, 100.0, share=100.0)
    assert len(clock.begun) == tuning.ROUNDS[1] * ways


@pytest.mark.parametrize(("speed", "fewer"), [(1e11, True), (1e12, False)])
def test_on_a_slow_processor_all_passes_are_measured_with_fewer_images(monkeypatch, speed, fewer):
    """As those of layer3 and layer4 with AVX2 alone: some of the 16 had no time, and kept PyTorch's way."""
    clock = Clock(monkeypatch, quick)

    def compute(each, way, convolution, *tensors):
        clock.begun.append((each, convolution, len(tensors[0])))
        clock.now += len(tensors[0]) * convolution.operations / speed * (1 if way == "columns" else 1.6)

    monkeypatch.setattr(tuning, "compute", compute)
    network = split_at(freeze(resnet18(10), "layer3"), "layer3")[1]
    found = machine.tuned(ENGINE, network, image(128, 16), 128, 10**9).convolutions
    assert {way for _, ways in found.ways for way in ways} == {"columns", NEVER}
    assert found.seconds < math.inf and clock.now < tuning.SECONDS + 0.1
    most = [images == tuning._images(convolution, 128, math.inf) for _, convolution, images in clock.begun]
    assert all(most) != fewer


def test_a_precision_that_has_fallen_behind_is_measured_no_further(monkeypatch):
    slow = 100
    clock = Clock(
        monkeypatch,
        lambda *of: 1e-4 * (1 if of[2].precision == "fp32" else slow) * (1 + (of[1] != "columns")),
    )
    found = machine.tuned_in_any_precision(ENGINE, BOTH, layer4(), image(), 128, 10**9)
    tried = {each[1:4:2] for each in clock.begun if each[3].precision == "bf16"}
    assert found.precision == "fp32" and len(tried) == 1, "one pass of one convolution told"


def test_what_is_known_is_not_measured_again_until_it_is_forgotten(monkeypatch, capsys):
    clock = Clock(monkeypatch, quick)
    network, one = layer4(), image()
    first = machine.tuned(ENGINE, network, one, 128, 10**9)
    count = len(clock.begun)
    assert machine.tuned(ENGINE, network, one, 128, 10**8) == first and len(clock.begun) == count
    assert capsys.readouterr().err.count("Measuring the convolutions") == 1
    for engine, batch in ((replace(ENGINE, threads=2), 128), (ENGINE, 64)):
        machine.tuned(engine, network, one, batch, 10**9)
        assert len(clock.begun) > count
        count = len(clock.begun)
    assert "Measuring" not in capsys.readouterr().err, "it is said once"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    machine.tuned(ENGINE, network, one, 128, 10**9)
    assert len(clock.begun) > count, "another cap is another processor"
    count = len(clock.begun)
    machine.forget()
    machine.tuned(ENGINE, network, one, 128, 10**9)
    assert len(clock.begun) > count


def test_a_small_gain_of_one_convolution_is_not_worth_it(monkeypatch):
    def seconds(each, way, convolution):
        return (
            0.001
            if convolution.kernel == 1 and way == "columns"
            else 0.002
            if convolution.kernel == 1
            else 0.1
        )

    Clock(monkeypatch, seconds)
    assert not machine.tuned(ENGINE, layer4(), image(), 128, 10**9).convolutions


def test_a_longer_training_measures_again_what_a_short_one_had_no_time_for(monkeypatch):
    clock = Clock(
        monkeypatch, lambda each, way, convolution: 0.02 + 0.02 * (way != convolution.possible(each)[-1])
    )
    network, one = layer4(), image()
    steps = 1
    while not machine.tuned(ENGINE, network, one, 128, steps).convolutions:
        steps *= 2
    count = len(clock.begun)
    long = machine.tuned(ENGINE, network, one, 128, 10**9).convolutions
    assert len(clock.begun) > count and str(long).startswith("7 of 7")


def by_precision(each, way, convolution):
    """PyTorch's own way is a little faster in fp32; by columns bf16 is twice as fast as fp32, as with AMX."""
    if way == "columns":
        return 0.001 if convolution.precision == "bf16" else 0.002
    return 0.006 if convolution.precision == "bf16" else 0.005


BOTH = ("fp32", "bf16")


def test_the_precision_is_the_one_whose_fastest_ways_are_faster(monkeypatch):
    Clock(monkeypatch, by_precision)
    network, one = layer4(), image()
    found = machine.tuned_in_any_precision(ENGINE, BOTH, network, one, 128, 10**9)
    assert found.precision == found.convolutions.precision == "bf16"
    assert found.convolutions.seconds == pytest.approx(0.013), "of 13 passes"
    machine.forget()
    bf16 = replace(ENGINE, precision="bf16")
    found = machine.tuned_in_any_precision(bf16, BOTH[::-1], network, one, 128, 10**9)
    assert found.precision == "bf16", "from either side"
    found = machine.tuned_in_any_precision(ENGINE, ("fp32",), network, one, 128, 10**9)
    assert found.precision == "fp32", "one that is demanded stays"


def test_the_precision_stays_where_the_other_is_slower_or_not_all_was_measured(monkeypatch):
    clock = Clock(monkeypatch, lambda *of: by_precision(*of) * (10 if of[2].precision == "bf16" else 1))
    network, one = layer4(), image()
    assert machine.tuned_in_any_precision(ENGINE, BOTH, network, one, 128, 10**9).precision == "fp32"
    assert clock.now < 3
    machine.forget()
    clock.seconds = lambda *of: 20 * by_precision(*of)
    found = machine.tuned_in_any_precision(ENGINE, BOTH, network, one, 128, 10**9)
    assert found.precision == "fp32" and found.convolutions.seconds == float("inf")


def test_a_short_training_measures_no_precision(monkeypatch):
    clock = Clock(monkeypatch, by_precision)
    assert machine.tuned_in_any_precision(ENGINE, BOTH, layer4(), image(), 128, 1) is ENGINE
    assert not clock.begun


def test_resume_takes_the_precision_of_the_saved_ways_and_measures_nothing(monkeypatch):
    clock = Clock(monkeypatch, by_precision)
    monkeypatch.setattr(machine, "choose", lambda recipe, kind="images", looks=0: ENGINE)
    monkeypatch.setattr(machine, "precisions_to_try", lambda *of: BOTH)
    ways = ((Convolution(64, 64, 3, 3, 3, 1, 1, "bf16"), Ways(*["columns"] * 3)),)
    saved = Convolutions(LEARNS.batch_size, ways)
    before = {"convolutions": (machine.signature("cpu"), saved.to_list())}
    many = ImageSet(torch.zeros(64, 3, 32, 32, dtype=torch.uint8), torch.arange(64) % 2, ("a", "b"), "many")
    engine = phases._engine(layer4(), many, LEARNS, before)
    assert (engine.precision, engine.convolutions) == ("bf16", saved) and not clock.begun


@pytest.mark.parametrize(
    ("changes", "kind", "gain", "expected"),
    [
        ({}, "features", 1.5, BOTH),
        ({}, "features", 0.1, ("fp32",)),
        ({}, "images", 1.5, ("fp32",)),
        ({"precision": "fp32"}, "features", 1.5, ("fp32",)),
        ({"memory_format": "channels_last"}, "features", 1.5, ("fp32",)),
    ],
    ids=("open", "slow in bf16", "images", "precision demanded", "layout demanded"),
)
def test_which_precisions_are_tried(changes, kind, gain, expected, monkeypatch):
    known = machine.Probe(1, 1, {("fp32", "contiguous"): 1.0}, {1: 1.0}, 1, {}, gain)
    monkeypatch.setattr("resnet_course.machine.probing.probe", lambda: known)
    assert machine.precisions_to_try(replace(LAPTOP, **changes), kind, ENGINE) == expected


def test_a_network_that_cannot_take_a_single_image_keeps_pytorchs_ways():
    class OnlyBatches(torch.nn.Sequential):
        def forward(self, x):
            return super().forward(x).squeeze()[:, 0]

    network = OnlyBatches(torch.nn.Conv2d(8, 8, 3, bias=False), torch.nn.AdaptiveAvgPool2d(1))
    assert machine.tuned(ENGINE, network, torch.randn(1, 8, 6, 6), 4, 10**9) is ENGINE


def test_who_asks_a_network_leaves_it_as_it_was():
    network = layer4().train()
    network[0][0].bn1.eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes, one = [module.training for module in network.modules()], image()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    with torch.inference_mode():
        calls = tuning._recorded(ENGINE, network, one.clone())
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert all(parameter.grad is None for parameter in network.parameters())
    assert sorted(map(len, calls.values())) == [1, 1, 3]
    assert sum(any(inputs) for inputs in calls.values()) == 1, "only behind the first learns an input"


def test_what_takes_pytorchs_way(monkeypatch):
    clock = Clock(monkeypatch, quick)
    many = ImageSet(torch.zeros(64, 3, 32, 32, dtype=torch.uint8), torch.arange(64) % 2, ("a", "b"), "many")
    model = resnet18(2, width=8)
    for recipe in (ORIGINAL, REDUCED, STACK):
        plan = replace(recipe, epochs=10**9)
        assert phases._tuned(ENGINE, ("fp32",), model, many, plan) is ENGINE, recipe.name
    assert machine.tuned(replace(ENGINE, device="cuda"), model, image(3, 32), 128, 10**9).convolutions is None
    assert machine.tuned(ENGINE, model, image(3, 32), 1, 10**9) is ENGINE
    frozen = model.requires_grad_(False)
    assert machine.tuned(ENGINE, frozen, image(3, 32), 128, 10**9) is ENGINE
    assert not clock.begun
    mixed = replace(ENGINE, memory_format="contiguous", layer4_format="channels_last")
    found = machine.tuned(mixed, layer4(), image(), 128, 10**9)
    assert found.convolutions and (found.memory_format, found.layer4_format) == ("channels_last", None)


# In a training


@pytest.fixture
def by_products(monkeypatch):
    """Every training is long enough, and a matrix product always faster."""
    monkeypatch.setattr(tuning, "PACE", 1.0)
    monkeypatch.setattr(machine, "choose", lambda recipe, kind="images", looks=0: ENGINE)
    return Clock(
        monkeypatch, lambda each, way, convolution: 0.001 + 0.001 * (way != convolution.possible(each)[-1])
    )


def trained(sets, recipe, out=None, **options):
    torch.manual_seed(0)
    model = resnet18(2, width=8)
    history = fit(model, *sets, recipe, out, **options)
    return model, history


def test_a_training_by_products_learns_the_same(sets, by_products):
    model, history = trained(sets, LEARNS)
    assert history.engine.endswith("7 of 7 passes of its convolutions as matrix products")
    by_products.seconds = lambda each, way, convolution: 0.001 + (way != "conv2d")
    machine.forget()
    other, plain = trained(sets, LEARNS)
    assert plain.engine.endswith("cpu, fp32, channels-last, 1 thread")
    assert history.values("train_loss") == pytest.approx(plain.values("train_loss"), rel=1e-3)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, other.state_dict()[name], rtol=0.01, atol=0.01)
    assert all(weight.is_contiguous() for weight in model.parameters()), "where it was, as it was"


def test_the_same_ways_give_the_same_weights(sets, by_products):
    one, two = (trained(sets, LEARNS)[0].state_dict() for _ in range(2))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def stopped_after_one_epoch(sets, out, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(phases.Phase, "left", lambda phase, run: len(run.epochs) < 1)
        patch.setattr("resnet_course.training.state.Run.finished", property(lambda run: len(run.epochs) > 0))
        trained(sets, LEARNS, out)


@pytest.mark.slow
def test_resume_takes_the_ways_over_and_measures_nothing(sets, by_products, tmp_path, monkeypatch, capsys):
    whole, _ = trained(sets, LEARNS)
    stopped_after_one_epoch(sets, tmp_path, monkeypatch)
    signature, ways = checkpoint.load(tmp_path / "last.pt").training["convolutions"]
    assert signature == machine.signature("cpu") and Convolutions.from_list(ways).batch == 16
    machine.forget()
    by_products.seconds = lambda each, way, convolution: 0.001 + (way != "conv2d")
    count = len(by_products.begun)
    resumed, history = trained(sets, LEARNS, tmp_path, resume=True)
    assert len(by_products.begun) == count and history.engine.endswith(
        "7 of 7 passes of its convolutions as matrix products"
    )
    other = resumed.state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in whole.state_dict().items())
    assert "not those of before" not in capsys.readouterr().err


def test_resume_where_nothing_was_won(sets, by_products, tmp_path, monkeypatch):
    by_products.seconds = lambda each, way, convolution: 0.001 + (way != "conv2d")
    stopped_after_one_epoch(sets, tmp_path, monkeypatch)
    assert checkpoint.load(tmp_path / "last.pt").training["convolutions"][1] == [16, []]
    count = len(by_products.begun)
    assert len(trained(sets, LEARNS, tmp_path, resume=True)[1].epochs) == 2
    assert len(by_products.begun) == count, "that nothing was won is known too"


@pytest.mark.slow
def test_with_another_number_of_images_in_a_batch_resume_measures_anew(
    sets, by_products, tmp_path, monkeypatch, capsys
):
    """As it is when another number of processes shares the batches."""
    stopped_after_one_epoch(sets, tmp_path, monkeypatch)
    monkeypatch.setattr(phases, "_batch", lambda recipe: 8)
    count = len(by_products.begun)
    trained(sets, LEARNS, tmp_path, resume=True)
    assert len(by_products.begun) > count and "not those of before" not in capsys.readouterr().err


@pytest.mark.slow
def test_the_precision_of_before_stays_whatever_is_fastest_now(sets, by_products, tmp_path, monkeypatch):
    stopped_after_one_epoch(sets, tmp_path, monkeypatch)
    monkeypatch.setattr(
        machine, "choose", lambda recipe, kind="images", looks=0: replace(ENGINE, precision="bf16")
    )
    count = len(by_products.begun)
    history = trained(sets, LEARNS, tmp_path, resume=True)[1]
    assert len(by_products.begun) == count and "fp32" in history.engine


@pytest.mark.slow
def test_an_older_file_resumes(sets, by_products, tmp_path, monkeypatch):
    stopped_after_one_epoch(sets, tmp_path, monkeypatch)
    saved = checkpoint.load(tmp_path / "last.pt")
    del saved.training["convolutions"]
    checkpoint.save(tmp_path / "last.pt", saved)
    assert len(trained(sets, LEARNS, tmp_path, resume=True)[1].epochs) == 2


@pytest.mark.slow
def test_on_another_processor_resume_measures_anew_and_says_so(
    sets, by_products, tmp_path, monkeypatch, capsys
):
    stopped_after_one_epoch(sets, tmp_path, monkeypatch)
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    by_products.seconds = lambda each, way, convolution: 0.001 + (way != "conv2d")
    history = trained(sets, LEARNS, tmp_path, resume=True)[1]
    assert "are not those of before" in capsys.readouterr().err
    assert history.engine.endswith("cpu, fp32, channels-last, 1 thread")


def test_a_busy_moment_is_corrected(sets, by_products, monkeypatch):
    slow = iter([False, True, False])
    monkeypatch.setattr(machine, "needs_retuning", lambda *_: next(slow))
    monkeypatch.setattr(machine, "retune", lambda engine, recipe, kind: replace(engine, threads=1))
    seen = []
    monkeypatch.setattr(tuning, "_measured", counting(tuning._measured, seen))
    trained(sets, replace(LEARNS, epochs=3))
    assert len(seen) == 2, "at the start, and again when the pace said so"


def counting(function, seen):
    def counted(*arguments):
        seen.append(arguments)
        return function(*arguments)

    return counted


def test_the_names_are_those_of_the_passes_and_ways():
    assert Ways._fields == PASSES and Ways()[0] == WAYS[0]


@pytest.mark.slow
def test_an_estimate_measures_what_the_training_then_takes_over(monkeypatch):
    monkeypatch.setenv("RESNET_COURSE_DEVICE", "cpu")
    monkeypatch.setattr(tuning, "PACE", 1.0)
    seen = []
    monkeypatch.setattr(tuning, "_measured", counting(tuning._measured, seen))
    monkeypatch.setattr(tuning, "SECONDS", 0.3)
    plan = replace(LAPTOP, image_size=64, batch_size=16, precision="fp32")
    assert machine.estimate(plan, 64, 8, width=8) > 0
    assert len(seen) == 1
    machine.tuned(machine.choose(plan, "features"), layer4(), image(32, 4), 16, 4 * 4)
    assert len(seen) == 1
