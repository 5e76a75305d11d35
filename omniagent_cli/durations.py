"""Durations such as ``30m`` or ``7d``: parsing, formatting, and the current time."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from omniagent_cli.errors import InvalidDuration

Clock = Callable[[], datetime]
"""A function that returns the current time, aware, in UTC; tests replace it."""

_UNIT_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PART = re.compile(r"(\d+(?:\.\d+)?)([wdhms])")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?[wdhms])+")
_EXAMPLES = "write it like 30m, 24h, 7d, 1h30m or never"
_LONGEST_SECONDS = 100 * 366 * 86_400


def utc_now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


def parse_duration(text: str) -> timedelta | None:
    """Parse ``30m``, ``24h``, ``7d``, ``2w``, ``1h30m`` or ``never``.

    Returns:
        The duration, or None for ``never`` and for zero of any unit.

    Raises:
        InvalidDuration: anything else, a negative length, or more than a hundred years.
    """
    cleaned = text.strip().lower()
    if cleaned in {"never", "0"}:
        return None
    if not _WHOLE.fullmatch(cleaned) or not cleaned.isascii():
        raise InvalidDuration(f"{text!r} is not a duration; {_EXAMPLES}")
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _PART.findall(cleaned))
    if seconds > _LONGEST_SECONDS:
        raise InvalidDuration(f"{text!r} is more than a hundred years; {_EXAMPLES}")
    return timedelta(seconds=seconds) if seconds else None


def format_duration(length: timedelta | None) -> str:
    """Format a duration for `parse_duration`; None is ``never``."""
    if length is None or length <= timedelta(0):
        return "never"
    seconds = length.total_seconds()
    parts = []
    for unit in "dhm":
        count, seconds = divmod(seconds, _UNIT_SECONDS[unit])
        if count:
            parts.append(f"{int(count)}{unit}")
    if seconds:
        parts.append(f"{seconds:.6f}".rstrip("0").rstrip(".") + "s")
    return "".join(parts)


def ttl_seconds(ttl: timedelta | float | str | None) -> float | None:
    """Convert any accepted form of a TTL to seconds; None means never.

    Args:
        ttl: a timedelta, a number of seconds, text such as ``7d``, or None. Zero means never.

    Raises:
        InvalidDuration: it is negative or not a duration.
    """
    if isinstance(ttl, str):
        ttl = parse_duration(ttl)
    if ttl is None:
        return None
    try:
        seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else float(ttl)
    except OverflowError:  # an integer too large for a float
        seconds = math.inf
    if not 0 <= seconds <= _LONGEST_SECONDS:  # also refuses NaN
        raise InvalidDuration(f"a time to live of {ttl} is out of range; {_EXAMPLES}")
    return seconds or None


def format_moment(moment: datetime, now: datetime) -> str:
    """Format a time in the local time zone: ``14:03`` today, else ``2026-11-21 14:03``."""
    try:
        local, today = moment.astimezone(), now.astimezone().date()
    except (OverflowError, ValueError):  # at the ends of the calendar, or with an invalid TZ
        local, today = moment, now.date()
    return f"{local:%H:%M}" if local.date() == today else f"{local:%Y-%m-%d %H:%M}"


_SHORT_UNITS = {"year": "y", "month": "mo", "day": "d", "hour": "h", "minute": "min"}


def describe_age(moment: datetime, now: datetime, *, short: bool = False) -> str:
    """Format a time relative to now, in one unit: ``just now``, ``2 minutes ago``, ``in 3 days``; short: ``now``, ``2min``."""
    seconds = (now - moment).total_seconds()
    ahead, seconds = seconds < 0, abs(seconds)
    if seconds < 45:
        return "now" if short else "just now"
    for unit, size in (
        ("year", 31_557_600),
        ("month", 2_629_800),
        ("day", 86_400),
        ("hour", 3_600),
        ("minute", 60),
    ):
        if seconds >= size or unit == "minute":
            count = max(1, round(seconds / size))
            break
    if short:
        return f"{'in ' * ahead}{count}{_SHORT_UNITS[unit]}"
    words = f"{count} {unit}{'' if count == 1 else 's'}"
    return f"in {words}" if ahead else f"{words} ago"
