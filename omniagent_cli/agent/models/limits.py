"""Limits that a provider names in a refusal: how long to wait, and how long a request may be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|model_max_prompt_tokens_exceeded|string_above_max_length"
    r"|maximum (?:context|prompt) length|maximum model length|model token limit"
    r"|context (?:size|window|length).{0,40}(?:exceed|too (?:small|long)|not enough)"
    r"|(?:exceed|larger|longer|greater|overflow).{0,60}context (?:size|window|length|limit)"
    r"|context the overflows|context overflow|context shift is disabled|available context"
    r"|prompt (?:is )?too long|input (?:is )?too long|(?:prompt|input|request) is longer than"
    r"|input token count.{0,40}exceed|input tokens exceed"
    r"|inputs`? tokens \+ `?max_new_tokens|range of input length"
    r"|reduce the length of (?:the|your) (?:messages|prompt|input)|exceeds the limit of \d+ tokens",
    re.IGNORECASE | re.DOTALL,
)
"""Messages of OpenAI, llama.cpp, LM Studio, vLLM, Anthropic, Google, Groq, Mistral, xAI, Together, Moonshot, Alibaba,
Bedrock, MiniMax and GitHub."""

_PER_MINUTE = re.compile(
    r"rate_limit_exceeded|tokens per (?:minute|day)|requests per|\b[TR]P[MD]\b", re.IGNORECASE
)
_NUMBER = re.compile(r"\d[\d,]*\d{3}|\d{4,}")
_LEAST_CONTEXT = 1_000

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|[smhd])")
_TOLD_WAIT = re.compile(
    r"(?:try again|retry|wait|available)\W+(?:again\W+)?(?:in|after|for)?\W*(?:at least\W+)?"
    r"((?:\d{1,9}(?:\.\d{1,9})?\s*(?:ms|milliseconds?|seconds?|secs?|s|minutes?|mins?|m|hours?|h|d)(?![a-z])\W?)+)",
    re.IGNORECASE,
)
_RESETS = ("requests", "tokens")
_LONGEST_RESET_SECONDS = 60.0


def is_too_long(body: str) -> bool:
    """Return True if a rejection says that the request exceeds the context window of the model."""
    return not is_rate_limit(body) and _TOO_LONG.search(body) is not None


def is_rate_limit(body: str) -> bool:
    """Return True if a rejection names a rate limit, also with status 413 as Groq sends it."""
    return _PER_MINUTE.search(body) is not None


def context_tokens(body: str) -> int | None:
    """Return the context length in tokens that a rejection names, which the request exceeds."""
    numbers = [int(found.replace(",", "")) for found in _NUMBER.findall(body)]
    return min((number for number in numbers if number >= _LEAST_CONTEXT), default=None)


def retry_after(headers: Mapping[str, str], body: str, now: datetime) -> float | None:
    """Return the wait in seconds that a provider requests in its headers or its text, or None.

    In order: ``retry-after-ms``, ``retry-after`` (seconds or an HTTP date), Google's ``retryDelay``, words ("Please
    try again in 2.5s"), and ``x-ratelimit-reset-*`` of exhausted limits.
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    if (seconds := _number(value)) is not None:
        return seconds
    if value:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        return _until(moment, now)
    if found := re.search(r'"retryDelay":\s*"(\d{1,6}(?:\.\d+)?)s"', body):
        return float(found[1])
    if found := _TOLD_WAIT.search(body):
        return _seconds(found[1])
    return max(_resets(headers, now), default=None)


def _resets(headers: Mapping[str, str], now: datetime) -> Iterator[float]:
    """Yield the seconds until each exhausted limit resets; a longer wait is unrelated to the next request.

    https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
    """
    for kind in _RESETS:
        for prefix, suffix in (("x-ratelimit", f"-{kind}"), (f"anthropic-ratelimit-{kind}", "")):
            left = headers.get(f"{prefix}-remaining{suffix}", "0").strip()
            reset = headers.get(f"{prefix}-reset{suffix}", "").strip()
            seconds = _moment(reset, now) if reset and left in ("", "0") else None
            if seconds is not None and seconds <= _LONGEST_RESET_SECONDS:
                yield seconds


def _moment(text: str, now: datetime) -> float | None:
    """Parse a duration such as ``6m0s`` or ``2.5``, or a time in RFC 3339."""
    if (seconds := _number(text)) is not None:
        return seconds
    if _SPAN.match(text):
        return _seconds(text)
    try:
        return _until(datetime.fromisoformat(text), now)
    except ValueError:
        return None


def _seconds(text: str) -> float:
    """Sum a duration in words or letters: ``1m30.5s``, ``20 seconds``, ``500ms``."""
    short = re.sub(r"milliseconds?", "ms", text.lower())
    return sum(float(number) * _UNITS[unit] for number, unit in _SPAN.findall(short))


def _until(moment: datetime, now: datetime) -> float:
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _number(text: str | None) -> float | None:
    if text is None or not re.fullmatch(r"\s*\d{1,9}(\.\d{1,9})?\s*", text, re.ASCII):
        return None
    return float(text)
