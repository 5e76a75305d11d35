"""Completion of a path that is all that follows a command: with blanks, in quotes, from ``~`` on."""

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
"""Entries of a directory that are looked at; with more of them than that, some are not offered."""


def path_completions(written: str) -> Iterator[Completion]:
    """Offer what the path at the end of a line could go on with; nothing has to be put in quotes.

    Args:
        written: what stands after the command, up to the cursor.
    """
    quote = written[0] if written[:1] in ("'", '"') else ""
    path = written[1:] if quote else re.sub(r"\\(.)", r"\1", written)
    folder, slash, start = path.rpartition("/")
    for name, is_folder, told in _entries(folder + slash, start):
        if quote and quote in name:
            continue  # it could not be closed
        ends = "/" if is_folder else quote
        value = f"{quote}{folder}{slash}{name}{ends}"
        yield Completion(
            value, start_position=-len(written), display=f"{name}{ends}", display_meta=told
        )


def _entries(folder: str, start: str) -> list[tuple[str, bool, str]]:
    """Return name, whether it is a directory, and the size of what begins with a text, in the order of the names."""
    typed = start.casefold()
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:  # noqa: PTH111  # the text stays as typed
            fitting = (
                entry
                for entry in islice(entries, _READ)
                if entry.name.casefold().startswith(typed)
                and (typed or not entry.name.startswith("."))
                and one_line(entry.name) == entry.name  # else it would put in what cannot be shown
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
    except OSError:  # a link that leads nowhere
        return entry.name, False, ""
