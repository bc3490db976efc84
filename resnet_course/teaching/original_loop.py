"""The published walk-through's own loop, in plain PyTorch and torchvision: the yardstick of this course.

    python original_loop.py --images images.npz [--weights resnet18-f37072fd.pth] [--steps 20] [--evaluate 20]

images.npz holds `images`, uint8 [N, H, W, 3], and `labels`, int64 [N], as CIFAR-10 has them. It prints one
JSON object, a number for each step and for each evaluation batch after a short warm-up:

    {"step_milliseconds": [...], "losses": [...], "evaluation_milliseconds": [...]}

It imports nothing of the course, so a process that runs it computes as the walk-through's readers do: their
memory allocator, their threads, nothing measured before. `teaching/baseline.py` starts such a process.
"""

import argparse
import itertools
import json
import time

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


class Images(Dataset):
    """One image at a time, from bytes to a tensor, through Pillow."""

    def __init__(self, images, labels, transform):
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def pipelines(stored_size=32, image_size=224):
    """The transforms for training and for evaluation, in the walk-through's order."""
    resize = transforms.Resize((image_size, image_size))
    to_input = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    train = [
        transforms.RandomCrop(stored_size, padding=4),
        resize,
        transforms.RandomHorizontalFlip(0.5),
        transforms.RandomRotation(15),
        *to_input,
    ]
    return transforms.Compose(train), transforms.Compose([resize, *to_input])


def pretrained(num_classes, weights=None):
    """torchvision's ResNet-18 with a new head; layer4 and the head learn.

    weights: the file of IMAGENET1K_V1; None: random ones, which take the same time.
    """
    model = models.resnet18()
    if weights is not None:
        model.load_state_dict(torch.load(weights, weights_only=True))
    for parameter in model.parameters():
        parameter.requires_grad = False
    for parameter in model.layer4.parameters():
        parameter.requires_grad = True
    model.fc = nn.Sequential(nn.Dropout(0.5), nn.Linear(model.fc.in_features, num_classes))
    return model


def make_optimizer(model):
    """AdamW on what learns."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(trainable, lr=5e-4, weight_decay=1e-4)


def train(model, loader, optimizer, device="cpu"):
    """Train for ever, epoch after epoch; yields the loss and the milliseconds of each step."""
    criterion = nn.CrossEntropyLoss()
    model.train()  # the frozen BatchNorm too, so its statistics move
    start = time.perf_counter()
    while True:
        for inputs, labels in loader:
            inputs, labels = inputs.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
            yield loss.item(), 1000 * (time.perf_counter() - start)
            start = time.perf_counter()


@torch.no_grad()
def evaluate(model, loader, device="cpu"):
    """Count what is right, for ever; yields the milliseconds of each batch."""
    model.eval()
    correct = 0
    start = time.perf_counter()
    while True:
        for inputs, labels in loader:
            inputs, labels = inputs.to(device), labels.to(device)
            correct += (model(inputs).argmax(1) == labels).sum().item()
            yield 1000 * (time.perf_counter() - start)
            start = time.perf_counter()


def main():
    """Train and evaluate for as many steps as were asked for, and print what each took."""
    parser = argparse.ArgumentParser(description="Time the steps of the published walk-through's loop.")
    parser.add_argument("--images", required=True, help="an .npz file with images and labels")
    parser.add_argument("--weights", help="the file of torchvision's ImageNet weights; random ones without")
    parser.add_argument("--steps", type=int, default=20, help="training steps to time")
    parser.add_argument("--evaluate", type=int, default=20, help="evaluation batches to time")
    parser.add_argument("--warm-up", type=int, default=2, help="of either, done before and not timed")
    parser.add_argument("--image-size", type=int, default=224, help="pixels a side of the network's input")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    with np.load(options.images) as file:
        images, labels = file["images"], file["labels"]
    training, testing = pipelines(images.shape[1], options.image_size)
    train_loader = DataLoader(Images(images, labels, training), options.batch_size, shuffle=True)
    test_loader = DataLoader(Images(images, labels, testing), options.batch_size)
    model = pretrained(labels.max() + 1, options.weights).to(options.device)

    def timed(numbers, count):
        return list(itertools.islice(numbers, options.warm_up, options.warm_up + count)) if count else []

    steps = timed(train(model, train_loader, make_optimizer(model), options.device), options.steps)
    batches = timed(evaluate(model, test_loader, options.device), options.evaluate)
    result = {
        "step_milliseconds": [milliseconds for _, milliseconds in steps],
        "losses": [loss for loss, _ in steps],
        "evaluation_milliseconds": batches,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
