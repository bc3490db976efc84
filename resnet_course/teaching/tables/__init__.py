"""Tables that were measured once, and that notebooks show."""

from resnet_course.teaching.tables.measured import degradation_table

__all__ = ["degradation_table"]
