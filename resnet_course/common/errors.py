"""The base of every error that the course raises itself."""


class CourseError(Exception):
    """What the user can put right: the message says what is wrong, what was found, what would be right."""


class ArgumentError(CourseError, ValueError):
    """A function was given a value that it cannot work with. The message lists the legal ones."""
