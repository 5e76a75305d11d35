"""The JSON and time formats of everything that is stored or exported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, cast

from omniagent_cli.errors import InvalidRecord

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_made = vars(json.encoder).get("c_make_encoder")
# JSONEncoder.encode builds one of these for each value, which costs more than a short message. It needs no memory of
# what it is in to find circles: those end as too deep.
_sort_keys = _skip_keys = _allow_nan = False
_pieces: Callable[[Any, int], Iterable[str]] = (
    _made(
        None,
        _encoder.default,
        json.encoder.encode_basestring,
        None,
        ":",
        ",",
        _sort_keys,
        _skip_keys,
        _allow_nan,
    )
    if _made
    else lambda value, _: _encoder.iterencode(value)
)
# JSONDecoder.decode adds two white-space matches to each call, which is half the cost of a short message.
_scan = cast("Callable[[str, int], tuple[Any, int]]", vars(json.JSONDecoder())["scan_once"])

MAX_DEPTH = 200
"""The maximum nesting depth: far below the recursion limit, so that it does not depend on the caller."""


def dump(value: Any) -> bytes:
    r"""Encode a JSON value: UTF-8, no whitespace, lone surrogates as ``\udXXX`` escapes.

    Raises:
        InvalidRecord: the value is not JSON (NaN and infinities are not), or nested too deeply.
    """
    try:
        text = "".join(_pieces(value, 0))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRecord(f"not a JSON value: {error}") from error
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(value):
        raise InvalidRecord(f"this value is nested more than {MAX_DEPTH} deep")
    # A lone surrogate can only stand inside a JSON string, where its backslash form is a JSON escape.
    return text.encode("utf-8", "backslashreplace")


def _is_deep(value: Any) -> bool:
    """Return whether containers are nested more than `MAX_DEPTH` deep."""
    level, depth = [value], 0
    while level and depth < MAX_DEPTH:
        level = [
            item
            for outer in level
            for item in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(item, dict | list | tuple)
        ]
        depth += 1
    return bool(level)


def load(data: bytes) -> Any:
    """Decode a JSON value written by `dump`.

    Raises:
        ValueError: the bytes are not one JSON value.
    """
    text = data.decode("utf-8")
    try:
        value, end = _scan(text, 0)
    except StopIteration as error:
        raise ValueError(f"no JSON value at character {error.value}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if end != len(text):
        raise ValueError(f"data after the JSON value at character {end}")
    return value


def format_time(moment: datetime) -> str:
    """Format a time as RFC 3339 in UTC with microseconds; a time without a zone is taken as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    elif moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


def parse_time(text: str) -> datetime:
    """Parse an RFC 3339 time into UTC; a missing zone means UTC.

    Raises:
        InvalidRecord: the text is not a time.
    """
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidRecord(
            f"{text!r} is not a time; write it like 2026-11-21T09:30:00Z"
        ) from error


def clone(value: Any) -> Any:
    """Copy a JSON value; `copy.deepcopy` takes ten times as long, because it looks for cycles."""
    if isinstance(value, dict):
        return {
            key: clone(item) if isinstance(item, dict | list) else item
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [clone(item) if isinstance(item, dict | list) else item for item in value]
    return value
