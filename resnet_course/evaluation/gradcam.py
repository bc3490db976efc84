"""Where a network looks: Grad-CAM, the parts of a feature map that speak for a class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from resnet_course.common.errors import ArgumentError
from resnet_course.resnet.network import ResNet, eval_mode
from resnet_course.transfer import split_at

STRIDES = {"layer4": 32, "layer3": 16, "layer2": 8}  # pixels of the input to one place of the map
PLACES = 3  # a side, at least: a map of one place says nothing of where


def deepest_layer(side: int) -> str:
    """The last layer whose maps still have PLACES a side, for an input of so many pixels a side."""
    return next((layer for layer, stride in STRIDES.items() if -(-side // stride) >= PLACES), "layer2")


def grad_cam(
    model: ResNet, inputs: Tensor, classes: Tensor | None = None, layer: str | None = None
) -> Tensor:
    """A heat map for each image, as large as the image: float32 [N, H, W], 0 to 1.

    The maps that come out of `layer` are added up, each weighted by the mean gradient of the class's logit
    with respect to it; what speaks against the class (below 0) is dropped.
    inputs: float32 [N, 3, H, W] as `to_input` returns them. classes: int64 [N], for which class; None: the
    predicted one. layer: "layer1" … "layer4"; None: `deepest_layer` for these inputs.
    It computes where the model is; the maps lie on the CPU. An image with nothing that speaks for the class
    gives zeros.
    Source: Selvaraju et al., "Grad-CAM", 2016 (arXiv 1610.02391).
    """
    layer = layer or deepest_layer(min(inputs.shape[-2:]))
    after = {"layer1": "layer2", "layer2": "layer3", "layer3": "layer4", "layer4": "fc"}
    if layer not in after:
        raise ArgumentError(f"layer is {layer!r}; it must be one of: {', '.join(after)}")
    trunk, head = split_at(model, after[layer])
    device = next(model.parameters()).device
    inputs = inputs.to(device)
    with eval_mode(model), torch.enable_grad():
        with torch.no_grad():
            maps = trunk(inputs)
        maps = maps.detach().requires_grad_()  # nothing before the maps needs a gradient
        logits = head(maps)
        classes = logits.argmax(1) if classes is None else classes.to(device)
        chosen = logits.gather(1, classes[:, None]).sum()
        (gradients,) = torch.autograd.grad(chosen, maps)
    weights = gradients.mean((2, 3), keepdim=True)
    heat = (weights * maps.detach()).sum(1, keepdim=True).relu()
    heat = F.interpolate(heat, inputs.shape[-2:], mode="bilinear")[:, 0].cpu()
    return heat / heat.amax((1, 2), keepdim=True).clamp(min=1e-12)
