"""How long it takes to read a folder of photographs once, beside torchvision's ImageFolder and DataLoader.

    python benchmarks/photographs.py [--photographs 3000] [--megapixels 12] [--quick]

It draws a few dozen different photographs and gives each many names, so they come from memory, not from
the disk. Every way reads all of them in a process of its own, in turn: the course's (decoded with Pillow's
draft, by all cores, into its array file, and the second start), and torchvision's, as its documentation has
it (whole photographs, then Resize(256) and CenterCrop(224)), with a worker for each core, and with two.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from record import record

DIFFERENT = 40  # photographs that are drawn


def draw(directory: Path, count: int, megapixels: float) -> int:
    """A folder of two classes with so many photographs; returns the bytes of one, about."""
    width, height = round((megapixels * 4e6 / 3) ** 0.5), round((megapixels * 3e6 / 4) ** 0.5)
    chance = np.random.default_rng(0)
    for number in range(min(count, DIFFERENT)):
        # Blots of several sizes, and a little noise: 12 megapixels take about 4 MB, as a phone's do.
        layers = [
            Image.fromarray(chance.integers(0, 256, (height // size, width // size, 3), dtype=np.uint8))
            for size in (400, 60, 12)
        ]
        layers = [np.asarray(layer.resize((width, height), Image.Resampling.BICUBIC)) for layer in layers]
        noise = chance.integers(-8, 9, (height, width, 1))
        pixels = sum(layer.astype(np.int16) for layer in layers) // 3 + noise
        original = directory / f"{number}.jpg"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(original, quality=90)
    for number in range(count):
        path = directory / "folder" / ("cat", "dog")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(directory / f"{number % DIFFERENT}.jpg", path)
    return (directory / "0.jpg").stat().st_size


def read_with_the_course(folder: Path, home: Path) -> int:
    """All photographs into the array file, or from it."""
    from resnet_course.data.folder import load_split

    return len(load_split(folder, "train", home))


def read_with_torchvision(folder: Path, workers: int) -> int:
    """One epoch of the peer's way in."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    images = datasets.ImageFolder(str(folder), transforms.Compose(steps))
    return sum(len(labels) for _, labels in DataLoader(images, batch_size=64, num_workers=workers))


def in_a_process(way: str, *arguments: object) -> float:
    """Seconds of one way, imports left out."""
    command = [sys.executable, __file__, "--way", way, *map(str, arguments)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return round(float(said.split()[-1]), 1)


def run_way(way: str, folder: Path, argument: str) -> None:
    """What a process of its own does; prints seconds."""
    import torchvision.datasets  # noqa: F401

    import resnet_course.data.folder  # noqa: F401

    start = time.perf_counter()
    if way == "course":
        read_with_the_course(folder, Path(argument))
    else:
        read_with_torchvision(folder, int(argument))
    print(time.perf_counter() - start)


def main() -> None:
    """Measure all ways in turn and record them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photographs", type=int, default=3_000)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument(
        "--quick", action="store_true", help="a few small ones, to see that it runs; not recorded"
    )
    parser.add_argument("--way", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        run_way(options.way[0], Path(options.way[1]), options.way[2])
        return
    count, megapixels = (24, 0.3) if options.quick else (options.photographs, options.megapixels)
    scratch = Path(tempfile.mkdtemp(prefix="photographs_"))
    try:
        size, folder = draw(scratch, count, megapixels), scratch / "folder"
        cores = len(os.sched_getaffinity(0))
        peers = {f"torchvision_{n}_workers_seconds": n for n in (cores, 2 * cores)}
        found = {"course_seconds": in_a_process("course", folder, scratch / "home")}
        found["course_again_seconds"] = in_a_process("course", folder, scratch / "home")
        found |= {name: in_a_process("torchvision", folder, workers) for name, workers in peers.items()}
    finally:
        shutil.rmtree(scratch)
    ratio = min(found[name] for name in peers) / found["course_seconds"]
    measured = {**found, "times_as_fast_as_the_peer": round(ratio, 1)}
    if options.quick:
        print(measured)
        return
    words = f"{count:,} drawn JPEG photographs of {megapixels:g} megapixels, {size / 1e6:.1f} MB each"
    record("photographs", measured, f"{words}, {DIFFERENT} different ones under many names", "none")


if __name__ == "__main__":
    main()
