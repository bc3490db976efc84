"""The command line from start to end: train with a recipe, evaluate on test; minutes, accuracy, peak memory.

uv run python benchmarks/laptop_recipe.py --data folder:DIR --weights FILE --data-is … --weights-are …
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import parser, record

COMMAND = [sys.executable, "-m", "resnet_course"]


def main() -> None:
    """Run `train` and `evaluate` as a user would, each in a process of its own."""
    arguments = parser(__doc__)
    arguments.add_argument("--recipe", default="laptop")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        train = ["--recipe", options.recipe, "--data", options.data, "--weights", options.weights]
        start = time.perf_counter()
        subprocess.run([*COMMAND, "train", *train, "--out", str(out)], check=True)
        seconds = time.perf_counter() - start
        # ru_maxrss counts kilobytes on Linux; the largest child so far is the training.
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        evaluate = [*COMMAND, "evaluate", str(out / "best.pt"), "--data", options.data, "--json"]
        start = time.perf_counter()
        result = json.loads(subprocess.run(evaluate, check=True, capture_output=True, text=True).stdout)
        evaluate_seconds = time.perf_counter() - start
        epochs = json.loads((out / "history.json").read_text(encoding="utf-8"))
    measured = {
        "train_minutes": round(seconds / 60, 2),
        "evaluate_seconds": round(evaluate_seconds, 1),
        "test_accuracy_percent": round(100 * result["accuracy"], 2),
        "interval_percent": [round(100 * end, 2) for end in result["interval"]],
        "test_pictures": result["n"],
        "ece": round(result["ece"], 4),
        "peak_memory_gigabytes": round(peak / 1e9, 2),
        "epoch_seconds": [round(entry["seconds"], 1) for entry in epochs],
    }
    record(f"train_{options.recipe}", measured, options.data_is, options.weights_are)


if __name__ == "__main__":
    main()
