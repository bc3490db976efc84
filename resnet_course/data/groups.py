"""Which images belong together, so that they are never on two sides of a split."""

from __future__ import annotations

import csv
import os
import re
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from resnet_course.data.rows import DataError

PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "image", "image_path", "name")
LEGAL = "a regular expression with one group in brackets, or TABLE.csv:COLUMN"

Group = Callable[[str], str]  # from an image's path in its directory, with slashes, to the name of its group


def _spelled(path: str) -> str:
    """One spelling: in files from macOS é may be e and an accent, and in a table it is not."""
    return unicodedata.normalize("NFC", path)


def group_function(setting: str) -> Group:
    """What `RESNET_COURSE_GROUP` or `--group` asks for.

    setting: a regular expression, whose first bracket finds the group in a path, as `([^/_]+)_[^/]*$`; or a
        table and the name of its column with the groups, as `photos.csv:session`.
    Raises DataError for another one.
    """
    table, _, column = setting.rpartition(":")
    if table.lower().endswith((".csv", ".tsv")):
        return _from_table(Path(os.path.expanduser(table)), column)  # noqa: PTH111 (leaves ~nobody as it is)
    try:
        with warnings.catch_warnings(action="ignore"):  # of what a later Python may read otherwise
            pattern = re.compile(setting)
    except (re.error, OverflowError, RecursionError) as error:
        raise DataError(f"group is {setting!r}, no regular expression ({error}); give {LEGAL}") from None
    if pattern.groups < 1:
        raise DataError(f"group is {setting!r}, which has no brackets; give {LEGAL}")

    def group(path: str) -> str:
        found = pattern.search(path)
        if not found or found[1] is None:
            raise DataError(f"group {setting!r} finds nothing in the path {path}")
        return found[1]

    return group


def _ends(parts: tuple[str, ...]) -> list[str]:
    """All ends of a path, the whole first: a/b/c, b/c, c."""
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _from_table(table: Path, column: str) -> Group:
    try:
        text = table.read_text(encoding="utf-8-sig").lstrip()
        first = text.partition("\n")[0]
        reader = csv.DictReader(text.splitlines(), delimiter=max(",;\t", key=first.count))
        rows = list(reader)
    except UnicodeDecodeError:
        raise DataError(f"{table} is no text in UTF-8; save it as CSV in UTF-8") from None
    except (OSError, csv.Error) as error:
        raise DataError(f"{table} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    columns = list(reader.fieldnames or ())
    paths = next((name for name in columns if name.strip().lower() in PATH_COLUMNS), None)
    if column not in columns or paths is None:
        raise DataError(
            f"{table} has the columns {', '.join(columns) or 'none'}; it needs {column!r} and one for the "
            f"images, called one of: {', '.join(PATH_COLUMNS)}"
        )
    groups: dict[str, str] = {}  # by every end of a path in the table
    ambiguous, bare = set(), set()
    for row in rows:
        if not row[paths]:
            continue
        if not row[column]:
            raise DataError(f"{table} has no {column} for the image {row[paths]}; give every image one")
        parts = PurePosixPath(_spelled(row[paths]).replace("\\", "/")).parts
        bare.update(parts if len(parts) == 1 else ())
        for key in _ends(parts):
            if groups.setdefault(key, row[column]) != row[column]:
                ambiguous.add(key)

    def group(path: str) -> str:
        # The table may say more of the path than we know, or less: the longest end that both have decides. A
        # name alone does not, where both say in which folder: dog/1.jpg is not cat/1.jpg.
        parts = PurePosixPath(_spelled(path)).parts
        for key in _ends(parts):
            if key in groups and key not in ambiguous and ("/" in key or len(parts) == 1 or key in bare):
                return groups[key]
        raise DataError(f"{table} has no row for the image {path}, or rows with different groups")

    return group
