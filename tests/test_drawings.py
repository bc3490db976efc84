"""Drawings show what a network computes: steps, shapes and shortcuts; a mistake can be seen in them."""

import xml.etree.ElementTree as ET

import pytest
import torch
from make_drawings import FOLDER, drawings
from torch import nn

from resnet_course.common.errors import ArgumentError
from resnet_course.resnet import BasicBlock
from resnet_course.resnet.stacks import PlainBlock, stack
from resnet_course.teaching.anatomy import blocks
from resnet_course.teaching.drawings import beside, convolution, draw

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def made():
    return drawings()


def texts(drawing):
    return [element.text for element in ET.fromstring(drawing.svg).iter(f"{SVG}text")]


def test_the_files_are_up_to_date(made):
    for name, drawing in made.items():
        found = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
        assert found == drawing.svg, "run: python tools/make_drawings.py"


def test_every_drawing_says_in_words_what_it_shows(made):
    for drawing in made.values():
        assert ET.fromstring(drawing.svg).find(f"{SVG}title").text == drawing.alt
        assert len(drawing.alt) > 100
        bundle = drawing._repr_mimebundle_()
        assert bundle["text/plain"] == drawing.alt and 'alt="' in bundle["text/html"]


def test_it_reads_alike_on_a_light_and_on_a_dark_page(made):
    for drawing in made.values():
        card = ET.fromstring(drawing.svg).find(f"{SVG}rect")
        assert (card.get("fill"), card.get("width"), card.get("height")) == ("#ffffff", "100%", "100%")


def test_every_text_lies_on_the_card(made):
    for name, drawing in made.items():
        root = ET.fromstring(drawing.svg)
        wide, tall = float(root.get("width")), float(root.get("height"))
        for text in root.iter(f"{SVG}text"):
            half = 0.25 * float(text.get("font-size")) * len(text.text)
            x, middle = float(text.get("x")), text.get("text-anchor") == "middle"
            assert x - half * middle >= 0 and x + half * (1 if middle else 2) <= wide, (name, text.text)
            assert 0 < float(text.get("y")) < tall, (name, text.text)


def test_the_shapes_stand_on_the_arrows():
    shown = texts(draw(BasicBlock(4, 8, stride=2), (4, 8, 8), "block"))
    assert shown.count("4×8×8") == 2, "to conv1 and to the projection"
    assert shown.count("8×4×4") == 9
    assert "downsample.0: 1×1 convolution, stride 2" in shown and shown.count("+") == 1


def test_a_plain_block_has_no_sum_and_an_identity_block_an_arrow_around():
    plain = draw(PlainBlock(4, 4), (4, 8, 8), "block")
    identity = draw(BasicBlock(4, 4), (4, 8, 8), "block")
    assert "+" not in texts(plain) and "goes around" not in plain.alt
    assert "an arrow goes around from input to +" in identity.alt


class Overwritten(BasicBlock):
    def forward(self, x):
        x = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(x + self.shortcut(x))


def test_a_mistake_in_forward_can_be_seen():
    assert "goes around" not in draw(Overwritten(4, 4), (4, 8, 8), "block").alt


def test_a_whole_network_and_its_stages():
    model = stack(14, width=4)
    shown = texts(draw(model, (3, 32, 32), "stack", whole=(BasicBlock,)))
    assert sum("block" in text for text in shown) == len(blocks(model)) == 6
    assert {"stage layer1", "stage layer2", "stage layer3"} <= set(shown)
    inside = draw(model, (3, 32, 32), "stack")
    assert texts(inside).count("+") == 6


def test_what_changes_nothing_is_left_out_and_the_network_stays_as_it_was():
    model = stack(8, width=4, batchnorm=False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert not any("Identity" in text or "flatten" in text for text in texts(draw(model, (3, 16, 16), "s")))
    assert model.training and all(torch.equal(before[n], v) for n, v in model.state_dict().items())


class Deciding(nn.Module):
    def forward(self, x):
        return x if x.mean() > 0 else -x


def test_a_forward_pass_that_decides_cannot_be_drawn():
    with pytest.raises(ArgumentError, match="Deciding cannot be drawn: its forward pass depends on"):
        draw(Deciding(), (1, 2, 2), "it")


def test_the_filter_gives_what_a_loop_gives():
    image, kernel = torch.arange(16).reshape(4, 4), torch.tensor([[1, 0], [0, -1]])
    drawing = convolution(image, kernel, at=(1, 2))
    by_hand = sum(int(image[1 + i, 2 + j] * kernel[i, j]) for i in range(2) for j in range(2))
    assert f" = {by_hand}." in drawing.alt and "·(-1)" in drawing.alt
    assert texts(drawing).count(str(by_hand)) >= 1


def test_drawings_beside_each_other(made):
    bundle = beside(made["plain_block"], made["identity_block"])._repr_mimebundle_()
    assert bundle["text/html"].count("<img ") == 2
    assert made["identity_block"].alt in bundle["text/plain"]
