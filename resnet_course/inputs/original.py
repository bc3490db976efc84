"""The original's way to the network: image by image through PIL and torchvision's transforms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from resnet_course.data.images import ImageSet
from resnet_course.inputs.transforms import Format


def original_pipeline(
    train: bool,
    stored_size: int = 32,
    image_size: int = 224,
    mean: tuple[float, float, float] = (0.4914, 0.4822, 0.4465),
    std: tuple[float, float, float] = (0.2023, 0.1994, 0.2010),
) -> Callable:
    """The published walk-through's transforms, in its order, from a PIL image to float32 [3, H, W].

    train: the random ones too (crop, resize, flip, rotation); False: resize only.
    stored_size: pixels a side of the images that come in; 32 in CIFAR-10.
    They draw from torch's global random numbers.
    """
    from torchvision import transforms

    resize = transforms.Resize((image_size, image_size))
    tensor = [transforms.ToTensor(), transforms.Normalize(mean, std)]
    if not train:
        return transforms.Compose([resize, *tensor])
    crop, flip = transforms.RandomCrop(stored_size, padding=4), transforms.RandomHorizontalFlip(0.5)
    return transforms.Compose([crop, resize, flip, transforms.RandomRotation(15), *tensor])


class OriginalImages(Dataset):
    """The original's data set: one PIL image at a time through its pipeline."""

    def __init__(self, image_set: ImageSet, input_format: Format, train: bool) -> None:
        self.image_set = image_set
        size, mean, std = input_format.image_size, input_format.mean, input_format.std
        self.transform = original_pipeline(train, image_set.stored_size, size, mean, std)

    def __len__(self) -> int:
        return len(self.image_set)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from torchvision.transforms.functional import to_pil_image

        image, label = self.image_set[index]
        return self.transform(to_pil_image(image)), label


def original_batches(
    image_set: ImageSet, order: Sequence[Tensor], input_format: Format, *, train: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of the images at each of `order` (int64 [B] each), as `train_batches` yields them."""
    images = OriginalImages(image_set, input_format, train)
    yield from DataLoader(images, batch_sampler=[batch.tolist() for batch in order], num_workers=0)
