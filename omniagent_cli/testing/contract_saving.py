"""Contract of `save`: it replaces the loaded session and never overwrites a concurrent change."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from omniagent_cli.errors import InvalidRecord, SessionConflict, SessionNotFound
from omniagent_cli.models import Message, Session
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.testing.clock import FakeClock
from omniagent_cli.testing.contract_base import ContractBase, messages_of, positions, texts

CHANGES: dict[str, Callable[[SessionStore], object]] = {
    "append": lambda s: s.append("s", messages_of("someone else")),
    "metadata": lambda s: s.set_metadata("s", "k", 1),
    "state": lambda s: s.set_state("s", "k", 1),
    "title": lambda s: s.set_title("s", "t"),
    "model": lambda s: s.set_model("s", "a:b"),
    "tag": lambda s: s.tag("s", ["work"]),
    "trim": lambda s: s.trim("s", 1),
    "clear": lambda s: s.clear("s"),
    "undo": lambda s: s.truncate_from("s", 1),
    "rename": lambda s: s.rename("s", "t"),
    "delete": lambda s: s.delete("s"),
    "delete and recreate": lambda s: (s.delete("s"), s.append("s", messages_of("new"))),
    "ttl": lambda s: s.set_ttl("s", "1h"),
    "checkpoint": lambda s: s.checkpoint("s", Message("assistant", "…"), uid=s.header("s").uid),
    "save": lambda s: s.save(s.get("s")),
}
"""Concurrent changes to a session between loading and saving it."""


class SavingContract(ContractBase):
    """`save` replaces a whole session and never overwrites a concurrent change."""

    def test_a_new_session_is_saved(self, store: SessionStore, clock: FakeClock) -> None:
        """A session built in memory is saved, and the object gets its uid, times and positions."""
        session = Session("s", title="T", model="a:b", agent_id="x", metadata={"k": None})
        session.add_message("user", "hello")
        saved = store.save(session)
        assert saved is session
        assert session.uid
        assert session.created_at == clock.now
        assert session == store.get("s")
        assert session.messages[0].position == 0

    def test_saving_keeps_ids_times_and_positions(
        self, store: SessionStore, clock: FakeClock
    ) -> None:
        """`save` leaves unchanged messages alone and updates the header."""
        store.append("s", messages_of("a", "b"))
        before = store.get("s")
        clock.advance("1m")
        before.title, before.state, before.model = "New", {"s": 1}, "m:n"
        before.add_message("assistant", "c")
        store.save(before)
        after = store.get("s")
        assert after == before
        assert positions(store, "s") == [0, 1, 2]
        assert (after.title, after.state, after.model) == ("New", {"s": 1}, "m:n")
        assert after.updated_at == clock.now
        assert store.trash() == []

    def test_a_concurrent_change_is_a_conflict(self, store: SessionStore) -> None:
        """Saving a session that changed since it was loaded raises SessionConflict."""
        for name, change in CHANGES.items():
            store.append("s", messages_of("a", "b"))
            mine = store.get("s")
            change(store)
            now = [(summary.id, store.get(summary.id)) for summary in store.list()]
            mine.title = "mine"
            with pytest.raises(SessionConflict) as caught:
                pytest.fail(f"{name}: {store.save(mine)}")
            assert caught.value.session_id == "s"
            left = store.list()
            assert [(summary.id, store.get(summary.id)) for summary in left] == now, name
            for summary in left:
                store.delete(summary.id, purge=True)

    def test_saving_twice_is_not_a_conflict(self, store: SessionStore) -> None:
        """`save` updates the object's revision; the same object can be saved again."""
        session = store.save(Session("s"))
        session.title = "one"
        store.save(session)
        session.title = "two"
        store.save(session)
        assert store.get("s").title == "two"

    def test_a_new_session_does_not_overwrite_one_that_exists(self, store: SessionStore) -> None:
        """Saving a new session under an id in use raises SessionConflict."""
        store.append("s", messages_of("precious"))
        with pytest.raises(SessionConflict):
            store.save(Session("s"))
        assert texts(store, "s") == ["precious"]

    def test_an_invalid_session_stores_nothing(self, store: SessionStore) -> None:
        """Invalid metadata or an invalid message rejects the whole save."""
        store.append("s", messages_of("a"))
        for spoil in ("metadata", "state", "message"):
            session = store.get("s")
            if spoil == "metadata":
                session.metadata["k"] = object()
            elif spoil == "state":
                session.state["k"] = {1: "integer", "1": "text"}
            else:
                session.messages[0].record["role"] = "robot"
            with pytest.raises(InvalidRecord):
                store.save(session)
        assert store.get("s").metadata == {}

    def test_edited_messages_go_to_the_trash(self, store: SessionStore) -> None:
        """Messages that a save changes or removes go to the trash."""
        store.append("s", messages_of("a", "b", "c", "d"))
        session = store.get("s")
        session.messages[1].content = "B"
        del session.messages[2]
        store.save(session)
        assert texts(store, "s") == ["a", "B", "d"]
        (entry,) = store.trash()
        assert (entry.kind, entry.session_id) == ("replaced", "s")
        store.restore(uid=entry.uid, as_id="old")
        assert {"b", "c"} <= set(texts(store, "old"))

    def test_reordered_messages_stay_in_the_new_order(self, store: SessionStore) -> None:
        """Messages keep the order of the saved object, with ascending positions."""
        store.append("s", messages_of("a", "b", "c"))
        session = store.get("s")
        session.messages.reverse()
        store.save(session)
        assert texts(store, "s") == ["c", "b", "a"]
        places = [place for place in positions(store, "s") if place is not None]
        assert places == sorted(set(places))
        assert store.summary("s").preview == "a"
        assert store.get("s") == session

    def test_a_message_twice_in_the_object_is_stored_twice(self, store: SessionStore) -> None:
        """A message that occurs twice in the saved object is stored twice."""
        store.append("s", messages_of("a", "b"))
        session = store.get("s")
        session.messages.append(session.messages[0].copy())
        store.save(session)
        assert texts(store, "s") == ["a", "b", "a"]

    def test_saving_an_emptied_session(self, store: SessionStore) -> None:
        """A save without messages moves the messages to the trash."""
        store.append("s", messages_of("a", "b"))
        session = store.get("s")
        assert session.clear() == 2
        store.save(session)
        assert store.get("s").messages == []
        store.restore("s")
        assert texts(store, "s") == ["a", "b"]

    def test_saving_a_purged_session_is_rejected(self, store: SessionStore) -> None:
        """Saving a session that was purged since it was loaded raises SessionConflict."""
        store.append("s", messages_of("a"))
        session = store.get("s")
        store.delete("s", purge=True)
        with pytest.raises(SessionConflict):
            store.save(session)
        with pytest.raises(SessionNotFound):
            store.get("s")
