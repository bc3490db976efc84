"""Writes results.json: every figure that the prose quotes, and the conditions it was measured on."""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
from pathlib import Path
from typing import Any

import torch
import torchvision
from claims import broken

from resnet_course import machine
from resnet_course.common.files import write_atomically

RESULTS = Path(__file__).with_name("results.json")


def parser(description: str) -> argparse.ArgumentParser:
    """The options that all benchmarks on images share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", required=True, help="auto, cifar10, shapes or folder:DIR")
    parser.add_argument("--weights", required=True, help="imagenet, builtin, none or a file")
    parser.add_argument("--data-is", required=True, help="what the images are, in words")
    parser.add_argument("--weights-are", required=True, help="what the weights are, in words")
    parser.add_argument("--machine", help="a word for the kind of processor: avx2, avx512 or amx")
    return parser


def named(name: str, options: argparse.Namespace) -> str:
    """The name of a benchmark in results.json, which has one record for each kind of processor."""
    return f"{name}_{options.machine}" if options.machine else name


def record(name: str, measured: dict[str, Any], data: str, weights: str) -> None:
    """Put the figures of one benchmark into results.json, in place of its earlier ones.

    name: the benchmark. measured: its figures by name; nested dicts are fine.
    data, weights: what was used, in words.
    """
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    conditions = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{machine.processor()}, {machine.usable_cores()} cores, {platform.system()}",
        "instructions": machine.signature(machine.device()),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "data": data,
        "weights": weights,
    }
    results[name] = {**measured, "conditions": conditions}
    text = json.dumps(dict(sorted(results.items())), indent=1, ensure_ascii=False) + "\n"
    write_atomically(RESULTS, lambda file: file.write(text.encode()))
    print(json.dumps(results[name], indent=1, ensure_ascii=False), flush=True)
    for claim in broken(results):
        print(f"results.json contradicts what the course says: {claim}", file=sys.stderr)


def recorded(name: str) -> dict[str, Any]:
    """The figures that results.json holds of one benchmark, without their conditions; {} if it has none."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    return {key: value for key, value in results.get(name, {}).items() if key != "conditions"}
