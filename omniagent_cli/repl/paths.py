"""Completion of a path that is the rest of the line: with spaces, in quotes, starting with ``~``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from heapq import nsmallest
from itertools import islice

from prompt_toolkit.completion import Completion

from omniagent_cli.models import size_text
from omniagent_cli.text.sanitize import one_line

_LIMIT = 50
_READ = 10_000
"""The maximum number of directory entries that are read."""


def path_completions(written: str) -> Iterator[Completion]:
    """Yield completions of the path at the end of a line; quotes are not needed.

    Args:
        written: the text after the command, up to the cursor.
    """
    quote = written[0] if written[:1] in ("'", '"') else ""
    path = written[1:] if quote else re.sub(r"\\(.)", r"\1", written)
    folder, slash, start = path.rpartition("/")
    for name, is_folder, description in _entries(folder + slash, start):
        if quote and quote in name:
            continue  # its closing quote could not be added
        ends = "/" if is_folder else quote
        value = f"{quote}{folder}{slash}{name}{ends}"
        yield Completion(
            value, start_position=-len(written), display=f"{name}{ends}", display_meta=description
        )


def _entries(folder: str, start: str) -> list[tuple[str, bool, str]]:
    """Return name, whether it is a directory, and size of the entries with a prefix, sorted by name."""
    typed = start.casefold()
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:  # noqa: PTH111  # the text stays as typed
            fitting = (
                entry
                for entry in islice(entries, _READ)
                if entry.name.casefold().startswith(typed)
                and (typed or not entry.name.startswith("."))
                and one_line(entry.name)
                == entry.name  # contains characters that cannot be displayed
            )
            found = nsmallest(_LIMIT, fitting, key=lambda entry: entry.name)
            return [_described(entry) for entry in found]
    except (OSError, ValueError):
        return []


def _described(entry: os.DirEntry[str]) -> tuple[str, bool, str]:
    try:
        if entry.is_dir():
            return entry.name, True, ""
        return entry.name, False, size_text(entry.stat().st_size)
    except OSError:  # a dangling link
        return entry.name, False, ""
