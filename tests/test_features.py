"""Cached features: the same training as through the trunk, never stale, safe to stop, small in memory."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from parameters import some_are_slow

from resnet_course.data import DataError, ImageSet
from resnet_course.evaluation import evaluate
from resnet_course.features import FeaturesError, FeatureSet, cache, cache_features, network_for, store
from resnet_course.features.store import CHUNK, ArrayFile, FeatureFile
from resnet_course.inputs import eval_batches, view_batches
from resnet_course.recipes import REDUCED
from resnet_course.resnet import resnet18
from resnet_course.training import fit
from resnet_course.transfer import freeze, split_at, trunk_of
from resnet_course.transfer.parts import TRAIN_FROM

RECIPE = replace(REDUCED, epochs=2, augmentation="none", train_from="layer4", dropout=0.3, batch_size=48)


def noise(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    dark = torch.randint(0, 160, (count, 3, 32, 32), generator=generator)
    images = (dark + 60 * labels.view(-1, 1, 1, 1)).to(torch.uint8)
    return ImageSet(images, labels, ("dark", "bright"), "noise")


@pytest.fixture(scope="module")
def sets():
    return noise(300), noise(140, seed=1)


def frozen(train_from="layer4", seed=0):
    torch.manual_seed(seed)
    return freeze(resnet18(2, width=8, dropout=0.3), train_from)


def files(home, ending="npy"):
    return sorted((home / "features").glob(f"*.{ending}"))


@pytest.mark.parametrize("train_from", some_are_slow(TRAIN_FROM[1:], quick=("layer4", "fc")))
def test_training_on_features_is_training_through_the_trunk(sets, tmp_path, train_from):
    # SGD: AdamW's first steps would make far more of what rounding changes in small gradients.
    recipe = replace(RECIPE, train_from=train_from, test_views=2, optimizer="sgd", learning_rate=1e-3)
    model, through = frozen(train_from), frozen(train_from)
    train = cache_features(model, sets[0], recipe, tmp_path, views=1, dtype="fp32")
    val = cache_features(model, sets[1], recipe, tmp_path, dtype="fp32")
    cached, uncached = fit(model, train, val, recipe), fit(through, *sets, recipe)
    for name in ("train_loss", "val_loss"):
        # BatchNorm is fused into the cached trunk's convolutions: another rounding, 2e-6 seen, 5e-5 on a GPU.
        rounding = 5e-4 if torch.cuda.is_available() else 2e-5
        assert cached.values(name) == pytest.approx(uncached.values(name), abs=rounding)
    for (name, a), b in zip(model.state_dict().items(), through.state_dict().values(), strict=True):
        assert torch.allclose(a.float(), b.float(), rtol=1e-4, atol=1e-4), name
    whole = evaluate(model, sets[1], recipe)  # the model that learned from features predicts from images
    assert torch.allclose(whole.logits, evaluate(model, val, recipe).logits, atol=1e-5)


def test_half_precision_changes_a_feature_by_less_than_a_thousandth_part(sets, tmp_path):
    exact, half = (
        cache_features(frozen(), sets[0], RECIPE, tmp_path, views=1, dtype=t) for t in ("fp32", "fp16")
    )
    a, b = (found.read(torch.arange(300)) for found in (exact, half))
    assert torch.allclose(a, b, rtol=1e-3, atol=1e-6) and not torch.equal(a, b)
    small, large = sorted(path.stat().st_size for path in files(tmp_path))
    assert large / small == pytest.approx(2, rel=0.01)


def test_the_features_of_fc_are_one_number_a_channel(sets, tmp_path):
    found = cache_features(
        frozen("fc"), sets[0], replace(RECIPE, train_from="fc"), tmp_path, views=1, dtype="fp32"
    )
    assert found.read(torch.arange(5)).shape == (5, 64, 1, 1)


def test_views_are_what_the_augmentation_draws(sets, tmp_path):
    recipe = replace(RECIPE, augmentation="crop_flip")
    found = cache_features(frozen(), sets[0], recipe, tmp_path, views=4)
    assert found.views == 4
    everything = [found.read(torch.arange(300), view) for view in range(4)]
    for a in range(4):
        for b in range(a):
            same = (everything[a] == everything[b]).flatten(1).all(1).float().mean()
            assert same < 0.05, "two views of a image are the same"


def test_the_features_of_a_mirrored_image_are_not_mirrored_features(sets, tmp_path):
    found = cache_features(
        frozen("layer2"),
        sets[0],
        replace(RECIPE, train_from="layer2", test_views=2),
        tmp_path,
        dtype="fp32",
    )
    plain, mirrored = found.read(torch.arange(300), 0), found.read(torch.arange(300), 1)
    assert not torch.allclose(plain.flip(3), mirrored, atol=1e-3)


def test_features_are_read_again_not_made_again(sets, tmp_path, monkeypatch):
    first = cache_features(frozen(), sets[0], RECIPE, tmp_path, views=1)
    monkeypatch.setattr(FeatureFile, "_fill", lambda *_: pytest.fail("made again"))
    again = cache_features(frozen(), sets[0], RECIPE, tmp_path, views=1)
    assert torch.equal(first.read(torch.arange(9)), again.read(torch.arange(9)))
    other_head = frozen()
    torch.nn.init.ones_(other_head.fc.weight)
    cache_features(other_head, sets[0], replace(RECIPE, epochs=9, learning_rate=1e-4), tmp_path, views=1)
    relabelled = replace(sets[0], labels=1 - sets[0].labels)
    assert cache_features(frozen(), relabelled, RECIPE, tmp_path, views=1).labels[0] == 1


def test_views_that_draw_nothing_do_not_depend_on_the_seed(sets, tmp_path):
    for seed in (0, 1):
        cache_features(frozen(), sets[0], replace(RECIPE, augmentation="flip", seed=seed), tmp_path, views=2)
    assert len(files(tmp_path)) == 1


def changed_statistics():
    model = frozen()
    model.bn1.running_mean += 0.1
    return model


@pytest.mark.parametrize(
    "change",
    [
        {"model": lambda: frozen(seed=1)},
        {"model": changed_statistics},
        {"images": lambda images: images + 1},
        {"image_size": 40},
        {"mean": (0.5, 0.5, 0.5)},
        {"std": (0.5, 0.5, 0.5)},
        {"augmentation": "flip"},
        {"seed": 1},
        {"train_from": "layer3", "model": lambda: frozen("layer3")},
        {"views": None},
        {"dtype": "fp32"},
        {"precision": "bf16"},
    ],
    ids=lambda change: "-".join(change),
)
def test_everything_that_features_depend_on_makes_another_file(sets, tmp_path, change):
    change = dict(change)
    drawn = replace(RECIPE, augmentation="crop_flip")
    cache_features(frozen(), sets[0], drawn, tmp_path, views=1)
    model = change.pop("model", frozen)()
    images = change.pop("images", lambda images: images)(sets[0].images)
    options = {"views": change.pop("views", 1), "dtype": change.pop("dtype", "fp16")}
    cache_features(model, replace(sets[0], images=images), replace(drawn, **change), tmp_path, **options)
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("stopped_at", some_are_slow([0, 1, 2, 4], quick=[1]))
def test_a_stop_keeps_what_is_done_and_the_next_call_goes_on(sets, tmp_path, monkeypatch, stopped_at):
    recipe = replace(RECIPE, augmentation="crop_flip")
    whole = cache_features(frozen(), sets[0], recipe, tmp_path / "whole", views=2)
    calls = []
    draw = cache._inputs

    def stop(image_set, recipe, views, view, start):
        calls.append((view, start))
        if stopped_at is not None and len(calls) == stopped_at + 1:
            raise KeyboardInterrupt
        return draw(image_set, recipe, views, view, start)

    monkeypatch.setattr(cache, "_inputs", stop)
    with pytest.raises(KeyboardInterrupt):
        cache_features(frozen(), sets[0], recipe, tmp_path, views=2)
    assert not files(tmp_path) and len(files(tmp_path, "part")) == 1
    calls.clear()
    stopped_at, before = None, stopped_at
    found = cache_features(frozen(), sets[0], recipe, tmp_path, views=2)
    assert len(calls) == 6 - before, "only the chunks that were missing"
    assert not files(tmp_path, "part")
    for view in range(2):
        assert torch.equal(found.read(torch.arange(300), view), whole.read(torch.arange(300), view))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes no file that is open")
def test_a_file_that_was_cut_short_goes_on_from_its_last_whole_chunk(sets, tmp_path):
    whole = cache_features(frozen(), sets[0], RECIPE, tmp_path, views=1)
    [path] = files(tmp_path)
    content = path.read_bytes()
    path.unlink()
    for cut in (0, 50, len(content) // 2, len(content) - 1, len(content)):
        path.with_suffix(".part").write_bytes(content[:cut])
        found = cache_features(frozen(), sets[0], RECIPE, tmp_path, views=1)
        assert path.read_bytes() == content
        assert torch.equal(found.read(torch.arange(300)), whole.read(torch.arange(300)))
        path.unlink()


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b + b"x", lambda b: b"", lambda b: b"no" * 99]
)
def test_a_damaged_file_is_made_again_and_that_is_said(sets, tmp_path, capsys, damage):
    cache_features(frozen(), sets[0], RECIPE, tmp_path, views=1)
    [path] = files(tmp_path)
    content = path.read_bytes()
    path.unlink()  # a mapped file cannot be written over everywhere
    path.write_bytes(damage(content))
    cache_features(frozen(), sets[0], RECIPE, tmp_path, views=1)
    assert path.read_bytes() == content
    assert "is damaged; it is made again" in capsys.readouterr().err


def test_size_and_time_are_said_before_it_starts(sets, tmp_path, capsys):
    recipe = replace(RECIPE, augmentation="crop_flip")
    for views, time in ((2, "a moment."), (4, "about ")):
        cache_features(frozen(), sets[0], recipe, tmp_path, views=views)
        said = capsys.readouterr().err
        assert f"300 images in {views} views" in said and " MB in " in said and time in said


def test_the_chunk_that_is_timed_is_not_computed_again(tmp_path):
    """Of a few hundred images at 160 pixels it takes more than a second."""
    file, asked = FeatureFile(tmp_path / "features" / "a.npy", (1, 3 * CHUNK, 1, 1, 1), "fp32"), []

    def chunk(view, start):
        asked.append(start)
        return torch.full((CHUNK, 1, 1, 1), float(start))

    file.path.parent.mkdir()
    file.make(chunk, lambda part, first: first())
    assert asked == [0, CHUNK, 2 * CHUNK]
    assert (np.load(file.path)[0, ::CHUNK, 0, 0, 0] == asked).all()


def test_an_empty_set_has_no_features(sets, tmp_path):
    with pytest.raises(DataError, match="has no images"):
        cache_features(frozen(), sets[0].subset(torch.arange(0)), RECIPE, tmp_path)


def test_a_disk_without_room_is_refused_before_anything_is_computed(sets, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(FeaturesError, match=r"still need 0\.1 MB.*resnet-course clean.*RESNET_COURSE_HOME"):
        cache_features(frozen(), sets[0], RECIPE, tmp_path, views=1)
    assert not files(tmp_path)


def test_a_disk_that_fills_up_keeps_what_is_done(sets, tmp_path, monkeypatch):
    real = cache._inputs

    def full(image_set, recipe, views, view, start):
        if start:
            raise OSError(28, "No space left on device")
        return real(image_set, recipe, views, view, start)

    monkeypatch.setattr(cache, "_inputs", full)
    with pytest.raises(FeaturesError, match="What is done is kept"):
        cache_features(frozen(), sets[0], RECIPE, tmp_path, views=1)
    monkeypatch.setattr(cache, "_inputs", real)
    [partial] = files(tmp_path, "part")
    assert partial.stat().st_size > 128 * 100
    cache_features(frozen(), sets[0], RECIPE, tmp_path, views=1)


def test_a_feature_too_large_for_half_precision_is_refused(sets, tmp_path):
    model = frozen()
    model.layer3[1].bn2.weight.data.fill_(1e6)
    with pytest.raises(FeaturesError, match="take dtype 'fp32'"):
        cache_features(model, sets[0], RECIPE, tmp_path, views=1)
    cache_features(model, sets[0], RECIPE, tmp_path, views=1, dtype="fp32")


def test_only_a_frozen_trunk_can_be_kept(sets, tmp_path):
    torch.manual_seed(0)
    with pytest.raises(FeaturesError, match="call freeze"):
        cache_features(resnet18(2, width=8), sets[0], RECIPE, tmp_path)
    moving = freeze(frozen(), "layer4", batchnorm_moves=True)
    with pytest.raises(FeaturesError, match="call freeze"):
        cache_features(moving, sets[0], RECIPE, tmp_path)
    with pytest.raises(ValueError, match="nothing is frozen"):
        cache_features(frozen(), sets[0], replace(RECIPE, train_from="all"), tmp_path)


@pytest.mark.parametrize(
    ("augmentation", "views", "message"),
    [
        ("none", 2, "no more than 1"),
        ("flip", 3, "no more than 2"),
        ("original", 1, "one by one"),
        ("crop_flip", 0, "whole number"),
    ],
)
def test_views_that_cannot_be_are_refused(sets, tmp_path, augmentation, views, message):
    with pytest.raises(ValueError, match=message):
        cache_features(frozen(), sets[0], replace(RECIPE, augmentation=augmentation), tmp_path, views=views)


def test_of_six_test_views_two_are_kept_which_is_what_fit_validates_with(sets, tmp_path):
    six = replace(RECIPE, test_views=6)
    kept = cache_features(frozen(), sets[1], six, tmp_path)
    assert kept.views == 2
    with pytest.raises(FeaturesError, match="looks at 6 views of an image, and the features have 2"):
        evaluate(frozen(), kept, six)
    assert fit(frozen(), *sets, replace(six, epochs=1, cached_views=1), home=tmp_path).epochs


def test_an_unknown_number_type_is_refused(sets, tmp_path):
    with pytest.raises(ValueError, match="fp16, fp32"):
        cache_features(frozen(), sets[0], RECIPE, tmp_path, dtype="fp8")


def test_features_of_another_trunk_are_refused(sets, tmp_path):
    found = cache_features(frozen(), sets[0], RECIPE, tmp_path, views=1)
    with pytest.raises(FeaturesError, match="another trunk"):
        fit(frozen(seed=1), found, sets[1], RECIPE)
    with pytest.raises(FeaturesError, match="another trunk"):
        evaluate(frozen(seed=1), found, RECIPE)
    with pytest.raises(FeaturesError, match=r"freeze\(model, 'layer4'\)"):
        fit(frozen(), found, sets[1], replace(RECIPE, train_from="layer3"))
    fit(freeze(frozen(), "fc"), found, sets[1], replace(RECIPE, epochs=1))  # more may be frozen


def test_evaluation_asks_for_as_many_views_as_the_recipe(sets, tmp_path):
    found = cache_features(frozen(), sets[0], RECIPE, tmp_path, views=1)
    with pytest.raises(FeaturesError, match="looks at 2 views"):
        evaluate(frozen(), found, replace(RECIPE, test_views=2))


def test_features_cannot_be_mixed(sets, tmp_path):
    found = cache_features(frozen(), sets[0], RECIPE, tmp_path, views=1)
    with pytest.raises(DataError, match="mix is 'mixup'"):
        fit(frozen(), found, sets[1], replace(RECIPE, mix="mixup"))


def test_a_part_of_the_features_belongs_to_the_same_images(sets, tmp_path):
    found = cache_features(frozen(), sets[0], RECIPE, tmp_path, views=1, dtype="fp32")
    indices = torch.tensor([250, 3, 77])
    part = found.subset(indices)
    assert part.labels.tolist() == sets[0].labels[indices].tolist() and len(part) == 3
    assert torch.equal(part.read(torch.arange(3)), found.read(indices))
    assert torch.equal(found.per_class(9, seed=4).labels, sets[0].per_class(9, seed=4).labels)
    assert len(found.limit(31)) == 31


def test_the_trunk_is_left_in_the_mode_in_which_it_was(sets, tmp_path):
    model = frozen().train()
    before = {name: module.training for name, module in model.named_modules()}
    cache_features(model, sets[0], RECIPE, tmp_path, views=1)
    assert {name: module.training for name, module in model.named_modules()} == before


def test_trunk_and_head_are_the_network_for_fc_too():
    model = frozen("fc").eval()
    x = torch.randn(3, 3, 64, 64)
    head = split_at(model, "fc")[1]
    assert torch.allclose(head(trunk_of(model, "fc")(x)), model(x), atol=1e-6)


@pytest.mark.slow
def test_a_stopped_training_on_features_goes_on_to_the_same_result(sets, tmp_path):
    recipe = replace(RECIPE, augmentation="crop_flip")
    models = [frozen(), frozen()]
    train = cache_features(models[0], sets[0], recipe, tmp_path, views=2)
    whole = fit(models[0], train, sets[1], recipe, tmp_path / "a")
    calls = 0

    class Interrupting(type(train)):
        def read(self, *arguments):
            nonlocal calls
            calls += 1
            if calls == 10:
                raise KeyboardInterrupt
            return super().read(*arguments)

    values = {name: getattr(train, name) for name in (field.name for field in fields(train))}
    assert fit(models[1], Interrupting(**values), sets[1], recipe, tmp_path / "b").interrupted
    resumed = fit(frozen(), train, sets[1], recipe, tmp_path / "b", resume=True)
    assert resumed.values("val_loss") == whole.values("val_loss")


MEMORY = """
import resource, sys
import numpy as np
from pathlib import Path
from resnet_course.features.store import ArrayFile
file = ArrayFile(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for start in range(0, file.shape[1], 1024):
    places = np.arange(start, min(start + 1024, file.shape[1]))
    file.rows(np.zeros(len(places), int), places)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory as Linux gives it")
def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "large.npy"
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(1, 40_000, 6, 6, 128))
    size = array.nbytes / 2**20  # 352 MB; the file is sparse, so nothing is written
    del array
    command = [sys.executable, "-c", MEMORY, str(path)]
    grown = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert size > 350 and grown < 100


def test_rows_are_the_rows_of_the_array(tmp_path):
    array = np.random.default_rng(0).standard_normal((3, 50, 2, 2, 4)).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    views, places = np.array([2, 0, 1, 1]), np.array([49, 0, 7, 7])
    assert np.array_equal(ArrayFile(tmp_path / "a.npy").rows(views, places), array[views, places])


class ShortReads(ArrayFile):
    """A file on a disk that brings a few bytes at a time, as a network's may."""

    def _read(self, buffer, offset):
        return super()._read(buffer[:7], offset)


@pytest.mark.parametrize("kind", [ArrayFile, ShortReads])
@pytest.mark.parametrize("positioned", [True, False])
def test_many_threads_read_their_own_rows_however_few_bytes_a_read_brings(
    tmp_path, monkeypatch, kind, positioned
):
    if not positioned:
        monkeypatch.delattr(store.os, "preadv", raising=False)  # as on Windows
    array = np.random.default_rng(0).standard_normal((2, 64, 1, 1, 8)).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    file, places = kind(tmp_path / "a.npy"), np.arange(64)

    def read(view):
        return all(np.array_equal(file.rows(np.full(64, view), places), array[view]) for _ in range(20))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(read, [0, 1, 0, 1]))


def test_a_file_that_was_cut_short_while_it_is_read_is_named(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((1, 50, 1, 1, 8), np.float32))
    file = ArrayFile(tmp_path / "a.npy")
    os.truncate(tmp_path / "a.npy", (tmp_path / "a.npy").stat().st_size - 1)
    file.rows(np.zeros(1, int), np.array([48]))
    with pytest.raises(OSError, match=r"a\.npy ends before .* cut short after it was opened"):
        file.rows(np.zeros(1, int), np.array([49]))


def test_whole_batches_and_views_of_features_are_in_order(sets, tmp_path):
    recipe = replace(RECIPE, test_views=2)
    found = cache_features(frozen(), sets[1], recipe, tmp_path)
    views = list(view_batches(found, recipe))
    assert [len(batch) for batch in views] == [2, 2, 2] and isinstance(found, FeatureSet)
    for view in range(2):
        assert torch.equal(torch.cat([batch[view] for batch in views]), found.read(torch.arange(140), view))
    batches = list(eval_batches(found, recipe))
    assert torch.equal(torch.cat([inputs for inputs, _ in batches]), found.read(torch.arange(140)))
    assert torch.equal(torch.cat([labels for _, labels in batches]), sets[1].labels)


def test_the_network_for_images_is_all_of_it_and_for_features_the_head(sets, tmp_path):
    model = frozen()
    assert network_for(model, sets[0]) is model
    head = network_for(model, cache_features(model, sets[0], RECIPE, tmp_path, views=1))
    assert head[0] is model.layer4


def test_two_that_want_the_same_at_once_make_it_once(sets, tmp_path, monkeypatch):
    """In threads, which exclude each other as processes do: the lock belongs to an open file."""
    made, write = [], FeatureFile._fill
    both = threading.Barrier(2, timeout=60)

    def count(self, *arguments):
        made.append(threading.get_ident())
        write(self, *arguments)

    is_whole = FeatureFile.is_whole

    def meet(self, *path):
        """Let both find that the file is not there before one of them begins."""
        found = is_whole(self, *path)
        if not made and not found and not path:
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait()
            both.abort()
        return found

    monkeypatch.setattr(FeatureFile, "_fill", count)
    monkeypatch.setattr(FeatureFile, "is_whole", meet)
    models = [frozen(), frozen()]  # not in the threads: their random numbers are the same ones
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(
            lambda model: cache_features(model, sets[0], RECIPE, tmp_path, views=1), models
        )
    assert len(made) == 1 and len(files(tmp_path)) == 1
    assert torch.equal(first.read(torch.arange(300)), second.read(torch.arange(300)))


KILLED = """
import sys, time
from pathlib import Path
import numpy as np, torch
from resnet_course.features.store import CHUNK, FeatureFile
def chunk(view, start):
    if start == CHUNK:
        print("one chunk is written", flush=True)
        time.sleep(600)
    return torch.ones(CHUNK, 64, 64, 2, dtype=torch.float16)
FeatureFile(Path(sys.argv[1]), (1, 2 * CHUNK, 64, 64, 2), "fp16").make(chunk, lambda part, first: None)
"""


@pytest.mark.slow
def test_when_the_one_that_works_is_killed_the_one_that_waits_goes_on(tmp_path, monkeypatch, capsys):
    path, starts, waits = tmp_path / "features" / "a.npy", [], threading.Event()
    monkeypatch.setattr("resnet_course.common.files.say", lambda text: waits.set())

    def chunk(view, start):
        starts.append(start)
        return torch.ones(store.CHUNK, 64, 64, 2, dtype=torch.float16)

    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "one chunk is written\n"
        with ThreadPoolExecutor(1) as threads:
            file = FeatureFile(path, (1, 2 * store.CHUNK, 64, 64, 2), "fp16")
            waiting = threads.submit(file.make, chunk, lambda part, first: None)
            assert waits.wait(60) and not starts
            process.kill()
            waiting.result(timeout=60)
    assert starts == [store.CHUNK], "the first chunk is kept"
    assert (np.load(path) == 1).all() and not list(path.parent.glob("*.part"))


def test_on_a_disk_without_locks_all_make_it_and_all_find_it(sets, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "locked", lambda path: contextlib.nullcontext(False))
    models = [frozen(), frozen()]
    with ThreadPoolExecutor(2) as threads:
        found = list(
            threads.map(lambda model: cache_features(model, sets[0], RECIPE, tmp_path, views=1), models)
        )
    assert [path.name for path in (tmp_path / "features").iterdir()] == [
        path.name for path in files(tmp_path)
    ]
    assert torch.equal(*(each.read(torch.arange(300)) for each in found))
