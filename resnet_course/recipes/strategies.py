"""How much of the network to train: the strategies that are compared for every number of images."""

from __future__ import annotations

from dataclasses import replace

from resnet_course.recipes.named import FEW
from resnet_course.recipes.recipe import Recipe

LOOKED_AT = 12_000  # images in all epochs together, between MOST epochs and LEAST
MOST, LEAST = 8, 2

LAYER4 = replace(FEW, name="layer4", image_size=128)  # 160 pixels take 1.6 times as long
STRATEGIES: dict[str, Recipe] = {
    # The linear probe is the best head already: a step of this size leaves it as it is.
    "head": replace(LAYER4, name="head", train_from="fc", epochs=1, learning_rate=1e-9, weight_decay=0.0),
    "layer4, head from random": replace(LAYER4, name="layer4, head from random", head="random"),
    "layer4": LAYER4,
    "layer3": replace(LAYER4, name="layer3", train_from="layer3", layer_decay=0.6),
    # The augmentation is drawn at every look: nothing is frozen, so nothing can be kept.
    "all": replace(LAYER4, name="all", train_from="all", layer_decay=0.6, cached_views=0),
}  # all but the one that says so start with a linear probe as head


def strategy(name: str, images: int) -> Recipe:
    """A strategy for so many images in all: few of them are looked at again and again.

    name: one of STRATEGIES. Raises KeyError for another.
    """
    recipe = STRATEGIES[name]
    epochs = min(MOST, max(LEAST, round(LOOKED_AT / images)))
    return recipe if name == "head" else replace(recipe, epochs=epochs)
