"""Images a second of the data pipeline: the original's, torchvision's on batches, and ours, in turn.

    uv run python benchmarks/pipeline.py --data folder:DIR --weights FILE --data-is … --weights-are …

Same changes for all (crop, flip, rotation, resize, normalise), batches of 128, no training beside it. "v2
once a batch" draws once for a whole batch, so it is faster than it may be: a yardstick, no choice. The
memory is read from /proc, so this one runs on Linux only.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from measuring import WARM_UP, course_steps, endless, in_turn, splits_of, timed
from record import parser, record
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from resnet_course import machine
from resnet_course.data import ImageSet
from resnet_course.inputs import OriginalImages, augment
from resnet_course.recipes import IMAGENET_MEAN, IMAGENET_STD, ORIGINAL, PLAIN, Recipe

BATCH, ROUNDS, BATCHES = 128, 5, 8  # each round times BATCHES batches of every way, in turn


def endless_original(train: ImageSet, size: int, workers: int) -> Iterator[Tensor]:
    """The original pipeline in a DataLoader."""
    dataset = OriginalImages(train, replace(ORIGINAL, image_size=size), train=True)
    loader = DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    while True:
        for inputs, _ in loader:
            yield inputs


def endless_v2(train: ImageSet, size: int, each: bool) -> Iterator[Tensor]:
    """torchvision's v2 transforms on uint8 tensors, on whole batches or image by image (each)."""
    change = v2.Compose(
        [v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), v2.RandomRotation(15), v2.Resize(size)]
    )
    finish = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)])
    while True:
        for indices in torch.randperm(len(train)).split(BATCH):
            images = train.images[indices]
            changed = torch.stack([change(image) for image in images]) if each else change(images)
            yield finish(changed)


def endless_ours(train: ImageSet, recipe: Recipe) -> Iterator[Tensor]:
    """The course's batches."""
    return (inputs for inputs, _ in endless(train, recipe))


def images_a_second(ways: dict[str, Iterator[Tensor]]) -> dict[str, int]:
    """The median over rounds in which the ways take turns."""

    def some_batches(way: Iterator[Tensor]) -> Callable[[], list[float]]:
        next(way), next(way)  # a warm-up
        return timed(lambda: [next(way) for _ in range(BATCHES)])

    seconds = in_turn({name: some_batches(way) for name, way in ways.items()}, ROUNDS)
    return {name: round(BATCHES * BATCH / value) for name, value in seconds.items()}


def share_of_a_step(train: ImageSet, weights: str, ours: Iterator[Tensor]) -> dict[str, float]:
    """Our pipeline's milliseconds for a batch beside those of a whole step of PLAIN."""
    batch = timed(lambda: next(ours))
    median = in_turn(
        {
            "pipeline": lambda: [1000 * batch()[0] for _ in range(WARM_UP + 10)][WARM_UP:],
            "step": lambda: course_steps(train, weights, PLAIN, WARM_UP + 10)[WARM_UP:],
        }
    )
    return {
        "plain_pipeline_milliseconds": round(median["pipeline"], 2),
        "plain_step_milliseconds": round(median["step"], 1),
        "share_of_plain_step_percent": round(100 * median["pipeline"] / median["step"], 1),
    }


def single_changes(images: Tensor) -> dict[str, dict[str, float]]:
    """Milliseconds for a batch at 32 pixels: ours, and torchvision's v2 image by image."""
    generator = torch.Generator().manual_seed(0)
    bilinear = v2.InterpolationMode.BILINEAR
    pairs = {
        "crop": (lambda x: augment.random_crop(x, 4, generator), v2.RandomCrop(32, padding=4)),
        "flip": (lambda x: augment.random_flip(x, generator), v2.RandomHorizontalFlip()),
        "rotation": (
            lambda x: augment.random_affine(x, generator),
            v2.RandomRotation(15, interpolation=bilinear),
        ),
        "colours": (lambda x: augment.random_colors(x, 0.4, generator), v2.ColorJitter(0.4, 0.4, 0.4)),
        "erasing": (lambda x: augment.random_erasing(x, generator), v2.RandomErasing()),
    }
    times: dict[str, dict[str, float]] = {}
    for name, (ours, theirs) in pairs.items():
        both = {
            "ours": machine.seconds(lambda ours=ours: ours(images), times=50, at_most=1.0),
            "v2_each": machine.seconds(
                lambda theirs=theirs: torch.stack([theirs(image) for image in images]), times=50, at_most=1.0
            ),
        }
        times[name] = {way: round(1000 * statistics.median(seconds), 2) for way, seconds in both.items()}
    return times


def megabytes(line: str) -> float:
    """What Linux says of this process's memory: VmRSS, what it holds now; VmHWM, the most since the reset."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(rf"^{line}:\s+(\d+) kB$", status, re.MULTILINE)[1]) / 1e3


def extra_megabytes(ours: Iterator[Tensor]) -> int:
    """The most memory that some batches take above what the process held before, the batches included."""
    next(ours)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets VmHWM
    before = megabytes("VmRSS")
    for _ in range(8):
        next(ours)
    return round(megabytes("VmHWM") - before)


def main() -> None:
    """Time all ways at 96 and 224 pixels, and the share of a training step of PLAIN; record them."""
    options = parser(__doc__).parse_args()
    train = splits_of(options).train.limit(10_000)
    recipe = replace(PLAIN, batch_size=BATCH, augmentation="crop_flip_rotate")
    measured: dict[str, object] = {"batch": BATCH}

    ours = endless_ours(train, replace(recipe, image_size=224))
    measured["extra_megabytes_at_224"] = extra_megabytes(ours)

    measured["milliseconds_for_a_batch_at_32"] = single_changes(train.images[:BATCH])

    for size in (96, 224):
        ways = {
            "original": endless_original(train, size, workers=0),
            "original_2_workers": endless_original(train, size, workers=2),
            "v2_each": endless_v2(train, size, each=True),
            "v2_once_a_batch": endless_v2(train, size, each=False),
            "ours": endless_ours(train, replace(recipe, image_size=size)),
        }
        # With workers idle but alive nothing else is slowed down: they sleep once their queue is full.
        rates = images_a_second(ways)
        measured[f"at_{size}"] = {
            "pictures_a_second": rates,
            "times_faster_than_original": round(rates["ours"] / rates["original"], 1),
        }

    pipeline = endless_ours(train, replace(recipe, image_size=PLAIN.image_size))
    measured |= share_of_a_step(train, options.weights, pipeline)
    record("pipeline", measured, options.data_is, options.weights_are)


if __name__ == "__main__":
    main()
