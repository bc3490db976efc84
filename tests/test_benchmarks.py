"""The yardstick is the published walk-through, exactly; the benchmarks start; what they found holds."""

import ast
import itertools
import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler

from resnet_course.common.errors import CourseError
from resnet_course.data import shapes
from resnet_course.evaluation import evaluate
from resnet_course.recipes import ORIGINAL
from resnet_course.teaching import baseline, original_loop
from resnet_course.training import fit
from resnet_course.transfer import build_model, freeze

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PROGRAMS = sorted(path.stem for path in BENCHMARKS.glob("*.py") if "def main()" in path.read_text("utf-8"))
sys.path.append(str(BENCHMARKS))  # as Python does for a program that is started there
from claims import CLAIMS, broken  # noqa: E402
from measuring import in_turn  # noqa: E402


@pytest.fixture(scope="module")
def drawn():
    return shapes.draw(64, seed=0)


def dataset(image_set, *, train, image_size):
    images = image_set.images.permute(0, 2, 3, 1).numpy()
    pipeline = original_loop.pipelines(image_set.stored_size, image_size)[0 if train else 1]
    return original_loop.Images(images, image_set.labels.numpy(), pipeline)


@pytest.mark.slow
def test_the_recipe_original_learns_what_the_published_loop_learns(drawn):
    """`fit` against torchvision's network, Pillow's images and a plain loop: two steps and an evaluation."""
    recipe = replace(ORIGINAL, image_size=64, epochs=1, seed=3)
    torch.manual_seed(0)
    theirs = original_loop.pretrained(len(drawn.classes))
    ours = build_model(len(drawn.classes), "none", recipe.train_from, recipe.dropout)
    freeze(ours, recipe.train_from, batchnorm_moves=recipe.batchnorm_moves)
    start = {name.replace("fc.1.", "fc."): tensor.clone() for name, tensor in theirs.state_dict().items()}
    ours.load_state_dict(start)
    history = fit(ours, drawn, drawn.limit(20), recipe)

    torch.manual_seed(recipe.seed)
    published = dataset(drawn, train=True, image_size=64)
    order = RandomSampler(published, generator=torch.Generator().manual_seed(recipe.seed))
    loader = DataLoader(published, recipe.batch_size, sampler=order)
    steps = original_loop.train(theirs, loader, original_loop.make_optimizer(theirs))
    losses = [loss for loss, _ in itertools.islice(steps, 2)]

    assert history.epochs[0]["train_loss"] == pytest.approx(sum(losses) / 2, rel=1e-4)
    assert history.epochs[0]["learning_rate"] == 5e-4
    found = ours.state_dict()
    for name, tensor in theirs.state_dict().items():
        name = name.replace("fc.1.", "fc.")
        if name.startswith(("layer4", "fc")) and tensor.ndim > 1:
            changed = (tensor - start[name]).norm()
            assert 0 < (found[name] - tensor).norm() + 1e-9 < 0.02 * changed, name
        else:  # frozen; the flaw: BatchNorm's statistics move all the same
            torch.testing.assert_close(found[name], tensor, atol=1e-3, rtol=1e-3, msg=name)
    assert not torch.equal(found["layer1.0.bn1.running_mean"], start["layer1.0.bn1.running_mean"])

    inputs = torch.stack([image for image, _ in dataset(drawn, train=False, image_size=64)])
    with torch.no_grad():
        torch.testing.assert_close(
            evaluate(ours, drawn, recipe).logits, theirs.eval()(inputs), atol=0.02, rtol=0.02
        )


@pytest.mark.slow
def test_a_fresh_process_runs_that_loop(drawn):
    measured = baseline.measure_original(drawn, steps=1, evaluate=1, image_size=32)
    assert len(measured["step_milliseconds"]) == len(measured["evaluation_milliseconds"]) == 1

    torch.manual_seed(0)
    model = original_loop.pretrained(len(drawn.classes))
    loader = DataLoader(dataset(drawn, train=True, image_size=32), 32, shuffle=True)
    steps = original_loop.train(model, loader, original_loop.make_optimizer(model))
    *_, (loss, _) = itertools.islice(steps, 3)  # the first two were its warm-up
    assert measured["losses"] == pytest.approx([loss], rel=1e-3)


def test_that_loop_imports_nothing_of_the_course():
    nodes = list(ast.walk(ast.parse(baseline.SCRIPT.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
    assert {"torch", "torchvision"} <= set(names)
    assert not [name for name in names if name.split(".")[0] in ("resnet_course", "None")]


def test_a_fresh_process_that_fails_says_why(drawn, tmp_path, monkeypatch):
    failing = tmp_path / "failing.py"
    failing.write_text("raise SystemExit('no such weights')")
    monkeypatch.setattr(baseline, "SCRIPT", failing)
    with pytest.raises(CourseError, match="status 1; it said: no such weights"):
        baseline.measure_original(drawn)


def test_kept_memory_is_asked_for_in_the_environment_of_the_new_process_only(drawn, tmp_path, monkeypatch):
    asking = tmp_path / "asking.py"
    asking.write_text("import json, os; print(json.dumps([os.environ.get('MALLOC_MMAP_MAX_')]))")
    monkeypatch.setattr(baseline, "SCRIPT", asking)
    monkeypatch.delenv("MALLOC_MMAP_MAX_", raising=False)
    assert baseline.measure_original(drawn) == [None]
    assert baseline.measure_original(drawn, keep_memory=True) == ["0"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_benchmark_says_how_it_is_used(program, monkeypatch, capsys):
    pytest.importorskip("resource", reason="the benchmarks run on Linux and macOS")
    monkeypatch.setattr(sys, "argv", [f"{program}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        import_module(program).main()
    assert ended.value.code == 0
    assert f"usage: {program}.py" in capsys.readouterr().out


def test_ways_take_turns():
    order = []

    def way(name, *numbers):
        return lambda: order.append(name) or list(numbers)

    assert in_turn({"a": way("a", 1, 2, 9), "b": way("b", 5)}, rounds=2) == {"a": 2, "b": 5}
    assert order == ["a", "b", "a", "b"]


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_the_course_says_about_time_and_accuracy_was_measured(claim):
    results = json.loads((BENCHMARKS / "results.json").read_text(encoding="utf-8"))
    assert CLAIMS[claim](results)


def test_a_claim_that_results_contradict_is_named():
    assert broken({}) == []
    assert broken({"prediction": {"times_faster": 0.9}}) == [
        "many files in one call are faster than one by one"
    ]


def test_the_leaderboard_says_what_results_hold():
    board = import_module("leaderboard")
    assert board.BOARD.read_text(encoding="utf-8") == board.board(), "run benchmarks/leaderboard.py"


def test_the_page_of_running_times_says_what_results_hold():
    times = import_module("running_times")
    assert times.PAGE.read_text(encoding="utf-8") == times.page(), "run benchmarks/running_times.py"
