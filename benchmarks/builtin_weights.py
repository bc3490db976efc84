"""Pretrains the network that the package ships: a ResNet-18 of width 16, on the drawn pretraining classes.

    python benchmarks/builtin_weights.py [--out resnet_course/transfer/builtin_resnet18_width16.pt]

It takes about three minutes on two cores, and every run on one machine writes the same tensors
(verified by comparing the digests it prints). tests/test_builtin_weights.py shows what they are good for.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from resnet_course.common.files import write_atomically
from resnet_course.data.shapes import PRETRAINING_CLASSES, draw
from resnet_course.inputs import to_input
from resnet_course.inputs.augment import random_flip
from resnet_course.recipes import REDUCED
from resnet_course.resnet import ResNet, resnet18
from resnet_course.transfer import BUILTIN_FILE

# At 32 pixels the last stage sees a single position. Both sizes in turn are worse at both: BatchNorm keeps
# one set of statistics, and those of the two sizes differ.
RECIPE = replace(REDUCED, image_size=64)
EPOCHS = 20
IMAGES = 16_000  # an epoch, each freshly drawn: such a data set has no end, so nothing is overfitted
BATCH_SIZE = 128
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 0.05
HELD_OUT_SEED = 1_000_000  # no epoch draws with it


def pretrain() -> ResNet:
    """Train from random weights, with a line an epoch."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = resnet18(len(PRETRAINING_CLASSES), width=16).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=WEIGHT_DECAY)
    steps = IMAGES // BATCH_SIZE
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, EPOCHS * steps)
    for epoch in range(EPOCHS):
        drawn = draw(IMAGES, seed=epoch, classes=PRETRAINING_CLASSES)
        total = 0.0
        for step in range(steps):
            batch = slice(step * BATCH_SIZE, (step + 1) * BATCH_SIZE)
            inputs = to_input(random_flip(drawn.images[batch], generator), RECIPE)
            loss = F.cross_entropy(model(inputs), drawn.labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1:2}/{EPOCHS}: loss {total / steps:.3f}", flush=True)
    return model


def held_out_accuracy(model: ResNet) -> float:
    """The share of 4,000 fresh drawings that the model names rightly."""
    held_out = draw(4_000, HELD_OUT_SEED, PRETRAINING_CLASSES)
    model.eval()
    with torch.inference_mode():
        logits = [model(to_input(images, RECIPE)) for images in held_out.images.split(500)]
    return (torch.cat(logits).argmax(1) == held_out.labels).float().mean().item()


def main() -> None:
    """Pretrain, round to float16, measure, save."""
    package = Path(__file__).resolve().parents[1] / "resnet_course"
    parser = argparse.ArgumentParser(description="Pretrain the built-in weights.")
    parser.add_argument("--out", type=Path, default=package / BUILTIN_FILE, help="the file to write")
    out = parser.parse_args().out

    model = pretrain()
    state = {
        name: tensor.half().contiguous() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    model.load_state_dict(state)  # so that what is measured is what is saved
    print(f"held-out accuracy {held_out_accuracy(model):.1%}")
    write_atomically(out, lambda file: torch.save(state, file))
    digest = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in state.values())).hexdigest()
    print(f"wrote {out}, {out.stat().st_size:,} bytes; sha256 of its tensors {digest[:16]}")


if __name__ == "__main__":
    main()
