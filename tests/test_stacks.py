"""Stacks have the layers they promise; plain and residual ones differ in the sum and in nothing else."""

import pytest
import torch
from torch import nn

from resnet_course.resnet.stacks import stack
from resnet_course.teaching.anatomy import blocks, main_path


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("depth", [8, 14, 38])
def test_a_stack_has_as_many_weight_layers_as_its_depth(depth, skip):
    model = stack(depth, skip=skip, width=4)
    assert len(main_path(model)) == depth
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_plain_is_residual_without_the_sum():
    torch.manual_seed(0)
    residual = stack(8, skip=True, width=4).eval()
    plain = stack(8, skip=False, width=4).eval()
    state = {name: value for name, value in residual.state_dict().items() if "downsample" not in name}
    plain.load_state_dict(state, strict=True)
    x = torch.randn(2, 4, 8, 8)
    for with_sum, without in zip(blocks(residual).values(), blocks(plain).values(), strict=True):
        change = with_sum.residual(x)
        assert torch.equal(without(x), change.relu())
        assert torch.equal(with_sum(x), (change + with_sum.shortcut(x)).relu())
        x = without(x)


def test_without_batchnorm_there_is_none():
    kinds = {type(module) for module in stack(8, batchnorm=False, width=4).modules()}
    assert nn.BatchNorm2d not in kinds
    assert nn.BatchNorm2d in {type(module) for module in stack(8, width=4).modules()}


def test_a_seed_decides_the_weights():
    def weights():
        torch.manual_seed(3)
        return stack(8, width=4).fc.weight

    assert torch.equal(weights(), weights())


@pytest.mark.parametrize("depth", [2, 9, -4, 0])
def test_another_depth_is_refused(depth):
    with pytest.raises(ValueError, match=rf"depth is {depth}; it must be 6n \+ 2, such as 8, 14"):
        stack(depth)
