"""Looks at the optimiser of a training, whatever its class."""

from resnet_course.training import phases


def at_every_step(patch, look, *, after=False):
    """Call `look(optimizer)` before each of its steps, or after. patch: pytest's monkeypatch."""
    make = phases.make_optimizer

    def looking(optimizer, *_):
        look(optimizer)  # what a hook returns would stand for the step's arguments

    def looked_at(*arguments, **named):
        optimizer = make(*arguments, **named)
        hook = optimizer.register_step_post_hook if after else optimizer.register_step_pre_hook
        hook(looking)
        return optimizer

    patch.setattr(phases, "make_optimizer", looked_at)
