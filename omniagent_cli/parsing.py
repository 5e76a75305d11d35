"""Parsing of what users type, on the command line and after slash commands: times, ``key=value``, JSON, choices."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NoReturn

from omniagent_cli.durations import parse_duration, utc_now
from omniagent_cli.errors import InvalidDuration, UsageError


def parse_time(text: str, option: str) -> datetime:
    """Parse a date or time (local unless it names a zone), ``today``, ``yesterday``, or an age such as ``7d``.

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
        raise UsageError(
            f"invalid {option} {text!r}: must be a date such as 2026-11-21, a time such as 2026-11-21T09:30, "
            "or an age such as 7d"
        ) from error


def parse_age(text: str, option: str) -> datetime:
    """Parse an age such as ``90d`` and return the time that long ago.

    Raises:
        UsageError: it is not a duration, or ``never``.
    """
    try:
        length = parse_duration(text)
    except InvalidDuration as error:
        raise UsageError(f"{option}: {error}") from error
    if length is None:
        raise UsageError(f"invalid {option} {text!r}: must be an age such as 90d")
    return utc_now() - length


def parse_json(text: str) -> Any:
    """Parse JSON text; unlike `json.loads`, reject NaN and infinities.

    Raises:
        ValueError: the text is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text, parse_constant=_reject_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def parse_json_or_text(text: str) -> Any:
    """Return the value of JSON text, or the text itself when it is not JSON."""
    try:
        return parse_json(text)
    except ValueError:
        return text


def session_filters(
    meta: Iterable[str] | None,
    tags: Sequence[str] | None,
    since: str | None,
    until: str | None,
    older_than: str | None,
) -> dict[str, Any]:
    """Return the filters of `SessionStore.list` for the values of these options.

    Raises:
        UsageError: a value is invalid, or two options contradict each other.
    """
    if until and older_than:
        raise UsageError("use either --until or --older-than, not both")
    latest = parse_time(until, "--until") if until else None
    if older_than:
        latest = parse_age(older_than, "--older-than")
    return {
        "metadata": parse_pairs(meta or (), "--meta"),
        "tags": tags or (),
        "since": parse_time(since, "--since") if since else None,
        "until": latest,
    }


def parse_pairs(given: Iterable[str], option: str) -> dict[str, Any]:
    """Parse ``key=value`` pairs; a value is JSON if it parses, else text.

    Raises:
        UsageError: one of them has no ``=`` or no key.
    """
    found = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise UsageError(f"invalid {option} {text!r}: write it like {option} project=apollo")
        found[key] = parse_json_or_text(value)
    return found


def signed_tags(changes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the tags to add and those to remove, of words such as ``+work`` and ``-old``.

    Raises:
        UsageError: a word has no sign.
    """
    added: list[str] = []
    removed: list[str] = []
    for change in changes:
        sign, name = change[:1], change[1:]
        if name.startswith("-") or sign not in ("+", "-") or not name.strip():
            raise UsageError(
                f"{change!r} has no sign; use +work to add a tag and -work to remove it"
            )
        (added if sign == "+" else removed).append(name)
    return added, removed


def did_you_mean(
    name: str,
    known: Iterable[str],
    otherwise: str,
    *,
    at_most: int = 3,
    shown: Callable[[str], str] = str,
) -> str:
    """Return the end of a message about an unknown name: the closest known ones, or another hint."""
    from difflib import get_close_matches

    close = get_close_matches(name, list(known), n=at_most)
    return f"did you mean {' or '.join(map(shown, close))}?" if close else otherwise


def alternatives(words: Sequence[str]) -> str:
    """Join words as in "a, b or c"."""
    return f"{', '.join(words[:-1])} or {words[-1]}"


def check_choice(given: str, choices: Iterable[str], option: str) -> str:
    """Return a word that must be one of the choices.

    Raises:
        UsageError: it is not.
    """
    words = list(choices)
    if given not in words:
        raise UsageError(f"invalid {option} {given!r}: must be {alternatives(words)}")
    return given


def check_not_negative(number: int | None, option: str) -> None:
    """Refuse a negative number.

    Raises:
        UsageError: it is negative.
    """
    if number is not None and number < 0:
        raise UsageError(f"invalid {option} {number}: must be 0 or more")
