"""Candidate texts that set one key in a TOML text, the most natural first. The caller checks their data."""

from __future__ import annotations

from collections.abc import Iterator

from omniagent_cli.config.setting_names import Key, join_key
from omniagent_cli.config.toml_scan import Header, Pair, scan

_Items = list[Header | Pair]


def candidate_edits(text: str, key: Key, literal: str) -> Iterator[str]:
    """Yield texts in which `key` has the value `literal`."""
    newline = "\r\n" if "\r\n" in text else "\n"
    literal = literal.replace("\n", newline)
    items = scan(text)
    if same := [item for item in items if isinstance(item, Pair) and item.key == key]:
        yield _spliced(text, same[0].value_start, same[0].value_end, literal)
        return
    yield from _inside_braces(text, items, key, literal)
    yield from _under_header(text, items, key, literal, newline)
    yield from _beside_sibling(text, items, key, literal, newline)
    if len(key) == 1:
        yield _at_top(text, items, f"{join_key(key)} = {literal}", newline)
    else:
        block = f"[{join_key(key[:-1])}]{newline}{join_key(key[-1:])} = {literal}"
        yield _at_end(text, block, newline)
        yield _at_top(text, items, f"{join_key(key)} = {literal}", newline)


def _inside_braces(text: str, items: _Items, key: Key, literal: str) -> Iterator[str]:
    """Insert into the innermost inline table on the path of the key."""
    holders = [
        item
        for item in items
        if isinstance(item, Pair)
        and item.key == key[: len(item.key)]
        and text[item.value_start] == "{"
    ]
    for holder in sorted(holders, key=lambda item: -len(item.key)):
        pair = f"{join_key(key[len(holder.key) :])} = {literal}"
        inner = [
            item for item in items if isinstance(item, Pair) and item.brace == holder.value_start
        ]
        if inner:
            yield _spliced(text, inner[-1].value_end, inner[-1].value_end, f", {pair}")
        else:
            yield _spliced(text, holder.value_start, holder.value_end, f"{{ {pair} }}")


def _under_header(text: str, items: _Items, key: Key, literal: str, newline: str) -> Iterator[str]:
    """Insert after the last pair below the header of the table."""
    for header in items:
        if isinstance(header, Header) and header.key == key[:-1]:
            own = [
                item
                for item in items
                if isinstance(item, Pair) and item.table == header.key and item.brace < 0
            ]
            last = own[-1] if own else header
            line = f"{_indent(text, last)}{join_key(key[-1:])} = {literal}"
            yield _line_at(text, last.end, line, newline)


def _beside_sibling(
    text: str, items: _Items, key: Key, literal: str, newline: str
) -> Iterator[str]:
    """Insert after a dotted pair of the same table."""
    siblings = [
        item
        for item in items
        if isinstance(item, Pair)
        and item.brace < 0
        and item.key[:-1][: len(key) - 1] == key[:-1]
        and item.key[:1] == key[:1]
        and len(item.table) < len(key)
        and item.table == key[: len(item.table)]
    ]
    for last in siblings[-1:]:
        line = f"{_indent(text, last)}{join_key(key[len(last.table) :])} = {literal}"
        yield _line_at(text, last.end, line, newline)


def _at_top(text: str, items: _Items, line: str, newline: str) -> str:
    """Insert after the pairs above the first header; without any, above that header and its comment."""
    first_header = next((item for item in items if isinstance(item, Header)), None)
    above = [
        item
        for item in items
        if isinstance(item, Pair)
        and item.brace < 0
        and (first_header is None or item.start < first_header.start)
    ]
    if above:
        return _line_at(text, above[-1].end, line, newline)
    if first_header is None:
        return _line_at(text, len(text), line, newline)
    place = _above_comment(text, first_header.start)
    return _spliced(text, place, place, f"{line}{newline}{newline}")


def _above_comment(text: str, position: int) -> int:
    """Return the start of the comment lines directly above a line."""
    while position > 0:
        start = text.rfind("\n", 0, position - 1) + 1
        if not text[start:position].lstrip().startswith("#"):
            break
        position = start
    return position


def _at_end(text: str, block: str, newline: str) -> str:
    gap = newline if text and not text.endswith(newline) else ""
    blank = newline if text else ""
    return f"{text}{gap}{blank}{block}{newline}"


def _line_at(text: str, position: int, line: str, newline: str) -> str:
    gap = newline if position > 0 and text[position - 1] != "\n" else ""
    return _spliced(text, position, position, f"{gap}{line}{newline}")


def _indent(text: str, item: Header | Pair) -> str:
    line = text[item.start : item.end]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _spliced(text: str, start: int, end: int, new: str) -> str:
    return text[:start] + new + text[end:]
