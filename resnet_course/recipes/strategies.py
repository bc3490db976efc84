"""How much of the network to train: the strategies that are compared for every number of images."""

from __future__ import annotations

from dataclasses import replace

from resnet_course.recipes.named import FEW, FULL, FULL_FIRST, LAPTOP, TOP
from resnet_course.recipes.recipe import Recipe

LOOKED_AT = 12_000  # images in all epochs together, between the recipe's own epochs and LEAST
LEAST = 2
# Of few images, batches of 128 make few steps. With batches of 32 `laptop` has, in the same time, 64.6% for
# 48.6% of CIFAR-10 with 10 a class, 88.8% for 88.0% with 500, and 82.3% for 79.1% with 350 flowers a class.
FEW_IMAGES, LARGE_BATCH, SMALL_BATCH = 10_000, 128, 32
DETAILED = 224  # pixels a side of the photographs that the weights have learned from
BUILTIN_WIDTH, BUILTIN_SIDE = 16, 64  # of the built-in network, and of the drawings that it has learned from

# At 160 pixels an epoch takes 1.6 times as long. Of twice the steps the average keeps a little more.
LAYER4 = replace(FEW, name="layer4", image_size=128, epochs=8, average=0.98)
NOT_AVERAGED = replace(LAYER4, average=0.0)  # the average was tried with few and layer4
# The linear probe is the best head already: a step of this size leaves it as it is. It learns as much from
# the images as they are as from four augmented views.
HEAD = replace(
    NOT_AVERAGED,
    name="head",
    train_from="fc",
    augmentation="none",
    cached_views=1,
    epochs=1,
    learning_rate=1e-9,
    weight_decay=0.0,
)
STRATEGIES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        replace(HEAD, name="head at 96 pixels", image_size=96),
        HEAD,
        replace(NOT_AVERAGED, name="layer4, head from random", head="random"),
        replace(NOT_AVERAGED, name="layer4 in two epochs", augmentation="none", cached_views=1, epochs=2),
        LAYER4,
        FEW,
        LAPTOP,
        replace(NOT_AVERAGED, name="layer3", train_from="layer3", layer_decay=0.6),
        FULL_FIRST,
        FULL,
        TOP,
        # The augmentation is drawn at every look: nothing is frozen, so nothing can be kept.
        replace(NOT_AVERAGED, name="all", train_from="all", layer_decay=0.6, cached_views=0),
    )
}  # from a linear probe as head, but for the one that says so, LAPTOP, FULL_FIRST, FULL and TOP
ADAPTED = ("layer4, head from random", "layer4", "few", "layer3", "all")  # to the number of images


def with_detail(recipe: Recipe) -> Recipe:
    """The recipe with at least DETAILED pixels a side in every phase: for photographs that have as many."""
    first = recipe.first and with_detail(recipe.first)
    return replace(recipe, image_size=max(DETAILED, recipe.image_size), first=first)


def suited_to(recipe: Recipe, width: int) -> Recipe:
    """The recipe for a network of that width: the built-in one sees at most BUILTIN_SIDE pixels a side.

    On larger images the BatchNorm statistics of its frozen part are wrong, and its features are worse.

    width: channels of the first stage, as `ResNet.width`; 16 for the built-in network.
    """
    if width != BUILTIN_WIDTH:
        return recipe
    first = recipe.first and suited_to(recipe.first, width)
    return replace(recipe, image_size=min(BUILTIN_SIDE, recipe.image_size), first=first)


def strategy(name: str, images: int) -> Recipe:
    """A strategy for so many images in all: few of them are looked at again and again, in several views.

    Those that are not ADAPTED keep their epochs, and so do all with few images.

    name: one of STRATEGIES. Raises KeyError for another.
    """
    recipe = in_small_batches(STRATEGIES[name], images)
    if name not in ADAPTED:
        return recipe
    epochs = min(recipe.epochs, max(LEAST, round(LOOKED_AT / images)))
    views = recipe.cached_views if epochs == recipe.epochs else min(recipe.cached_views, epochs // 2)
    # Of many images one view is kept: a second doubles the trunk pass and gains nothing.
    augmentation = "none" if views == 1 else recipe.augmentation
    return replace(recipe, epochs=epochs, cached_views=views, augmentation=augmentation)


def in_small_batches(recipe: Recipe, images: int) -> Recipe:
    """The recipe for so many images: of fewer than FEW_IMAGES, a batch of LARGE_BATCH becomes SMALL_BATCH.

    So in every phase; smaller batches stay as they are.
    """
    if images >= FEW_IMAGES:
        return recipe
    first = recipe.first and in_small_batches(recipe.first, images)
    batch_size = SMALL_BATCH if recipe.batch_size >= LARGE_BATCH else recipe.batch_size
    return replace(recipe, batch_size=batch_size, first=first)
