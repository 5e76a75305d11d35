"""The outline of a JSON document: where its keys stand, so that words which are only quoted in it mislead nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(rb'"(?:[^"\\\n]|\\.)*+(?:"|\\?\Z|(?=\n))|[\[\]{}:]', re.DOTALL)
"""A text may have no end, because only the beginning of a file is looked at: it must not be begun in anew at each quote."""

_MAX_TOKENS = 50_000
_MAX_LEVELS = 3
_MAX_NESTED = 1_000
_LONGEST = 64


def outline(head: bytes) -> frozenset[str]:
    """Return the keys of a document from its first bytes, each as the way to it: ``messages/role``.

    Lists count for nothing on the way, so an object, a list of objects and a line each look the same. A short text is
    there as ``key=text`` too. Broken and cut documents have the outline of what is there.
    """
    return frozenset(_ways(head))


def _ways(head: bytes) -> Iterator[str]:
    ways: list[tuple[str, ...]] = [()]
    key, word, is_value = "", "", False
    for match, _ in zip(_TOKEN.finditer(head), range(_MAX_TOKENS), strict=False):
        mark = match.group()
        if mark == b":":
            key, is_value = word, True
        elif mark in (b"{", b"["):
            way = (*ways[-1], key) if is_value else ways[-1]
            if is_value and len(way) <= _MAX_LEVELS:
                yield "/".join(way)
            ways.append(way)
            if len(ways) > _MAX_NESTED:
                return
            is_value = False
        elif mark in (b"}", b"]"):
            if is_value:  # a number, or what is none
                yield "/".join((*ways[-1], key))
            if len(ways) > 1:
                ways.pop()
            is_value = False
        else:
            text = mark[1:-1].decode("utf-8", "replace") if len(mark) <= _LONGEST else ""
            if is_value and head[match.end() : match.end() + 8].lstrip()[:1] != b":":
                way_to = "/".join((*ways[-1], key))
                if len(ways[-1]) < _MAX_LEVELS:
                    yield way_to
                    yield f"{way_to}={text}"
                is_value = False
            else:
                if is_value and len(ways[-1]) < _MAX_LEVELS:
                    yield "/".join((*ways[-1], key))
                word, is_value = ("" if "/" in text or "=" in text else text), False
