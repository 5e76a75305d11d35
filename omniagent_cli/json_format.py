"""The JSON and time formats of everything that is stored or exported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, tzinfo
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

_CONTAINERS = (dict, list, tuple)

MAX_DEPTH = 200
"""The maximum nesting depth: far below the recursion limit, so that it does not depend on the caller."""


def dump(value: Any) -> bytes:
    r"""Encode a JSON value: UTF-8, no whitespace, lone surrogates as ``\udXXX`` escapes.

    Raises:
        InvalidRecord: the value is not JSON (NaN and infinities are not, nor are keys that are not text), or nested
            too deeply.
    """
    try:
        text = "".join(_pieces(value, 0))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRecord(f"not a JSON value: {error}") from error
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(value):
        raise InvalidRecord(f"this value is nested more than {MAX_DEPTH} deep")
    if "{" in text:
        _check_keys(value)
    # A lone surrogate can only stand inside a JSON string, where its backslash form is a JSON escape.
    return text.encode("utf-8", "backslashreplace")


def dump_text(text: str) -> bytes:
    """Encode a text as `dump` does, in less time."""
    return json.encoder.encode_basestring(text).encode("utf-8", "backslashreplace")


def _check_keys(value: Any) -> None:
    """Refuse keys that are not text: the encoder would write 1 and "1" as the same key."""
    containers = [value]
    for container in containers:  # grows on the way
        items = container
        if isinstance(container, dict):
            for key in container:
                if type(key) is not str and not isinstance(key, str):
                    raise InvalidRecord(f"keys of JSON objects must be text, not {key!r}")
            items = container.values()
        for item in items:
            if type(item) is not str and isinstance(item, _CONTAINERS):
                containers.append(item)  # noqa: PERF401  # a comprehension takes twice as long


def _is_deep(value: Any) -> bool:
    """Return True if containers are nested more than `MAX_DEPTH` deep."""
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
    """Format a time as RFC 3339 in UTC with microseconds.

    Raises:
        InvalidRecord: the time has no zone.
    """
    if moment.tzinfo is None:
        raise InvalidRecord(
            f"the time {moment.isoformat()} has no time zone; give one, as in datetime.now(UTC)"
        )
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


def parse_time(text: str, *, default_zone: tzinfo | None = None) -> datetime:
    """Parse an RFC 3339 time into UTC.

    Args:
        text: the time.
        default_zone: the zone of a time without one.

    Raises:
        InvalidRecord: the text is not a time, or has no zone.
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
        if default_zone is not None:
            return moment.replace(tzinfo=default_zone).astimezone(UTC)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidRecord(
            f"{text!r} is not a time; write it like 2026-11-21T09:30:00Z"
        ) from error
    raise InvalidRecord(f"the time {text!r} has no time zone; write it like 2026-11-21T09:30:00Z")


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
