"""What evaluating and predicting cost beyond the bare work.

    uv run python benchmarks/prediction.py --data folder:DIR --weights FILE --data-is … --weights-are …

Three comparisons, each way in turn: `evaluate` of 10,000 images beside the bare forward pass; `predict` of
one image from the shell beside a bare `import torch, torchvision`; 1,000 image files in one call beside
one-by-one calls at 224 pixels, as the original predicts.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from measuring import in_turn, splits_of, timed
from PIL import Image
from record import parser, record
from torchvision import transforms

from resnet_course import machine
from resnet_course.data import ImageSet
from resnet_course.evaluation import evaluate, mean_logits
from resnet_course.inputs import eval_batches, views_of
from resnet_course.plots import to_array
from resnet_course.prediction import Classifier
from resnet_course.recipes import LAPTOP, ORIGINAL
from resnet_course.resnet import ResNet
from resnet_course.training import checkpoint
from resnet_course.training.checkpoint import Checkpoint
from resnet_course.transfer import build_model

STARTS = 5  # from the shell, of each way


def evaluation(model: ResNet, images: ImageSet) -> dict[str, float]:
    """`evaluate` beside the forward passes alone, on one batch that is ready, again and again."""
    engine = machine.choose(LAPTOP)
    batch, _ = next(eval_batches(images, LAPTOP))
    views = [engine.place(view) for view in views_of(batch, LAPTOP.test_views)]

    @torch.inference_mode()
    def bare() -> None:
        with engine.computing(), engine.autocast():
            for _ in range(round(len(images) / LAPTOP.batch_size)):
                mean_logits(model, views)

    engine.place(model).eval()
    seconds = in_turn({"evaluate": timed(lambda: evaluate(model, images, LAPTOP)), "bare": timed(bare)})
    return {
        "pictures": len(images),
        "evaluate_seconds": round(seconds["evaluate"], 2),
        "bare_forward_seconds": round(seconds["bare"], 2),
        "over_bare_percent": round(100 * (seconds["evaluate"] / seconds["bare"] - 1), 1),
    }


def cold_start(saved: Path, image: Path) -> dict[str, float]:
    """`resnet-course predict` of one image, from the shell."""

    def run(*words: str) -> Callable[[], list[float]]:
        return timed(lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True))

    ways = {
        "predict": run("-m", "resnet_course", "predict", str(saved), str(image), "--json"),
        "imports": run("-c", "import torch, torchvision"),
    }
    seconds = in_turn(ways, STARTS)
    return {
        "predict_from_the_shell_seconds": round(seconds["predict"], 2),
        "import_torch_and_torchvision_seconds": round(seconds["imports"], 2),
        "over_imports_seconds": round(seconds["predict"] - seconds["imports"], 2),
    }


def many(saved: Path, files: list[Path]) -> dict[str, float]:
    """All files in one call, beside the original's way with one file."""
    classifier = Classifier.load(saved)
    model = build_model(len(classifier.classes), None, "all", 0.0).eval()
    to_original = transforms.Compose(
        [
            transforms.Resize((ORIGINAL.image_size, ORIGINAL.image_size)),
            transforms.ToTensor(),
            transforms.Normalize(ORIGINAL.mean, ORIGINAL.std),
        ]
    )

    @torch.no_grad()
    def one_by_one() -> None:
        for path in files:
            with Image.open(path) as image:
                model(to_original(image.convert("RGB"))[None]).softmax(1).argmax()

    ways = {"course": timed(lambda: list(classifier.predict_many(files))), "original": timed(one_by_one)}
    seconds = in_turn(ways)
    return {
        "files": len(files),
        "files_a_second": round(len(files) / seconds["course"]),
        "files_a_second_one_by_one_at_224": round(len(files) / seconds["original"]),
        "times_faster": round(seconds["original"] / seconds["course"], 1),
    }


def main() -> None:
    """Make a checkpoint (what it has learned makes no difference to the time), measure, record."""
    options = parser(__doc__).parse_args()
    splits = splits_of(options)
    torch.manual_seed(0)
    model = build_model(len(splits.train.classes), options.weights, LAPTOP.train_from, LAPTOP.dropout)
    with tempfile.TemporaryDirectory() as folder:
        saved, name = Path(folder) / "best.pt", splits.train.name
        content = Checkpoint(model.state_dict(), splits.train.classes, splits.train.stored_size, name, LAPTOP)
        checkpoint.save(saved, content)
        files = [Path(folder) / f"{number}.png" for number in range(1_000)]
        for path, image in zip(files, splits.test.limit(len(files)).images, strict=True):
            Image.fromarray(to_array(image)).save(path)
        measured = evaluation(model, splits.train.limit(10_000))
        measured |= cold_start(saved, files[0]) | many(saved, files)
    record("prediction", measured, options.data_is, options.weights_are)


if __name__ == "__main__":
    main()
