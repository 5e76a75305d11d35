"""Scanner of TOML text: positions of headers, pairs and values.

tomllib parses the data without positions, which editing a file in place and the line of an invalid value need. The
scanner accepts only texts that tomllib accepts, so it does not validate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from omniagent_cli.config.setting_names import Key


class Header(NamedTuple):
    """A ``[table]`` line; an ``[[array]]`` line has no key, because settings are never there."""

    key: Key | None
    start: int
    end: int


class Pair(NamedTuple):
    """A ``key = value``, on a line of its own or inside an inline table.

    Attributes:
        key: the full name.
        table: the name of the table of the header above it.
        start: start of its line, or of its key when it is inline.
        end: end of its line, or of its value when it is inline.
        value_start: start of the value.
        value_end: end of the value.
        brace: start of the inline table around it; -1 when it has its own line.
    """

    key: Key
    table: Key
    start: int
    end: int
    value_start: int
    value_end: int
    brace: int


_STRING = (
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'"
)
_TOKEN = re.compile(
    rf"({_STRING})|(#[^\n]*)|([\[{{])|([\]}}])|([^\"'#\[\]{{}},\n]+)|[,\n]", re.DOTALL
)
_PART = r'(?:"(?:\\.|[^"\\])*"|\'[^\']*\'|[A-Za-z0-9_-]+)'
_KEY = re.compile(rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*")
_BLANKS = re.compile(r"[ \t]*")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_INLINE_GAP = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")


def scan(text: str) -> list[Header | Pair]:
    """Return the headers and pairs of a valid TOML text in order, inline pairs after the one around them."""
    return list(_statements(text))


def position_of(items: list[Header | Pair], key: Key) -> int | None:
    """Return the start of the value of a key, or of its table; None when it is missing."""
    found = [item for item in items if item.key is not None and item.key[: len(key)] == key]
    best = next((item for item in found if item.key == key), found[0] if found else None)
    if best is None:
        return None
    return best.start if isinstance(best, Header) else best.value_start


def _statements(text: str) -> Iterator[Header | Pair]:
    position = 0
    table: Key = ()
    inside_array = False
    while position < len(text):
        start = position
        position = _skip(_BLANKS, text, position)
        if text.startswith("[", position):
            inside_array = text.startswith("[[", position)
            position, table = _read_key(text, _skip(_BLANKS, text, position + 1 + inside_array))
            position = _line_end(text, position)
            yield Header(None if inside_array else table, start, position)
        elif match := _KEY.match(text, position):
            pair = _line_pair(text, start, match.start(), table)
            position = pair.end
            if not inside_array:
                yield pair
                yield from _inline_pairs(text, pair)
        else:
            position = _line_end(text, position)


def _line_pair(text: str, start: int, key_start: int, table: Key) -> Pair:
    key_end, key = _read_key(text, key_start)
    value_start = _skip(_EQUALS, text, key_end)
    value_end = _value_end(text, value_start)
    end = _line_end(text, value_end)
    return Pair(table + key, table, start, end, value_start, value_end, -1)


def _inline_pairs(text: str, outer: Pair) -> Iterator[Pair]:
    """Yield the pairs of the inline table that is the value of a pair, at any depth."""
    if text[outer.value_start] != "{":
        return
    position = _skip(_INLINE_GAP, text, outer.value_start + 1)
    while text[position] != "}":
        start = position
        position, key = _read_key(text, position)
        value_start = _skip(_EQUALS, text, position)
        value_end = _value_end(text, value_start)
        inner = Pair(
            outer.key + key,
            outer.table,
            start,
            value_end,
            value_start,
            value_end,
            outer.value_start,
        )
        yield inner
        yield from _inline_pairs(text, inner)
        position = _skip(_INLINE_GAP, text, value_end)


def _read_key(text: str, position: int) -> tuple[int, Key]:
    match = _KEY.match(text, position)
    if match is None:  # a bug of this scanner: tomllib accepted the text
        raise ValueError(f"no key at character {position}")
    import tomllib

    node: Any = tomllib.loads(f"{match[0]} = 0\n")
    parts: list[str] = []
    while isinstance(node, dict):
        part, node = next(iter(node.items()))
        parts.append(part)
    return match.end(), tuple(parts)


def _value_end(text: str, position: int) -> int:
    """Return the end of the value at a position."""
    depth = 0
    while match := _TOKEN.match(text, position):
        string, _comment, opened, closed, bare = match.groups()
        position = match.end()
        depth += bool(opened) - bool(closed)
        if depth == 0 and (string or closed):
            return position
        if depth == 0 and bare:
            return match.start() + len(bare.rstrip())
    raise ValueError(f"no value before character {position}")


def _skip(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _line_end(text: str, position: int) -> int:
    newline = text.find("\n", position)
    return len(text) if newline < 0 else newline + 1
