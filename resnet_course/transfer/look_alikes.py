"""Names a network by the names and shapes of its tensors, for messages about weights that do not fit."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

Shapes = Mapping[str, Tensor]  # a state dict, of which only names and shapes are looked at

BASIC = {(1, 1, 1, 1): 10, (2, 2, 2, 2): 18, (3, 4, 6, 3): 34}
BOTTLENECK = {(1, 1, 1, 1): 14, (2, 2, 2, 2): 26, (3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}
# What tells other networks, in the order in which it is tried: some names are parts of others.
SIGNS = (
    (r"(^|\.)embedder\.embedder\.convolution\.", "a ResNet as Hugging Face names its parts"),
    (r"(^|\.)denseblock\d", "a DenseNet"),
    (r"(^|\.)(Mixed_\d|Conv2d_\dA_\dx\d|inception\d)", "an Inception network or a GoogLeNet"),
    (r"(^|\.)features\.\d+\.(squeeze|expand\dx\d)\.", "a SqueezeNet"),
    (r"(^|\.)relative_position_bias_table$", "a Swin transformer"),
    (r"(^|\.)(cls_token|class_token|pos_embed|conv_proj\.weight|class_embedding)$", "a vision transformer"),
    (r"(^|\.)(layer_scale|gamma)$", "a ConvNeXt"),
    (r"(^|\.)stage[234]\.\d\.branch[12]\.", "a ShuffleNet"),
    (r"(^|\.)trunk_output\.block\d", "a RegNet"),
    (r"(^|\.)(_blocks\.\d+\._|features\.\d\.\d\.block\.\d\.fc1|blocks\.\d\.\d\.se\.)", "an EfficientNet"),
    (r"(^|\.)blocks\.\d\.\d\.conv_(dw|pw)", "an EfficientNet or a MobileNet"),
    (r"(^|\.)features\.\d+\.(conv|block)\.\d", "a MobileNet"),
    (r"(^|\.)(word_embeddings|embed_tokens|wte|token_embedding)\.weight$", "a language model"),
    (r"(^|\.)(res[2-5]|stem)\.\d*\.?conv\d\.norm\.", "a ResNet as Detectron2 names its parts"),
    (r"(^|\.)classifier\.6\.weight$", "a VGG network or an AlexNet"),
    (r"(^|\.)(down\d|downs|up\d|ups|inc)\.", "a U-Net"),
)


def name_network(found: Shapes) -> str | None:
    """What network these tensors are of, such as "a ResNet-50"; None if nothing tells it.

    found: with the parts' names as they are, or those of a ResNet without a prefix.
    """
    for pattern, name in SIGNS:
        if any(re.search(pattern, each) for each in found):
            return name + (_hugging_face(found) if "Hugging Face" in name else "")
    return _resnet(found)


def _hugging_face(found: Shapes) -> str:
    """Its depth, and what to do."""
    layers = {m[0] for each in found if (m := re.search(r"stages\.\d\.layers\.\d+\.layer\.\d\.", each))}
    places = {re.sub(r"layer\.\d\.$", "", layer) for layer in layers}
    counts = tuple(
        sum(place.startswith(f"stages.{stage}.") for place in places) for stage in range(4)
    )  # blocks in each stage
    deep = any(layer.endswith("layer.2.") for layer in layers)
    depth = (BOTTLENECK if deep else BASIC).get(counts)
    which = f" (ResNet-{depth})" if depth else ""
    return f"{which}; give the weights with torchvision's names, as in conv1.weight and layer1.0.conv1.weight"


def _resnet(found: Shapes) -> str | None:
    """A ResNet that is not a ResNet-18 of the paper's form; None for one that is, and for no ResNet."""
    blocks: dict[int, set[int]] = {}
    for name in found:
        if match := re.match(r"layer(\d+)\.(\d+)\.", name):
            blocks.setdefault(int(match[1]), set()).add(int(match[2]))
    if not blocks:
        return None
    counts = tuple(len(blocks.get(stage, ())) for stage in range(1, max(blocks) + 1))
    bottleneck = any(re.match(r"layer\d+\.\d+\.conv3\.", name) for name in found)
    depth = (BOTTLENECK if bottleneck else BASIC).get(counts)
    if any(re.match(r"layer\d+\.\d+\.se(_module)?\.", name) for name in found):
        return f"an SE-ResNet{f'-{depth}' if depth else ''}, with squeeze and excitation"
    if len(counts) == 3 and len(set(counts)) == 1 and not bottleneck:
        return f"a ResNet-{6 * counts[0] + 2} for CIFAR, of three stages"
    name = f"a ResNet-{depth}" if depth else f"a ResNet of {' + '.join(map(str, counts))} blocks"
    if bottleneck:
        name = _wide_or_next(found, depth, name)
    stem = found.get("conv1.weight")
    if stem is not None and stem.ndim == 4:
        _, channels, *size = stem.shape
        if size != [7, 7]:
            kind = " for CIFAR" if size == [3, 3] else ""
            return f"{name}{kind}: its stem conv1 is a {size[0]}x{size[1]} convolution, not one of 7x7"
        if channels != 3:
            return f"{name} for images of {channels} channel{'s' if channels > 1 else ''}, not of 3"
    elif "conv1.0.weight" in found:
        name += " with a stem of several convolutions"
    return None if name == "a ResNet-18" else name


def _wide_or_next(found: Shapes, depth: int | None, name: str) -> str:
    """The bottleneck's kin, by the shape of its middle convolution; `name` for a plain one."""
    middle, last = found.get("layer1.0.conv2.weight"), found.get("layer1.0.conv3.weight")
    if depth is None or middle is None or last is None or middle.ndim != 4:
        return name
    out, into = middle.shape[:2]
    if into < out:
        return f"a ResNeXt-{depth} ({out // into} groups)"
    return f"a Wide ResNet-{depth}-{4 * out // len(last)}" if 2 * out >= len(last) else name
