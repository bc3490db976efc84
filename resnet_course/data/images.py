"""Pictures in memory: `ImageSet`, `Splits`, and how any picture becomes a square of RGB bytes."""

from __future__ import annotations

import io
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset


class DataError(ValueError):
    """The data source cannot be used. The message says what was found and what would be right."""


class ImageError(ValueError):
    """One picture cannot be read. The message is "name: why"."""


class LabelledSet(Dataset):
    """What `ImageSet` and `FeatureSet` share: labels, and ways to draw a part.

    labels: int64 [N], indices into `classes`. classes: the class names. name: what the pictures are.
    """

    labels: Tensor
    classes: tuple[str, ...]
    name: str
    kind: ClassVar[str]  # "pictures" or "features"

    def __post_init__(self) -> None:
        if self.labels.dtype != torch.int64 or self.labels.shape != (len(self),):
            found = f"{self.labels.dtype} {list(self.labels.shape)}"
            raise DataError(f"labels are {found}; they must be torch.int64 [{len(self)}]")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            raise DataError(f"a label is outside 0..{len(self.classes) - 1}, the {len(self.classes)} classes")

    def subset(self, indices: Tensor) -> Self:
        """The pictures at `indices` (int64 [M]), in that order."""
        raise NotImplementedError

    def per_class(self, count: int, seed: int = 0) -> Self:
        """At most `count` pictures of each class, drawn with `seed`, in their original order."""
        return self.subset(draw_per_class(self.labels, [count] * len(self.classes), seed))

    def limit(self, count: int, seed: int = 0) -> Self:
        """`count` pictures in all, the classes in the proportions of the whole set; all if it has fewer."""
        if count >= len(self):
            return self
        return self.subset(draw_stratified(self.labels, len(self.classes), count, seed))


@dataclass(frozen=True, eq=False)
class ImageSet(LabelledSet):
    """Labelled pictures of one size, all in memory (or in a memory-mapped file).

    images: uint8 [N, 3, H, W], RGB.
    labels: int64 [N], indices into `classes`.
    classes: the class names.
    name: what the pictures are, for captions and banners ("CIFAR-10", "shapes", "folder pets").
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    kind: ClassVar[str] = "pictures"

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[1] != 3:
            found = f"{self.images.dtype} {list(self.images.shape)}"
            raise DataError(f"images are {found}; they must be torch.uint8 [N, 3, H, W]")
        super().__post_init__()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One picture, uint8 [3, H, W], and its label."""
        return self.images[index], int(self.labels[index])

    @property
    def stored_size(self) -> int:
        """Pixels a side of the stored pictures."""
        return self.images.shape[-1]

    def take(self, indices: Tensor | slice) -> Tensor:
        """The images at `indices` as a tensor, uint8 [B, 3, S, S]."""
        return self.images[indices]

    def subset(self, indices: Tensor) -> ImageSet:
        """The pictures at `indices` (int64 [M]), in that order."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])

    def in_classes(self, classes: tuple[str, ...]) -> ImageSet:
        """The same pictures with labels that index `classes`, matched by name.

        Raises DataError if a class of this set is not among `classes`.
        """
        if classes == self.classes:
            return self
        unknown = [name for name in self.classes if name not in classes]
        if unknown:
            raise DataError(
                f"{self.name} has the classes {', '.join(unknown)}, which the model was not trained on; "
                f"it knows: {', '.join(classes)}"
            )
        index = torch.tensor([classes.index(name) for name in self.classes])
        return replace(self, labels=index[self.labels], classes=classes)


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set: learn from `train`, choose by `val`, judge once by `test`."""

    train: ImageSet
    val: ImageSet
    test: ImageSet


def draw_per_class(labels: Tensor, counts: list[int], seed: int) -> Tensor:
    """Sorted indices of `counts[c]` randomly drawn pictures of each class c (all, where there are fewer)."""
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for label, count in enumerate(counts):
        members = (labels == label).nonzero().flatten()
        chosen.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return torch.cat(chosen).sort().values


def draw_stratified(labels: Tensor, num_classes: int, count: int, seed: int) -> Tensor:
    """Sorted indices of `count` pictures, the classes in their proportions (largest remainder first)."""
    shares = torch.bincount(labels, minlength=num_classes) * count  # in units of 1 / len(labels) pictures
    counts = shares // len(labels)
    by_remainder = (shares % len(labels)).argsort(descending=True, stable=True)
    counts[by_remainder[: count - int(counts.sum())]] += 1
    return draw_per_class(labels, counts.tolist(), seed)


def split_off(image_set: ImageSet, fraction: float, seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """Split off a stratified `fraction` (0 to 1): returns (the rest, the part split off).

    Every class keeps at least one picture on each side.
    Raises DataError if a class has fewer than two pictures.
    """
    sizes = torch.bincount(image_set.labels, minlength=len(image_set.classes)).tolist()
    if min(sizes) < 2:
        smallest = image_set.classes[sizes.index(min(sizes))]
        raise DataError(
            f"{image_set.name}: the class {smallest} has {min(sizes)} picture(s); every class needs at least "
            "2, one to learn from and one to check with"
        )
    counts = [min(size - 1, max(1, round(size * fraction))) for size in sizes]
    part = draw_per_class(image_set.labels, counts, seed)
    rest = torch.ones(len(image_set), dtype=torch.bool)
    rest[part] = False
    return image_set.subset(rest.nonzero().flatten()), image_set.subset(part)


def read_image(source: str | PathLike | bytes | Image.Image | np.ndarray, at_least: int = 0) -> Image.Image:
    """Read a picture as 8-bit RGB, upright, whatever it was.

    EXIF rotation is applied; transparent parts become white; grey, palette, CMYK, 16-bit and float
    pictures are converted; of an animation the first frame is taken.

    source: a path, the bytes of a file, a PIL picture (which stays as it is), or an array [H, W], [H, W, 3]
        or [H, W, 4] of bool, float in 0..1, uint16 in 0..65535, or other integers in 0..255.
    at_least: a shortest side in pixels below which a JPEG may not be shrunk while it is decoded;
        0 decodes it whole. It makes large photographs several times faster to read.
    Returns a new picture.
    Raises ImageError.
    """
    name = str(source) if isinstance(source, str | PathLike) else "the picture"
    try:
        with warnings.catch_warnings():
            # Pillow warns of a decompression bomb from 89 million pixels on, and raises from twice that.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # EXIF that Pillow can only read in part is no reason to refuse a picture.
            warnings.filterwarnings("ignore", category=UserWarning)
            if isinstance(source, Image.Image):
                return _to_rgb(source)
            if isinstance(source, np.ndarray):
                return _to_rgb(_from_array(source))
            if isinstance(source, bytes | bytearray | memoryview):
                source = io.BytesIO(source)
            elif not isinstance(source, str | PathLike):
                found = type(source).__name__
                raise ValueError(f"is a {found}; give a path, the bytes of a file, a PIL picture or an array")
            elif Path(source).is_dir():
                raise ValueError("is a folder; give the path of a picture file")
            with Image.open(source) as picture:
                if at_least:
                    picture.draft(None, (at_least, at_least))
                return _to_rgb(picture)
    except FileNotFoundError:
        reason = "there is no such file"
    except UnidentifiedImageError:
        reason = "not a picture that can be read; PNG and JPEG always can"
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        reason = f"claims more than {Image.MAX_IMAGE_PIXELS:,} pixels; shrink it"
    except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
    raise ImageError(f"{name}: {reason}")


def count_frames(path: str | PathLike) -> int:
    """How many frames an animation has; 1 for all other files, also for what is no picture."""
    with suppress(Exception), Image.open(path) as picture:
        if picture.format in ("GIF", "PNG", "WEBP"):  # photographs of phones hold a preview as a second frame
            return getattr(picture, "n_frames", 1)
    return 1


def _to_rgb(picture: Image.Image) -> Image.Image:
    """A copy in 8-bit RGB, upright."""
    if 0 in picture.size:
        raise ValueError(f"has no pixels, {picture.width} x {picture.height}")
    picture.load()
    with suppress(Exception):  # EXIF that cannot be read at all is no reason to refuse a picture either
        picture = ImageOps.exif_transpose(picture)
    # Pillow clips deep grey to 255 instead of scaling it. The mode says where white is, not the brightest
    # pixel: a dark 16-bit picture stays dark. Pillow reads 16-bit files as any of the modes I….
    if picture.mode.startswith("I"):
        picture = _from_array(np.asarray(picture).clip(0, 65535).astype(np.uint16))
    elif picture.mode == "F":  # files hold 0..1 as a rule; what Pillow itself converts to F has 0..255
        pixels = np.nan_to_num(np.asarray(picture))
        picture = _from_array((pixels / (1 if pixels.max() <= 1 else 255)).clip(0, 1))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def _from_array(array: np.ndarray) -> Image.Image:
    """A PIL picture of an array; its dtype says which value is white."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or 0 in array.shape:
        shape = list(array.shape)
        raise ValueError(f"is an array of shape {shape}; it must be [H, W], [H, W, 3] or [H, W, 4]")
    if array.dtype.kind not in "buif":
        raise ValueError(f"is an array of {array.dtype}; it must be bool, integer or float")
    white = 1 if array.dtype.kind in "bf" else 65535 if array.dtype.str[1:] == "u2" else 255
    pixels = np.rint(array.astype(np.float32) * (255 / white))
    if not 0 <= pixels.min() <= pixels.max() <= 255:
        found = f"{array.dtype} from {array.min():g} to {array.max():g}"
        raise ValueError(f"is an array of {found}; its values must lie in 0..{white}")
    return Image.fromarray(pixels.astype(np.uint8))


def square(picture: Image.Image, size: int) -> np.ndarray:
    """The middle square of a picture, scaled to `size` pixels: uint8 [size, size, 3].

    The shortest side decides, so nothing is squashed; what sticks out on the long side is cut off.
    """
    width, height = picture.size
    if (width, height) != (size, size):
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))  # else pixels beyond it would bleed in
        picture = picture.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.array(picture)
