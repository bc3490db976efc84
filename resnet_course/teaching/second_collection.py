"""Images of the same classes that somebody else collected: a real shift, where one can be had."""

from __future__ import annotations

import torch.nn.functional as F

from resnet_course.common.download import DownloadError
from resnet_course.data import cifar10_1
from resnet_course.data.images import ImageSet
from resnet_course.data.shapes import SIZE
from resnet_course.settings import Settings
from resnet_course.teaching.sharp import draw_sharp

SIDE = 128  # pixels at which shapes are drawn before they are scaled down
SHARE = 0.7  # of the side: as wide as the shapes of the data set are on average


def second_collection(known: ImageSet, settings: Settings, count: int) -> tuple[ImageSet | None, str]:
    """Images of the same classes from another collection, and in words where they come from or why none are.

    Of CIFAR-10's classes CIFAR-10.1, downloaded once, and not in reduced mode; of the shapes the same ones
    drawn in another way: sharp, on stripes, without noise and bars.

    known: a split of what the network learned from. count: at most so many images.
    """
    if known.name == "shapes":
        drawn = draw_sharp(count, settings.seed, SHARE, SIDE)
        small = F.avg_pool2d(drawn.images.float(), SIDE // SIZE).round().byte()
        redrawn = ImageSet(small, drawn.labels, drawn.classes, "redrawn shapes")
        return redrawn, "the same shapes, drawn in another way"
    if set(known.classes) != set(cifar10_1.CLASSES):
        return None, "of your own classes no second collection is at hand; take new pictures, on another day"
    if settings.reduced and not cifar10_1.is_present(settings.home):
        return None, "CIFAR-10.1 is not downloaded in reduced mode"
    try:
        found = cifar10_1.load(settings.home, patience=settings.patience)
    except DownloadError as error:
        return None, f"CIFAR-10.1 cannot be had now: {str(error).splitlines()[0]}"
    return found.in_classes(known.classes).limit(
        count, settings.seed
    ), "collected years later in the same way"
