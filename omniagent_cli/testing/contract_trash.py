"""Contract of removal, trash and restore."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from omniagent_cli.errors import NothingToRestore, SessionExists, SessionNotFound, UsageError
from omniagent_cli.models import Message, Session
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.testing.clock import FakeClock
from omniagent_cli.testing.contract_base import (
    ContractBase,
    MakeStore,
    found,
    ids,
    messages_of,
    positions,
    texts,
)

REMOVALS: dict[str, tuple[str, Callable[[SessionStore], object], list[str]]] = {
    # kind of the trash entry, operation, remaining texts
    "trim": ("trimmed", lambda s: s.trim("s", 1), ["c"]),
    "trim to nothing": ("trimmed", lambda s: s.trim("s", 0), []),
    "clear": ("cleared", lambda s: s.clear("s"), []),
    "undo": ("undone", lambda s: s.truncate_from("s", 1), ["a"]),
    "pop": ("undone", lambda s: s.pop("s"), ["a", "b"]),
    "undo of a turn": (
        "undone",
        lambda s: s.remove_turn("s", s.messages("s")[1].turn_id or ""),
        ["a", "c"],
    ),
}


class RemovalContract(ContractBase):
    """Trim, clear, undo and delete remove exactly the requested messages and return their number."""

    def test_trim_keeps_the_last(self, store: SessionStore) -> None:
        """`trim` keeps the last n messages and returns the number removed."""
        store.append("s", messages_of("a", "b", "c", "d", "e"))
        before = store.get("s")
        assert store.trim("s", 5) == store.trim("s", 9) == 0
        assert store.get("s") == before
        assert store.trim("s", 3) == 2
        assert texts(store, "s") == ["c", "d", "e"]
        assert positions(store, "s") == [2, 3, 4]
        assert store.trim("s", 0) == 3
        assert texts(store, "s") == []
        assert store.count_messages("s") == 0
        assert store.trim("s", 0) == 0

    def test_a_negative_trim_is_rejected(self, store: SessionStore) -> None:
        """Trimming to a negative number raises UsageError, for a missing session too."""
        store.append("s", messages_of("a"))
        for session_id in ("s", "typo"):
            with pytest.raises(UsageError):
                store.trim(session_id, -1)
        with pytest.raises(UsageError):
            store.truncate_from("s", -1)
        assert texts(store, "s") == ["a"]

    def test_trim_after_gaps(self, store: SessionStore) -> None:
        """`trim` counts messages, not positions."""
        store.append("s", messages_of("a", "b", "c", "d"))
        store.truncate_from("s", 2)
        store.append("s", messages_of("e", "f"))
        assert store.trim("s", 3) == 1
        assert texts(store, "s") == ["b", "e", "f"]

    def test_clear_keeps_the_session(self, store: SessionStore, clock: FakeClock) -> None:
        """`clear` removes every message and keeps id, uid, metadata and created_at."""
        store.append("s", messages_of("a", "b"))
        store.set_metadata("s", "k", 1)
        before = store.get("s")
        clock.advance("1m")
        assert store.clear("s") == 2
        after = store.get("s")
        assert after.messages == []
        assert (after.uid, after.created_at, after.metadata) == (
            before.uid,
            before.created_at,
            {"k": 1},
        )
        assert after.updated_at == clock.now
        assert store.clear("s") == 0

    def test_clear_up_to_a_turn(self, store: SessionStore) -> None:
        """`clear` with `before` removes only earlier messages; restore puts them back in front."""
        store.append("s", messages_of("a", "b", "c"))
        assert store.clear("s", before=2) == 2
        assert (texts(store, "s"), store.list()[0].preview) == (["c"], "c")
        assert store.clear("s", before=0) == 0
        store.restore("s")
        assert positions(store, "s") == [0, 1, 2]

    def test_delete_returns_false_for_a_missing_session(self, store: SessionStore) -> None:
        """`delete` returns True once and False afterwards."""
        store.append("s", messages_of("a"))
        assert store.delete("s") is True
        assert store.delete("s") is False
        with pytest.raises(SessionNotFound):
            store.get("s")

    def test_truncate_from_removes_the_tail(self, store: SessionStore) -> None:
        """`truncate_from` removes the message at a position and all later ones."""
        store.append("s", messages_of("a", "b", "c"))
        assert store.truncate_from("s", 1) == 2
        assert texts(store, "s") == ["a"]
        assert store.truncate_from("s", 1) == 0

    def test_undo_of_one_turn_among_others(self, store: SessionStore) -> None:
        """`remove_turn` removes the messages of one turn only; restore puts them back in place."""
        first = store.append("s", messages_of("early"))[0]
        ours, theirs = (
            store.append("s", messages_of(text))[0] for text in ("apple one", "pear one")
        )
        for text, turn in (("apple two", ours), ("pear two", theirs), ("apple three", ours)):
            store.append("s", {"role": "assistant", "content": text, "turn_id": turn.turn_id})
        before = store.messages("s")
        assert store.remove_turn("s", str(ours.turn_id)) == 3
        assert texts(store, "s") == ["early", "pear one", "pear two"]
        assert positions(store, "s") == [0, 2, 4]
        assert (store.count_messages("s"), store.summary("s").preview) == (3, "pear two")
        assert found(store, "apple") == []
        assert store.remove_turn("s", str(ours.turn_id)) == store.remove_turn("s", "none") == 0
        assert store.restore("s").message_count == 3
        assert store.messages("s") == before
        assert store.summary("s").preview == "apple three"
        assert found(store, "apple") == [("s", 5), ("s", 3), ("s", 1)]
        assert store.remove_turn("s", str(theirs.turn_id), but_question=True) == 1
        assert texts(store, "s")[2:] == ["pear one", "apple two", "apple three"]
        assert store.remove_turn("s", str(first.turn_id)) == 1
        assert store.summary("s").preview == "apple three"
        with pytest.raises(SessionNotFound):
            store.remove_turn("typo", "turn")

    def test_a_deleted_id_is_free(self, store: SessionStore) -> None:
        """A new session under a deleted id shares nothing with the deleted one."""
        store.append("s", messages_of("old"))
        store.set_metadata("s", "k", 1)
        uid = store.get("s").uid
        store.delete("s")
        store.append("s", messages_of("new"))
        session = store.get("s")
        assert session.uid != uid
        assert [m.text for m in session.messages] == ["new"]
        assert session.metadata == {}
        assert positions(store, "s") == [0]


class TrashContract(ContractBase):
    """Removed messages and sessions can be restored until their trash entry expires."""

    @pytest.mark.parametrize("way", REMOVALS)
    def test_removed_messages_come_back_in_their_places(
        self, store: SessionStore, clock: FakeClock, way: str
    ) -> None:
        """Restored messages are unchanged and at their old positions, before later ones."""
        kind, remove, left = REMOVALS[way]
        before = store.append("s", messages_of("a", "b", "c"))
        clock.advance("1m")
        remove(store)
        assert texts(store, "s") == left
        (entry,) = store.trash()
        assert (entry.session_id, entry.kind) == ("s", kind)
        assert entry.message_count == 3 - len(left)
        assert entry.removed_at == clock.now
        store.append("s", messages_of("d"))
        restored = store.restore("s")
        assert restored.uid == entry.uid
        assert texts(store, "s") == ["a", "b", "c", "d"]
        assert store.messages("s")[:3] == before
        assert positions(store, "s") == [0, 1, 2, 3]
        assert store.count_messages("s") == 4
        assert store.trash() == []

    def test_a_deleted_session_comes_back_whole(self, store: SessionStore) -> None:
        """A restored session keeps messages, metadata, state, title, creation time and uid."""
        store.append("s", messages_of("a", "b"))
        store.set_metadata("s", "k", 1)
        store.set_state("s", "k", 2)
        store.set_metadata("s", "pinned", value=True)
        before = store.get("s")
        store.delete("s")
        (entry,) = store.trash()
        assert (entry.kind, entry.title, entry.message_count) == ("deleted", "a", 2)
        store.restore("s")
        after = store.get("s")
        for key in (
            "id",
            "uid",
            "title",
            "messages",
            "metadata",
            "state",
            "created_at",
            "updated_at",
        ):
            assert getattr(after, key) == getattr(before, key)
        assert after.unknown == {}
        assert store.list()[0].pinned

    def test_a_taken_id_needs_another(self, store: SessionStore) -> None:
        """Restoring a session whose id is in use raises SessionExists; `as_id` restores it under another id."""
        store.append("s", messages_of("old"))
        store.delete("s")
        store.append("s", messages_of("new"))
        with pytest.raises(SessionExists):
            store.restore("s")
        with pytest.raises(SessionExists):
            store.restore("s", as_id="s")
        assert len(store.trash()) == 1
        store.restore("s", as_id="old")
        assert (texts(store, "s"), texts(store, "old")) == (["new"], ["old"])
        assert store.trash() == []

    def test_removed_messages_can_become_a_session(
        self, store: SessionStore, clock: FakeClock
    ) -> None:
        """`restore` with `as_id` turns trimmed messages into a new session with the same TTL."""
        store.append("s", messages_of("a", "b", "c"))
        store.trim("s", 1)
        store.restore("s", as_id="t")
        assert (texts(store, "t"), texts(store, "s")) == (["a", "b"], ["c"])
        assert (store.summary("t").preview, store.check()) == ("b", [])
        assert store.get("t").expires_at == clock.now + timedelta(days=7)
        assert store.get("t").ttl_seconds == store.get("s").ttl_seconds
        store.append("t", messages_of("d"))
        assert texts(store, "t") == ["a", "b", "d"]

    def test_parts_of_a_deleted_session_come_back_too(
        self, store: SessionStore, clock: FakeClock
    ) -> None:
        """After a trim and a delete, restoring twice restores the whole session."""
        store.append("s", messages_of("a", "b", "c"))
        clock.advance("1s")
        store.trim("s", 1)
        clock.advance("1s")
        store.delete("s")
        assert store.restore("s").kind == "deleted"
        assert texts(store, "s") == ["c"]
        assert store.restore("s").kind == "trimmed"
        assert texts(store, "s") == ["a", "b", "c"]

    def test_several_removals_come_back_newest_first(
        self, store: SessionStore, clock: FakeClock
    ) -> None:
        """`restore` takes the newest trash entry of the session."""
        store.append("s", messages_of("a", "b", "c", "d"))
        for keep in (3, 2, 1):
            clock.advance("1s")
            store.trim("s", keep)
        clock.advance("1s")
        assert [entry.message_count for entry in store.trash()] == [1, 1, 1]
        for expected in ("cd", "bcd", "abcd"):
            store.restore("s")
            assert "".join(texts(store, "s")) == expected

    def test_restore_of_the_newest_of_all(self, store: SessionStore, clock: FakeClock) -> None:
        """`restore` without an id takes the newest trash entry of the store; `uid` selects one."""
        for name in "abc":
            store.append(name, messages_of(name))
            clock.advance("1s")
            store.delete(name)
        assert [entry.session_id for entry in store.trash()] == ["c", "b", "a"]
        oldest = store.trash()[-1]
        assert store.restore().session_id == "c"
        assert store.restore(uid=oldest.uid).session_id == "a"
        assert ids(store, sort="id") == ["a", "c"]

    def test_nothing_to_restore_raises(self, store: SessionStore) -> None:
        """`restore` raises NothingToRestore if the trash has no matching entry."""
        store.append("s", messages_of("a"))
        store.append("gone", messages_of("a"))
        store.delete("gone")
        with pytest.raises(NothingToRestore) as caught:
            store.restore("s")
        assert caught.value.session_id == "s"
        with pytest.raises(NothingToRestore):
            store.restore(uid="0" * 22)

    def test_the_trash_follows_a_rename(self, store: SessionStore) -> None:
        """Messages in the trash follow the rename of their session."""
        store.append("a", messages_of("x", "y"))
        store.trim("a", 1)
        store.rename("a", "b")
        assert store.trash()[0].session_id == "b"
        store.restore("b")
        assert texts(store, "b") == ["x", "y"]

    def test_nothing_in_the_trash_is_visible(self, store: SessionStore) -> None:
        """Listings, counts and search do not include the trash."""
        store.append("s", messages_of("findme"))
        store.delete("s")
        (entry,) = store.trash()
        assert ids(store, archived=None) == []
        assert store.count(archived=None) == 0
        assert found(store, "findme") == []
        assert not store.exists("s")
        assert not store.exists(entry.uid)

    def test_the_trash_is_kept_thirty_days(self, make_store: MakeStore, clock: FakeClock) -> None:
        """Trash entries of sessions without a TTL expire after 30 days."""
        store = make_store(clock=clock, ttl=None)
        store.append("s", messages_of("a"))
        store.delete("s")
        (entry,) = store.trash()
        assert entry.expires_at == clock.now + timedelta(days=30)
        clock.advance(timedelta(days=30))
        assert store.trash() == []
        with pytest.raises(NothingToRestore):
            store.restore("s")
        assert store.purge_expired() == 0
        assert store.info()["trash"] == 0

    def test_the_trash_outlives_no_session(self, make_store: MakeStore, clock: FakeClock) -> None:
        """A trash entry expires no later than its session would have."""
        store = make_store(clock=clock, ttl="1h")
        store.append("s", messages_of("a"))
        clock.advance("30m")
        store.delete("s")
        assert store.trash()[0].expires_at == clock.now + timedelta(minutes=30)
        clock.advance("30m")
        assert store.trash() == []

    def test_trash_ttl(self, make_store: MakeStore, clock: FakeClock) -> None:
        """`trash_ttl` sets how long trash entries are kept."""
        store = make_store(clock=clock, trash_ttl="2h")
        store.append("s", messages_of("a"))
        store.delete("s")
        assert store.trash()[0].expires_at == clock.now + timedelta(hours=2)

    @pytest.mark.parametrize("nothing", [None, 0, "never", "0"])
    def test_a_store_without_trash(self, make_store: MakeStore, nothing: str | None) -> None:
        """Without a `trash_ttl`, removals are final."""
        store = make_store(trash_ttl=nothing)
        store.append("s", messages_of("a", "b", "c"))
        assert store.trim("s", 1) == 2
        session = store.get("s")
        session.messages[0].content = "edited"
        store.save(session)
        assert store.clear("s") == 1
        assert store.delete("s") is True
        assert store.trash() == []
        with pytest.raises(NothingToRestore):
            store.restore("s")

    def test_purge_leaves_nothing_behind(self, store: SessionStore) -> None:
        """`purge=True` deletes immediately, with the session's earlier trash entries."""
        store.append("s", messages_of("a", "b", "c"))
        store.trim("s", 2)
        assert store.trim("s", 1, purge=True) == 1
        assert store.clear("s", purge=True) == 1
        assert store.trash() == []
        store.append("s", messages_of("d"))
        store.trim("s", 0)
        assert store.delete("s", purge=True) is True
        assert store.trash() == []
        assert store.delete("s", purge=True) is False

    def test_purge_clears_a_generated_title(self, store: SessionStore) -> None:
        """Purging a question clears the title generated from it; a title set by the user is kept."""
        store.append("s", messages_of("my secret"))
        store.append("t", messages_of("my secret"))
        store.set_title("t", "Mine")
        store.clear("s", purge=True)
        store.clear("t", purge=True)
        assert (store.get("s").title, store.get("t").title) == ("", "Mine")
        store.append("s", messages_of("next question"))
        assert store.get("s").title == "next question"

    def test_the_trash_can_be_emptied(self, store: SessionStore) -> None:
        """`empty_trash` removes every trash entry and returns their number."""
        for name in "abc":
            store.append(name, messages_of(name, name))
            store.trim(name, 1)
        store.delete("a")
        assert store.empty_trash() == 4
        assert store.trash() == []
        assert store.empty_trash() == 0
        assert ids(store, sort="id") == ["b", "c"]
        assert texts(store, "b") == ["b"]

    def test_emptying_leaves_imports_alone(self, store: SessionStore) -> None:
        """`empty_trash` leaves staged imports alone."""
        uid = store.stage(Session("s"))
        store.stage_messages(uid, [Message("user", "a")])
        assert store.trash() == []
        assert store.empty_trash() == 0
        store.publish(uid, Session("s"))
        assert texts(store, "s") == ["a"]
