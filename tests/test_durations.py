"""Lengths of time as people write them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniagent_cli.durations import (
    describe_age,
    format_duration,
    parse_duration,
    ttl_seconds,
    utc_now,
)
from omniagent_cli.errors import InvalidDuration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30m", 1800), ("24h", 86_400), ("168h", 604_800), ("7d", 604_800), ("2w", 1_209_600),
        ("1h30m", 5400), ("1d12h", 129_600), ("90s", 90), ("1.5h", 5400), (" 7D ", 604_800), ("0.5s", 0.5),
    ],
)  # fmt: skip
def test_what_can_be_written(text, seconds):
    """Numbers with units, also several in a row."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["never", "NEVER", "0", "0s", "0d", "0h0m"])
def test_never(text):
    """`never` and zero of any unit mean no end."""
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "7",
        "d",
        "-1h",
        "1 h",
        "1x",
        "h1",
        "1h-5m",
        "\u0667d",
        "1e3s",
        "101y",
        "40000d",
        "9" * 400 + "d",
        "inf",
        "nan",
        "1h 30m",
        "soon",
    ],
)
def test_what_is_no_duration(text):
    """Anything else is refused, with examples of what would be right."""
    with pytest.raises(InvalidDuration, match="30m"):
        parse_duration(text)


@given(st.timedeltas(timedelta(microseconds=1), timedelta(days=36_000)))
def test_written_durations_read_back(length):
    """Any length writes as text that reads back as the same length."""
    assert parse_duration(format_duration(length)) == length


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (None, "never"),
        (timedelta(0), "never"),
        (timedelta(days=7), "7d"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(seconds=1.5), "1.5s"),
    ],
)
def test_how_durations_are_written(length, text):
    """The largest units first, nothing that is zero."""
    assert format_duration(length) == text


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        ("7d", 604_800),
        (timedelta(hours=1), 3600),
        (90, 90),
        (1.5, 1.5),
        (None, None),
        (0, None),
        ("never", None),
    ],
)
def test_every_form_of_a_ttl(ttl, seconds):
    """Text, lengths and numbers are the same time to live; zero is never."""
    assert ttl_seconds(ttl) == seconds


@pytest.mark.parametrize("ttl", [-1, timedelta(days=-1), float("nan"), float("inf"), 10**400, 1e12])
def test_a_ttl_out_of_range(ttl):
    """Negative, endless and senseless times are refused."""
    with pytest.raises(InvalidDuration):
        ttl_seconds(ttl)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "just now"), (44, "just now"), (60, "1 minute ago"), (150, "2 minutes ago"), (3600, "1 hour ago"),
        (90_000, "1 day ago"), (86_400 * 40, "1 month ago"), (86_400 * 800, "2 years ago"), (-86_400 * 3, "in 3 days"),
    ],
)  # fmt: skip
def test_how_long_ago(seconds, text):
    """Ages are told in one unit."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert describe_age(now - timedelta(seconds=seconds), now) == text


def test_the_clock_is_aware():
    """Times are in UTC and say so."""
    assert utc_now().tzinfo is UTC
