"""The published walk-through run to its end: test accuracy after each of its ten epochs.

    uv run python benchmarks/original_run.py --data folder:DIR --weights FILE --data-is … --weights-are … \\
        [--batchnorm frozen] [--workers 6] [--seed 0]

With --batchnorm moving (as it is) the frozen BatchNorms stay in training mode; with frozen they do not. On a
GPU it takes minutes, on two cores of a processor most of a day. Its accuracy does not depend on where it is
run, its minutes do: those are the part "steps" of time_to_accuracy.py.
"""

from __future__ import annotations

import itertools
import time
from argparse import Namespace
from collections.abc import Iterator

import torch
from measuring import splits_of, weights_file
from record import parser, record, recorded
from torch import nn
from torch.utils.data import DataLoader

from resnet_course.data import ImageSet
from resnet_course.recipes import ORIGINAL
from resnet_course.teaching import original_loop as original
from resnet_course.training.sets import learning_and_choosing


def main() -> None:
    """Train, and record every epoch as soon as it is done."""
    arguments = parser(__doc__)
    arguments.add_argument("--batchnorm", choices=("moving", "frozen"), default="moving")
    arguments.add_argument("--workers", type=int, default=0, help="processes that load the images")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    train, test = learning_and_choosing(splits_of(options), ORIGINAL)
    row = f"batchnorm_{options.batchnorm}_seed_{options.seed}"
    for found in run(options, train, test):
        record("original_run", recorded("original_run") | {row: found}, options.data_is, options.weights_are)


def run(options: Namespace, train: ImageSet, test: ImageSet) -> Iterator[dict[str, object]]:
    """Ten epochs of its own loop, with its schedule; yields what there is after each."""
    torch.manual_seed(options.seed)
    training, testing = original.pipelines()
    train_loader = loader(train, training, options.workers, shuffle=True)
    test_loader = loader(test, testing, options.workers)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = original.pretrained(len(train.classes), weights_file(options.weights)).to(device)
    optimizer = original.make_optimizer(model)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=2)
    accuracies, losses, seconds = [], [], []
    for _ in range(ORIGINAL.epochs):
        start = time.perf_counter()
        if options.batchnorm == "frozen":
            freeze_statistics(model)
        steps = original.train(model, train_loader, optimizer, device)
        losses.append(sum(loss for loss, _ in itertools.islice(steps, len(train_loader))) / len(train_loader))
        accuracies.append(accuracy(model, test_loader, device))
        plateau.step(accuracies[-1])
        seconds.append(time.perf_counter() - start)
        yield {
            "test_accuracy_percent": [round(100 * share, 2) for share in accuracies],
            "train_loss": [round(loss, 4) for loss in losses],
            "best_on_test_percent": round(100 * max(accuracies), 2),
            "train_pictures": len(train),
            "test_pictures": len(test),
            "device": device,
            "epoch_seconds": [round(each, 1) for each in seconds],
        }


def loader(image_set: ImageSet, transform: object, workers: int, shuffle: bool = False) -> DataLoader:
    """The walk-through's loader, with more processes if asked for."""
    images = image_set.images.permute(0, 2, 3, 1).contiguous().numpy()
    dataset = original.Images(images, image_set.labels.numpy(), transform)
    keep = workers > 0
    return DataLoader(
        dataset, ORIGINAL.batch_size, shuffle=shuffle, num_workers=workers, persistent_workers=keep
    )


def freeze_statistics(model: nn.Module) -> None:
    """From now on the BatchNorms of what is frozen stay in eval mode, whatever `train` says to the model."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval().train = lambda mode=True, module=module: module


@torch.no_grad()
def accuracy(model: nn.Module, test_loader: DataLoader, device: str) -> float:
    """The share of the test images that is right."""
    model.eval()
    right = sum((model(x.to(device)).argmax(1).cpu() == y).sum().item() for x, y in test_loader)
    return right / len(test_loader.dataset)


if __name__ == "__main__":
    main()
