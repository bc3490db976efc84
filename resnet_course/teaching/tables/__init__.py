"""Tables that were measured once, and that notebooks and widgets show."""

from resnet_course.teaching.tables.measured import degradation_table, frontier_table

__all__ = ["degradation_table", "frontier_table"]
