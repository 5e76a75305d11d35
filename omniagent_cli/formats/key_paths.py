"""Key paths of a JSON document; text that merely quotes such keys is ignored."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(rb'"(?:[^"\\\n]|\\.)*+(?:"|\\?\Z|(?=\n))|[\[\]{}:]', re.DOTALL)
"""A string may be unterminated, since only the start of a file is read; the possessive quantifier prevents a
restart at each quote."""

_MAX_TOKENS = 50_000
_MAX_LEVELS = 3
_MAX_NESTED = 1_000
_LONGEST = 64


def key_paths(head: bytes) -> frozenset[str]:
    """Return the keys in the first bytes of a document, each as a path such as ``messages/role``.

    Lists do not add to a path, so an object, a list of objects and JSON lines give the same paths. A short string value
    is included as ``key=text``. A damaged or truncated document gives the paths of its readable part.
    """
    return frozenset(_walk_keys(head))


def _walk_keys(head: bytes) -> Iterator[str]:
    stack: list[tuple[str, ...]] = [()]
    key, word, is_value = "", "", False
    for match, _ in zip(_TOKEN.finditer(head), range(_MAX_TOKENS), strict=False):
        token = match.group()
        if token == b":":
            key, is_value = word, True
        elif token in (b"{", b"["):
            path = (*stack[-1], key) if is_value else stack[-1]
            if is_value and len(path) <= _MAX_LEVELS:
                yield "/".join(path)
            stack.append(path)
            if len(stack) > _MAX_NESTED:
                return
            is_value = False
        elif token in (b"}", b"]"):
            if is_value:  # a number, literal or invalid value
                yield "/".join((*stack[-1], key))
            if len(stack) > 1:
                stack.pop()
            is_value = False
        else:
            text = token[1:-1].decode("utf-8", "replace") if len(token) <= _LONGEST else ""
            if is_value and head[match.end() : match.end() + 8].lstrip()[:1] != b":":
                full_path = "/".join((*stack[-1], key))
                if len(stack[-1]) < _MAX_LEVELS:
                    yield full_path
                    yield f"{full_path}={text}"
                is_value = False
            else:
                if is_value and len(stack[-1]) < _MAX_LEVELS:
                    yield "/".join((*stack[-1], key))
                word, is_value = ("" if "/" in text or "=" in text else text), False
