"""`Planner`: what to train, and with how many of the images, in the time there is."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from resnet_course import machine
from resnet_course.common.console import say
from resnet_course.common.durations import format_duration
from resnet_course.common.errors import CourseError
from resnet_course.recipes import DETAILED, LAPTOP, STRATEGIES, Recipe, strategy, suited_to, with_detail
from resnet_course.training.planning.learning_curves import (
    TABLES,
    expected_accuracy,
    most_images,
    tables_for,
    typical_error,
)

# layer4 from a random head was ahead of layer4 from a linear probe in no row: it is there to compare with.
CHOICES = tuple(name for name in STRATEGIES if name != "layer4, head from random")
ROOM = 0.85  # of the time: the rest is for what an estimate of a few steps cannot see
AS_GOOD = 0.005  # accuracy: of plans this close to the best, which no measurement tells apart, the fastest
# Times the tables' errors, where photographs are seen with all their detail; the tables' pictures have none.
# Measured on ants and bees, 224 pixels in the place of 128 and 160 (a test holds it).
DETAIL = 0.7
WIDTH = 64  # of the networks that the tables were measured with
LEAST_VALIDATION, PART = 500, 9  # images that are validated on: one to nine learned from, and not fewer
SMALLER = 0.8  # times as many images, from one plan to the next that is tried
BUSY = 1.5  # times as long as a moment later: then something else kept the machine busy
MEASURED_AGAIN = 60  # seconds from which on there is time to measure what was chosen, too
DOUBTED = 120  # and to measure all a second time, some six seconds, if a faster machine had a better plan


class PlanError(CourseError, ValueError):
    """The time is too short for any plan. The message says how much it takes."""


@dataclass(frozen=True)
class Plan:
    """What to train, with how many images, and what that takes here.

    recipe: how. images: that it learns from. of: all that there are to learn from.
    validation_images: that it is validated on; 0: all are learned from, and a probe is cross-validated.
    seconds: that it is estimated to take; last: those of them for the last validation.
    expected: the accuracies that the tables of CIFAR-10 and of flowers have for so many images a class,
        0 to 1; none for the built-in network, which they did not measure. extrapolated: whether each has been
        measured with fewer images only.
    rank: what plans are compared by, 1 without any error: `typical_error` in the tables that go as far as all
        these images, and fewer errors where a plan is detailed: it sees photographs with all the detail that
        they have, as no plan of the tables does.
    """

    recipe: Recipe
    images: int
    of: int
    validation_images: int
    seconds: float
    last: float
    expected: tuple[float, ...]
    extrapolated: tuple[bool, ...]
    rank: float
    detailed: bool

    def __str__(self) -> str:
        recipe, part = self.recipe, f"all {self.of:,} images"
        if self.images < self.of:
            part = f"{self.images:,} of {self.of:,} images, because the time is too short for all"
        sizes = dict.fromkeys(phase.image_size for phase in recipe.phases)
        epochs = "1 epoch" if recipe.all_epochs == 1 else f"{recipe.all_epochs} epochs"
        if recipe.train_from == "fc":
            what, epochs = "a linear probe on the frozen network", ""
        else:
            what = f"{recipe.train_from} and all after it are trained"
        how = ", ".join(filter(None, (what, f"{' and '.join(map(str, sizes))} pixels", epochs, part)))
        return f"{recipe.name}: {how}; about {format_duration(self.seconds)}"


class Planner:
    """Makes plans for a number of images. It measures this machine: one recipe, with more time others.

    images: to learn from. classes: how many. validation_images: that there are; 0: none.
    width: of the network; the built-in weights have 16. seed: of the recipes.
    measure_for: seconds that there are in all; with few of them the machine is measured less well.
    side: pixels a side of the images; with DETAILED or more, strategies are planned at that size too, but not
        for the built-in weights, which have learned from small drawings.
    """

    def __init__(
        self,
        images: int,
        classes: int,
        validation_images: int = 0,
        width: int = 64,
        seed: int = 0,
        measure_for: float = MEASURED_AGAIN,
        side: int = 32,
    ) -> None:
        self.images, self.classes, self.validation = images, classes, validation_images
        self.width, self.seed = width, seed
        # The same ones for every part of the images: on flowers errors are more, so ranks would not compare.
        self.tables = tables_for(images / classes)
        self.sizes = (False, True) if side >= DETAILED and width == WIDTH else (False,)
        # One recipe is measured; what others take follows from their operations, until they are measured too.
        self.again = measure_for >= MEASURED_AGAIN
        self.reference, self.doubted = self._measured_reference(), False
        self.measured: dict[tuple[str, int], float] = {}

    def _measured_reference(self) -> machine.Cost:
        tuning = math.inf if self.again else 0.5
        return machine.costs(suited_to(LAPTOP, self.width), self.images, self.width, tuning)[0]

    def plan(self, seconds: float) -> Plan:
        """The plan with the fewest errors in the strategy tables that fits into the time.

        A strategy that takes too long for all images learns from as many as the time allows. Of plans that
        the tables cannot tell apart it is the fastest, so training may end early: more time would bring
        nothing that is known.

        seconds: for all that `fit` does, and for measuring before. Raises PlanError.
        """
        until = time.perf_counter() + seconds
        if not self.again or seconds < MEASURED_AGAIN:
            return self._choose(seconds)
        chosen = self._chosen(until)
        if seconds >= DOUBTED and not self.doubted:
            faster = self._choose(math.inf)
            if faster.rank > chosen.rank + AS_GOOD and self._is_faster_measured_again():
                chosen = self._chosen(until)
        return chosen

    def _chosen(self, until: float) -> Plan:
        """The plan that is still chosen when its own steps have been measured."""
        for _ in range(len(CHOICES)):
            chosen = self._choose(until - time.perf_counter())
            if (chosen.recipe.train_from, chosen.recipe.image_size) in self.measured:
                break
            self._measure(chosen)
        return chosen

    def _is_faster_measured_again(self) -> bool:
        """Measure all again; whether this machine is faster than before, which then no longer counts.

        With another program beside it for ten seconds, a trunk pass was once measured as 30 times as long.
        """
        before, self.doubted = self.reference, True
        machine.forget()
        now = self._measured_reference()
        faster = (before.trunk + before.gradients) / (now.trunk + now.gradients)
        if faster < 1 / BUSY:  # it is busy now, so whoever trains measures a third time
            machine.forget()
        if faster > BUSY:
            say("This machine was busy when it was measured; now it is faster.")
            self.reference, self.measured = now, {}
        return faster > BUSY

    def _choose(self, seconds: float) -> Plan:
        by_strategy = (next((p for p in plans if p.seconds <= ROOM * seconds), None) for plans in self._all())
        fitting = [plan for plan in by_strategy if plan]
        if not fitting:
            quickest = min(plan.seconds for plans in self._all() for plan in plans) / ROOM
            raise PlanError(
                f"{format_duration(max(0.0, seconds))} are left for learning; even the quickest plan takes "
                f"{format_duration(quickest)} here. Take more minutes."
            )
        best = max(plan.rank for plan in fitting)
        return min((plan for plan in fitting if plan.rank >= best - AS_GOOD), key=lambda plan: plan.seconds)

    def _all(self) -> Iterator[Iterator[Plan]]:
        """Of every strategy its plans, with all images, and with fewer and fewer."""
        counts, least = [self.images], 2 * self.classes
        while counts[-1] > least:
            counts.append(max(least, round(SMALLER * counts[-1])))
        for name in CHOICES:
            if not math.isnan(typical_error(name, 1, self.tables)):  # it was measured
                for detailed in self.sizes:
                    yield (self._of(name, images, detailed) for images in counts)

    def _of(self, name: str, images: int, detailed: bool = False) -> Plan:
        of_each = images / self.classes
        tables = TABLES if self.width == WIDTH else ()
        expected = tuple(expected_accuracy(name, of_each, table) for table in tables)
        rank = 1 - typical_error(name, of_each, self.tables) * (DETAIL if detailed else 1.0)
        extrapolated = tuple(of_each > most_images(name, table) for table in tables)
        recipe = replace(suited_to(strategy(name, images), self.width), seed=self.seed)
        recipe = with_detail(recipe) if detailed else recipe
        validation = min(self.validation, max(LEAST_VALIDATION, images // PART))
        phases = machine.scaled(self.reference, recipe, self.width)
        seconds = sum(cost.seconds(images, validation) * self._factor(cost.recipe) for cost in phases)
        last = validation * recipe.validation_views * phases[-1].forward
        return Plan(
            recipe, images, self.images, validation, seconds, last, expected, extrapolated, rank, detailed
        )

    def _factor(self, recipe: Recipe) -> float:
        """How many times as long as by its operations a phase takes, where it was measured."""
        return self.measured.get((recipe.train_from, recipe.image_size), 1.0)

    def _measure(self, chosen: Plan) -> None:
        real = machine.costs(chosen.recipe, chosen.images, self.width)
        by_operations = machine.scaled(self.reference, chosen.recipe, self.width)
        for one, other in zip(real, by_operations, strict=True):
            images, validation = chosen.images, chosen.validation_images
            self.measured[one.recipe.train_from, one.recipe.image_size] = one.seconds(
                images, validation
            ) / other.seconds(images, validation)


def what_the_tables_say(plan: Plan) -> str:
    """A sentence: how good the plan's strategy was with so many images a class, or its lines promise.

    It begins with a space. It is empty for a network that the tables did not measure.
    """
    if not plan.expected:
        return ""
    found = []
    for table, share, more in zip(TABLES, plan.expected, plan.extrapolated, strict=True):
        found.append(f"{share:.0%} of {table}{' (extrapolated from fewer)' if more else ''}")
    return f" With so many images a class it got {' and '.join(found)} right."
