"""Live area: rows at the bottom of the screen that are replaced in place, with one write per frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from omniagent_cli.ui.cells import cell_width

_UP = "\x1b[{}A"
_TO_END_OF_LINE = "\x1b[K"
_TO_END_OF_SCREEN = "\x1b[J"
_NO_WRAP = "\x1b[?7l"
_WRAP = "\x1b[?7h"


class LiveArea:
    """Rows that end in real line breaks, so that a terminal that reflows text does not join them.

    The cursor never moves up by more than the rows that were written, regardless of resizing: a resize may leave a few
    stale rows, but never damages finished text. Wrapping is off while rows are written, so that a character of unexpected
    width adds no row.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._shown: list[str] = []

    @property
    def is_empty(self) -> bool:
        """True if no row is shown."""
        return not self._shown

    def update(self, rows: Sequence[str], above: str = "") -> None:
        """Replace the shown rows, and print finished text above them."""
        if above:
            rows_kept = 0
            frame = self._up(len(self._shown)) + _TO_END_OF_SCREEN * bool(self._shown) + above
        else:
            rows_kept = _common_prefix(self._shown, rows)
            if rows_kept == len(self._shown) == len(rows):
                return
            frame = self._up(len(self._shown) - rows_kept)
        # Erase first: after a full row the cursor is on its last character, which would be erased too.
        changed = "".join(f"{_TO_END_OF_LINE}{row}\n" for row in rows[rows_kept:])
        if changed:
            frame += _NO_WRAP + changed + _WRAP
        if not above and len(rows) < len(self._shown):
            frame += _TO_END_OF_SCREEN
        self._shown = list(rows)
        self._write(frame)

    def _up(self, rows: int) -> str:
        return _UP.format(rows) if rows else ""


def _common_prefix(old_rows: Sequence[str], new_rows: Sequence[str]) -> int:
    count = 0
    for old, new in zip(old_rows, new_rows, strict=False):
        if old != new:
            break
        count += 1
    return count


def last_rows(text: str, width: int, limit: int) -> list[str]:
    """Return the last rows of `visible` text, wrapped to the width of the terminal."""
    lines = text[-limit * width * 2 :].split("\n") if "\n" in text[-limit * width * 2 :] else [text]
    rows: list[str] = []
    for line in reversed(lines[-limit:]):
        rows[:0] = _wrapped(line.expandtabs(4), width, limit)
        if len(rows) >= limit:
            break
    return rows[-limit:]


def _wrapped(line: str, width: int, limit: int) -> list[str]:
    """Wrap one line; of a very long one only the end, at stable positions."""
    if len(line) > 4 * limit * width:
        line = line[(len(line) // width - 2 * limit) * width :]
    if line.isascii():
        return [line[i : i + width] for i in range(0, len(line), width)] or [""]
    rows, start, used = [], 0, 0
    for place, character in enumerate(line):
        cells = cell_width(character)
        if used + cells > width:
            rows.append(line[start:place])
            start, used = place, 0
        used += cells
    return [*rows, line[start:]]
