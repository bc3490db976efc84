"""What the tests of reading images share: files made in memory, and the pixels that come out."""

import io

import numpy as np
from PIL import Image

from resnet_course.data.reading import read_image


def encode(image: Image.Image, file_format: str = "PNG", **options) -> bytes:
    """The bytes of a file of the image."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def pixels(source) -> np.ndarray:
    """What is read, uint8 [H, W, 3]."""
    image = read_image(source)
    assert image.mode == "RGB"
    return np.asarray(image)


def grey(values) -> np.ndarray:
    """The same value in all three channels."""
    return np.stack([np.asarray(values)] * 3, axis=-1)
