"""Helper package of a notebook course on ResNet-18 transfer learning. Start with notebooks/00_start_here.ipynb."""

__version__ = "0.1.0"
