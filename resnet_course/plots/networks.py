"""Figures of what is inside a network."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from resnet_course.plots.figure import bare, check_finite, finish, listed, show_image, subplots
from resnet_course.plots.palette import styles
from resnet_course.plots.texts import legend_label


def gradient_norms(
    panels: Mapping[str, Mapping[str, Mapping[str, float]]], title: str, lowest: float = 0.0
) -> Figure:
    """The size of the gradient in every layer, a line for each network, in panels beside each other.

    panels: by the panel's title and the network's name, what `anatomy.gradient_norms` returns.
    lowest: where the axis ends; what is smaller is not drawn, and the description names it.
    """
    check_finite("gradient_norms", panels)
    figure, axes = subplots(1, len(panels), figsize=(5.5 * len(panels), 4), sharey=True)
    looks = styles(network for networks in panels.values() for network in networks)
    found = []
    for axis, (name, networks) in zip(axes.flat, panels.items(), strict=True):
        ends = []
        for network, norms in networks.items():
            sizes, curve = list(norms.values()), looks[network].curve
            axis.semilogy(range(1, len(sizes) + 1), sizes, **curve, label=legend_label(network), markersize=4)
            ends.append(f"{network}: {sizes[0]:.1e} and {sizes[-1]:.1e}")
        found.append(f"{name}: {listed(ends, len(ends))}")
        axis.set(title=name, xlabel="layer, from the image to the classes")
        if lowest:
            axis.set_ylim(bottom=lowest)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    axes[0, 0].set_ylabel("norm of the gradient")
    alt = f"Lines of the gradient's size over the layers; of each the first and the last. {'; '.join(found)}."
    return finish(figure, title, alt)


def filters(weights: Tensor, title: str, columns: int = 16) -> Figure:
    """The filters of a first layer as small images, each stretched to its own range.

    A filter of one value throughout, such as a dead one, has no range, and is grey.
    weights: float32 [filters, 3, height, width].
    """
    weights = weights.detach().cpu()
    check_finite("filters", weights, "weights")
    rows = -(-len(weights) // columns)
    figure, axes = subplots(rows, columns, figsize=(0.6 * columns, 0.6 * rows + 0.4))
    for axis in axes.flat:
        axis.axis("off")
    low, high = weights.amin((1, 2, 3)), weights.amax((1, 2, 3))
    constant = low == high
    for axis, weight, least, most in zip(axes.flat, weights, low, high, strict=False):
        stretched = (weight - least) / (most - least) if most > least else weight.new_full(weight.shape, 0.5)
        axis.imshow(stretched.permute(1, 2, 0).numpy())
    count, _, height, width = weights.shape
    dead = f"; {int(constant.sum())} of them have one value throughout" if constant.any() else ""
    return finish(figure, title, f"{count} filters of {height} × {width} pixels as colour images{dead}.")


def feature_maps(image: Tensor, outputs: Mapping[str, Tensor], title: str, channels: int = 8) -> Figure:
    """What the parts of a network make of one image: a row for each part, its first channels, on one scale.

    image: uint8 [3, H, W]. outputs: by the part's name, float32 [1, C, h, w].
    """
    check_finite("feature_maps", outputs, "outputs")
    figure, axes = subplots(len(outputs), channels + 1, figsize=(channels + 1, len(outputs) + 0.4))
    bare(axes)
    sizes = {name: f"{maps.shape[-2]}×{maps.shape[-1]}" for name, maps in outputs.items()}
    for row, (name, maps) in zip(axes, outputs.items(), strict=True):
        row[1].set_ylabel(f"{name}\n{sizes[name]}", rotation=0, ha="right", va="center")
        shown = maps[0, :channels]
        limits = {"vmin": float(shown.min()), "vmax": float(shown.max())}  # one scale, so that tiles compare
        for axis, values in zip(row[1:], shown, strict=False):
            axis.imshow(values.cpu().numpy(), cmap="viridis", **limits)
    show_image(axes[0, 0], image)
    axes[0, 0].set_title("the image", fontsize=9)
    parts = listed(f"{name} {size} pixels" for name, size in sizes.items())
    return finish(figure, title, f"One image, and the first {channels} feature maps of: {parts}.")
