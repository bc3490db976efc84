"""`fit_in`: the best network for these images in the minutes there are."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from resnet_course.common.console import say
from resnet_course.common.durations import format_duration
from resnet_course.common.errors import ArgumentError
from resnet_course.common.seeding import seeded
from resnet_course.data.images import Splits
from resnet_course.resnet.network import ResNet
from resnet_course.training import History, all_that_may_learn, fit
from resnet_course.training.before import go_on_from
from resnet_course.training.planning.plan import Plan, Planner, what_the_tables_say
from resnet_course.training.sets import say_balance
from resnet_course.transfer import apply_recipe, build_model

TO_WRITE = 3.0  # seconds that are kept for writing the files


class Fitted(NamedTuple):
    """What `fit_in` made: the network with its best weights, the plan, and what was measured."""

    model: ResNet
    plan: Plan
    history: History


def fit_in(
    minutes: float,
    splits: Splits,
    out: str | os.PathLike | None = None,
    *,
    weights: str | os.PathLike | None = "auto",
    seed: int = 0,
    began: float | None = None,
    home: str | os.PathLike | None = None,
) -> Fitted:
    """Train the best network for these images that the minutes allow, and say what was chosen.

    `Planner.plan` chooses what is trained, at which size, with how many images; `fit` trains it, and is over
    when the time is. Where the loader has set aside too few images to calibrate with, all of them learn. The
    test split is not looked at.

    minutes: above 0. out: as in `fit`. weights: as in `build_model`. seed: of drawing and training.
    began: when the minutes began, in seconds of `time.perf_counter`; None: now.
    home: where features are kept; None: the home folder of the settings.
    Raises ArgumentError for minutes that are no positive number and for weights that are none, PlanError for
    too few minutes, and what `build_model` and `fit` raise.
    """
    if not 0 < minutes < float("inf"):
        raise ArgumentError(f"minutes is {minutes!r}; it must be a number above 0")
    if weights is None or weights == "none":
        raise ArgumentError(
            "weights is 'none', and every plan keeps some layers as they are, which are random then; take "
            "imagenet, builtin or a file"
        )
    began = time.perf_counter() if began is None else began
    train, val = all_that_may_learn(splits)
    with seeded(seed):
        model = build_model(len(train.classes), weights, dropout=0.0)
    end = began + 60 * minutes - TO_WRITE
    left = end - time.perf_counter()
    planner = Planner(len(train), len(train.classes), len(val), model.width, seed, left, train.stored_size)
    chosen = planner.plan(end - time.perf_counter())
    say(f"Plan for {format_duration(60 * minutes)}: {chosen}.{what_the_tables_say(chosen)}")
    train = train.limit(chosen.images, seed)
    val = val.limit(chosen.validation_images, seed) if chosen.validation_images else val
    say_balance(train, val)
    seen = go_on_from(weights, model, train, val, chosen.recipe)
    apply_recipe(model, chosen.recipe.phases[0])
    history = fit(model, train, val, chosen.recipe, out, home=home, until=end - chosen.last, seen=seen)
    return Fitted(model, chosen, history)
