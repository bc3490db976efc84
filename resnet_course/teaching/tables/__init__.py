"""Tables that were measured once, and that notebooks and widgets show."""

from resnet_course.teaching.tables.measured import freezing_table, frontier_table

__all__ = ["freezing_table", "frontier_table"]
