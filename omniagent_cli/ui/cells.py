"""Text width in terminal cells, shortening and wrapping by width, and tables.

Implemented here because tables of rich take half a millisecond per row and fifty to load.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

ELLIPSIS = "…"
_GAP = 2
_MIN_COLUMNS = 2
_MIN_CELL = 4


@lru_cache(maxsize=4096)
def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf") or character in "\ufe0f\u200d":
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def cell_width(text: str) -> int:
    """Return the width of a line of text in terminal cells."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def cut_cells(text: str, width: int) -> str:
    """Return at most `width` cells of a line, with an ellipsis if shortened, never inside a character."""
    if cell_width(text) <= width:
        return text
    room, length = width - 1, 0
    for character in text:
        room -= _cells(character)
        if room < 0:
            break
        length += 1
    # A joiner is removed with the character that does not fit.
    while length and "\u200d" in text[length - 1 : length + 1]:
        length -= 1
    return text[:length].rstrip() + ELLIPSIS


def wrap_cells(text: str, width: int, *, split: bool = True) -> list[str]:
    """Return a line of text as rows of at most `width` cells, broken between words.

    Args:
        text: one line.
        width: cells of a row.
        split: also break words that are wider than a row; otherwise their row is too wide.
    """
    rows, row = [], ""
    for word in re.findall(r"\s*\S+|\s+\Z", text):
        if row and cell_width(row + word) > width:
            rows.append(row.rstrip())
            row = word.lstrip()
        else:
            row += word
        while split and cell_width(row) > width:
            length = _fitting_length(row, width)
            rows.append(row[:length])
            row = row[length:]
    return [*rows, row.rstrip()] if row or not rows else rows


_FENCE_MARKS = ("```", "~~~")


def wrap_prose(text: str, width: int) -> str:
    """Return text with its long lines broken between words, except code: fenced or indented lines."""
    lines, in_code = [], False
    for line in text.split("\n"):
        if line.lstrip().startswith(_FENCE_MARKS):
            in_code = not in_code
        is_prose = not in_code and not line[:1].isspace() and len(line) * 2 > width
        lines += wrap_cells(line, width, split=False) if is_prose else [line]
    return "\n".join(lines)


def _fitting_length(text: str, width: int) -> int:
    """Return the number of characters that fit, at least one."""
    for place, character in enumerate(text):
        width -= _cells(character)
        if width < 0:
            return max(1, place)
    return len(text)


def definition_rows(pairs: Sequence[tuple[str, str]], width: int) -> Iterator[tuple[str, str]]:
    """Yield rows of names and their texts, wrapped: the padded name, or blanks below it, and a part of the text.

    Where the texts would have less than half of the width, they begin below the names.
    """
    indent = max((cell_width(name) for name, _ in pairs), default=0) + 2 * _GAP
    below = indent * 2 > width
    if below:
        indent = 2 * _GAP
    for name, text in pairs:
        first = " " * _GAP + name
        if below:
            yield first, ""
            first = ""
        for row in wrap_cells(text, max(1, width - indent)):
            yield first + " " * (indent - cell_width(first)), row
            first = ""


class Column(NamedTuple):
    """Column of a table.

    Attributes:
        style: style of each cell, see `Terminal.style`.
        right: align right, for numbers.
        shrink: may be shortened if the table is too wide; the largest number first, then the last column.
        minimum: smallest width that it is shortened to.
    """

    title: str
    style: str = ""
    right: bool = False
    shrink: int = 0
    minimum: int = 12


class Table(NamedTuple):
    """Columns, and rows of plain one-line text."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]


def fit_widths(table: Table, width: int) -> list[int]:
    """Return the width of each column, reduced to fit as far as the columns may shrink."""
    widths = [
        max([cell_width(column.title), *(cell_width(row[place]) for row in table.rows)])
        for place, column in enumerate(table.columns)
    ]
    over = _total(widths) - width
    for place in sorted(range(len(widths)), key=lambda n: (-table.columns[n].shrink, -n)):
        if over > 0 and table.columns[place].shrink:
            column = table.columns[place]
            minimum = min(widths[place], max(cell_width(column.title), column.minimum))
            reduction = min(over, widths[place] - minimum)
            widths[place] -= reduction
            over -= reduction
    while over > 0 and max(widths) > _MIN_CELL and len(widths) == _MIN_COLUMNS:
        place = widths.index(max(widths))
        widths[place], over = widths[place] - 1, over - 1
    return widths


def drop_columns(table: Table, width: int) -> Table:
    """Remove the last columns of a table that is too wide even when shrunk; at least two remain."""
    while len(table.columns) > _MIN_COLUMNS and _total(fit_widths(table, width)) > width:
        table = Table(table.columns[:-1], [row[:-1] for row in table.rows])
    return table


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def pad_rows(
    table: Table, rows: Iterable[Sequence[str]], widths: Sequence[int]
) -> Iterator[list[str]]:
    """Yield rows shortened and padded to the widths; the last column is not padded."""
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
