"""The one JSON form and the one time form."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.json_format import MAX_DEPTH, clone, dump, format_time, load, parse_time

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_what_goes_in_comes_out(value):
    """Any JSON value comes back equal, half characters and all, and writes the same bytes again."""
    data = dump(value)
    assert load(data) == value
    assert dump(load(data)) == data
    assert b"\n" not in data


@given(JSON)
def test_a_clone_is_equal_and_apart(value):
    """A copy is equal, and shares no container with what was copied."""
    copy = clone(value)
    assert copy == value
    if isinstance(value, dict | list):
        assert copy is not value


def test_the_bytes():
    """UTF-8 without blanks, keys in their order, half characters as escapes."""
    assert dump({"b": [1, None, True], "a": "Ä😀\ud800\x00\u2028"}) == (
        '{"b":[1,null,true],"a":"Ä😀\\ud800\\u0000\u2028"}'.encode()
    )


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), b"x", object(), {1, 2}, 1j, {b"k": 1}, {1: 2}, ({None: 1},)],
)
def test_what_is_no_json(value):
    """Values that JSON does not have are refused."""
    with pytest.raises(InvalidRecord):
        dump({"k": [value]})


def nested(depth):
    value = 0
    for _ in range(depth):
        value = [value]
    return value


def test_how_deep_values_may_be():
    """Nesting has one limit, wherever we are called from."""
    assert load(dump(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(InvalidRecord, match=r"nested|recursion"):
            dump(nested(depth))
    dump([[]] * 10_000)


@pytest.mark.parametrize(
    "data",
    [b"", b" ", b"{", b'{"a":1} x', b"[1,]", b"\xff", b'"\xed\xa0\x80"', b"nul", b"[" * 100_000],
)
def test_damaged_bytes(data):
    """Bytes that are not one JSON value are an error, never half of one."""
    with pytest.raises(ValueError):  # noqa: PT011  # all kinds of it
        load(data)


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45)), timezone(-timedelta(hours=11))]), min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)))  # fmt: skip  # noqa: DTZ001
def test_times_keep_their_moment(moment):
    """A time is written in UTC with microseconds and reads back as the same moment."""
    text = format_time(moment)
    assert len(text) == len("2026-11-21T09:30:00.000000Z")
    assert text.endswith("Z")
    assert parse_time(text) == moment
    assert format_time(parse_time(text)) == text


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_times_sort_as_text(one, other):
    """Written times compare as the moments do."""
    assert (format_time(one) < format_time(other)) == (one < other)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-21T09:30:00Z", "2026-11-21T09:30:00.000000Z"),
        ("2026-11-21T09:30:00+02:00", "2026-11-21T07:30:00.000000Z"),
        ("2026-11-21T09:30:00.5", "2026-11-21T09:30:00.500000Z"),
        ("2026-11-21", "2026-11-21T00:00:00.000000Z"),
    ],
)
def test_times_others_write(text, expected):
    """Zones are converted; a missing one is the given default."""
    assert format_time(parse_time(text, default_zone=UTC)) == expected


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "0001-01-01T00:00:00+05:00", 5, None, "9" * 99]
)
def test_what_is_no_time(text):
    """Anything else is refused."""
    with pytest.raises(InvalidRecord, match="is not a time"):
        parse_time(text)


def test_a_naive_time_is_refused():
    """A time without a zone is an error that names the time, because it could be local time or UTC."""
    with pytest.raises(InvalidRecord, match=r"2026-01-01T00:00:00 has no time zone"):
        format_time(datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(InvalidRecord, match=r"'2026-01-01T10:00' has no time zone"):
        parse_time("2026-01-01T10:00")
