"""What people write, on the command line and after slash commands -> values: moments, ``key=value``, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from omniagent_cli.durations import parse_duration, utc_now
from omniagent_cli.errors import InvalidDuration, UsageError

_MOMENTS = (
    "write a date such as 2026-11-21, a time such as 2026-11-21T09:30, or how long ago, such as 7d"
)


def moment(text: str, option: str) -> datetime:
    """Read a moment: a date or time (of this machine's zone unless it names one), ``today``, or how long ago.

    Raises:
        UsageError: it is none of these.
    """
    cleaned = text.strip()
    today = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    if cleaned.lower() in ("today", "yesterday"):
        return today - timedelta(days=cleaned.lower() == "yesterday")
    try:
        length = parse_duration(cleaned)
    except InvalidDuration:
        length = None
    if length is not None:
        return utc_now() - length
    try:
        return datetime.fromisoformat(cleaned).astimezone()
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"{option} cannot be {text!r}; {_MOMENTS}") from error


def moment_before(text: str, option: str) -> datetime:
    """Read a length of time and return the moment that long ago.

    Raises:
        UsageError: it is not a length of time, or none at all.
    """
    try:
        length = parse_duration(text)
    except InvalidDuration as error:
        raise UsageError(f"{option}: {error}") from error
    if length is None:
        raise UsageError(f"{option} cannot be {text!r}; give a length of time such as 90d")
    return utc_now() - length


def json_or_text(text: str) -> Any:
    """Read a value: JSON if it parses as such, else the text itself."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _no_constant(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity are no JSON, though Python reads them


def pairs(given: Iterable[str], option: str) -> dict[str, Any]:
    """Read ``key=value`` pairs; a value is JSON if it parses, else text.

    Raises:
        UsageError: one of them has no ``=`` or no key.
    """
    found = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise UsageError(f"{option} cannot be {text!r}; write it like {option} project=apollo")
        found[key] = json_or_text(value)
    return found


def one_of(given: str, known: Iterable[str], option: str) -> str:
    """Return a word that must be one of a few.

    Raises:
        UsageError: it is none of them.
    """
    words = list(known)
    if given not in words:
        raise UsageError(
            f"{option} cannot be {given!r}; give {', '.join(words[:-1])} or {words[-1]}"
        )
    return given


def not_negative(number: int | None, option: str) -> None:
    """Refuse a negative number.

    Raises:
        UsageError: it is one.
    """
    if number is not None and number < 0:
        raise UsageError(f"{option} cannot be {number}; give a number that is not negative")
