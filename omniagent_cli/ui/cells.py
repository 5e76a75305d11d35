"""Text in terminal cells: how wide it is, where it may be cut, and tables made of it.

Written by hand, because the tables of rich cost half a millisecond a row and fifty to load.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

ELLIPSIS = "…"
_GAP = 2


@lru_cache(maxsize=4096)
def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf") or character in "\ufe0f\u200d":
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def cell_width(text: str) -> int:
    """Return how many cells of a terminal a line of text fills."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def cut_cells(text: str, width: int) -> str:
    """Return at most `width` cells of a line, ending in an ellipsis when cut, never inside a character."""
    if cell_width(text) <= width:
        return text
    room, length = width - 1, 0
    for character in text:
        room -= _cells(character)
        if room < 0:
            break
        length += 1
    # What joins to a character that no longer fits goes with it.
    while length and "\u200d" in text[length - 1 : length + 1]:
        length -= 1
    return text[:length].rstrip() + ELLIPSIS


def wrap_cells(text: str, width: int) -> list[str]:
    """Return a line of text as rows of at most `width` cells, broken between words where it can be."""
    rows, row = [], ""
    for word in re.findall(r"\s*\S+|\s+\Z", text):
        if row and cell_width(row + word) > width:
            rows.append(row.rstrip())
            row = word.lstrip()
        else:
            row += word
        while cell_width(row) > width:
            length = _fitting_length(row, width)
            rows.append(row[:length])
            row = row[length:]
    return [*rows, row.rstrip()] if row or not rows else rows


def _fitting_length(text: str, width: int) -> int:
    """Return how many characters of a text fit; one does in any case."""
    for place, character in enumerate(text):
        width -= _cells(character)
        if width < 0:
            return max(1, place)
    return len(text)


class Column(NamedTuple):
    """One column of a table.

    Attributes:
        style: names for `Terminal.style`, put on every cell of it.
        right: numbers stand to the right.
        shrink: may be cut when the table is too wide; the last such column is cut first.
    """

    title: str
    style: str = ""
    right: bool = False
    shrink: bool = False


class Table(NamedTuple):
    """Columns and rows of plain one-line text."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]


def fit_widths(table: Table, width: int) -> list[int]:
    """Return the width of each column so that the table fits, as far as its columns may shrink."""
    widths = [
        max([cell_width(column.title), *(cell_width(row[place]) for row in table.rows)])
        for place, column in enumerate(table.columns)
    ]
    over = _total(widths) - width
    for place in reversed(range(len(widths))):
        if over > 0 and table.columns[place].shrink:
            minimum = min(widths[place], max(cell_width(table.columns[place].title), 12))
            reduction = min(over, widths[place] - minimum)
            widths[place] -= reduction
            over -= reduction
    return widths


def drop_columns(table: Table, width: int) -> Table:
    """Leave out the last columns of a table that is too wide however its columns shrink; two stay in any case."""
    while len(table.columns) > 2 and _total(fit_widths(table, width)) > width:
        table = Table(table.columns[:-1], [row[:-1] for row in table.rows])
    return table


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def pad_rows(
    table: Table, rows: Iterable[Sequence[str]], widths: Sequence[int]
) -> Iterator[list[str]]:
    """Yield rows cut and padded to the widths; the last column has no blanks after it."""
    last = len(widths) - 1
    for row in rows:
        cells = []
        for place, (text, width) in enumerate(zip(row, widths, strict=True)):
            shown = cut_cells(text, width)
            blank = " " * (width - cell_width(shown))
            if table.columns[place].right:
                shown = blank + shown
            elif place != last:
                shown += blank
            cells.append(shown)
        yield cells
