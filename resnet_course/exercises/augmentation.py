"""Exercises of notebook 02: statistics, undoing a normalisation, crops, what is safe, leaks, folds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resnet_course.exercises.core import Exercise, Mistake, must_be_dict, must_be_function

MODULE = "augmentation"


def must_be_tensor(found: Any) -> None:
    """Raise Mistake for a function that forgot to return, or returned something else."""
    if not isinstance(found, Tensor):
        raise Mistake(f"It should return a tensor and returns {type(found).__name__}. Is a return missing?")


# 1: the std of all pixels


def check_std(answer: Callable[[Tensor], Tensor]) -> None:
    """Compare with the std over pictures, rows and columns, in units of 0 to 1."""
    must_be_function(answer, "ex.q1.check(per_pixel_std)")
    # Dark and bright pictures, each darker on one side, so that all the ways differ.
    brightness = torch.tensor((0, 20, 80)).repeat(20).view(60, 1, 1, 1) + 5 * torch.arange(12)
    contrast = torch.tensor((20, 70, 115)).view(3, 1, 1)
    images = brightness + torch.rand(60, 3, 12, 12) * contrast
    images = images.to(torch.uint8)
    before = images.clone()
    found = answer(images)
    if isinstance(found, list | tuple | np.ndarray):
        found = torch.tensor([float(value) for value in np.ravel(found)])
    must_be_tensor(found)
    if not torch.equal(images, before):
        raise Mistake("It changes the pictures that it gets. Compute a new tensor.")
    if found.numel() == 1:
        raise Mistake("It returns one number. Each of the three channels has its own: keep dimension 1.")
    if found.numel() != 3:
        raise Mistake(
            f"It should return 3 numbers, one for each channel, and returns a tensor of shape "
            f"{tuple(found.shape)}. Take the std over pictures, rows and columns: dimensions 0, 2 and 3."
        )
    found, x = found.flatten().double(), images.double() / 255
    right = x.std((0, 2, 3))

    def same(other: Tensor) -> bool:
        return bool((found - other).abs().max() < 0.002)

    if same(right):
        return
    for message, wrong in (
        (
            "That is the mean of each picture's own std: the number that is often quoted. It leaves out that "
            "some pictures are dark and others bright. Take one std over dimensions 0, 2 and 3 together.",
            x.std((2, 3)).mean(0),
        ),
        ("The bytes run from 0 to 255; divide by 255.", right * 255),
        ("That is the variance. The standard deviation is its square root.", right.square()),
        ("That is the mean, not the standard deviation.", x.mean((0, 2, 3))),
        (
            "You take the std over the pictures at each place, and then the mean of that. Take it over all "
            "pixels together: dimensions 0, 2 and 3.",
            x.std(0).mean((1, 2)),
        ),
        (
            "That is the std of the pictures' means: it sees which pictures are dark, and not their pixels. "
            "Take it over all pixels together: dimensions 0, 2 and 3.",
            x.mean((2, 3)).std(0),
        ),
    ):
        if same(wrong):
            raise Mistake(message)
    raise Mistake(
        f"For these pictures it should be {[round(value, 3) for value in right.tolist()]}, and yours is "
        f"{[round(value, 3) for value in found.tolist()]}."
    )


q1 = Exercise(
    MODULE,
    "q1",
    stub='''
def per_pixel_std(images):
    """images: uint8 [N, 3, H, W]. Returns the std of all pixels, one number a channel, bytes as 0 to 1."""
    raise NotImplementedError
''',
    hints=(
        "Bytes cannot hold a std: make numbers from 0 to 1 of them first.",
        "tensor.std takes several dimensions at once. All of them are averaged away but the channels.",
    ),
    source='''
def per_pixel_std(images):
    """images: uint8 [N, 3, H, W]. Returns the std of all pixels, one number a channel, bytes as 0 to 1."""
    return (images / 255).std(dim=(0, 2, 3))
''',
    checker=check_std,
    praise="All pixels count, within a picture and between pictures.",
)


# 2: undo a normalisation


def check_display(answer: Callable[[Tensor, Any, Any], Tensor]) -> None:
    """Compare with round(clamp(inputs · std + mean) · 255) on a picture with a value too low and too high."""
    must_be_function(answer, "ex.q2.check(to_display)")
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    m, s = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    for height, width in ((3, 3), (5, 4)):  # of 3 × 3 pixels a mean along the wrong axis has a legal shape
        bytes_ = torch.randint(0, 256, (3, height, width))
        inputs = ((bytes_ + 0.8 * torch.rand(bytes_.shape) - 0.4) / 255 - m) / s
        inputs[0, 0, 0], inputs[1, 1, 1] = 9.0, -9.0  # out of range: white and black
        bytes_[0, 0, 0], bytes_[1, 1, 1] = 255, 0
        before = inputs.clone()
        found = answer(inputs, mean, std)
        found = torch.from_numpy(found) if isinstance(found, np.ndarray) else found
        must_be_tensor(found)
        if not torch.equal(inputs, before):
            raise Mistake("It changes the picture that it gets. Compute a new tensor.")
        if found.shape == (height, width, 3) and torch.equal(found.permute(2, 0, 1).int(), bytes_.int()):
            raise Mistake(
                "The shape is [H, W, 3], as matplotlib takes it. Here the channels should stay in front; "
                "permute(1, 2, 0) comes when you show it."
            )
        if found.shape != inputs.shape:
            raise Mistake(f"The shape should stay {tuple(inputs.shape)}, and yours is {tuple(found.shape)}.")
        if torch.equal(found.double(), bytes_.double()):
            if found.dtype != torch.uint8:
                raise Mistake(f"The values are right, but of type {found.dtype}. End with .to(torch.uint8).")
            continue
        _name_display_mistake(found, inputs, m, s)
        raise Mistake("The values are not those of the picture. First times std, then plus mean, then × 255.")


def _name_display_mistake(found: Tensor, inputs: Tensor, m: Tensor, s: Tensor) -> None:
    x = (inputs * s + m) * 255
    middle = (x > 1) & (x < 254)  # where clamping does not matter

    def same(other: Tensor, tolerance: float = 0.01) -> bool:
        return bool(((found.double() - other.double()).abs()[middle] <= tolerance).all())

    if same(x, 0.6) and not same(x.trunc()):
        if found.dtype == torch.uint8:
            raise Mistake("Values below 0 or above 255 wrap round in bytes. Clamp them to 0..255 first.")
        if found.min() < -1 or found.max() > 256:
            raise Mistake("Some values are below 0 or above 255. Clamp them, round, and end with uint8.")
        raise Mistake("The values are right before rounding. Round them and end with .to(torch.uint8).")
    if same(x.trunc()):
        raise Mistake(
            "Turning numbers into bytes cuts off what is behind the point: 99.9 becomes 99. "
            "Round first, and clamp to 0..255."
        )
    if same(x / 255, 0.01):
        raise Mistake("The values run from 0 to 1. Bytes run from 0 to 255: multiply by 255.")
    if same((x / 255).trunc()):
        raise Mistake("You make bytes of values from 0 to 1, so nearly all are 0. Multiply by 255 first.")
    steps = (
        (
            "The order is wrong. Normalising subtracts the mean and then divides by std; undo the last "
            "step first: times std, then plus mean.",
            (inputs + m) * s,
        ),
        ("You normalise once more instead of undoing it: times std, then plus mean.", (inputs - m) / s),
        ("The mean is subtracted. To undo it, add it.", inputs * s - m),
        ("You divide by std. To undo the division, multiply.", inputs / s + m),
    )
    for message, wrong in steps:
        for scaled in (wrong * 255, (wrong * 255).round().clamp(0, 255), (wrong * 255).clamp(0, 255).trunc()):
            if same(scaled):
                raise Mistake(message)
    if same(x.round(), 1.001):
        raise Mistake(
            "The values are off by one at some pixels. Compute in one go: times std, plus mean, "
            "times 255; then round once, at the end."
        )
    if inputs.shape[1:] == (3, 3):
        flat_m, flat_s = m.flatten(), s.flatten()
        for scaled in ((inputs * flat_s + flat_m) * 255,):
            if same(scaled.clamp(0, 255), 1.0):
                raise Mistake(
                    "mean and std are laid along the columns, not along the channels. "
                    "Give them the shape [3, 1, 1]."
                )


q2 = Exercise(
    MODULE,
    "q2",
    stub='''
def to_display(inputs, mean, std):
    """inputs: float [3, H, W], normalised. mean, std: three numbers. Returns the picture, uint8 [3, H, W]."""
    raise NotImplementedError
''',
    hints=(
        "Normalising was (x / 255 - mean) / std. Undo the steps in reverse order.",
        "torch.tensor(mean).view(3, 1, 1) lies along the channels.",
        "At the end: round, clamp to 0..255, and only then .to(torch.uint8).",
    ),
    source='''
def to_display(inputs, mean, std):
    """inputs: float [3, H, W], normalised. mean, std: three numbers. Returns the picture, uint8 [3, H, W]."""
    mean, std = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)
    pixels = (inputs * std + mean) * 255
    return pixels.round().clamp(0, 255).to(torch.uint8)
''',
    checker=check_display,
    praise="Undo the last step first, round, clamp, and turn into bytes at the very end.",
)


# 3: a crop for each picture

Crop = Callable[[Tensor, int, torch.Generator], Tensor]
SIDE, PADDING, PICTURES = 12, 3, 400


def _coded_pictures() -> Tensor:
    """Pictures whose pixels tell their row (channel 0), column (1) and picture (2); no pixel is 0."""
    images = torch.zeros(PICTURES, 3, SIDE, SIDE, dtype=torch.uint8)
    images[:, 0] = (1 + torch.arange(SIDE))[:, None]
    images[:, 1] = 1 + torch.arange(SIDE)
    images[:, 2] = (1 + torch.arange(PICTURES) % 250)[:, None, None]
    return images


def check_crop(answer: Crop) -> None:
    """Read each picture's offset off its middle pixel; compare with that crop; then judge the offsets."""
    must_be_function(answer, "ex.q3.check(random_crop)")
    images = _coded_pictures()
    before = images.clone()
    found = answer(images, PADDING, torch.Generator().manual_seed(0))
    must_be_tensor(found)
    if not torch.equal(images, before):
        raise Mistake("It changes the pictures that it gets. Compute a new tensor.")
    if found.shape != images.shape:
        raise Mistake(
            f"For pictures of shape {tuple(images.shape)} it returns {tuple(found.shape)}. "
            "Pad all four sides first; then cut out the old height and width."
        )
    if found.dtype != torch.uint8:
        raise Mistake(f"It returns {found.dtype}. Bytes come in, so bytes (torch.uint8) should come out.")
    rows, columns = _offsets(found)
    _check_content(found, images, rows, columns)
    _check_offsets(rows, columns)
    again = answer(images, PADDING, torch.Generator().manual_seed(0))
    if not torch.equal(again, found):
        raise Mistake(
            "Two calls with the same generator differ. Draw with it: torch.randint(…, generator=generator)."
        )
    other = answer(images, PADDING, torch.Generator().manual_seed(1))
    if torch.equal(other, found):
        raise Mistake("Another generator gives the same crops. Do not set a seed inside the function.")
    _check_oblong(answer)


def _offsets(found: Tensor) -> tuple[Tensor, Tensor]:
    """The first row and the first column of every crop, read off its middle pixel."""
    middle = [side // 2 for side in found.shape[2:]]
    pixel = found[:, :, middle[0], middle[1]].int() - 1
    if not torch.equal(pixel[:, 2], torch.arange(PICTURES, dtype=torch.int32) % 250):
        raise Mistake("Pictures change places in the batch. Their labels do not, so each must stay.")
    return pixel[:, 0] - middle[0] + PADDING, pixel[:, 1] - middle[1] + PADDING


def _check_oblong(answer: Crop) -> None:
    """Of pictures that are higher than wide, which tell height from width."""
    images = _coded_pictures()[..., : SIDE - 5].contiguous()
    shape = "×".join(map(str, images.shape[2:]))
    advice = f"Squares are right, but pictures of {shape} (height × width) are not"
    try:
        found = answer(images.clone(), PADDING, torch.Generator().manual_seed(0))
    except Exception as error:
        raise Mistake(f"{advice}: {error}. Keep height and width apart.") from error
    if found.shape != images.shape:
        raise Mistake(f"{advice}: crops of {'×'.join(map(str, found.shape[2:]))} come back.")
    _check_content(found, images, *_offsets(found))


def _check_content(found: Tensor, images: Tensor, rows: Tensor, columns: Tensor) -> None:
    height, width = images.shape[2:]
    padded = torch.zeros(PICTURES, 3, height + 2 * PADDING, width + 2 * PADDING, dtype=torch.uint8)
    padded[:, :, PADDING:-PADDING, PADDING:-PADDING] = images
    shifted = bool((rows != PADDING).any() or (columns != PADDING).any())
    if shifted and not (found == 0).any():
        if torch.equal(torch.roll(images[0], int(PADDING - rows[0]), 1)[:, :, 0], found[0, :, :, 0]):
            raise Mistake("What leaves on one side comes in on the other. Pad with zeros (black) instead.")
        raise Mistake("There is no black border. Pad with zeros; do not mirror or repeat the picture.")
    for i, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        if not (0 <= row <= 2 * PADDING and 0 <= column <= 2 * PADDING):
            raise Mistake(
                f"A picture is shifted by more than the padding of {PADDING}. The first row and column to "
                f"keep run from 0 to 2 · padding, {2 * PADDING} here."
            )
        expected = padded[i, :, row : row + height, column : column + width]
        if not torch.equal(found[i], expected):
            if torch.equal(found[i].transpose(1, 2), expected):
                raise Mistake("Rows and columns are swapped in the result.")
            raise Mistake(
                f"Picture {i} is not one piece of the padded picture. All its channels, rows and columns "
                "must be shifted alike."
            )


def _check_offsets(rows: Tensor, columns: Tensor) -> None:
    last = 2 * PADDING
    for name, offsets in (("row", rows), ("column", columns)):
        if len(offsets.unique()) == 1 and len(torch.cat([rows, columns]).unique()) > 2:
            raise Mistake(f"Every picture begins at the same {name}. Draw rows and columns, both.")
    if len(torch.stack([rows, columns]).unique(dim=1).T) == 1:
        if rows[0] == PADDING and columns[0] == PADDING:
            raise Mistake("Nothing is shifted: the middle is cut out each time. Draw the place at random.")
        raise Mistake(
            "All pictures are shifted alike. Draw an offset for each picture, not one for the batch."
        )
    if torch.equal(rows, columns):
        raise Mistake("Row and column are always equal. Draw them apart, else only a diagonal is possible.")
    for name, offsets in (("row", rows), ("column", columns)):
        if offsets.max() < last:
            raise Mistake(
                f"The last {name} to begin at, {last}, is never drawn. torch.randint leaves out its upper "
                "end: ask for 2 * padding + 1."
            )
        if offsets.min() > 0:
            raise Mistake(f"The first {name}, 0, is never drawn.")
        counts = torch.bincount(offsets.long(), minlength=last + 1)
        if counts.min() < PICTURES / (last + 1) / 3:
            raise Mistake("Some places are drawn far more often than others. Draw all of them evenly.")


q3 = Exercise(
    MODULE,
    "q3",
    stub='''
def random_crop(images, padding, generator):
    """Pad every side with zeros, then cut each picture out at its own random place.

    images: uint8 [N, 3, H, W]. generator: draw with it. Returns uint8 [N, 3, H, W].
    """
    raise NotImplementedError
''',
    hints=(
        "F.pad(images, (padding,) * 4) pads all four sides with zeros.",
        "torch.randint(0, 2 * padding + 1, (N, 2), generator=generator) draws a row and a column a picture.",
        "Loop over the pictures, cut out padded[i, :, row : row + H, left : left + W], and torch.stack them.",
    ),
    source='''
def random_crop(images, padding, generator):
    """Pad every side with zeros, then cut each picture out at its own random place.

    images: uint8 [N, 3, H, W]. generator: draw with it. Returns uint8 [N, 3, H, W].
    """
    count, _, height, width = images.shape
    padded = torch.nn.functional.pad(images, (padding,) * 4)
    places = torch.randint(0, 2 * padding + 1, (count, 2), generator=generator).tolist()
    return torch.stack(
        [padded[i, :, row : row + height, left : left + width] for i, (row, left) in enumerate(places)]
    )
''',
    checker=check_crop,
    praise="Each picture has its own place, all places are possible, and no label lost its picture.",
)


# 4: which augmentations are safe

AUGMENTATIONS = ("mirror", "upside down", "small shift", "any colour")
UNSAFE: dict[str, dict[str, str]] = {
    # For each data set, and why.
    "digits": {
        "mirror": "A mirrored 2 or 7 is no digit.",
        "upside down": "A 6 turned upside down looks like a 9.",
    },
    "satellite": {},
    "fruit": {
        "any colour": "Ripe or unripe is a matter of colour here: a red fruit made green has a wrong label.",
    },
    "signs": {
        "mirror": "A mirrored 'turn left' says 'turn right'.",
        "upside down": "'Go straight on', turned upside down, points back.",
    },
}
WHY_SAFE = {
    "mirror": "its mirror image could be in the data with the same label",
    "upside down": "nothing in it has a top: turned, it could be in the data with the same label",
    "small shift": "a few pixels to the side change no label",
    "any colour": "no label here depends on the colour",
}


def check_safe(answer: Any) -> None:
    """Compare each set of names with the one that the description allows."""
    must_be_dict(answer, "a set of names", UNSAFE)
    for name, unsafe in UNSAFE.items():
        chosen = answer[name]
        if isinstance(chosen, str):
            chosen = {chosen}
        if not isinstance(chosen, set | frozenset | list | tuple):
            raise Mistake(f"{name}: give a set of names, such as {{'mirror', 'small shift'}}.")
        for augmentation in chosen:
            if augmentation not in AUGMENTATIONS:
                raise Mistake(
                    f"{name}: {augmentation!r} is not one of the names: {', '.join(AUGMENTATIONS)}."
                )
        for augmentation, why in unsafe.items():
            if augmentation in chosen:
                raise Mistake(f"{name}: {augmentation!r} is not safe. {why}")
        for augmentation in AUGMENTATIONS:
            if augmentation not in chosen and augmentation not in unsafe:
                raise Mistake(
                    f"{name}: {augmentation!r} is safe too: {WHY_SAFE[augmentation]}. Read the text again."
                )


SETS = """
# The augmentations: "mirror" (left to right), "upside down" (turned by 180 degrees),
# "small shift" (by an eighth of the side; the object stays whole), "any colour" (red may become green).
#
# digits: handwritten digits 0 to 9, in ink of any colour; the label is the digit.
# satellite: fields and roofs from straight above, north in any direction, some in false colours;
#     the label is "field" or "roof".
# fruit: single fruits of one kind, lying in any position; the label is "ripe" (red) or "unripe" (green).
# signs: blue and black signs with one arrow, photographed upright; the label is where to go,
#     "left", "right" or "straight on". A sign means the same in every colour.
"""

q4 = Exercise(
    MODULE,
    "q4",
    stub=SETS
    + """safe_augmentations = {
    "digits": ...,
    "satellite": ...,
    "fruit": ...,
    "signs": ...,
}
""",
    hints=(
        "Ask for each: could the changed picture be in this data set, with the same label?",
        "A small shift is safe in all four. One data set allows everything.",
        "Two of them mind direction, one minds colour.",
    ),
    source=SETS
    + """safe_augmentations = {
    "digits": {"small shift", "any colour"},
    "satellite": {"mirror", "upside down", "small shift", "any colour"},
    "fruit": {"mirror", "upside down", "small shift"},
    "signs": {"small shift", "any colour"},
}
""",
    checker=check_safe,
    praise="Nothing is safe as such: it depends on what the label means.",
)


# 5: spot the leak

LEAKS = ("copies across splits", "statistics of the test set", "chosen on the test set", "no leak")
RIGHT = {
    "A": ("copies across splits", "Frames of one video, a moment apart, are nearly the same picture."),
    "B": ("chosen on the test set", "The epoch was picked because it is good on the test pictures."),
    "C": ("no leak", "No person is in two splits, and the test pictures were used once, at the end."),
    "D": ("copies across splits", "The turned copies of a test picture are in the training set."),
    "E": ("statistics of the test set", "The mean and std were computed from the test pictures too."),
}


def check_leaks(answer: Any) -> None:
    """Compare every diagnosis with the one that the description allows."""
    must_be_dict(answer, "one diagnosis", RIGHT)
    for letter, (right, why) in RIGHT.items():
        said = answer[letter]
        if said not in LEAKS:
            raise Mistake(f"{letter}: {said!r} is not one of the diagnoses: {', '.join(LEAKS)}.")
        if said != right:
            raise Mistake(f"{letter} is not {said!r}. {why}")


STORIES = """
# The diagnoses: "copies across splits", "statistics of the test set", "chosen on the test set", "no leak".
#
# A: all frames of 20 videos are shuffled, then 80% go to train and 20% to test.
# B: after every epoch the accuracy on the test pictures is printed; the best epoch is kept and reported.
# C: pictures of 50 people; 40 people are in train, 5 in validation, 5 in test. The learning rate is chosen
#    on validation; the test accuracy is computed once, at the end.
# D: every picture is saved in four turned copies. Then all files are split at random.
# E: mean and std for the normalisation are computed over all pictures; after that the pictures are split.
"""

q5 = Exercise(
    MODULE,
    "q5",
    stub=STORIES
    + """leaks = {"A": ..., "B": ..., "C": ..., "D": ..., "E": ...}
""",
    hints=(
        "Ask of each: what did the test pictures change before the last number was computed?",
        "Two of the five have nearly the same picture on both sides. One is clean.",
    ),
    source=STORIES
    + """leaks = {
    "A": "copies across splits",
    "B": "chosen on the test set",
    "C": "no leak",
    "D": "copies across splits",
    "E": "statistics of the test set",
}
""",
    checker=check_leaks,
    praise="Split first, by whatever belongs together; then touch the test pictures once, at the end.",
)


# 6: folds by group


def check_folds(answer: Callable[..., Tensor]) -> None:
    """Look at folds of groups of uneven size: whole groups, even folds, drawn with the generator."""
    must_be_function(answer, "ex.q6.check(folds_of)")
    names = [f"day {day}" for day in range(23) for _ in range(1 + day % 7)]
    groups = [names[place] for place in torch.randperm(len(names)).tolist()]

    def drawn(seed: int, groups: list[str] = groups) -> Tensor:
        found = answer(list(groups), 4, torch.Generator().manual_seed(seed))
        return torch.as_tensor(found) if isinstance(found, list | tuple | np.ndarray) else found

    found = drawn(0)
    must_be_tensor(found)
    if found.shape != (len(groups),):
        raise Mistake(f"It should return one fold a picture, {len(groups)}, and returns {list(found.shape)}.")
    folds = set(found.tolist())
    if not folds <= {0, 1, 2, 3}:
        raise Mistake(f"With four folds the numbers are 0 to 3, and yours are {sorted(folds)}.")
    if len(folds) < 4:
        raise Mistake(f"A fold is empty: {sorted({0, 1, 2, 3} - folds)} never occurs.")
    of_group: dict[str, set[int]] = {}
    for group, fold in zip(groups, found.tolist(), strict=True):
        of_group.setdefault(group, set()).add(fold)
    torn = [group for group, own in of_group.items() if len(own) > 1]
    if torn:
        raise Mistake(f"{torn[0]} is in several folds. Draw a fold for each group, not for each picture.")
    sizes = torch.tensor([next(iter(own)) for own in of_group.values()]).bincount(minlength=4)
    if sizes.max() > sizes.min() + 1:
        raise Mistake(
            f"The folds hold {sizes.tolist()} groups. Deal the groups out in turn (number them in a random "
            "order, modulo k), so that the folds are even."
        )
    if not torch.equal(found, drawn(0)):
        raise Mistake(
            "Two calls with the same generator differ. Draw with it: torch.randperm(…, generator=generator)."
        )
    if torch.equal(found, drawn(1)):
        raise Mistake("Another generator gives the same folds. Put the groups into a random order first.")
    # Other texts in the same order: as at another start of Python, their hashes are others.
    if not torch.equal(found, drawn(0, [f"{group} " for group in groups])):
        raise Mistake(
            "With the same generator the folds would differ from start to start of Python: a set has another "
            "order at each start. Sort it: sorted(set(groups))."
        )


q6 = Exercise(
    MODULE,
    "q6",
    stub='''
def folds_of(groups, k, generator):
    """For each picture its fold, 0 to k - 1, so that a group is never split.

    groups: a list with the name of each picture's group. generator: draw with it. Returns int64 [N].
    Groups are dealt out at random, and their numbers in the folds differ by at most one.
    """
    raise NotImplementedError
''',
    hints=(
        "sorted(set(groups)) lists each group once, in an order that is the same at every start.",
        "Put the groups into a random order; the group at place i goes into fold i % k.",
    ),
    source='''
def folds_of(groups, k, generator):
    """For each picture its fold, 0 to k - 1, so that a group is never split.

    groups: a list with the name of each picture's group. generator: draw with it. Returns int64 [N].
    Groups are dealt out at random, and their numbers in the folds differ by at most one.
    """
    names = sorted(set(groups))
    order = torch.randperm(len(names), generator=generator).tolist()
    fold = {names[place]: i % k for i, place in enumerate(order)}
    return torch.tensor([fold[group] for group in groups])
''',
    checker=check_folds,
    praise="No group is on both sides, so the check meets only what it has not learned from.",
)
