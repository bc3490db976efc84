"""The README's lines of Python do what they say: a checkpoint without the course, folders from a table."""

from __future__ import annotations

import re
import textwrap
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from torchvision.transforms.functional import to_pil_image
from torchvision.transforms.v2 import functional

from resnet_course.data import shapes
from resnet_course.prediction import Classifier
from resnet_course.recipes import LAPTOP
from resnet_course.resnet import resnet18
from resnet_course.training import checkpoint
from resnet_course.training.checkpoint import Checkpoint

README = Path(__file__).parents[1] / "README.md"


def lines(word: str) -> str:
    """The one block of Python in which a word stands."""
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```python\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    (block,) = [block for block in blocks if word in block]
    assert "resnet_course" not in block
    return textwrap.dedent(block)


def test_a_table_of_labels_becomes_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    rows = ["file,label"]
    for number, image in enumerate(shapes.draw(8, 0).images):
        to_pil_image(image).save(tmp_path / "images" / f"{number}.png")
        rows.append(f"{number}.png,{'übung' if number % 2 else 'a dog'}")
    (tmp_path / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # who copies six lines may leave a file to Python
        exec(lines("labels.csv"), {})
    found = {path.relative_to("sorted").as_posix() for path in Path("sorted").rglob("*.png")}
    assert found == {f"{'übung' if number % 2 else 'a dog'}/{number}.png" for number in range(8)}


@pytest.mark.parametrize(
    ("views", "size"),
    [pytest.param(*case, marks=pytest.mark.slow) for case in ((1, 64), (1, 32), (6, 64))],
)
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
    assert lines("torchvision").count("\n") == 5
    code, found = lines("torchvision").replace("runs/mine/best.pt", str(path)), []
    with torch.inference_mode():
        for image in images:
            exec(code, names | {"image": image}, own := dict(names) | {"image": image})
            found.append(own["p"][0])
    wanted = Classifier.load(path).logits(images).div(1.7).softmax(1)
    found = torch.stack(found)
    if views == 1:
        assert torch.allclose(found, wanted, atol=0.02), "a byte may be rounded the other way"
    assert (found.argmax(1) == wanted.argmax(1)).float().mean() >= (0.95 if views == 1 else 0.6)
