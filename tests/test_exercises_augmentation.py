"""Every plausible mistake in notebook 02's exercises gets a message of its own; every right way is right."""

import pytest
import torch
from exercise_harness import answer_of

from resnet_course.exercises import augmentation as ex


def function(arguments, body):
    lines = body.replace("; ", "\n    ")
    return answer_of(f"def answer({arguments}):\n    {lines}\n")


@pytest.mark.parametrize("question", (ex.q1, ex.q2, ex.q3, ex.q6), ids=lambda question: question.name)
def test_a_value_in_place_of_a_function_is_named(question, said):
    assert "Give the function itself" in said(question, torch.zeros(3))


STDS = {
    "return (images / 255).std((2, 3)).mean(0)": "mean of each picture's own std",
    "return images.float().std((0, 2, 3))": "divide by 255",
    "return (images / 255).var((0, 2, 3))": "That is the variance",
    "return (images / 255).mean((0, 2, 3))": "That is the mean",
    "return (images / 255).std()": "It returns one number",
    "return (images / 255).std(0).mean((1, 2))": "over the pictures at each place",
    "return (images / 255).mean((2, 3)).std(0)": "std of the pictures' means",
    "return (images / 255).std((2, 3))": "returns a tensor of shape (60, 3)",
    "images //= 2; return images.float().std((0, 2, 3)) / 255": "It changes the pictures",
    "(images / 255).std((0, 2, 3))": "Is a return missing?",
    "return images.std((0, 2, 3))": "Your code stopped in line 2 of answer",
    "return (images / 255).std((0, 2, 3)) * 1.1": "it should be [",
}
RIGHT_STDS = [
    "return (images.numpy() / 255).std((0, 2, 3))",
    "return (images.double() / 255).std((0, 2, 3), unbiased=False)",
    "return images.float().std((0, 2, 3), keepdim=True) / 255",
    "return [float((images[:, c] / 255.0).std()) for c in range(3)]",
    "x = images.transpose(0, 1).flatten(1) / 255; return (x.square().mean(1) - x.mean(1).square()).sqrt()",
]


@pytest.mark.parametrize(("body", "message"), STDS.items())
def test_q1_names_the_mistake(body, message, said):
    text = said(ex.q1, function("images", body))
    assert text.startswith("✗") and message in text


@pytest.mark.parametrize("body", RIGHT_STDS)
def test_q1_takes_every_right_way(body, said):
    assert said(ex.q1, function("images", body)).startswith("✓")


M = "m = torch.tensor(mean).view(3, 1, 1); s = torch.tensor(std).view(3, 1, 1); "
DISPLAYS = {
    "return ((inputs + m) * s * 255).round().clamp(0, 255).to(torch.uint8)": "The order is wrong",
    "return ((inputs - m) / s * 255).round().clamp(0, 255).to(torch.uint8)": "You normalise once more",
    "return ((inputs * s - m) * 255).round().clamp(0, 255).to(torch.uint8)": "The mean is subtracted",
    "return ((inputs / s + m) * 255).round().clamp(0, 255).to(torch.uint8)": "You divide by std",
    "return (inputs * s + m)": "The values run from 0 to 1",
    "return (inputs * s + m).to(torch.uint8)": "You make bytes of values from 0 to 1",
    "return (inputs * s + m).round().clamp(0, 1).to(torch.uint8)": "not those of the picture",
    "return ((inputs * s + m) * 255).round().to(torch.int64).to(torch.uint8)": "wrap round",
    "return ((inputs * s + m) * 255).clamp(0, 255).to(torch.uint8)": "Round first",
    "return ((inputs * s + m) * 255).round().clamp(0, 255)": "but of type torch.float32",
    "return ((inputs * s + m) * 255).round()": "Clamp them, round",
    "return ((inputs * s + m) * 255).clamp(0, 255)": "right before rounding",
    "inputs.mul_(s); return ((inputs + m) * 255).round().clamp(0, 255).byte()": "It changes the picture",
    "return ((inputs * s + m) * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)": "[H, W, 3], as",
    "return (((inputs * s + m) * 255).round().clamp(0, 254) + 1).to(torch.uint8)": "off by one",
    "((inputs * s + m) * 255)": "Is a return missing?",
    "return ((inputs * s + m) * 255).round().clamp(0, 255).to(torch.uint8)[None]": "The shape should stay",
}


@pytest.mark.parametrize(("body", "message"), DISPLAYS.items())
def test_q2_names_the_mistake(body, message, said):
    text = said(ex.q2, function("inputs, mean, std", M + body))
    assert text.startswith("✗") and (message or "") in text


def test_q2_names_the_wrong_axis(said):
    body = "m, s = torch.tensor(mean), torch.tensor(std); "
    body += "return ((inputs * s + m) * 255).round().clamp(0, 255).to(torch.uint8)"
    assert "not along the channels" in said(ex.q2, function("inputs, mean, std", body))


@pytest.mark.parametrize(
    "body",
    [
        M + "return ((inputs * s + m).clamp(0, 1) * 255 + 0.5).to(torch.uint8)",
        "x = inputs.numpy() * np.array(std)[:, None, None] + np.array(mean)[:, None, None]; "
        "return (x * 255).round().clip(0, 255).astype(np.uint8)",
        "c = [(inputs[i] * std[i] + mean[i]) * 255 for i in range(3)]; "
        "return torch.stack(c).round().clamp(0, 255).byte()",
    ],
)
def test_q2_takes_every_right_way(body, said):
    assert said(ex.q2, function("inputs, mean, std", body)).startswith("✓")


BEGIN = "n, _, h, w = images.shape; p = F.pad(images, (padding,) * 4); "
DRAW = "o = torch.randint(0, 2 * padding + 1, (n, 2), generator=generator).tolist(); "
CUT = "return torch.stack([p[i, :, r:r + h, c:c + w] for i, (r, c) in enumerate(o)])"
CROPS = {
    BEGIN + DRAW + "r, c = o[0]; return p[:, :, r:r + h, c:c + w]": "All pictures are shifted alike",
    BEGIN + DRAW.replace("2 * padding + 1", "2 * padding") + CUT: "begin at, 6, is never drawn",
    BEGIN + DRAW.replace("(0,", "(1,") + CUT: "The first row, 0, is never drawn",
    BEGIN + DRAW.replace("2 * padding + 1, (n", "padding + 1, (n") + CUT: "The last row to begin at",
    BEGIN + DRAW + CUT.replace("c:c + w", "r:r + w"): "Row and column are always equal",
    BEGIN + DRAW + CUT.replace("c:c + w", "padding:padding + w"): "begins at the same column",
    BEGIN + DRAW + CUT.replace("r:r + h", "padding:padding + h"): "begins at the same row",
    BEGIN + "return p[:, :, padding:padding + h, padding:padding + w]": "Nothing is shifted",
    "return images": "Nothing is shifted",
    BEGIN + "return p": "Pad all four sides first",
    BEGIN + DRAW + CUT + ".float()": "It returns torch.float32",
    BEGIN + DRAW + CUT + ".flip(0)": "Pictures change places",
    BEGIN.replace("F.pad(images", "F.pad(images.float()").replace("* 4)", "* 4, mode='reflect').byte()")
    + DRAW
    + CUT: "There is no black border",
    BEGIN + DRAW.replace(", generator=generator", "") + CUT: "Two calls with the same generator differ",
    BEGIN + "generator = torch.Generator().manual_seed(0); " + DRAW + CUT: "Another generator gives the same",
    BEGIN + DRAW + "x = " + CUT.removeprefix("return ") + "; x[:, 1] = images[:, 1]; return x": "one piece",
    BEGIN
    + DRAW
    + "return torch.stack([images[i].roll((3 - r, 3 - c), (1, 2)) for i, (r, c) in enumerate(o)])": (
        "comes in on the other"
    ),
    BEGIN + DRAW + CUT.removeprefix("return "): "Is a return missing?",
    "images += 1; " + BEGIN + DRAW + CUT: "It changes the pictures",
    BEGIN
    + "o = (torch.randn(n, 2, generator=generator) * 1.2 + padding).round().clamp(0, 6).long().tolist(); "
    + CUT: "far more often",
    BEGIN.replace("h, w =", "w, h =") + DRAW + CUT: "Keep height and width apart",
    BEGIN + DRAW + CUT.replace("c:c + w", "c:c + h"): "12×7 (height × width) are not",
    BEGIN + DRAW + CUT.replace("r:r + h", "r:r + w"): "crops of 7×7 come back",
}


@pytest.mark.parametrize(("body", "message"), CROPS.items())
def test_q3_names_the_mistake(body, message, said):
    text = said(ex.q3, function("images, padding, generator", body))
    assert text.startswith("✗") and message in text


@pytest.mark.parametrize(
    "body",
    [
        "from resnet_course.inputs.augment import random_crop; "
        "return random_crop(images, padding, generator, border='constant')",
        BEGIN + "o = (torch.rand(n, 2, generator=generator) * (2 * padding + 1)).long().tolist(); " + CUT,
        BEGIN
        + "out = torch.empty_like(images); "
        + DRAW
        + "[out[i].copy_(p[i, :, r:r + h, c:c + w]) for i, (r, c) in enumerate(o)]; return out",
    ],
)
def test_q3_takes_every_right_way(body, said):
    assert said(ex.q3, function("images, padding, generator", body)).startswith("✓")


def safe(**changed):
    return {**answer_of(ex.q4.source), **changed}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (safe(digits={"small shift", "any colour", "mirror"}), "A mirrored 2 or 7 is no digit"),
        (safe(digits={"small shift", "any colour", "upside down"}), "looks like a 9"),
        (safe(satellite={"mirror", "small shift", "any colour"}), "'upside down' is safe too"),
        (safe(fruit={"mirror", "upside down", "small shift", "any colour"}), "a matter of colour"),
        (safe(signs={"mirror", "small shift", "any colour"}), "says 'turn right'"),
        (safe(signs={"upside down", "small shift", "any colour"}), "points back"),
        (safe(signs={"small shift"}), "no label here depends on the colour"),
        (safe(signs={"shift"}), "'shift' is not one of the names: mirror, upside down"),
        (safe(signs=3), "give a set of names"),
        ({"digits": {"small shift", "any colour"}}, "satellite is missing"),
        ({"small shift"}, "Give a dict"),
    ],
)
def test_q4_names_the_mistake(answer, message, said):
    text = said(ex.q4, answer)
    assert text.startswith("✗") and message in text


def test_q4_takes_lists_and_tuples(said):
    answer = {name: list(chosen) for name, chosen in answer_of(ex.q4.source).items()}
    answer["signs"] = tuple(answer["signs"])
    assert said(ex.q4, answer).startswith("✓")


@pytest.mark.parametrize("letter", "ABCDE")
def test_q5_says_why_each_wrong_diagnosis_is_wrong(letter, said):
    right, why = ex.RIGHT[letter]
    for wrong in set(ex.LEAKS) - {right}:
        text = said(ex.q5, {**answer_of(ex.q5.source), letter: wrong})
        assert text.startswith("✗") and f"{letter} is not {wrong!r}. {why}" in text


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"A": "copies across splits"}, "B is missing"),
        (dict.fromkeys("ABCDE", "leak"), "A: 'leak' is not one of the diagnoses"),
        (["A"], "Give a dict"),
    ],
)
def test_q5_names_what_is_not_an_answer(answer, message, said):
    assert message in said(ex.q5, answer)


ORDER = "names = sorted(set(groups)); order = torch.randperm(len(names), generator=generator).tolist(); "
DEAL = "fold = {names[place]: i % k for i, place in enumerate(order)}; "
EACH = "return torch.tensor([fold[group] for group in groups])"
FOLDS = {
    "return torch.randint(k, (len(groups),), generator=generator)": "is in several folds",
    "return torch.arange(len(groups)) % k": "is in several folds",
    ORDER + DEAL.replace("i % k", "i % 2") + EACH: "A fold is empty: [2, 3]",
    ORDER + DEAL.replace("i % k", "i % k + 1") + EACH: "the numbers are 0 to 3",
    ORDER + DEAL.replace("i % k", "min(i, k - 1)") + EACH: "so that the folds are even",
    ORDER.replace("generator=generator", "") + DEAL + EACH: "Two calls with the same generator differ",
    ORDER.replace("torch.randperm(len(names), generator=generator).tolist()", "range(len(names))")
    + DEAL
    + EACH: "Another generator gives the same folds",
    ORDER.replace("sorted", "list") + DEAL + EACH: "differ from start to start of Python",
    ORDER + DEAL + "return torch.tensor(list(fold.values()))": "one fold a picture",
    ORDER + DEAL + EACH.removeprefix("return "): "Is a return missing?",
}


@pytest.mark.parametrize(("body", "message"), FOLDS.items())
def test_q6_names_the_mistake(body, message, said):
    text = said(ex.q6, function("groups, k, generator", body))
    assert text.startswith("✗") and message in text


@pytest.mark.parametrize("end", [EACH, "return [fold[group] for group in groups]"])
@pytest.mark.parametrize(
    "names", ["sorted(set(groups))", "list(dict.fromkeys(groups))", "np.unique(groups).tolist()"]
)
def test_q6_takes_every_right_way(names, end, said):
    body = ORDER.replace("sorted(set(groups))", names) + DEAL + end
    assert said(ex.q6, function("groups, k, generator", body)).startswith("✓")
