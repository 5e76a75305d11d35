"""Contract of rollover, and of summaries saved while other handles write."""

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
    messages_of,
    positions,
    texts,
)


def always_due(_last: datetime, _now: datetime) -> RolledOverSession:
    """Roll over any session that has messages."""
    return RolledOverSession("s@before", "idle")


def all_texts(store: SessionStore) -> dict[str, list[str]]:
    """Return the message texts of every session, by session id."""
    return {summary.id: texts(store, summary.id) for summary in store.list(sort="id")}


class RolloverContract(ContractBase):
    """Rollover moves a session's messages to a new id and starts an empty session under the old one."""

    def test_rollover_keeps_the_whole_session(self, store: SessionStore, clock: FakeClock) -> None:
        """Messages, times, title and search entries move to the new id; the old id keeps its metadata."""
        store.append("s", messages_of("first words", "more"))
        store.set_metadata("s", "project", "apollo")
        store.set_model("s", "openai:gpt-6.1-sol")
        store.put_summary("s", 0, {"text": "of the first"})
        before = store.get("s")
        clock.advance("9h")
        assert store.roll_over("s", always_due) == RolledOverSession("s@before", "idle")
        old, fresh = store.get("s@before"), store.get("s")
        assert [m.record for m in old.messages] == [m.record for m in before.messages]
        assert (old.uid, old.title, old.created_at) == (
            before.uid,
            "first words",
            before.created_at,
        )
        assert old.updated_at == before.updated_at
        assert old.metadata == {"project": "apollo", "continued_in": "s", "rollover": "idle"}
        assert store.last_summary("s@before")["text"] == "of the first"
        assert (fresh.messages, fresh.title, fresh.model) == ([], "", "openai:gpt-6.1-sol")
        assert fresh.metadata == {"project": "apollo", "continues": "s@before"}
        assert fresh.uid != before.uid
        assert store.last_summary("s") is None
        assert found(store, "words") == [("s@before", 0)]
        store.append("s", messages_of("new words"))
        assert (positions(store, "s"), store.get("s").title) == ([0], "new words")

    def test_no_rollover_without_messages_or_a_reason(self, store: SessionStore) -> None:
        """A session without messages, or one the policy keeps, is left alone; the policy gets both times."""
        assert store.roll_over("s", always_due) is None
        assert not store.exists("s")
        store.get_or_create("s")
        assert store.roll_over("s", always_due) is None
        store.append("s", messages_of("hello"))
        seen: list[tuple[datetime, datetime]] = []
        assert store.roll_over("s", lambda *times: seen.append(times)) is None
        assert all_texts(store) == {"s": ["hello"]}
        assert seen[0][0] == store.messages("s")[0].created_at

    def test_rolled_over_sessions_are_a_chain(self, store: SessionStore) -> None:
        """Each session links its predecessor and successor, even if its preferred id was taken."""
        for text in ("one", "two", "three"):
            store.append("s", messages_of(text))
            store.roll_over("s", always_due)
        assert all_texts(store) == {
            "s": [],
            "s@before": ["one"],
            "s@before-2": ["two"],
            "s@before-3": ["three"],
        }
        links = [
            (data.get("continues"), data.get("continued_in"))
            for data in (store.header(i).metadata for i in all_texts(store))
        ]
        assert links == [
            ("s@before-3", None),
            (None, "s@before-2"),
            ("s@before", "s@before-3"),
            ("s@before-2", "s"),
        ]

    def test_a_rolled_over_session_can_be_resumed(self, store: SessionStore) -> None:
        """A rolled-over session can be resumed and does not roll over again; a fork of it can."""
        store.append("s", messages_of("one"))
        store.roll_over("s", always_due)
        store.append("s@before", messages_of("two"))
        assert (
            store.roll_over("s@before", lambda *_: RolledOverSession("elsewhere", "idle")) is None
        )
        assert texts(store, "s@before") == ["one", "two"]
        store.fork("s@before", "copy")
        assert store.header("copy").metadata == {"forked_from": "s@before", "forked_at": 1}
        assert (
            store.roll_over("copy", lambda *_: RolledOverSession("elsewhere", "idle")) is not None
        )

    def test_links_follow_a_rename(self, store: SessionStore) -> None:
        """Renaming a session of the chain updates the links of its neighbours."""
        for text in ("one", "two"):
            store.append("s", messages_of(text))
            store.roll_over("s", always_due)
        store.rename("s", "now")
        store.rename("s@before", "first")
        store.rename("s@before-2", "second")
        links = {i: store.header(i).metadata for i in all_texts(store)}
        assert {
            i: (data.get("continues"), data.get("continued_in")) for i, data in links.items()
        } == {
            "first": (None, "second"),
            "now": ("second", None),
            "second": ("first", "now"),
        }

    def test_a_running_turn_ends_in_its_own_session(self, store: SessionStore) -> None:
        """An answer is stored in the rolled-over session that holds its question."""
        asked = store.write("s", messages_of("question"))
        store.roll_over("s", always_due)
        written = store.write("s", messages_of("answer", role="assistant"), uid=asked.uid)
        assert written.session_id == "s@before"
        assert all_texts(store) == {"s": [], "s@before": ["question", "answer"]}

    def test_rollover_emits_an_event(self, store: SessionStore) -> None:
        """`session_rolled` names the new id of the messages and the reason."""
        store.append("s", messages_of("a"))
        events = listen(store)
        store.roll_over("s", always_due)
        assert [(e.name, e.session_id, e.data) for e in events] == [
            ("session_rolled", "s", {"moved_to": "s@before", "reason": "idle"})
        ]

    def test_rollover_keeps_the_ttl(self, make_store: MakeStore, clock: FakeClock) -> None:
        """Both sessions keep the TTL, counted from the rollover."""
        store = make_store(clock=clock, ttl="1h")
        store.append("s", messages_of("a"))
        store.set_ttl("s", "2h")
        store.roll_over("s", always_due)
        assert {store.header(i).ttl_seconds for i in ("s", "s@before")} == {7200.0}

    def test_a_summary_of_changed_messages_is_rejected(self, store: SessionStore) -> None:
        """A summary is rejected if messages were removed or the session was replaced since it was requested."""
        store.append("s", messages_of("a", "b", "c"))
        uid = store.header("s").uid
        store.put_summary("s", 1, {"text": "of a and b"}, uid=uid, messages=2)
        store.truncate_from("s", 1)
        with pytest.raises(SessionConflict, match="removed or restored"):
            store.put_summary("s", 1, {"text": "of a and b"}, uid=uid, messages=2)
        store.delete("s")
        with pytest.raises(SessionNotFound):
            store.put_summary("s", 1, {"text": "of a and b"}, uid=uid, messages=2)
        store.append("s", messages_of("a", "b"))
        with pytest.raises(SessionConflict):
            store.put_summary("s", 1, {"text": "of a and b"}, uid=uid, messages=2)
        assert store.last_summary("s") is None
