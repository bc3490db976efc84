"""Every plausible mistake in notebook 01's exercises gets a message of its own; every right way is right."""

import pytest
import torch
from exercise_harness import answer_of
from torch import nn

from resnet_course.exercises import residual_blocks as ex
from resnet_course.resnet import BasicBlock

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
    "return torch.rleu(f(x) + x)": "Your code stopped in line 1 of forward",
}


@pytest.mark.parametrize("body", SUMS)
def test_mistakes_in_the_sum(body, said):
    answer = answer_of(f"def forward(x, f): {body}")
    assert SUMS[body] in said(ex.q1, answer)


def test_another_right_sum(said):
    assert said(ex.q1, lambda x, f: (x + f(x)).clamp(min=0)).startswith("✓")


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
        "The projection has no BatchNorm",
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
    "twice the residual": (("residual + self", "2 * residual + self"), "In eval mode, values differ"),
    "a typing error": (("self.bn1(self.conv1(x))", "self.nb1(self.conv1(x))"), "Your code stopped in line"),
}


RENAMED = ("other names", "projection called shortcut")


@pytest.mark.parametrize("name", BLOCKS)
def test_mistakes_in_the_block(name, said):
    (right, wrong), expected = BLOCKS[name]
    assert right in ex.q2.source
    source = ex.q2.source.replace(right, wrong, -1 if name in RENAMED else 1)
    if name == "stride on the second convolution":
        source = source.replace("out_channels, out_channels, 3,", "out_channels, out_channels, 3, stride,")
    printed = said(ex.q2, answer_of(source))
    assert printed.startswith("✗") and expected in printed


def test_every_mistake_has_a_message_of_its_own():
    messages = [expected for _, expected in BLOCKS.values()]
    assert len(set(messages)) == len(messages)


def test_no_class_and_no_forward(said):
    assert "Give the class itself" in said(ex.q2, BasicBlock(4, 4))
    assert "has no forward" in said(ex.q2, type("MyBlock", (nn.Module,), {}))


def test_one_batchnorm_under_another_name(said):
    source = ex.q2.source.replace("self.bn2 = nn.BatchNorm2d(out_channels)", "")
    source = source.replace("self.bn1", "self.norm").replace("self.bn2", "self.norm")
    assert "Both convolutions share one BatchNorm" in said(ex.q2, answer_of(source))


def test_other_right_blocks(said):
    assert said(ex.q2, BasicBlock).startswith("✓"), "nn.ReLU(inplace=True) and downsample = None are fine"
    for right, other in (
        ("out_channels, 3, padding=1", 'out_channels, 3, padding="same"'),
        ("nn.Identity()", "lambda x: x"),
        (
            "return torch.relu(residual + self.downsample(x))",
            "residual += self.downsample(x); return residual.relu_()",
        ),
        ("self.conv1(x)", "self.conv1(x.to(memory_format=torch.channels_last))"),
    ):
        assert right in ex.q2.source
        assert said(ex.q2, answer_of(ex.q2.source.replace(right, other))).startswith("✓"), other


def test_a_right_answer_is_right_where_gradients_are_off(said):
    with torch.no_grad():
        assert said(ex.q2, BasicBlock).startswith("✓")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"in_channels": 64}, "in_channels is 64, but layer3 gets what layer2 puts out"),
        ({"out_channels": 512}, "out_channels is 512, but each stage doubles"),
        ({"blocks": 3}, "blocks is 3, but ResNet-18 has two blocks"),
        ({"stride": 1}, "stride is 1, but every stage after the first halves"),
        ({"stride": 1}, "Yours makes 256×28×28 of 128×28×28."),
        ({"out_channels": 512}, "Yours makes 512×14×14 of 128×28×28."),
        ({"blocks": 10**9}, "blocks is 1000000000; it should be a whole number from 1 to 4096"),
        ({"stride": "2"}, "stride is '2'; it should be a whole number"),
        ({"width": 3}, "Keep the dict with the keys in_channels, out_channels, blocks, stride"),
    ],
)
def test_mistakes_in_the_stage(change, expected, said):
    assert expected in said(ex.q3, {**ex.STAGE, **change})


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
    "isinstance(m, (nn.Conv2d, nn.Linear)) for m in model.children()": "It looks only at the top level",
}


@pytest.mark.parametrize("count", COUNTS)
def test_mistakes_in_counting(count, said):
    assert COUNTS[count] in said(ex.q4, answer_of(f"def count(model): return sum({count})"))


@pytest.mark.parametrize(("case", "said_problem"), ex.WHY_NOT)
def test_a_wrong_diagnosis_is_told_what_speaks_against_it(case, said_problem, said):
    printed = said(ex.q5, {**ex.DIAGNOSES, case: said_problem})
    assert ex.WHY_NOT[case, said_problem] in printed and printed.startswith("✗")


def test_an_unknown_diagnosis_lists_the_known(said):
    printed = said(ex.q5, {**ex.DIAGNOSES, "B": "bad luck"})
    assert "B is 'bad luck'; it must be one of: degradation, overfitting, too high a learning rate" in printed
