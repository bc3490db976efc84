"""Every plausible mistake in notebook 01's exercises gets a message of its own; every right way is right."""

import pytest
import torch
import torchvision
from exercise_harness import answer_of
from torch import nn

from resnet_course.exercises import deeper_blocks
from resnet_course.exercises import residual_blocks as ex
from resnet_course.resnet import BasicBlock, resnet34

SUMS = {
    "return torch.relu(f(x)) + x": "The ReLU comes before the sum",
    "return f(x) + x": "There is no ReLU after the sum",
    "return torch.relu(f(x))": "The input is missing",
    "return f(x)": "f(x) alone is only the residual",
    "return torch.relu(f(x) * x)": "f and x are multiplied",
    "return torch.relu(f(x) - x)": "x is subtracted",
    "return torch.relu(f(torch.relu(x)) + x)": "f gets relu(x)",
    "return torch.relu(f(f(x)) + x)": "f is applied twice",
    "x += f(x); return torch.relu(x)": "It changes x itself",
    "return torch.relu(torch.relu(f(x)) + x)": "There is a ReLU before the sum as well as after it",
    "return torch.relu(f(x) + x.relu_())": "It changes x itself",
    "return torch.relu(f(x) + x.detach())": "the skip is detached",
    "return torch.relu(f(x).detach() + x)": "F(x) is detached",
    "return torch.relu(f(x) + x).detach()": "no gradient flows back",
    "return torch.relu(f(x) + 0.5 * x + 0.5 * x.detach())": "the gradient of the input is not",
    "return torch.relu(f(x) + x).double()": "the values differ",
    "torch.relu(f(x) + x)": "Is a return missing?",
    "return torch.relu(f(x) + 2 * x)": "the values differ from relu(f(x) + x)",
    "return torch.relu(f(x)[:1] + x[:1])": "yours has shape (1, 4, 8, 8)",
    "return torch.relu(x + x)": "f is not used",
    "x = f(x); return torch.relu(x + x)": "You overwrote x",
    "return torch.relu(x - f(x))": "f(x) is subtracted",
    "return nn.ReLU(f(x) + x)": "It returns a layer (ReLU), not a tensor",
    "return torch.max(f(x) + x, 0)": "torch.max(t, 0) looks for the largest along dimension 0",
    "return 3": "It should return a tensor and returns int.",
    "return torch.relu(f(x) + x); raise NotImplementedError": "right.",
    "y = torch.relu(f(x)); raise NotImplementedError": "A raise NotImplementedError is left in forward",
    "return torch.rleu(f(x) + x)": "Your code stopped in line 1 of forward",
}


@pytest.mark.parametrize("body", SUMS)
def test_mistakes_in_the_sum(body, said):
    answer = answer_of(f"def forward(x, f): {body}")
    assert SUMS[body] in said(ex.q2, answer)


def test_another_right_sum(said):
    assert said(ex.q2, lambda x, f: (x + f(x)).clamp(min=0)).startswith("✓")


# A change to the official solution, and what the check says to it.
BLOCKS = {
    "ReLU before the sum": (
        ("torch.relu(residual + self.downsample(x))", "torch.relu(residual) + self.downsample(x)"),
        "The last ReLU comes before the sum",
    ),
    "no ReLU after the sum": (
        ("torch.relu(residual + self.downsample(x))", "residual + self.downsample(x)"),
        "The ReLU after the sum is missing",
    ),
    "no ReLU between": (
        ("torch.relu(self.bn1(self.conv1(x)))", "self.bn1(self.conv1(x))"),
        "The ReLU between the two convolutions is missing",
    ),
    "ReLU before and after the sum": (
        ("torch.relu(residual + self", "torch.relu(torch.relu(residual) + self"),
        "There is a ReLU before the sum as well as after it",
    ),
    "bn1 twice": (
        ("self.bn2(self.conv2(residual))", "self.bn1(self.conv2(residual))"),
        "bn1 is used after both",
    ),
    "bn2 after the sum": (
        (
            "self.bn2(self.conv2(residual))\n        return torch.relu(residual + self.downsample(x))",
            "self.conv2(residual)\n        return torch.relu(self.bn2(residual + self.downsample(x)))",
        ),
        "bn2 comes after the sum",
    ),
    "bn1 called once more": (
        ("        residual = self.bn2", "        self.bn1(self.conv1(x))\n        residual = self.bn2"),
        "after one pass in train mode bn1.running_mean is not. Is each BatchNorm called once",
    ),
    "eval mode always": (
        ("    def forward(self, x):\n", "    def forward(self, x):\n        self.eval()\n"),
        "In train mode, values differ",
    ),
    "no sum": (("residual + self.downsample(x)", "residual"), "The input is never added"),
    "bn1 unused": (("self.bn1(self.conv1(x))", "self.conv1(x)"), "bn1 is not used"),
    "bn2 unused": (("self.bn2(self.conv2(residual))", "self.conv2(residual)"), "bn2 is not used"),
    "ReLU before BatchNorm": (
        ("torch.relu(self.bn1(self.conv1(x)))", "self.bn1(torch.relu(self.conv1(x)))"),
        "The first ReLU comes before bn1",
    ),
    "ReLU on the shortcut": (
        ("residual + self.downsample(x)", "residual + torch.relu(self.downsample(x))"),
        "The projected input goes through a ReLU",
    ),
    "projection without BatchNorm": (
        ("                nn.BatchNorm2d(out_channels),\n            )", "            )"),
        "In downsample there is no BatchNorm",
    ),
    "stride on the second convolution": (
        ("in_channels, out_channels, 3, stride,", "in_channels, out_channels, 3,"),
        "The stride is on the second convolution",
    ),
    "stride on both": (
        ("out_channels, out_channels, 3, padding", "out_channels, out_channels, 3, stride, padding"),
        "Both convolutions have the stride",
    ),
    "no stride at all": (
        ("in_channels, out_channels, 3, stride,", "in_channels, out_channels, 3,"),
        "conv1 has stride 1",
    ),
    "bias left on": (
        ("3, stride, padding=1, bias=False", "3, stride, padding=1"),
        "conv1 has a bias. BatchNorm takes it away again",
    ),
    "bias in the projection": (
        ("1, stride, bias=False", "1, stride"),
        "The projection's convolution has a bias",
    ),
    "no padding": (("stride, padding=1", "stride"), "conv1 has padding (0, 0)"),
    "5×5 kernel": (("out_channels, 3, stride", "out_channels, 5, stride"), "conv1 has a kernel of (5, 5)"),
    "skip detached": (
        ("self.downsample(x))", "self.downsample(x).detach())"),
        "the skip is detached: no gradient flows back through it",
    ),
    "F(x) detached": (("torch.relu(residual +", "torch.relu(residual.detach() +"), "F(x) is detached"),
    "no gradient at all": (
        ("    def forward", "    @torch.no_grad()\n    def forward"),
        "no gradient flows back",
    ),
    "weights detached": (
        (
            "self.bn2(self.conv2(residual))",
            "self.bn2(F.conv2d(residual, self.conv2.weight.detach(), padding=1))",
        ),
        "the gradient of conv2.weight is not",
    ),
    "projection not used": (
        ("residual + self.downsample(x)", "residual + x"),
        "Where there is a projection, add downsample(x), not x",
    ),
    "forward still to write": (
        (
            "        residual = torch.relu(",
            "        raise NotImplementedError\n        residual = torch.relu(",
        ),
        "Your parts are right. Now write forward.",
    ),
    "a layer made wrong": (
        ("nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)", "nn.Conv2d(out_channels)"),
        "Conv2d.__init__() missing 2 required positional arguments",
    ),
    "one BatchNorm for both": (
        ("self.bn2 = nn.BatchNorm2d(out_channels)", "self.bn2 = self.bn1"),
        "Both convolutions share one BatchNorm",
    ),
    "input changed in place": (
        (
            "        residual = torch.relu(self.bn1(self.conv1(x)))\n",
            "        residual = torch.relu(self.bn1(self.conv1(x)))\n        x *= 1.5\n",
        ),
        "forward changes its input itself",
    ),
    "no projection": (
        ("if stride != 1 or in_channels != out_channels:", "if False:"),
        "needs a projection on the shortcut, called downsample",
    ),
    "projection everywhere": (
        ("if stride != 1 or in_channels != out_channels:", "if True:"),
        "has a projection although no shape changes",
    ),
    "projection only for stride": (
        ("if stride != 1 or in_channels != out_channels:", "if stride != 1:"),
        "MyBlock(4, 8, stride=1) changes the shape, so it needs a projection",
    ),
    "3×3 projection": (
        ("1, stride, bias=False", "3, stride, padding=1, bias=False"),
        "should be a 1×1 convolution",
    ),
    "projection without stride": (("1, stride, bias=False", "1, bias=False"), "The projection has stride 1"),
    "super() forgotten": (("        super().__init__()\n", ""), "Call super().__init__() first"),
    "other names": (("self.conv1", "self.first"), "has no conv1; it has first, bn1, conv2, bn2"),
    "projection called shortcut": (
        ("downsample", "shortcut"),
        "called downsample; its parts are conv1, bn1, ",
    ),
    "too many parts": (
        ("self.bn2 = ", "self.extra = nn.Linear(2, 2)\n        self.bn2 = "),
        "too many extra.bias, extra.weight",
    ),
    "wrong channels": (
        ("nn.Conv2d(out_channels, out_channels, 3", "nn.Conv2d(in_channels, out_channels, 3"),
        "conv2.weight has shape [8, 4, 3, 3]; it should be [8, 8, 3, 3]",
    ),
    "no stride argument": (("out_channels, stride=1)", "out_channels)"), "It must be made as MyBlock("),
    "nothing returned": (("return torch.relu(residual +", "torch.relu(residual +"), "Is a return missing?"),
    "input overwritten": (
        (
            "residual = self.bn2(self.conv2(residual))\n        return torch.relu(residual + "
            "self.downsample(x))",
            "x = self.bn2(self.conv2(residual))\n        return torch.relu(x + self.downsample(x))",
        ),
        "You overwrote x",
    ),
    "projection only for channels": (
        ("if stride != 1 or in_channels != out_channels:", "if in_channels != out_channels:"),
        "MyBlock(4, 4, stride=2) changes the shape, so it needs a projection",
    ),
    "BatchNorm for rows": (
        ("self.bn1 = nn.BatchNorm2d", "self.bn1 = nn.BatchNorm1d"),
        "bn1 is a BatchNorm1d; images have height and width",
    ),
    "twice the residual": (("residual + self", "2 * residual + self"), "In eval mode, values differ"),
    "a typing error": (("self.bn1(self.conv1(x))", "self.nb1(self.conv1(x))"), "Your code stopped in line"),
}


RENAMED = ("other names", "projection called shortcut")


@pytest.mark.parametrize("name", BLOCKS)
def test_mistakes_in_the_block(name, said):
    (right, wrong), expected = BLOCKS[name]
    assert right in ex.q3.source
    source = ex.q3.source.replace(right, wrong, -1 if name in RENAMED else 1)
    if name == "stride on the second convolution":
        source = source.replace("out_channels, out_channels, 3,", "out_channels, out_channels, 3, stride,")
    printed = said(ex.q3, answer_of(source))
    assert printed.startswith("✗") and expected in printed


def test_every_mistake_has_a_message_of_its_own():
    messages = [expected for _, expected in BLOCKS.values()]
    assert len(set(messages)) == len(messages)


def test_no_class_and_no_forward(said):
    assert "Give the class itself" in said(ex.q3, BasicBlock(4, 4))
    assert "has no forward" in said(ex.q3, type("MyBlock", (nn.Module,), {}))


def test_one_batchnorm_under_another_name(said):
    source = ex.q3.source.replace("self.bn2 = nn.BatchNorm2d(out_channels)", "")
    source = source.replace("self.bn1", "self.norm").replace("self.bn2", "self.norm")
    assert "Both convolutions share one BatchNorm" in said(ex.q3, answer_of(source))


def test_other_right_blocks(said):
    assert said(ex.q3, BasicBlock).startswith("✓"), "nn.ReLU(inplace=True) and downsample = None are fine"
    for right, other in (
        ("out_channels, 3, padding=1", 'out_channels, 3, padding="same"'),
        ("nn.Identity()", "lambda x: x"),
        (
            "return torch.relu(residual + self.downsample(x))",
            "residual += self.downsample(x); return residual.relu_()",
        ),
        ("self.conv1(x)", "self.conv1(x.to(memory_format=torch.channels_last))"),
    ):
        assert right in ex.q3.source
        assert said(ex.q3, answer_of(ex.q3.source.replace(right, other))).startswith("✓"), other


def test_a_right_answer_is_right_where_gradients_are_off(said):
    with torch.no_grad():
        assert said(ex.q3, BasicBlock).startswith("✓")


SHAPES = {
    "nn.Conv2d(3, 16, 3, padding=1)": {
        (16, 32, 32): "The number of images is missing",
        (8, 32, 32, 16): "The channels come second",
        (8, 3, 32, 32): "Look at the channels",
        (8, 16, 32): "It has 3 numbers and should have 4.",
        16: "16 is no shape",
    },
    "nn.Conv2d(3, 16, 3)": {(8, 16, 32, 32): "Without padding, a 3×3 filter does not fit"},
    "nn.Conv2d(3, 16, 3, stride=2, padding=1)": {
        (8, 16, 32, 32): "With stride 2 the filter moves two pixels",
        (8, 16, 15, 15): "(size + 2 · padding − kernel) // stride + 1",
    },
    "nn.AdaptiveAvgPool2d(1)": {
        (8, 3): "One mean for each channel",
        (8, 3, 32, 32): "One mean for each channel",
    },
    "nn.Flatten()": {(8, 1024): "channels × height × width", (3072,): "The number of images is missing"},
}


@pytest.mark.parametrize(("layer", "shape"), [(layer, s) for layer, found in SHAPES.items() for s in found])
def test_mistakes_in_shapes(layer, shape, said):
    assert SHAPES[layer][shape] in said(ex.q1, {**ex.SHAPES, layer: shape})


def test_a_shape_may_be_a_list(said):
    assert said(ex.q1, {name: list(shape) for name, shape in ex.SHAPES.items()}).startswith("✓")
    assert "nn.Flatten() is missing" in said(ex.q1, {k: v for k, v in ex.SHAPES.items() if "Fl" not in k})


REPAIRED = """
def right(block, x):
    residual = torch.relu(block.bn1(block.conv1(x)))
    residual = block.bn2(block.conv2(residual))
    return torch.relu(residual + block.shortcut(x))
"""


@pytest.mark.parametrize(
    ("broken", "expected"),
    [("A", "You overwrote x"), ("B", "before the sum"), ("C", "bn1 is used after both")],
)
def test_a_block_that_is_still_broken_is_named(broken, expected, said):
    given, right = answer_of(ex.q4.stub), answer_of(REPAIRED)
    printed = said(ex.q4, {name: given[name] if name == broken else right for name in given})
    assert printed.startswith("✗ Exercise 4: not yet. " + broken) and expected in printed


def test_a_repair_that_forgets_the_projection_or_breaks_something_else(said):
    right = answer_of(REPAIRED)
    for source, expected in (
        (REPAIRED.replace("block.shortcut(x)", "x"), "A: At the sum, x and F(x) have different shapes"),
        (REPAIRED.replace("return torch.relu(", "return ("), "A: The ReLU after the sum is missing"),
        (REPAIRED.replace("return", "y ="), "A: It returns None"),
    ):
        assert expected in said(ex.q4, {"A": answer_of(source), "B": right, "C": right})


STAGE_MISTAKES = {
    ("nn.Sequential(first, *others)", "[first, *others]"): "returns a list; return nn.Sequential",
    (
        "nn.Sequential(first, *others)",
        "nn.ModuleList([first, *others])",
    ): "returns a ModuleList; return nn.Seq",
    ("nn.Sequential(first, *others)", "nn.Sequential(first, nn.ReLU6(), *others[::-1], nn.MaxPool2d(2))"): (
        "does something besides its blocks"
    ),
    ("range(blocks - 1)", "range(blocks)"): "has 4 blocks; it should have 3",
    ("range(blocks - 1)", "range(blocks - 2)"): "has 2 blocks; it should have 3",
    (
        "[BasicBlock(out_channels, out_channels) for _ in range(blocks - 1)]",
        "[BasicBlock(out_channels, out_channels)] * (blocks - 1)",
    ): "One block stands in several places",
    ("BasicBlock(out_channels, out_channels)", "BasicBlock(out_channels, out_channels, stride)"): (
        "block 1 has stride (2, 2), and it should be (1, 1). Only the first block"
    ),
    ("BasicBlock(out_channels, out_channels)", "BasicBlock(in_channels, out_channels)"): (
        "block 1 has in_channels 4, and it should be 8"
    ),
    ("in_channels, out_channels, stride)\n    others", "in_channels, out_channels)\n    others"): (
        "block 0 has stride (1, 1), and it should be (2, 2)"
    ),
}


@pytest.mark.parametrize("change", STAGE_MISTAKES)
def test_mistakes_in_the_stage(change, said):
    right, wrong = change
    assert right in ex.q5.source
    assert STAGE_MISTAKES[change] in said(ex.q5, answer_of(ex.q5.source.replace(right, wrong)))


def test_a_stage_of_other_blocks_has_other_parameters(said):
    class Biased(BasicBlock):
        def __init__(self, *numbers):
            super().__init__(*numbers)
            self.more = nn.Linear(2, 2)

    def answer(in_channels, out_channels, blocks, stride):
        first = Biased(in_channels, out_channels, stride)
        return nn.Sequential(first, *(Biased(out_channels, out_channels) for _ in range(blocks - 1)))

    assert "it should have 21,797,672" in said(ex.q5, answer)


def test_the_published_counts_are_torchvisions():
    with torch.device("meta"):
        reference = resnet34()
    assert sum(parameter.numel() for parameter in reference.parameters()) == ex.PARAMETERS_34
    weights = (
        torchvision.models.ResNet34_Weights.IMAGENET1K_V1,
        torchvision.models.ResNet50_Weights.IMAGENET1K_V1,
    )
    published = [each.meta["num_params"] for each in weights]
    assert published == [ex.PARAMETERS_34, deeper_blocks.PARAMETERS_50]


COUNTS = {
    "isinstance(m, (nn.Conv2d, nn.Linear)) for m in model.modules()": "It counts the 1×1 projections too",
    "isinstance(m, nn.Conv2d) and 'down' not in n for n, m in model.named_modules()": "It forgets the linear",
    "isinstance(m, nn.Conv2d) for m in model.modules()": "It counts all convolutions, projections included",
    "isinstance(m, (nn.Conv2d, nn.Linear, nn.BatchNorm2d)) for m in model.modules()": "and projections too",
    "isinstance(m, (nn.Conv2d, nn.Linear, nn.BatchNorm2d)) and 'downsample' not in n for n, m in "
    "model.named_modules()": "It counts BatchNorm layers too",
    "1 for p in model.parameters()": "It counts tensors of parameters",
    "p.numel() for p in model.parameters()": "It counts single numbers",
    "1 for m in model.modules()": "It counts all modules",
    "[18]": "It says 18 for every network",
    "[3]": "For a ResNet with 18 weight layers it returns 3",
    "[-1] + [isinstance(m, (nn.Conv2d, nn.Linear)) and 'downsample' not in n for n, m in "
    "model.named_modules()]": "It misses one layer in each network",
    "[1] + [isinstance(m, nn.Conv2d) and 'downsample' not in n for n, m in "
    "model.named_modules()]": "It takes for granted that there is one linear layer",
    "isinstance(m, nn.Linear) or isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1) for m in "
    "model.modules()": "It leaves out every 1×1 convolution",
    "isinstance(m, (nn.Conv2d, nn.Linear)) for m in model.children()": "It looks only at the top level",
}


@pytest.mark.parametrize("count", COUNTS)
def test_mistakes_in_counting(count, said):
    assert COUNTS[count] in said(ex.q6, answer_of(f"def count(model): return sum({count})"))


def test_a_count_that_is_a_list(said):
    assert "It returns a list; it should be one whole number" in said(ex.q6, lambda model: [model])


SHORTCUTS = {
    "return x": "The output has shape (2, 4, 8, 8) for x of shape (2, 4, 8, 8), out_channels=8, stride=2",
    "return F.pad(x[:, :, ::stride, ::stride], (0,) * 4 + (out_channels - x.shape[1], 0))": "zeros stand",
    "return F.pad(F.avg_pool2d(x, stride), (0, 0, 0, 0, 0, out_channels - x.shape[1]))": "It averages",
    "return F.pad(F.max_pool2d(x, stride), (0, 0, 0, 0, 0, out_channels - x.shape[1]))": "takes the largest",
    "return torch.cat([x, x], 1)[:, :, ::stride, ::stride]": "The new channels are copies of x",
    "return F.pad(x[:, :, 1::2, 1::2], (0, 0, 0, 0, 0, out_channels - x.shape[1]))": "begins with the second",
    "x = x.detach(); return F.pad(x[:, :, ::stride, ::stride], (0,) * 5 + (out_channels - x.shape[1],))": (
        "Is there a detach()?"
    ),
    "F.pad(x, (0, 0))": "Is a return missing?",
}


@pytest.mark.parametrize("body", SHORTCUTS)
def test_mistakes_in_the_shortcut(body, said):
    assert SHORTCUTS[body] in said(ex.q7, answer_of(f"def shortcut(x, out_channels, stride): {body}"))


def test_another_right_shortcut(said):
    assert said(ex.q7, deeper_blocks.pad_with_zeros).startswith("✓")


BOTTLENECKS = {
    ("torch.relu(residual + self", "(residual + self"): "The ReLU after the sum is missing",
    ("torch.relu(residual + self.downsample(x))", "torch.relu(residual) + self.downsample(x)"): (
        "The last ReLU comes before the sum"
    ),
    ("residual + self.downsample(x)", "residual"): "that is a plain block",
    (
        "torch.relu(self.bn2(self.conv2(residual)))",
        "self.bn2(self.conv2(residual))",
    ): "between conv2 and conv3",
    ("torch.relu(self.bn1(self.conv1(x)))", "self.bn1(self.conv1(x))"): "between conv1 and conv2",
    ("channels, channels, 3, stride,", "channels, channels, 3,"): "conv2 has stride (1, 1)",
    ("in_channels, channels, 1,", "in_channels, channels, 1, stride,"): "conv1 has stride (2, 2)",
    (
        "out_channels = 4 * channels",
        "out_channels = 2 * channels",
    ): "conv3 has out_channels 8, and",
    ("if stride != 1 or in_channels != out_channels:", "if stride != 1:"): "needs a projection",
    (
        "if stride != 1 or in_channels != out_channels:",
        "if True:",
    ): "has a projection although no shape changes",
    (
        "channels, out_channels, 1, bias=False)\n        self.bn3",
        "channels, out_channels, 1)\n        self.bn3",
    ): ("conv3 has a bias"),
    ("self.conv3", "self.third"): "has no convolution conv3",
    ("residual + self.downsample(x)", "residual + x"): "add downsample(x), not x",
    ("channels, stride=1)", "channels)"): "It must be made as MyBottleneck(",
}


@pytest.mark.parametrize("change", BOTTLENECKS)
def test_mistakes_in_the_bottleneck(change, said):
    right, wrong = change
    assert right in ex.q8.source
    source = ex.q8.source.replace(right, wrong)
    if wrong == "if True:":
        source = source.replace("else", "")
    assert BOTTLENECKS[change] in said(ex.q8, answer_of(source))


def test_relus_that_are_missing_or_too_many_in_the_bottleneck(said):
    source = ex.q8.source
    for part in ("self.bn1(self.conv1(x))", "self.bn2(self.conv2(residual))"):
        assert f"torch.relu({part})" in source
        source = source.replace(f"torch.relu({part})", part)
    assert "Both inner ReLUs are missing" in said(ex.q8, answer_of(source))
    assert "self.bn3(self.conv3(residual))" in ex.q8.source
    source = ex.q8.source.replace(
        "self.bn3(self.conv3(residual))", "torch.relu(self.bn3(self.conv3(residual)))"
    )
    assert "a ReLU before the sum as well as after" in said(ex.q8, answer_of(source))


def test_an_overwritten_input_in_the_bottleneck(said):
    source = ex.q8.source.replace("residual", "x")
    assert "You overwrote x" in said(ex.q8, answer_of(source))
    assert "Give the class itself" in said(ex.q8, 3)
    assert "has no forward" in said(ex.q8, type("MyBottleneck", (nn.Module,), {}))


def test_the_reference_bottleneck_is_torchvisions():
    torch.manual_seed(0)
    theirs = torchvision.models.resnet.Bottleneck
    projection = nn.Sequential(nn.Conv2d(8, 16, 1, 2, bias=False), nn.BatchNorm2d(16))
    mine, reference = deeper_blocks.Bottleneck(8, 4, 2), theirs(8, 4, 2, projection)
    mine.load_state_dict(reference.state_dict())
    x = torch.randn(2, 8, 6, 6)
    assert torch.equal(mine(x), reference(x))


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        (case, problem)
        for case, right in deeper_blocks.DIAGNOSES.items()
        for problem in deeper_blocks.SIGNS
        if problem != right
    ],
)
def test_a_wrong_diagnosis_is_told_what_speaks_against_it(case, problem, said):
    printed = said(ex.q9, {**deeper_blocks.DIAGNOSES, case: problem})
    assert printed.startswith(f"✗ Exercise 9: not yet. {case}: the sign of {problem} is ")
    assert deeper_blocks.SEEN[case] in printed


def test_an_unknown_diagnosis_lists_the_known(said):
    printed = said(ex.q9, {**deeper_blocks.DIAGNOSES, "B": "bad luck"})
    assert "B is 'bad luck'; it must be one of: degradation, overfitting, too high a learning rate" in printed
