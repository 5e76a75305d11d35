"""Contract of rename, fork, metadata, state, tags, attachments, summaries and events."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from omniagent_cli.errors import InvalidRecord, KeyNotFound, SessionExists, UsageError
from omniagent_cli.stores.events import Event
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.testing.clock import FakeClock
from omniagent_cli.testing.contract_base import (
    ContractBase,
    found,
    ids,
    listen,
    messages_of,
    positions,
    texts,
)

VALUES: dict[str, Any] = {
    "null": None,
    "false": False,
    "zero": 0,
    "text": "Ärger 😀",
    "list": [1, [2, {"x": None}]],
    "object": {"timezone": "UTC", "": {"deep": [1.5]}},
    "big": 10**40,
}

SECTIONS = ("metadata", "state")


class ValuesContract(ContractBase):
    """Metadata and state hold any JSON value per key; null differs from a missing key."""

    @pytest.mark.parametrize("section", SECTIONS)
    def test_any_json_value_survives(self, store: SessionStore, section: str) -> None:
        """A value reads back as it was set, null included; setting one creates the session."""
        for kind, value in VALUES.items():
            getattr(store, f"set_{section}")(kind, "key", value)
            assert getattr(store, f"get_{section}")(kind, "key") == value, kind
            assert getattr(store.get(kind), section) == {"key": value}

    @pytest.mark.parametrize("section", SECTIONS)
    def test_missing_is_not_null(self, store: SessionStore, section: str) -> None:
        """A missing key raises KeyNotFound; a key set to null does not."""
        getattr(store, f"set_{section}")("s", "null", None)
        with pytest.raises(KeyNotFound) as caught:
            getattr(store, f"get_{section}")("s", "missing")
        assert (caught.value.session_id, caught.value.key) == ("s", "missing")
        assert getattr(store, f"delete_{section}")("s", "null") is True
        assert getattr(store, f"delete_{section}")("s", "null") is False
        with pytest.raises(KeyNotFound):
            getattr(store, f"get_{section}")("s", "null")

    @pytest.mark.parametrize("section", SECTIONS)
    def test_a_value_that_is_not_json_is_rejected(self, store: SessionStore, section: str) -> None:
        """A value that is not JSON, or a blank key, raises InvalidRecord and creates no session."""
        two_keys = {1: "integer", "1": "text"}
        for key, value in (
            *(("k", object()), ("k", float("inf")), ("", 1), ("  ", 1)),
            *(("k", two_keys), ("k", [{"a": {None: 1}}]), ("k", ({True: 1},))),
        ):
            with pytest.raises(InvalidRecord):
                getattr(store, f"set_{section}")("s", key, value)
        assert not store.exists("s")

    def test_metadata_and_state_are_separate(self, store: SessionStore) -> None:
        """Metadata and state have separate keys."""
        store.set_metadata("s", "k", 1)
        store.set_state("s", "k", 2)
        assert (store.get_metadata("s", "k"), store.get_state("s", "k")) == (1, 2)

    def test_deleting_a_missing_key_changes_nothing(
        self, store: SessionStore, clock: FakeClock
    ) -> None:
        """Deleting a missing key returns False and leaves the session unchanged."""
        store.set_metadata("s", "k", 1)
        before = store.get("s")
        clock.advance("1m")
        assert store.delete_metadata("s", "other") is False
        assert store.get("s") == before

    def test_values_survive_a_clear(self, store: SessionStore) -> None:
        """`clear` removes messages, not metadata or state."""
        store.append("s", messages_of("a"))
        store.set_metadata("s", "k", 1)
        store.set_state("s", "k", 2)
        store.clear("s")
        assert (store.get_metadata("s", "k"), store.get_state("s", "k")) == (1, 2)

    def test_tags_are_added_and_removed(self, store: SessionStore) -> None:
        """Tags are a sorted set, changed in one transaction; malformed entries are dropped."""
        store.append("s", messages_of("a"))
        assert store.tag("s", ["work", "alpha", "work"]) == ["alpha", "work"]
        assert store.tag("s", ["new"], ["work", "never"]) == ["alpha", "new"]
        assert store.summary("s").tags == ["alpha", "new"]
        assert store.tag("s", [], ["alpha", "new"]) == []
        assert "tags" not in store.get("s").metadata
        store.set_metadata("s", "tags", [1, {"a": 1}, "old"])
        assert store.tag("s", ["x"]) == ["old", "x"]
        for blank in ("", "  "):
            with pytest.raises(InvalidRecord):
                store.tag("s", [blank])


class NamesContract(ContractBase):
    """Rename and fork never replace another session."""

    def test_rename_keeps_everything_but_the_id(self, store: SessionStore) -> None:
        """A renamed session keeps uid, messages, metadata and creation time; the old id is free."""
        store.append("a", messages_of("findme"))
        store.set_metadata("a", "k", 1)
        before = store.get("a")
        store.rename("a", "b")
        after = store.get("b")
        assert ids(store) == ["b"]
        assert store.current_id(before.uid) == "b"
        assert (after.uid, after.created_at, after.metadata) == (
            before.uid,
            before.created_at,
            before.metadata,
        )
        assert after.messages == before.messages
        assert found(store, "findme") == [("b", 0)]
        store.append("a", messages_of("another"))
        assert texts(store, "b") == ["findme"]
        store.delete("b")
        assert store.current_id(before.uid) is None

    def test_rename_onto_a_session_is_rejected(self, store: SessionStore) -> None:
        """Renaming to an id in use raises SessionExists."""
        store.append("a", messages_of("a"))
        store.append("b", messages_of("b"))
        with pytest.raises(SessionExists) as caught:
            store.rename("a", "b")
        assert caught.value.session_id == "b"
        assert (texts(store, "a"), texts(store, "b")) == (["a"], ["b"])

    def test_rename_to_itself_changes_nothing(self, store: SessionStore, clock: FakeClock) -> None:
        """Renaming a session to its own id changes nothing."""
        store.append("a", messages_of("a"))
        before = store.get("a")
        clock.advance("1m")
        store.rename("a", "a")
        assert store.get("a") == before

    def test_fork_copies(self, store: SessionStore) -> None:
        """A fork copies messages, positions and metadata, and is independent of the original."""
        store.append("a", messages_of("x", "y", "z"))
        store.set_metadata("a", "k", 1)
        store.set_metadata("a", "pinned", value=True)
        assert store.fork("a", "b") == "b"
        one, other = store.get("a"), store.get("b")
        assert other.messages == one.messages
        assert positions(store, "b") == positions(store, "a")
        assert other.uid != one.uid
        assert other.metadata == {"k": 1, "forked_from": "a", "forked_at": 2}
        assert other.origin["forked_uid"] == one.uid
        store.append("b", messages_of("own"))
        assert texts(store, "a") == ["x", "y", "z"]
        assert texts(store, "b") == ["x", "y", "z", "own"]
        assert sorted(found(store, "y")) == [("a", 1), ("b", 1)]

    def test_fork_at_a_position(self, store: SessionStore) -> None:
        """A fork with `at` copies the messages up to that position."""
        store.append("a", messages_of("x", "y", "z"))
        store.fork("a", "b", at=1)
        assert texts(store, "b") == ["x", "y"]
        assert store.get("b").metadata["forked_at"] == 1
        assert store.summary("b").preview == "y"
        store.fork("a", "c", at=99)
        assert texts(store, "c") == ["x", "y", "z"]
        store.trim("a", 1)
        with pytest.raises(UsageError):
            store.fork("a", "d", at=0)
        assert not store.exists("d")

    def test_fork_of_many_messages(self, store: SessionStore) -> None:
        """A session of 1,100 messages is forked completely."""
        store.append("a", messages_of(*map(str, range(1100))))
        store.fork("a", "b")
        assert texts(store, "b") == texts(store, "a")

    def test_fork_without_an_id_generates_one(self, store: SessionStore) -> None:
        """`fork` generates an id if none is given."""
        store.append("a", messages_of("x"))
        new_id = store.fork("a")
        assert texts(store, new_id) == ["x"]

    def test_fork_onto_a_session_is_rejected(self, store: SessionStore) -> None:
        """Forking to an id in use, its own included, raises SessionExists."""
        store.append("a", messages_of("a"))
        store.append("b", messages_of("b"))
        for target in ("a", "b"):
            with pytest.raises(SessionExists):
                store.fork("a", target)
        assert texts(store, "b") == ["b"]

    def test_a_fork_has_attachments_and_summaries(self, store: SessionStore) -> None:
        """A fork copies the attachments, and the summaries of the copied messages."""
        store.append("a", messages_of("x", "y", "z"))
        store.put_attachment("a", "a" * 64, {"name": "f", "data": "eA=="})
        store.put_summary("a", 0, {"text": "early"})
        store.put_summary("a", 2, {"text": "late"})
        store.fork("a", "b", at=1)
        assert store.attachment("b", "a" * 64) == {"name": "f", "data": "eA=="}
        assert store.last_summary("b")["text"] == "early"


class RecordsContract(ContractBase):
    """Attachments and summaries are stored with the session, apart from its messages."""

    def test_attachments_are_stored_once(self, store: SessionStore) -> None:
        """An attachment is stored once per hash, and is not searched."""
        store.append("s", messages_of("a"))
        for _ in range(2):
            store.put_attachment("s", "b" * 64, {"name": "secretword", "data": "eA=="})
        store.put_attachment("s", "a" * 64, {"name": "other"})
        assert store.attachments("s") == ["a" * 64, "b" * 64]
        assert store.attachment("s", "b" * 64) == {"name": "secretword", "data": "eA=="}
        assert store.attachment("s", "c" * 64) is None
        assert found(store, "secretword") == []
        assert store.count_messages("s") == 1

    def test_an_attachment_is_named_by_a_hash(self, store: SessionStore) -> None:
        """An attachment name other than a hexadecimal SHA-256 is rejected, and reads as None."""
        store.append("s", messages_of("a"))
        for name in ("", "../../etc/passwd", "A" * 64, "g" * 64, "\ud800" * 64, "a" * 63):
            with pytest.raises(InvalidRecord):
                store.put_attachment("s", name, {"name": "f"})
            assert store.attachment("s", name) is None
        assert store.attachments("s") == []

    def test_the_last_summary_covers_the_most(self, store: SessionStore) -> None:
        """`last_summary` returns the summary that covers the most messages."""
        store.append("s", messages_of("a", "b", "c"))
        assert store.last_summary("s") is None
        store.put_summary("s", 2, {"text": "late"})
        store.put_summary("s", 1, {"text": "early"})
        assert store.last_summary("s") == {"text": "late", "up_to": 2}
        store.put_summary("s", 2, {"text": "again"})
        assert store.last_summary("s")["text"] == "again"
        with pytest.raises(UsageError):
            store.put_summary("s", -1, {"text": "nothing"})

    def test_records_go_with_their_session(self, store: SessionStore) -> None:
        """Deleting a session removes its attachments; restoring it brings them back."""
        store.append("s", messages_of("a"))
        store.put_attachment("s", "a" * 64, {"name": "f"})
        store.rename("s", "t")
        assert store.attachments("t") == ["a" * 64]
        store.delete("t")
        store.append("t", messages_of("new"))
        assert store.attachments("t") == []
        store.restore("t", as_id="back")
        assert store.attachments("back") == ["a" * 64]


class EventsContract(ContractBase):
    """Events follow the stored change, and handlers cannot break the store."""

    def test_each_event(self, store: SessionStore, clock: FakeClock) -> None:
        """Every change emits its event once, with its data."""
        events = listen(store)

        def since(operation: Callable[[], object]) -> list[tuple[str, str, Any]]:
            events.clear()
            operation()
            return [(e.name, e.session_id, e.data.get("count", e.data.get("key"))) for e in events]

        assert since(lambda: store.append("s", messages_of("a", "b"))) == [
            ("session_created", "s", None),
            ("message_added", "s", None),
            ("message_added", "s", None),
        ]
        assert since(lambda: store.set_metadata("s", "k", 1)) == [("metadata_changed", "s", "k")]
        assert events[0].data == {"key": "k", "value": 1, "deleted": False}
        assert since(lambda: store.delete_metadata("s", "k")) == [("metadata_changed", "s", "k")]
        assert events[0].data == {"key": "k", "value": None, "deleted": True}
        assert since(lambda: store.tag("s", ["t"])) == [("metadata_changed", "s", "tags")]
        assert since(lambda: store.trim("s", 1)) == [("session_trimmed", "s", 1)]
        assert since(lambda: store.trim("s", 1)) == []
        assert since(lambda: store.clear("s")) == [("session_cleared", "s", 1)]
        assert since(lambda: store.fork("s", "f")) == [("session_created", "f", None)]
        assert since(lambda: store.delete("s")) == [("session_deleted", "s", None)]
        assert since(lambda: store.delete("s")) == []
        assert since(lambda: store.restore("s")) == [("session_created", "s", None)]
        clock.advance("8d")
        assert since(lambda: store.append("s", messages_of("c"))) == [
            ("session_expired", "s", None),
            ("session_created", "s", None),
            ("message_added", "s", None),
        ]
        assert since(store.purge_expired) == [("session_expired", "f", None)]

    def test_an_event_comes_after_its_change(self, store: SessionStore) -> None:
        """A handler reads the stored change and may write to the store."""
        seen: list[list[str]] = []

        def look(event: Event) -> None:
            seen.append(texts(store, event.session_id))
            event.data["message"].content = "spoiled"
            if len(seen) == 1:
                store.append("log", messages_of("noted"))

        store.on("message_added", look)
        store.append("s", messages_of("a"))
        assert seen == [["a"], ["noted"]]
        assert texts(store, "s") == ["a"]

    def test_a_failing_handler_is_logged(
        self, store: SessionStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An exception in a handler is logged; the write is kept and the next handler runs."""
        heard: list[Event] = []

        def fail(event: Event) -> None:
            raise RuntimeError("listener broke")

        store.on("message_added", fail)
        store.on("message_added", heard.append)
        with caplog.at_level(logging.WARNING):
            store.append("s", messages_of("a"))
        assert texts(store, "s") == ["a"]
        assert len(heard) == 1
        assert "listener broke" in caplog.text

    def test_off_stops_one_handler(self, store: SessionStore) -> None:
        """The function returned by `on` removes that registration only."""
        heard: list[Event] = []
        off = store.on("message_added", heard.append)
        store.on("message_added", heard.append)
        off()
        off()
        store.append("s", messages_of("a"))
        assert len(heard) == 1

    def test_an_unknown_event_is_rejected(self, store: SessionStore) -> None:
        """Registering for an unknown event raises UsageError."""
        with pytest.raises(UsageError, match="message_added"):
            store.on("message_aded", print)

    def test_a_rejected_write_emits_no_event(self, store: SessionStore) -> None:
        """A rejected operation emits no event."""
        store.append("a", messages_of("x"))
        store.append("b", messages_of("x"))
        events = listen(store)
        with pytest.raises(SessionExists):
            store.rename("a", "b")
        with pytest.raises(SessionExists):
            store.fork("a", "b")
        assert events == []
