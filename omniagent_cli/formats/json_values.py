"""JSON values in text, parsed by the standard library's scanner."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from json.decoder import JSONDecodeError
from typing import Any, NoReturn, cast

SPACE = re.compile(r"[ \t\r\n]*")
RAW_SURROGATE = re.compile("[\udc80-\udcff]")
_NESTING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*("?)|[\[\]{}]', re.DOTALL)
_KEPT_LEVELS = 100
"""Levels that are kept of a value nested too deeply to be read; fewer than a message record may have."""
_PLACEHOLDER = '"[nested too deeply]"'
DEEP_PART = "a part is nested too deeply and was left out"


class BadValue(ValueError):
    """One value is not valid JSON; the reader is positioned after it."""


class DeepValue(BadValue):
    """A value nested too deeply to be read as a whole.

    Attributes:
        value: the value, with a text in place of the containers nested too deeply.
    """

    def __init__(self, value: Any) -> None:
        super().__init__("nested too deeply")
        self.value = value


def _not_json(text: str) -> NoReturn:
    raise BadValue(f"{text} is not a JSON value")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise BadValue("number out of range")
    return number


_decoder = json.JSONDecoder(parse_constant=_not_json, parse_float=_finite)
scan = cast("Callable[[str, int], tuple[Any, int]]", vars(_decoder)["scan_once"])


def parse(text: str) -> Any:
    """Parse one JSON value from text with undecodable bytes as surrogates.

    Raises:
        DeepValue: the value is nested too deeply.
        BadValue: the text is not exactly one supported JSON value.
    """
    is_deep = False
    try:
        start = _skip_space(text, 0)
        try:
            value, end = scan(text, start)
        except RecursionError:
            is_deep = True
            value, end = scan_flat(text, start)
    except StopIteration as error:
        raise BadValue(f"no JSON value at column {error.value + 1}") from error
    except JSONDecodeError as error:
        raise BadValue(f"not JSON: {error.msg} at column {error.pos + 1}") from error
    except BadValue:
        raise
    except ValueError as error:
        raise BadValue(f"unsupported value: {error}") from error
    if _skip_space(text, end) != len(text):
        raise BadValue(f"not JSON: more data at column {end + 1}")
    if RAW_SURROGATE.search(text):
        raise BadValue("not valid UTF-8")
    if is_deep:
        raise DeepValue(value)
    return value


def scan_flat(text: str, start: int) -> tuple[Any, int]:
    """Read a container with a text in place of the containers below `_KEPT_LEVELS`; return it and its end.

    Raises:
        JSONDecodeError: it is not JSON, or its end is missing.
    """
    depth, kept, kept_to = 0, [], start
    for found in _NESTING.finditer(text, start):
        mark = found[0]
        if mark[0] == '"':
            if not found[1]:
                break
        elif mark in "[{":
            depth += 1
            if depth == _KEPT_LEVELS + 1:
                kept.append(text[kept_to : found.start()])
        else:
            if depth == _KEPT_LEVELS + 1:
                kept.append(_PLACEHOLDER)
                kept_to = found.end()
            depth -= 1
            if depth == 0:
                flat = "".join([*kept, text[kept_to : found.end()]])
                try:
                    return scan(flat, 0)[0], found.end()
                except StopIteration:
                    raise JSONDecodeError("Invalid value", text, start) from None
    raise JSONDecodeError("Unterminated value", text, len(text))


def _skip_space(text: str, at: int) -> int:
    match = SPACE.match(text, at)
    return match.end() if match else at
