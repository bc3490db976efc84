"""The recipes that the course uses, the reason beside each value."""

from __future__ import annotations

from dataclasses import replace

from resnet_course.recipes.recipe import Recipe

# The published walk-through, exactly: the yardstick for all that follows. Four to twelve hours on two cores.
ORIGINAL = Recipe(
    name="original",
    image_size=224,
    augmentation="original",
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2023, 0.1994, 0.2010),  # the mean of the pictures' own stds, not the std of all pixels
    train_from="layer4",
    dropout=0.5,
    epochs=10,
    batch_size=32,
    learning_rate=5e-4,
    weight_decay=1e-4,
    decay_all=True,
    schedule="plateau",
    precision="fp32",
    memory_format="contiguous",
    batchnorm_moves=True,
    select_on_test=True,
)

# A good result in minutes on an ordinary processor. The values were chosen on validation, one seed for each.
LAPTOP = Recipe(
    name="laptop",
    image_size=128,  # in the same time one view and 2 epochs at 128 pixels beat two views and 4 epochs at 96
    augmentation="none",  # a second view, mirrored, doubles the trunk pass and gained nothing
    train_from="layer4",  # all before it knows photographs already, and is computed once
    cached_views=1,
    epochs=2,
    batch_size=128,
    learning_rate=1e-3,
    label_smoothing=0.1,  # against the over-fit: the loss on train was a fifth of that on validation
    test_views=6,  # training takes minutes and a prediction a moment, so it may look six times
)

# For own pictures, from ten to a few hundred of each class: seconds.
FEW = Recipe(
    name="few",
    image_size=160,  # with few pictures the trunk pass is short; above 160 pixels tiny ones lose again
    augmentation="crop_flip",
    train_from="layer4",
    head="linear_probe",  # with 10 a class most of what there is to win: what follows refines it
    cached_views=4,  # 80.2% of validation, with two 79.4% (50 a class, three draws)
    epochs=4,  # not told apart from eight with 10 and with 50 a class, in three quarters of the time
    batch_size=32,  # small batches make more steps
    learning_rate=3e-4,  # the head is right already, so nothing needs large steps
    average=0.97,  # much of the linear probe stays in it; between 0.98 and 0.96, which were not told apart
    test_views=6,
)

# The best, in a third of an hour with AMX and in hours with AVX2 alone: two trainings, each down to a rate
# of zero, because after the first it is worth using already; the second looks closer. Small images first: in
# the beginning there is much to learn that does not need the large ones.
FULL_FIRST = Recipe(
    name="full, first phase",
    image_size=128,
    train_from="layer3",
    epochs=4,
    batch_size=128,
    learning_rate=1e-3,  # for the new head
    layer_decay=0.6,  # so layer4 learns with 0.6 of that, and layer3 with 0.36
    label_smoothing=0.1,
    test_views=6,
)
FULL = replace(
    FULL_FIRST,
    name="full",
    image_size=160,  # most is learned already, and a closer look finds the rest
    epochs=2,  # three were not told apart from two on validation
    learning_rate=5e-4,  # what is learned already is refined, not replaced
    first=FULL_FIRST,
)

# The last half point, for nearly three times the minutes of `full`: at the size that the weights have learned
# from, in one training. 96.3% of validation with one seed, where three seeds of `full` have 95.9 to 96.1%.
TOP = replace(FULL_FIRST, name="top", image_size=224, epochs=8)

# Seconds, for tests: small pictures, and nothing chosen by a measurement, so that every run is the same.
REDUCED = Recipe(
    name="reduced",
    image_size=32,
    train_from="all",
    epochs=3,
    batch_size=64,
    learning_rate=2e-3,
    precision="fp32",
    memory_format="channels_last",
)

# For experiments that change one thing at a time: all layers, random crops, nothing computed beforehand.
PLAIN = Recipe(name="plain", image_size=64, epochs=2, test_views=2)

# For the small stacks of notebook 01, which are compared by their training error: nothing is drawn at random
# but the weights and the order, and the learning rate is one that suits plain and residual stacks alike.
STACK = Recipe(
    name="stack",
    image_size=32,
    augmentation="none",
    train_from="all",
    epochs=5,
    batch_size=24,
    learning_rate=2e-3,
    precision="fp32",
    memory_format="channels_last",
)

RECIPES = {recipe.name: recipe for recipe in (ORIGINAL, LAPTOP, FULL, TOP, FEW, REDUCED)}


def for_mode(mode: str) -> Recipe:
    """The recipe that the notebooks train with in a mode: "reduced", "laptop" or "full"."""
    return RECIPES[mode]


def plain_for_mode(mode: str) -> Recipe:
    """The recipe that the notebooks' small experiments start from in a mode."""
    return REDUCED if mode == "reduced" else PLAIN
