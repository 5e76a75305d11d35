"""Search hits as rows for a terminal, grouped by session."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from omniagent_cli.durations import describe_age
from omniagent_cli.stores.query import SearchHit
from omniagent_cli.text.sanitize import one_line
from omniagent_cli.ui.cells import cell_width, wrap_cells

Style = Callable[[str, str], str]

_MARKUP = re.compile(
    r"(?<![\w*~`])(\*\*|~~|`{1,2})(?=\S)[^*~`]*(?<=\S)(\1)(?![\w*~`])"
    r"|^(?:…)?(#{1,6} )(?=\S)|(?<!\S)(#{2,6} )(?=\S)|(`{3,})"
)
"""Markers of emphasis, code and headings; the groups are what is hidden."""


def hit_rows(
    hits: Sequence[SearchHit], *, style: Style, width: int, now: datetime
) -> Iterator[str]:
    """Yield the rows of search hits: id and title of each session once, then its hits.

    Args:
        hits: sessions are listed in the order of their first hit.
        style: colors a text.
        width: columns.
        now: time from which ages are counted.
    """
    groups: dict[str, list[SearchHit]] = {}
    for hit in hits:
        groups.setdefault(hit.session_id, []).append(hit)
    for number, (session_id, group) in enumerate(groups.items()):
        if number:
            yield ""
        yield from _head(one_line(session_id), one_line(group[0].title), style, width)
        for hit in group:
            place = f"{hit.role} #{hit.position} · {describe_age(hit.created_at, now)}"
            yield from (f"  {style(row, 'dim')}" for row in wrap_cells(place, width - 2))
            yield from (f"    {row}" for row in _snippet(hit, style, max(1, width - 4)))


def _head(name: str, title: str, style: Style, width: int) -> Iterator[str]:
    if title and cell_width(f"{name}  {title}") <= width:
        yield f"{style(name, 'cyan')}  {style(title, 'bold')}"
        return
    for text, look in ((name, "cyan"), (title, "bold")):
        yield from (style(row, look) for row in wrap_cells(text, width) if row)


def _snippet(hit: SearchHit, style: Style, width: int) -> Iterator[str]:
    """Yield the snippet without markup in rows of a width, with the matches highlighted."""
    text, ranges = _display_text(hit)
    place = 0
    for row in wrap_cells(text, width):
        place = text.index(row, place)
        shown, done = "", 0
        for edges in ranges:
            first, last = (min(max(0, edge - place), len(row)) for edge in edges)
            if first < last:
                shown += row[done:first] + style(row[first:last], "bold red")
                done = last
        yield shown + row[done:]
        place += len(row)


def _display_text(hit: SearchHit) -> tuple[str, list[tuple[int, int]]]:
    """Return the sanitized snippet without markup, and the ranges of the matches in it."""
    hidden = {
        at
        for found in _MARKUP.finditer(hit.snippet)
        for group in range(1, _MARKUP.groups + 1)
        for at in range(*found.span(group))
    }

    def shown(first: int, last: int) -> str:
        return one_line("".join(hit.snippet[n] for n in range(first, last) if n not in hidden))

    text, ranges, done = "", [], 0
    for first, last in hit.matches:
        text += shown(done, first)
        begin = len(text)
        text += shown(first, last)
        ranges.append((begin, len(text)))
        done = last
    return text + shown(done, len(hit.snippet)), ranges
