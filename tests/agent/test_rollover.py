"""Rollover: when a session begins anew, exactly once, and what becomes of what was said."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from omniagent_cli import Agent, open_store
from omniagent_cli.agent.context.rollover import Rollover
from omniagent_cli.agent.events import Notice
from omniagent_cli.errors import ModelUnreachable, UsageError
from omniagent_cli.testing.clock import FakeClock
from omniagent_cli.testing.scripted import Say, ScriptedModel

LOS_ANGELES = ZoneInfo("America/Los_Angeles")
BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)


def utc(day, hour, minute=0):
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


CASES = {
    "off": (Rollover(), utc(1, 0), utc(20, 0), None),
    "not idle for long enough": (Rollover(idle=2 * HOUR), utc(1, 9), utc(1, 10, 59), None),
    "idle": (Rollover(idle=2 * HOUR), utc(1, 9), utc(1, 11), "idle"),
    "same day": (Rollover(daily=True, timezone=UTC), utc(1, 0), utc(1, 23, 59), None),
    "day crossed in UTC": (Rollover(daily=True, timezone=UTC), utc(1, 23, 59), utc(2, 0), "daily"),
    "same local day though UTC changed": (
        Rollover(daily=True, timezone=LOS_ANGELES),
        utc(1, 23),
        utc(2, 1),
        None,
    ),
    "local day crossed though UTC did not": (
        Rollover(daily=True, timezone=BERLIN),
        utc(1, 22, 30),
        utc(1, 23, 30),
        "daily",
    ),
    "idle beats daily": (
        Rollover(idle=HOUR, daily=True, timezone=UTC),
        utc(1, 23),
        utc(2, 12),
        "idle",
    ),
    "daily when idle is not due": (
        Rollover(idle=24 * HOUR, daily=True, timezone=UTC),
        utc(1, 23),
        utc(2, 12),
        "daily",
    ),
    "a clock that was set back": (
        Rollover(idle=HOUR, daily=True, timezone=UTC),
        utc(2, 12),
        utc(1, 12),
        None,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_when_a_session_rolls_over(case):
    """Idle time is measured from the last message, days begin where the person is, and idle wins."""
    rule, last, now, reason = case
    assert rule.reason(last, now) == reason


def test_no_time_at_all_is_refused():
    """A rule that would begin anew with every message is a mistake, and none is None."""
    with pytest.raises(UsageError, match="None disables it"):
        Rollover(idle=timedelta(0))


@pytest.fixture
def clock():
    return FakeClock(utc(1, 9))


@pytest.fixture
def store(clock):
    with open_store("memory:", clock=clock) as store:
        yield store


def tally(store):
    return {s.id: [m.text for m in store.messages(s.id)] for s in store.list(sort="id")}


def told(events):
    return [event.text for event in events if isinstance(event, Notice)]


def test_what_was_said_becomes_a_session_of_its_own(store, clock):
    """The person is told once, the model sees only the new conversation, and each is linked to the other."""
    model = ScriptedModel("one", "two", "three")
    rule = Rollover(idle=8 * HOUR, timezone=UTC)
    with Agent(model, store=store, rollover=rule) as agent:
        assert told(agent.stream_sync("first", "user-123")) == []
        clock.advance("9h")
        assert told(agent.stream_sync("second", "user-123")) == [
            "Started a new conversation after a long pause; the previous one is user-123@2026-11-01"
        ]
        assert told(agent.stream_sync("third", "user-123")) == []
    assert tally(store) == {
        "user-123": ["second", "two", "third", "three"],
        "user-123@2026-11-01": ["first", "one"],
    }
    assert [m["content"] for m in model.requests[1]] == ["second"]
    assert store.header("user-123").metadata == {"continues": "user-123@2026-11-01"}
    assert store.header("user-123@2026-11-01").metadata == {
        "continued_in": "user-123",
        "rollover": "idle",
    }


def test_each_day_is_a_session(store, clock):
    """Day after day the conversations line up under the day they were held."""
    with Agent(
        ScriptedModel("1", "2", "3"), store=store, rollover=Rollover(daily=True, timezone=UTC)
    ) as agent:
        for text in ("mon", "tue", "wed"):
            agent.process_with_session("diary", text)
            clock.advance("1d")
    assert list(tally(store)) == ["diary", "diary@2026-11-01", "diary@2026-11-02"]
    assert store.header("diary@2026-11-01").metadata["continued_in"] == "diary@2026-11-02"


def test_without_messages_nothing_rolls(store, clock):
    """A session that only has metadata goes on however old it is."""
    store.set_metadata("s", "k", "v")
    clock.advance("5d")
    with Agent(ScriptedModel("1"), store=store, rollover=Rollover(idle=HOUR)) as agent:
        agent.process_with_session("s", "hello")
    assert list(tally(store)) == ["s"]


def test_a_question_that_got_no_answer_is_asked_again_where_it_stands(store, clock):
    """A retry after a long silence is no new conversation."""
    model = ScriptedModel(Say(raises=ModelUnreachable("down")), "there")
    with Agent(model, store=store, rollover=Rollover(idle=HOUR)) as agent:
        with pytest.raises(ModelUnreachable):
            agent.process_with_session("s", "hello?")
        clock.advance("5h")
        agent.process_with_session("s", "hello?")
    assert tally(store) == {"s": ["hello?", "there"]}


def test_a_stateless_question_rolls_nothing(store, clock):
    """Asking without a session touches none."""
    with Agent(ScriptedModel("1", "2"), store=store, rollover=Rollover(idle=HOUR)) as agent:
        agent.process_with_session("s", "hello")
        clock.advance("5h")
        agent.process("one-off")
    assert list(tally(store)) == ["s"]
