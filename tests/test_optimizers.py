"""The fused AdamW: PyTorch's own loop is the reference."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from resnet_course.recipes import OPTIMIZERS
from resnet_course.resnet import resnet18

LAYOUTS = (torch.contiguous_format, torch.channels_last)


def after_steps(make, layouts, reload=False):
    """The weights after a step in each layout. reload: the optimiser from its state in between."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 1),
        nn.AvgPool2d(6),
        nn.Flatten(),
        nn.Linear(8, 4),
    )
    optimizer = make(model)
    for layout in layouts:
        if reload:
            state = deepcopy(optimizer.state_dict())
            optimizer = make(model)
            optimizer.load_state_dict(state)
        model.to(memory_format=layout)
        images, labels = torch.randn(16, 3, 8, 8), torch.randint(4, (16,))
        loss = nn.functional.cross_entropy(model(images.to(memory_format=layout)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return torch.cat([weights.detach().flatten() for weights in model.parameters()])


def groups(model):
    bare = [weights for weights in model.parameters() if weights.ndim == 1]
    rest = [weights for weights in model.parameters() if weights.ndim > 1]
    return [{"params": rest, "weight_decay": 0.1}, {"params": bare, "weight_decay": 0.0}]


@pytest.mark.parametrize("reload", [False, True], ids=["in one go", "saved and loaded"])
@pytest.mark.parametrize(
    "layouts",
    [2 * LAYOUTS[:1], 2 * LAYOUTS[1:], LAYOUTS, LAYOUTS[::-1], 2 * LAYOUTS],
    ids=["nn", "ll", "nl", "ln", "nlnl"],
)
def test_adamw_is_pytorchs_in_every_memory_format(layouts, reload):
    ours = after_steps(lambda model: OPTIMIZERS["adamw"](groups(model), 0.01), layouts, reload)
    theirs = after_steps(lambda model: AdamW(groups(model), lr=0.01), layouts, reload)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-5)
    assert (ours - after_steps(lambda model: AdamW(groups(model), lr=0.0), layouts)).abs().max() > 0.01


def test_a_gradient_in_another_order_goes_to_its_own_weights():
    weights = nn.Parameter(torch.zeros(4, 3, 2, 2))
    weights.grad = torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    signs = weights.grad.sign()
    OPTIMIZERS["adamw"]([{"params": [weights]}], 0.1).step()
    assert torch.equal(weights.sign(), -signs)


def test_weights_without_a_gradient_stay():
    model = resnet18(10, width=4)
    for weights in model.fc.parameters():
        weights.grad = torch.ones_like(weights)
    before = deepcopy(model.state_dict())
    OPTIMIZERS["adamw"]([{"params": list(model.parameters())}], 0.1).step()
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"fc.weight", "fc.bias"}


def test_the_state_of_pytorchs_adamw_can_be_gone_on_from():
    weights = nn.Parameter(torch.ones(3))
    other = AdamW([weights], lr=0.1)
    weights.grad = torch.ones(3)
    other.step()
    ours = OPTIMIZERS["adamw"]([{"params": [weights]}], 0.1)
    ours.load_state_dict(other.state_dict())
    ours.step()
    assert float(ours.state[weights]["step"]) == 2


def test_the_fused_kernel_gets_numbers_as_they_lie(monkeypatch):
    given, kernel = [], torch._fused_adamw_
    monkeypatch.setattr(
        torch, "_fused_adamw_", lambda *lists, **named: (given.extend(lists[:4]), kernel(*lists, **named))[1]
    )
    weights = nn.Parameter(torch.ones(4, 3, 3, 3).to(memory_format=torch.channels_last))
    weights.grad = torch.ones(4, 3, 3, 3)
    OPTIMIZERS["adamw"]([{"params": [weights]}], 0.1).step()
    assert len(given) == 4 and all(tensor.is_contiguous() for tensors in given for tensor in tensors)
    assert not weights.is_contiguous() and (weights < 1).all()
