"""Promises about conversations that are set aside, and about summaries that are made while others write."""

from __future__ import annotations

from datetime import datetime

import pytest

from omniagent_cli.errors import SessionConflict, SessionNotFound
from omniagent_cli.stores.operations.rollover import RolledOverSession
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.testing.clock import FakeClock
from omniagent_cli.testing.contract_base import (
    ContractBase,
    MakeStore,
    found,
    listen,
    positions,
    said,
    texts,
)


def due(_last: datetime, _now: datetime) -> RolledOverSession:
    """Set aside whatever has messages."""
    return RolledOverSession("s@before", "idle")


def tally(store: SessionStore) -> dict[str, list[str]]:
    """Return what is said in every session."""
    return {summary.id: texts(store, summary.id) for summary in store.list(sort="id")}


class AsidesContract(ContractBase):
    """A session begins anew under its id, and loses nothing."""

    def test_a_session_set_aside_is_whole(self, store: SessionStore, clock: FakeClock) -> None:
        """Messages, times, title and search go to the new id; the old one begins empty, with its metadata."""
        store.append("s", said("first words", "more"))
        store.set_metadata("s", "project", "apollo")
        store.set_model("s", "openai:gpt-6.1-sol")
        store.put_summary("s", 0, {"text": "of the first"})
        before = store.get("s")
        clock.advance("9h")
        assert store.roll_over("s", due) == RolledOverSession("s@before", "idle")
        aside, fresh = store.get("s@before"), store.get("s")
        assert [m.record for m in aside.messages] == [m.record for m in before.messages]
        assert (aside.uid, aside.title, aside.created_at) == (
            before.uid,
            "first words",
            before.created_at,
        )
        assert aside.updated_at == before.updated_at
        assert aside.metadata == {"project": "apollo", "continued_in": "s", "rollover": "idle"}
        assert store.last_summary("s@before")["text"] == "of the first"
        assert (fresh.messages, fresh.title, fresh.model) == ([], "", "openai:gpt-6.1-sol")
        assert fresh.metadata == {"project": "apollo", "continues": "s@before"}
        assert fresh.uid != before.uid
        assert store.last_summary("s") is None
        assert found(store, "words") == [("s@before", 0)]
        store.append("s", said("new words"))
        assert (positions(store, "s"), store.get("s").title) == ([0], "new words")

    def test_what_is_not_due_stays(self, store: SessionStore) -> None:
        """Nothing is made or moved where there are no messages, or no reason; the reason sees both times."""
        assert store.roll_over("s", due) is None
        assert not store.exists("s")
        store.get_or_create("s")
        assert store.roll_over("s", due) is None
        store.append("s", said("hello"))
        seen: list[tuple[datetime, datetime]] = []
        assert store.roll_over("s", lambda *times: seen.append(times)) is None
        assert tally(store) == {"s": ["hello"]}
        assert seen[0][0] == store.messages("s")[0].created_at

    def test_conversations_set_aside_are_a_chain(self, store: SessionStore) -> None:
        """Each names the one before and the one after, also when its name was taken."""
        for text in ("one", "two", "three"):
            store.append("s", said(text))
            store.roll_over("s", due)
        assert tally(store) == {
            "s": [],
            "s@before": ["one"],
            "s@before-2": ["two"],
            "s@before-3": ["three"],
        }
        links = [
            (data.get("continues"), data.get("continued_in"))
            for data in (store.header(i).metadata for i in tally(store))
        ]
        assert links == [
            ("s@before-3", None),
            (None, "s@before-2"),
            ("s@before", "s@before-3"),
            ("s@before-2", "s"),
        ]

    def test_what_was_set_aside_can_be_gone_on_with(self, store: SessionStore) -> None:
        """Opened again, however late, it keeps what was said in it; a copy of it is a session like any other."""
        store.append("s", said("one"))
        store.roll_over("s", due)
        store.append("s@before", said("two"))
        assert (
            store.roll_over("s@before", lambda *_: RolledOverSession("elsewhere", "idle")) is None
        )
        assert texts(store, "s@before") == ["one", "two"]
        store.fork("s@before", "copy")
        assert store.header("copy").metadata == {"forked_from": "s@before"}
        assert (
            store.roll_over("copy", lambda *_: RolledOverSession("elsewhere", "idle")) is not None
        )

    def test_links_follow_a_session_that_is_renamed(self, store: SessionStore) -> None:
        """Whichever of a chain gets another id, its neighbours name it by that one, and nobody else does."""
        for text in ("one", "two"):
            store.append("s", said(text))
            store.roll_over("s", due)
        store.rename("s", "now")
        store.rename("s@before", "first")
        store.rename("s@before-2", "second")
        links = {i: store.header(i).metadata for i in tally(store)}
        assert {
            i: (data.get("continues"), data.get("continued_in")) for i, data in links.items()
        } == {
            "first": (None, "second"),
            "now": ("second", None),
            "second": ("first", "now"),
        }

    def test_a_running_turn_ends_where_it_began(self, store: SessionStore) -> None:
        """What belongs to the session that was set aside follows it."""
        asked = store.write("s", said("question"))
        store.roll_over("s", due)
        written = store.write("s", said("answer", role="assistant"), uid=asked.uid)
        assert written.session_id == "s@before"
        assert tally(store) == {"s": [], "s@before": ["question", "answer"]}

    def test_setting_aside_is_announced(self, store: SessionStore) -> None:
        """Who listens learns where the messages are now."""
        store.append("s", said("a"))
        told = listen(store)
        store.roll_over("s", due)
        assert [(e.name, e.session_id, e.data) for e in told] == [
            ("session_rolled", "s", {"aside": "s@before", "reason": "idle"})
        ]

    def test_time_to_live_goes_on(self, make_store: MakeStore, clock: FakeClock) -> None:
        """Both expire as the session would have, from now on."""
        store = make_store(clock=clock, ttl="1h")
        store.append("s", said("a"))
        store.set_ttl("s", "2h")
        store.roll_over("s", due)
        assert {store.header(i).ttl_seconds for i in ("s", "s@before")} == {7200.0}

    def test_a_summary_of_what_is_not_there_is_refused(self, store: SessionStore) -> None:
        """Made while messages went, or while the session was replaced, a summary is not kept."""
        store.append("s", said("a", "b", "c"))
        uid = store.header("s").uid
        store.put_summary("s", 1, {"text": "of a and b"}, uid=uid, messages=2)
        store.truncate_from("s", 1)
        with pytest.raises(SessionConflict, match="meanwhile"):
            store.put_summary("s", 1, {"text": "of a and b"}, uid=uid, messages=2)
        store.delete("s")
        with pytest.raises(SessionNotFound):
            store.put_summary("s", 1, {"text": "of a and b"}, uid=uid, messages=2)
        store.append("s", said("a", "b"))
        with pytest.raises(SessionConflict):
            store.put_summary("s", 1, {"text": "of a and b"}, uid=uid, messages=2)
        assert store.last_summary("s") is None
