"""Peers of the plan in `--minutes`, on the same few pictures, from loaded data on.

uv run --with timm --with scikit-learn python benchmarks/peers.py --data folder:DIR --weights FILE
    --data-is … --weights-are … [--count 50] [--seeds 3]

- scikit-learn's `LogisticRegression`, as it is, on the 512 features of the frozen network at 128 pixels;
- timm's `resnet18` with the same weights, in a plain loop: all layers, AdamW with a rate of 1e-3 and weight
  decay of 0.05 on one cosine, random resized crops and mirror images at 128 pixels, batches of 32, for as
  long as ours;
- ours: `fit_in` with so much time that the clock does not decide.

All are judged by the same test pictures as in minutes.py.
"""

from __future__ import annotations

import math
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from minutes import JUDGED, SIZE
from record import parser, record, recorded
from torch import Tensor, nn
from torchvision.transforms import v2
from trainings import drawn_folder

from resnet_course.data import ImageSet, load, load_split
from resnet_course.evaluation import evaluate
from resnet_course.inputs import to_input
from resnet_course.recipes import LAPTOP
from resnet_course.settings import Settings
from resnet_course.training import all_that_may_learn
from resnet_course.training.planning import fit_in
from resnet_course.transfer import build_model
from resnet_course.transfer.weights import load_weights

MINUTES = 5.0  # more than any plan for so few pictures takes
PLAIN = replace(LAPTOP, image_size=SIZE)  # its normalisation, for all


def main() -> None:
    """Measure every draw that is not recorded yet."""
    arguments = parser(__doc__)
    arguments.add_argument("--count", type=int, default=50)
    arguments.add_argument("--seeds", type=int, default=3)
    options = arguments.parse_args()
    settings = replace(Settings.from_env(), weights=options.weights)
    test = load_split(replace(settings, data=options.data), "test").per_class(JUDGED)
    for seed in range(options.seeds):
        found, cell = recorded("peers"), f"at_{options.count}_seed_{seed}"
        if cell not in found:
            with drawn_folder(options.data, options.count, seed) as folder:
                found[cell] = _measure(options, replace(settings, data=folder), test, seed)
            record("peers", found, options.data_is, options.weights_are)


def _measure(options: Namespace, settings: Settings, test: ImageSet, seed: int) -> dict[str, object]:
    with TemporaryDirectory() as home:
        splits = load(replace(settings, home=Path(home)))
        train, _ = all_that_may_learn(splits)
        began = time.perf_counter()
        fitted = fit_in(MINUTES, splits, weights=options.weights, seed=seed, home=home)
        ours = time.perf_counter() - began
        accuracy = evaluate(fitted.model, test, fitted.history.recipe).accuracy
        found = {"ours": _row(ours, accuracy) | {"plan": fitted.plan.recipe.name}}
    found["scikit_learn"] = _logistic_regression(train, test, options.weights)
    found["timm"] = _plain_loop(train, test, options.weights, seed, ours)
    return found | {"test_pictures": len(test)}


def _row(seconds: float, accuracy: float) -> dict[str, float]:
    return {"seconds": round(seconds, 1), "test_accuracy_percent": round(100 * accuracy, 2)}


def _logistic_regression(train: ImageSet, test: ImageSet, weights: str) -> dict[str, float]:
    from sklearn.linear_model import LogisticRegression

    began = time.perf_counter()
    trunk = build_model(len(train.classes), weights, "fc", 0.0).eval()
    trunk.fc = nn.Identity()

    @torch.no_grad()
    def features(images: ImageSet) -> Tensor:
        return torch.cat([trunk(to_input(part, PLAIN)) for part in images.chunks(128)])

    known = LogisticRegression(max_iter=1_000).fit(features(train).numpy(), train.labels.numpy())
    seconds = time.perf_counter() - began
    return _row(seconds, known.score(features(test).numpy(), test.labels.numpy()))


def _plain_loop(train: ImageSet, test: ImageSet, weights: str, seed: int, seconds: float) -> dict[str, float]:
    import timm

    torch.manual_seed(seed)
    model = timm.create_model("resnet18", num_classes=len(train.classes))
    state = {name: tensor for name, tensor in load_weights(weights).items() if not name.startswith("fc.")}
    missing = model.load_state_dict(state, strict=False).missing_keys
    assert set(missing) == {"fc.weight", "fc.bias"}, missing
    change = v2.Compose([v2.RandomResizedCrop(SIZE, antialias=True), v2.RandomHorizontalFlip()])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    began, epochs = time.perf_counter(), 0.0
    while (done := (time.perf_counter() - began) / seconds) < 1:
        for places in torch.randperm(len(train)).split(32):
            done = min(1.0, (time.perf_counter() - began) / seconds)
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * (1 + math.cos(math.pi * done)) / 2
            images = torch.stack([change(image) for image in train.take(places)])
            loss = F.cross_entropy(model.train()(to_input(images, PLAIN)), train.labels[places])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            epochs += len(places) / len(train)
            if done >= 1:
                break
    taken = time.perf_counter() - began
    with torch.no_grad():
        answers = torch.cat([model.eval()(to_input(part, PLAIN)).argmax(1) for part in test.chunks(128)])
    return _row(taken, float((answers == test.labels).float().mean())) | {"epochs": round(epochs, 1)}


if __name__ == "__main__":
    main()
