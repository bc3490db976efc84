"""What is chosen on a machine that something else keeps busy, and what once that has ended.

    python benchmarks/busy_machine.py

It starts a program on every core, lets the command line's `doctor` run beside them, starts a training of
short epochs, ends the programs after the first epoch, and prints what the training computes with before and
after. It records nothing: how busy "busy" is differs from machine to machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import replace

import torch

from resnet_course import machine
from resnet_course.common.durations import format_duration
from resnet_course.data import ImageSet
from resnet_course.machine import probing
from resnet_course.recipes import PLAIN
from resnet_course.resnet import resnet18
from resnet_course.training import fit, loop

BURN = "while True: pass"
IMAGES, EPOCHS = 256, 4


def main() -> None:
    """Run it."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    burners = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(machine.usable_cores())]
    try:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "resnet_course", "doctor"], check=True)
        took = format_duration(time.perf_counter() - start)
        print(f"the doctor took {took} on the busy machine", flush=True)
        watch(burners)
    finally:
        for burner in burners:
            burner.kill()


def watch(burners: list[subprocess.Popen]) -> None:
    """Train, and say before every epoch how it will be computed; the burners end after the first."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(IMAGES) % 10
    pixels = torch.randint(0, 256, (IMAGES, 3, 32, 32), generator=generator, dtype=torch.uint8)
    noise = ImageSet(pixels, labels, tuple("0123456789"), "noise")
    probing.LONG_ENOUGH = 0.0  # these epochs last seconds; those that are worth a measurement last a minute
    fit_epoch = loop.fit_epoch

    def watched(run: loop.Run, phase: loop.Phase) -> None:
        if len(run.epochs) == 1:
            for burner in burners:
                burner.kill()
        fit_epoch(run, phase)
        seconds = run.epochs[-1]["seconds"]
        print(f"epoch {len(run.epochs)}: {seconds:.1f} s on {phase.engine}", flush=True)

    loop.fit_epoch = watched
    try:
        fit(resnet18(10), noise, noise.limit(64, 0), replace(PLAIN, epochs=EPOCHS))
    finally:
        loop.fit_epoch = fit_epoch


if __name__ == "__main__":
    main()
