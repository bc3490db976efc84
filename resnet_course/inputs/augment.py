"""Random changes to images, to a whole uint8 batch at once.

Every image of a batch gets its own draw; torchvision's transforms draw once for a whole batch. Each
change comes in two parts: `crop`, `affine`, … apply given parameters and equal torchvision's function
image by image; `random_crop`, `random_affine`, … draw the parameters. torchvision is imported where it is
used, here and elsewhere, because that takes seconds which most starts need not wait for.

What is written here beats torchvision's v2 transforms, called for each image. Milliseconds for 128 images
of 32 pixels on two cores, here and there: crop 0.8 and 2.7, flip 0.15 and 1.0, rotation 0.6 and 9.5, colours
0.6 and 9.9, erasing 0.25 and 2.3 (benchmarks/pipeline.py). Where there is little to gain, its own are used.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

GREY = torch.tensor((124, 116, 104), dtype=torch.uint8).view(3, 1, 1)  # the mean of ImageNet's pixels
AT_ONCE = 2**18  # pixels that are turned at once: their numbers stay in the processor's cache


def crop(images: Tensor, offsets: Tensor, padding: int, border: str = "reflect") -> Tensor:
    """Pad every side of every image, then cut out its old size at its own place.

    images: uint8 [N, 3, H, W]. offsets: int64 [2, N], the first row and column kept, 0 to 2 · padding.
    border: "reflect" mirrors the image at its edge; "constant" pads with black.
    Returns uint8 [N, 3, H, W].
    """
    height, width = images.shape[2:]
    if border == "constant":
        padded = F.pad(images, (padding,) * 4)
    else:  # PyTorch pads bytes with nothing but a constant
        padded = _mirror(_mirror(images, 2, padding), 3, padding)
    crops = torch.empty_like(images)
    for image, (top, left) in enumerate(offsets.T.tolist()):  # slices: a gather takes ten times as long
        crops[image] = padded[image, :, top : top + height, left : left + width]
    return crops


def _mirror(images: Tensor, dimension: int, padding: int) -> Tensor:
    """Images with `padding` mirrored pixels on both sides of a dimension; the edge itself is not repeated."""
    side = images.shape[dimension]
    before, after = (images.narrow(dimension, start, padding) for start in (1, side - 1 - padding))
    return torch.cat([before.flip(dimension), images, after.flip(dimension)], dimension)


def random_crop(images: Tensor, padding: int, generator: torch.Generator, border: str = "reflect") -> Tensor:
    """`crop` with offsets drawn evenly from all that there are."""
    offsets = torch.randint(0, 2 * padding + 1, (2, len(images)), generator=generator)
    return crop(images, offsets, padding, border)


def random_flip(images: Tensor, generator: torch.Generator, vertical: bool = False) -> Tensor:
    """Mirror every image left to right (vertical: upside down) with probability 1/2.

    images: uint8 [N, 3, H, W]. Returns uint8 [N, 3, H, W].
    """
    flipped = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(flipped[:, None, None, None], images.flip(2 if vertical else 3), images)


def affine(
    images: Tensor,
    degrees: Tensor,
    translate: Tensor | None = None,
    scale: Tensor | None = None,
    border: str = "reflection",
) -> Tensor:
    """Turn every image counter-clockwise, scale it and move it, sampled once, bilinearly.

    images: uint8 [N, 3, H, W]. degrees: float [N]. translate: float [2, N], pixels to the right and down.
    scale: float [N], above 1 enlarges. border: "reflection" fills what comes in from outside with the
        mirrored image; "zeros" leaves it black.
    Returns uint8 [N, 3, H, W].
    """
    move = torch.zeros(2, len(images)) if translate is None else translate
    size = torch.ones(len(images)) if scale is None else scale
    turned = torch.empty_like(images)
    at_once = max(1, AT_ONCE // images[0, 0].numel()) if len(images) else 1
    for some in torch.arange(len(images)).split(at_once):
        turned[some] = _affine(images[some], degrees[some], move[:, some], size[some], border)
    return turned


def _affine(images: Tensor, degrees: Tensor, move: Tensor, size: Tensor, border: str) -> Tensor:
    n, _, height, width = images.shape
    cosine, sine = torch.cos(degrees.deg2rad()) / size, torch.sin(degrees.deg2rad()) / size
    # From a pixel of the result, counted from the middle, to the place in the image that it shows.
    x, y = torch.arange(width) - (width - 1) / 2, torch.arange(height) - (height - 1) / 2
    x = x - move[0, :, None]  # [N, W]
    y = y - move[1, :, None]  # [N, H]
    cosine, sine = cosine[:, None], sine[:, None]
    grid = torch.empty(n, height, width, 2)  # in units of half a side, and written once: it is large
    torch.sub((cosine * x * 2 / width)[:, None], (sine * y * 2 / width)[:, :, None], out=grid[..., 0])
    torch.add((sine * x * 2 / height)[:, None], (cosine * y * 2 / height)[:, :, None], out=grid[..., 1])
    sampled = F.grid_sample(images.float(), grid, padding_mode=border, align_corners=False)
    return sampled.round_().to(torch.uint8)


def random_affine(
    images: Tensor,
    generator: torch.Generator,
    degrees: float = 15,
    translate: float = 0,
    scale: tuple[float, float] = (1, 1),
    border: str = "reflection",
) -> Tensor:
    """`affine`: angles up to ±degrees, moves up to `translate` of the side, scales in a range."""
    draws = torch.rand(4, len(images), generator=generator)
    angles = (2 * draws[0] - 1) * degrees
    moves = (2 * draws[1:3] - 1) * translate * images.shape[-1]
    return affine(images, angles, moves.round(), scale[0] + draws[3] * (scale[1] - scale[0]), border)


def adjust_colors(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Change brightness, then contrast, then saturation, by factors around 1.

    images: uint8 [N, 3, H, W]. The factors: float [N]; 0 gives black, the image's mean grey, no colour.
    Returns uint8 [N, 3, H, W].
    """
    factors = (factor[:, None, None, None] for factor in (brightness, contrast, saturation))
    # Cut down to whole numbers after each step, as torchvision does.
    x = (images * next(factors)).clamp_(0, 255).floor_()
    x = torch.lerp(_grey(x).mean((2, 3), keepdim=True), x, next(factors)).clamp_(0, 255).floor_()
    return torch.lerp(_grey(x), x, next(factors)).clamp_(0, 255).to(torch.uint8)


def _grey(x: Tensor) -> Tensor:
    """The brightness of every pixel, in whole numbers, float [N, 1, H, W] (ITU-R 601, as in torchvision)."""
    red, green, blue = x.split(1, dim=1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).floor_()


def random_colors(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """`adjust_colors` with three factors an image, drawn evenly from 1 - strength to 1 + strength."""
    factors = 1 + (2 * torch.rand(3, len(images), generator=generator) - 1) * strength
    return adjust_colors(images, *factors.clamp_(min=0))


def fill_boxes(images: Tensor, boxes: Tensor, filling: Tensor) -> Tensor:
    """Replace a box in every image by what `filling` has there.

    images: uint8 [N, 3, H, W]. boxes: int64 [4, N]: top, left, height, width; a height of 0 changes nothing.
    filling: uint8, of a shape that broadcasts to that of images. Returns uint8 [N, 3, H, W].
    """
    top, left, height, width = boxes[:, :, None]
    rows, columns = torch.arange(images.shape[2]), torch.arange(images.shape[3])
    inside_rows = (top <= rows) & (rows < top + height)  # [N, H]
    inside_columns = (left <= columns) & (columns < left + width)  # [N, W]
    inside = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    return torch.where(inside, filling, images)


def random_erasing(images: Tensor, generator: torch.Generator, probability: float = 0.5) -> Tensor:
    """Cover a box of every image with grey: 2 to 33 % of its area, sides from 3:10 to 10:3.

    Source: Zhong et al., "Random Erasing Data Augmentation", 2017 (arXiv 1708.04896). torchvision draws
    again when a box does not fit; here its sides are cut to the image's.
    """
    n, _, height, width = images.shape
    draws = torch.rand(5, n, generator=generator)
    area = height * width * (0.02 + 0.31 * draws[0])
    ratio = torch.exp((2 * draws[1] - 1) * math.log(10 / 3))
    tall = (area * ratio).sqrt().round().clamp(max=height - 1)
    wide = (area / ratio).sqrt().round().clamp(max=width - 1)
    top, left = (draws[2] * (height - tall + 1)).floor(), (draws[3] * (width - wide + 1)).floor()
    tall = tall * (draws[4] < probability)
    return fill_boxes(images, torch.stack([top, left, tall, wide]).long(), GREY)


def unmixed(
    images: Tensor, labels: Tensor, num_classes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Images and labels as they are."""
    return images, labels


def mixup(
    images: Tensor, labels: Tensor, num_classes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Lay every image over another of the batch, each pair with its own weight, and mix the labels alike.

    images: uint8 [N, 3, H, W]. labels: int64 [N].
    Returns (images uint8 [N, 3, H, W], labels float32 [N, num_classes], rows that sum to 1).
    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2017 (arXiv 1710.09412), with shares
    drawn evenly from 0 to 1.
    """
    partner = torch.randperm(len(images), generator=generator)
    share = torch.rand(len(images), generator=generator)
    mixed = torch.lerp(images[partner].float(), images.float(), share[:, None, None, None])
    return mixed.round_().to(torch.uint8), _mix_labels(labels, partner, share, num_classes)


def cutmix(
    images: Tensor, labels: Tensor, num_classes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Paste a box of another image of the batch into every image; the labels mix by area.

    Arguments and returns as in `mixup`.
    Source: Yun et al., "CutMix", 2019 (arXiv 1905.04899), with the box's share drawn evenly from 0 to 1.
    """
    n, _, height, width = images.shape
    partner = torch.randperm(n, generator=generator)
    side, middle_row, middle_column = torch.rand(3, n, generator=generator)
    side = side.sqrt()
    top = ((middle_row - side / 2) * height).round().clamp(0, height)
    left = ((middle_column - side / 2) * width).round().clamp(0, width)
    tall = ((middle_row + side / 2) * height).round().clamp(0, height) - top
    wide = ((middle_column + side / 2) * width).round().clamp(0, width) - left
    mixed = fill_boxes(images, torch.stack([top, left, tall, wide]).long(), images[partner])
    return mixed, _mix_labels(labels, partner, 1 - tall * wide / (height * width), num_classes)


def _mix_labels(labels: Tensor, partner: Tensor, share: Tensor, num_classes: int) -> Tensor:
    own = F.one_hot(labels, num_classes).float()
    return torch.lerp(own[partner], own, share[:, None])
