"""The helper package of a notebook course on ResNet-18 transfer learning on a CPU."""

__version__ = "0.2.0"
