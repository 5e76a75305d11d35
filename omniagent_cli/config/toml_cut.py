"""Candidate texts that remove a key or a table from a TOML text. The caller checks their data."""

from __future__ import annotations

from collections.abc import Iterator

from omniagent_cli.config.setting_names import Key
from omniagent_cli.config.toml_scan import Header, Pair, scan

_Items = list[Header | Pair]
_Span = tuple[int, int]


def candidate_edits(text: str, key: Key) -> Iterator[str]:
    """Yield texts without `key` and everything below it; comment lines stay.

    The first one removes a header with nothing left below it, the second one keeps it.
    """
    items = scan(text)
    gone = [item for item in items if item.key is not None and item.key[: len(key)] == key]
    outer = [item for item in gone if not _is_inside(item, gone)]
    spans = [_span(text, item, items, outer) for item in outer]
    yield _without(text, spans + _empty_headers(text, items, gone))
    yield _without(text, spans)


def _is_inside(item: Header | Pair, others: _Items) -> bool:
    """Return True if an inline pair is inside another removed pair."""
    return isinstance(item, Pair) and any(
        isinstance(other, Pair) and other.value_start <= item.start < other.value_end
        for other in others
        if other is not item
    )


def _span(text: str, item: Header | Pair, items: _Items, gone: _Items) -> _Span:
    if isinstance(item, Header) or item.brace < 0:
        return item.start, _end_with_blank_line(text, item.start, item.end)
    row = [other for other in items if isinstance(other, Pair) and other.brace == item.brace]
    place = row.index(item)
    # Remove one comma too: the one after it, or before the last pair.
    if place + 1 < len(row):
        return item.start, row[place + 1].start
    kept = [other for other in row[:place] if other not in gone]
    return (kept[-1].value_end if kept else item.start), item.value_end


def _empty_headers(text: str, items: _Items, gone: _Items) -> list[_Span]:
    """Return headers that only blank lines follow after the removal, with those blank lines."""
    spans = []
    headers = [item for item in items if isinstance(item, Header)]
    tables = {item.table for item in gone if isinstance(item, Pair) and item.brace < 0}
    for place, header in enumerate(headers):
        if header in gone or header.key not in tables:
            continue
        end = headers[place + 1].start if place + 1 < len(headers) else len(text)
        lost = [(item.start, item.end) for item in gone if header.end <= item.start < end]
        if _without(text[:end], lost)[header.end :].strip():
            continue
        if "#" in text[header.start : header.end]:
            continue
        spans.append((_start_with_blank_line(text, header.start, at_end=end == len(text)), end))
    return spans


def _end_with_blank_line(text: str, start: int, end: int) -> int:
    """Return the end of a line, including the blank line below it if another one is above it."""
    before = text[text.rfind("\n", 0, max(start - 1, 0)) + 1 : start]
    after = text[end : text.find("\n", end) + 1]
    return end + len(after) if after and not before.strip() and not after.strip() else end


def _start_with_blank_line(text: str, start: int, *, at_end: bool) -> int:
    """Return the start of the blank line above the last table, so that the file does not end with one."""
    line = text.rfind("\n", 0, max(start - 1, 0)) + 1
    return line if at_end and start and not text[line:start].strip() else start


def _without(text: str, spans: list[_Span]) -> str:
    """Return the text without spans, which may overlap."""
    kept, position = [], 0
    for start, end in sorted(spans):
        if start > position:
            kept.append(text[position:start])
        position = max(position, end)
    return "".join(kept) + text[position:]
