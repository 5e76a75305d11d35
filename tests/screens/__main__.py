"""Pictures of the main screens as SVG files for the README.

python -m tests.screens [DIRECTORY]
"""

from __future__ import annotations

import re
import sys
from html import escape
from pathlib import Path

from tests.repl.terminal import Screen
from tests.screens.scenes import SCENES, played

DIRECTORY = Path(__file__).parents[2] / "docs/screens"
_COLUMNS, _ROWS = 100, 60
_CELL, _LINE, _MARGIN = 8.4, 19, 14
_BACK, _TEXT = "#14171c", "#d6dae0"
_COLORS = {
    "red": "#ff7b72", "green": "#7ee787", "brown": "#e3b341", "yellow": "#e3b341", "blue": "#79b8ff", "magenta": "#d2a8ff",
    "cyan": "#76e3ea", "white": "#d6dae0", "black": "#6e7681", "brightblue": "#a5d6ff", "brightcyan": "#b3f0ff",
}  # fmt: skip


def svg(screen: Screen) -> str:
    """Return the lines of a screen that are not blank at its end as an SVG picture."""
    rows = [*screen.history.top, *(screen.buffer[n] for n in range(screen.lines))]
    while rows and not any(rows[-1][n].data.strip() for n in range(screen.columns)):
        rows.pop()
    width = _COLUMNS * _CELL + 2 * _MARGIN
    height = len(rows) * _LINE + 2 * _MARGIN
    lines = []
    for number, row in enumerate(rows):
        top = _MARGIN + (number + 0.75) * _LINE
        spans = "".join(_spans([row[n] for n in range(screen.columns)]))
        if spans:
            lines.append(f'<text x="{_MARGIN}" y="{top:.1f}">{spans}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}">\n'
        f'<rect width="100%" height="100%" rx="8" fill="{_BACK}"/>\n'
        f'<g fill="{_TEXT}" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,monospace"'
        ' font-size="14">\n' + "\n".join(lines) + "\n</g>\n</svg>\n"
    )


def _spans(cells: list) -> list[str]:
    """Return runs of equal looks, each at its column, so that any font keeps the columns."""
    spans, begin = [], 0
    for place in range(1, len(cells) + 1):
        if place < len(cells) and _look(cells[place]) == _look(cells[begin]):
            continue
        text = "".join(cell.data or " " for cell in cells[begin:place])
        for found in re.finditer(r"\S+(?: \S+)*", text):  # other blanks would be joined
            left = _MARGIN + (begin + found.start()) * _CELL
            spans.append(f'<tspan x="{left:.1f}"{_look(cells[begin])}>{escape(found[0])}</tspan>')
        begin = place
    return spans


def _look(cell) -> str:
    color = _COLORS.get(cell.fg, "")
    parts = [f' fill="{color}"'] if color else []
    parts += [' font-weight="bold"'] * cell.bold + [' font-style="italic"'] * cell.italics
    parts += [' text-decoration="underline"'] * cell.underscore
    return "".join(parts)


def main() -> None:
    """Write a picture of each screen."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY
    directory.mkdir(parents=True, exist_ok=True)
    for name in SCENES:
        picture = svg(played(name, _COLUMNS, _ROWS))
        (directory / f"{name}.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
