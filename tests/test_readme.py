"""The README's lines for a checkpoint without the course give the course's answers."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from torchvision.transforms.v2 import functional

from resnet_course.data import shapes
from resnet_course.prediction import Classifier
from resnet_course.recipes import LAPTOP
from resnet_course.resnet import resnet18
from resnet_course.training import checkpoint
from resnet_course.training.checkpoint import Checkpoint

README = Path(__file__).parents[1] / "README.md"


def lines() -> str:
    (block,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
        if "torchvision" in block
    ]
    assert "resnet_course" not in block and block.count("\n") == 5
    return block


@pytest.mark.parametrize(("views", "size"), [(1, 64), (1, 32), (6, 64)])
def test_a_checkpoint_needs_no_course(tmp_path, views, size):
    torch.manual_seed(0)
    model = resnet18(10)
    with torch.no_grad():
        model.fc.weight.mul_(20)  # so that answers differ
    recipe = replace(LAPTOP, image_size=size, test_views=views)
    content = Checkpoint(model.state_dict(), shapes.draw(1, 0).classes, 32, "any", recipe, temperature=1.7)
    path = checkpoint.save(tmp_path / "best.pt", content)
    images = shapes.draw(12, 1).images
    names = {
        "torch": torch,
        "torchvision": torchvision,
        **{name: getattr(functional, name) for name in ("center_crop", "normalize", "resize")},
    }
    code, found = lines().replace("runs/mine/best.pt", str(path)), []
    with torch.inference_mode():
        for image in images:
            exec(code, names | {"image": image}, own := dict(names) | {"image": image})
            found.append(own["p"][0])
    wanted = Classifier.load(path).logits(images).div(1.7).softmax(1)
    found = torch.stack(found)
    if views == 1:
        assert torch.allclose(found, wanted, atol=0.02), "a byte may be rounded the other way"
    assert (found.argmax(1) == wanted.argmax(1)).float().mean() >= (0.95 if views == 1 else 0.6)
