"""Devices, limits, kept memory and the engine."""

import os
import platform
import subprocess
import sys
import textwrap
import threading

import psutil
import pytest
import torch

from resnet_course import machine
from resnet_course.common import c_library
from resnet_course.common.errors import CourseError
from resnet_course.machine import devices, limits, memory
from resnet_course.recipes import ORIGINAL, REDUCED, STACK
from resnet_course.resnet import resnet18
from resnet_course.settings import SettingsError


@pytest.fixture(autouse=True)
def all_cores(monkeypatch):
    """Whoever runs the tests may have limited their threads."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")


def cards(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)  # it may be


# Which device


def test_a_card_computes_if_there_is_one_and_nothing_else_is_asked_for(monkeypatch):
    cards(monkeypatch, 0)
    assert machine.device() == "cpu"
    cards(monkeypatch, 1)
    assert machine.device() == "cuda"
    monkeypatch.setenv("RESNET_COURSE_DEVICE", "cpu")
    assert machine.device() == "cpu"


def test_more_processes_than_cards_share_them(monkeypatch):
    cards(monkeypatch, 2)
    for local_rank, name in enumerate(("cuda:0", "cuda:1", "cuda:0")):
        monkeypatch.setenv("LOCAL_RANK", str(local_rank))
        assert machine.device() == name


def test_a_device_that_is_not_there_is_one_error_that_lists_what_is(monkeypatch):
    cards(monkeypatch, 0)
    monkeypatch.setenv("RESNET_COURSE_DEVICE", "cuda")
    with pytest.raises(CourseError, match=r"device is 'cuda'.*none here.*auto or one of: cpu$") as error:
        machine.device()
    assert isinstance(error.value, machine.DeviceError) and "\n" not in str(error.value)
    monkeypatch.setenv("RESNET_COURSE_DEVICE", "tpu")
    with pytest.raises(SettingsError, match="auto, cpu, cuda, mps"):
        machine.device()


def test_mps_is_taken_where_it_is_asked_for_and_called_untried_once(monkeypatch, capsys):
    cards(monkeypatch, 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert machine.device() == "cpu"
    monkeypatch.setenv("RESNET_COURSE_DEVICE", "mps")
    devices._say_untried.cache_clear()
    assert machine.device() == machine.device() == "mps"
    assert capsys.readouterr().err.count("untried") == 1


# Limits


@pytest.fixture
def container(monkeypatch, tmp_path):
    """A container's files, to be written by the test."""
    monkeypatch.setattr(limits, "CGROUP", tmp_path)

    def write(**files):
        for name, text in files.items():
            (tmp_path / name.replace("_", ".", 1)).write_text(text, encoding="ascii")

    return write


def test_usable_cores_respects_affinity_and_the_containers_quota(monkeypatch, container):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert machine.usable_cores() == 8
    for text, cores in (("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("1600000 100000", 8)):
        container(cpu_max=text)
        assert machine.usable_cores() == cores, text
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert machine.usable_cores() == 1


def test_the_quota_holds_for_recipes_that_leave_nothing_to_the_probe(monkeypatch, container):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    container(cpu_max="300000 100000")
    for recipe in (ORIGINAL, REDUCED, STACK):
        assert machine.choose(recipe).threads == 3, recipe.name
    container(cpu_max="100000 100000")
    with machine.Engine("cpu", "fp32", "contiguous").computing():
        assert torch.get_num_threads() == 1, "an engine that names no threads keeps to the quota as well"


def test_threads_keep_to_what_the_environment_says(monkeypatch):
    monkeypatch.setattr(limits, "usable_cores", lambda: 8)
    assert machine.threads_here() == 8
    for text, threads in (("3", 3), ("16", 8), ("2,4", 2), ("", 8), ("many", 8), ("0", 8)):
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert machine.threads_here() == threads, text
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("RESNET_COURSE_THREADS", "5")
    assert machine.threads_here() == machine.choose(ORIGINAL).threads == 5, "asked for by name"


def test_processes_of_torchrun_divide_the_cores(monkeypatch):
    monkeypatch.setattr(limits, "usable_cores", lambda: 8)
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # torchrun sets it, whatever the number of cores
    assert machine.threads_here() == 4
    monkeypatch.setattr(limits.distributed, "_waiting_here", 1)
    with machine.Engine("cpu", "fp32", "contiguous", 4).computing():
        assert torch.get_num_threads() == 8, "the other one waits"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with machine.Engine("cpu", "fp32", "contiguous", 3).computing():
        assert torch.get_num_threads() == 3
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "16")
    assert machine.threads_here() == 1


def test_read_files_that_linux_keeps_are_free_memory(monkeypatch, container):
    monkeypatch.setattr(limits.psutil, "virtual_memory", lambda: type("", (), {"available": 10_000}))
    container(memory_max="8000", memory_current="5000", memory_stat="anon 100\ninactive_file 2000\nslab 1\n")
    assert machine.memory_free() == 5000
    container(memory_max="max")
    assert machine.memory_free() == 10_000
    container(memory_max="100000")
    assert machine.memory_free() == 10_000


# Memory that is kept

LOOP = """
import ctypes, resource, sys
import torch
from resnet_course import machine

library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
library.free.argtypes = (ctypes.c_void_p,)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        block = library.malloc(2**23)
        ctypes.memset(block, 1, 2**23)
        library.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

found = [faults(), faults()]
with machine.keeping_memory():
    found.append(faults())
    with machine.keeping_memory():
        for size in (2**20, 2**24, 2**26):
            torch.ones(size)
found += [faults(), faults(), faults()]
print(*found)
"""


@pytest.mark.slow
@glibc
def test_a_block_leaves_the_c_library_as_it_found_it():
    # In a new process, where nothing has called mallopt yet.
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LOOP)], capture_output=True, text=True, check=True
    )
    first, second, within, *after = map(int, run.stdout.split())
    assert first > 2048, "the loop does cost page faults where memory is new"
    assert second < 100 and within < 100
    assert after[0] < first + 100, "what was given back at the block's end is found again once"
    assert max(after[1:]) < second + 100


@glibc
@pytest.mark.slow
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


class Library:
    """A C library that writes down what it is told."""

    def __init__(self):
        self.told = []

    def mallopt(self, name, value):
        self.told.append((name, value))

    def malloc_trim(self, pad):
        self.told.append(("trim", pad))


def test_the_last_block_of_any_thread_ends_it(monkeypatch):
    library = Library()
    monkeypatch.setattr(memory, "glibc", lambda: library)
    opened, close = threading.Event(), threading.Event()

    def in_another_thread():
        with machine.keeping_memory():
            opened.set()
            close.wait(10)

    other = threading.Thread(target=in_another_thread)
    with machine.keeping_memory():
        other.start()
        opened.wait(10)
    assert "trim" not in dict(library.told)
    close.set()
    other.join()
    ended = dict(library.told[-4:])
    assert ended.keys() == {memory.M_MMAP_MAX, memory.M_MMAP_THRESHOLD, memory.M_TRIM_THRESHOLD, "trim"}


def test_elsewhere_nothing_is_told_to_the_c_library(monkeypatch):
    c_library.glibc.cache_clear()
    monkeypatch.setattr(c_library.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(c_library.ctypes, "CDLL", None)
    with machine.keeping_memory():
        torch.ones(10)
    c_library.glibc.cache_clear()


def test_elsewhere_than_on_linux_pythons_own_file_is_not_read(monkeypatch):
    """A Python from Microsoft's store is a file that cannot be opened."""
    monkeypatch.setattr(sys, "platform", "win32")
    c_library.glibc.cache_clear()
    monkeypatch.setattr(c_library.platform, "libc_ver", lambda: pytest.fail("it was read"))
    assert c_library.glibc() is None
    c_library.glibc.cache_clear()


def test_which_c_library_it_is_is_looked_up_once(monkeypatch):
    c_library.glibc.cache_clear()
    asked = []
    monkeypatch.setattr(c_library.platform, "libc_ver", lambda: asked.append(1) or ("", ""))
    for _ in range(3):
        with machine.keeping_memory():
            pass
    assert len(asked) == 1
    c_library.glibc.cache_clear()


# The engine


def layouts(model):
    return {name: tensor.stride() for name, tensor in model.state_dict().items()}


def test_a_model_is_hosted_and_goes_back_where_it_was():
    torch.manual_seed(0)
    model, images = resnet18(3, width=8), torch.randn(4, 3, 64, 64)
    model.layer2.to(memory_format=torch.channels_last)  # a mixture that nobody would guess
    before, parameters, expected = layouts(model), list(model.parameters()), model.eval()(images)
    for layer4_format in (None, "contiguous"):
        engine = machine.Engine("cpu", "fp32", "channels_last", None, layer4_format)
        with engine.hosting(model) as hosted:
            assert hosted is model and layouts(model) != before
            assert not model.conv1.weight.is_contiguous()
            assert model.layer4[1].conv1.weight.is_contiguous() == (layer4_format == "contiguous")
            torch.testing.assert_close(model(engine.place(images)), expected, atol=1e-4, rtol=1e-4)
        assert layouts(model) == before and not model.layer4._forward_pre_hooks
    assert all(one is other for one, other in zip(parameters, model.parameters(), strict=True))
    torch.testing.assert_close(model(images), expected, atol=0, rtol=0)


def test_hosting_keeps_what_was_learned_and_brings_gradients_back_too():
    model = resnet18(3, width=8)
    engine = machine.Engine("cpu", "fp32", "channels_last", None, "contiguous")
    before = layouts(model)
    with engine.hosting(model), engine.hosting(model):
        model(engine.place(torch.randn(2, 3, 32, 32))).sum().backward()
        with torch.no_grad():
            model.conv1.weight.fill_(0.5)
    assert (model.conv1.weight == 0.5).all() and layouts(model) == before
    assert model.conv1.weight.grad.stride() == model.conv1.weight.stride()


def test_hosting_in_inference_mode_leaves_weights_that_can_learn():
    model = resnet18(3, width=8)
    engine = machine.Engine("cpu", "fp32", "channels_last")
    with torch.inference_mode(), engine.hosting(model):
        model(engine.place(torch.randn(2, 3, 32, 32)))
    model(torch.randn(2, 3, 32, 32)).sum().backward()


def test_a_model_that_is_in_place_already_is_not_copied():
    engine = machine.Engine("cpu", "fp32", "channels_last", None, "contiguous")
    model = engine.place(resnet18(3, width=8))
    hook, addresses = list(model.layer4._forward_pre_hooks), [p.data_ptr() for p in model.parameters()]
    with engine.hosting(model):
        assert [p.data_ptr() for p in model.parameters()] == addresses
    assert [p.data_ptr() for p in model.parameters()] == addresses
    assert list(model.layer4._forward_pre_hooks) == hook, "a hook that was there stays"


def test_a_model_goes_back_after_an_error_too():
    model = resnet18(3, width=8)
    before = layouts(model)
    with (
        pytest.raises(KeyboardInterrupt),
        machine.Engine("cpu", "fp32", "channels_last", None, "contiguous").hosting(model),
    ):
        raise KeyboardInterrupt
    assert layouts(model) == before and not model.layer4._forward_pre_hooks


def test_the_engine_of_a_network_takes_it_as_it_is():
    model = resnet18(3, width=8)
    assert str(machine.Engine.of(model)) == "cpu, fp32, contiguous"
    assert str(machine.Engine.of(model.to(memory_format=torch.channels_last))) == "cpu, fp32, channels-last"
    assert machine.Engine.of(torch.nn.ReLU()).device == "cpu"
    assert machine.Engine.of(torch.nn.Linear(2, 2)).memory_format == "contiguous"


def test_a_layout_of_its_own_changes_no_result_and_can_be_taken_back():
    torch.manual_seed(0)
    model, images = resnet18(3, width=8), torch.randn(4, 3, 64, 64)
    expected = model(images)
    model.zero_grad()
    for engine in (
        machine.Engine("cpu", "fp32", "channels_last", None, "contiguous"),
        machine.Engine("cpu", "fp32", "channels_last"),
    ):
        engine.place(engine.place(model))
        weights = model.layer3[0].conv1.weight, model.layer4[0].conv1.weight
        found = ["contiguous" if weight.is_contiguous() else "channels_last" for weight in weights]
        assert found == ["channels_last", engine.layer4_format or "channels_last"]
        found = model(engine.place(images))
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        found.sum().backward()
        assert model.layer4[1].conv2.weight.grad.abs().sum() > 0
    assert len(model.layer4._forward_pre_hooks) == 1


def test_bf16_computes_in_bf16_and_keeps_the_weights_in_fp32():
    engine = machine.Engine("cpu", "bf16", "channels_last")
    convolution = engine.place(torch.nn.Conv2d(3, 8, 3))
    with engine.autocast():
        out = convolution(engine.place(torch.randn(1, 3, 8, 8)))
    assert out.dtype == torch.bfloat16 and convolution.weight.dtype == torch.float32
    with machine.Engine("cpu", "fp32", "contiguous").autocast():
        assert convolution(torch.randn(1, 3, 8, 8)).dtype == torch.float32


def test_the_threads_are_set_for_the_block_only():
    before = torch.get_num_threads()
    with machine.Engine("cpu", "fp32", "contiguous", 1).computing():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    with machine.Engine("cpu", "fp32", "contiguous").computing():
        assert torch.get_num_threads() <= before
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor : 0\nmodel name : Chip 5\nflags : fpu avx2\n", "Chip 5"),
        ("model name\t: Chip 6\nflags\t\t: avx512f amx_tile amx_bf16\n", "Chip 6 with AMX"),
        ("Features : fp asimd\n", "arm64"),
        (None, "arm64"),
    ],
)
def test_a_processor_has_a_name_and_perhaps_matrix_units(monkeypatch, tmp_path, text, expected):
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(limits, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(limits.platform, "processor", lambda: "")
    monkeypatch.setattr(limits.platform, "machine", lambda: "arm64")
    assert limits.processor.__wrapped__() == expected
