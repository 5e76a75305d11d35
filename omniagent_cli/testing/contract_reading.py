"""Contract of reading, which never creates a session."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from omniagent_cli.errors import SessionExpired, SessionNotFound, StoreClosed, UsageError
from omniagent_cli.models import Session
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.testing.clock import FakeClock
from omniagent_cli.testing.contract_base import (
    ContractBase,
    MakeStore,
    ids,
    listen,
    messages_of,
    positions,
    raised,
    texts,
)

NEEDS_A_SESSION: dict[str, Callable[[SessionStore], object]] = {
    "get": lambda s: s.get("typo"),
    "header": lambda s: s.header("typo"),
    "summary": lambda s: s.summary("typo"),
    "messages": lambda s: s.messages("typo"),
    "last": lambda s: s.messages("typo", last=0),
    "iter_messages": lambda s: list(s.iter_messages("typo")),
    "count_messages": lambda s: s.count_messages("typo"),
    "get_metadata": lambda s: s.get_metadata("typo", "k"),
    "get_state": lambda s: s.get_state("typo", "k"),
    "delete_metadata": lambda s: s.delete_metadata("typo", "k"),
    "delete_state": lambda s: s.delete_state("typo", "k"),
    "attachments": lambda s: s.attachments("typo"),
    "attachment": lambda s: s.attachment("typo", "0" * 64),
    "last_summary": lambda s: s.last_summary("typo"),
    "search": lambda s: s.search("word", session_id="typo"),
    "trim": lambda s: s.trim("typo", 3),
    "clear": lambda s: s.clear("typo"),
    "truncate_from": lambda s: s.truncate_from("typo", 0),
    "pop": lambda s: s.pop("typo"),
    "rename": lambda s: s.rename("typo", "other"),
    "fork": lambda s: s.fork("typo", "other"),
    "touch": lambda s: s.touch("typo"),
    "set_ttl": lambda s: s.set_ttl("typo", "1h"),
    "set_title": lambda s: s.set_title("typo", "title"),
    "set_model": lambda s: s.set_model("typo", "a:b"),
    "tag": lambda s: s.tag("typo", ["work"]),
}
"""Operations that need an existing session and never create one."""

READS_THE_STORE: dict[str, Callable[[SessionStore], object]] = {
    "exists": lambda s: s.exists("typo"),
    "list": lambda s: s.list(),
    "count": lambda s: s.count(),
    "search": lambda s: s.search("word"),
    "trash": lambda s: s.trash(),
    "info": lambda s: s.info(),
    "count_expired": lambda s: s.count_expired(),
    "purge_expired": lambda s: s.purge_expired(),
    "delete": lambda s: s.delete("typo"),
    "handle": lambda s: s.session("typo").get_messages(),
}
"""Operations that work on an empty store and create no session."""


class ReadingContract(ContractBase):
    """Reading returns exactly what is stored."""

    def test_get_of_a_missing_session_raises(self, store: SessionStore) -> None:
        """A missing session raises SessionNotFound with the id, not SessionExpired."""
        with pytest.raises(SessionNotFound, match="user-123") as caught:
            store.get("user-123")
        assert caught.value.session_id == "user-123"
        assert not isinstance(caught.value, SessionExpired)

    def test_reading_never_creates(self, store: SessionStore) -> None:
        """Operations that need a session raise SessionNotFound and create nothing."""
        store.append("there", messages_of("hello"))
        events = listen(store)
        for name, operation in NEEDS_A_SESSION.items():
            assert raised(operation, store) is SessionNotFound, name
            assert ids(store) == ["there"], name
        assert store.trash() == []
        assert events == []

    def test_reading_an_empty_store_creates_nothing(self, store: SessionStore) -> None:
        """Operations on the whole store work on an empty one and leave it empty."""
        events = listen(store)
        for name, operation in READS_THE_STORE.items():
            assert not operation(store) or name == "info", name
            assert store.count(archived=None) == 0, name
        assert events == []

    def test_get_or_create_creates_once(self, store: SessionStore) -> None:
        """The first call creates an empty session; the second returns it unchanged."""
        events = listen(store)
        made = store.get_or_create("user-123", agent_id="helper", model="a:b")
        again = store.get_or_create("user-123", agent_id="other", model="c:d")
        assert made.messages == []
        assert (again.uid, again.agent_id, again.model) == (made.uid, "helper", "a:b")
        assert again == made == store.get("user-123")
        assert [event.name for event in events] == ["session_created"]

    def test_get_or_create_returns_an_existing_session(self, store: SessionStore) -> None:
        """An existing session is returned with its messages and metadata."""
        store.append("user-123", messages_of("hello"))
        store.set_metadata("user-123", "k", [1])
        session = store.get_or_create("user-123")
        assert [m.text for m in session.messages] == ["hello"]
        assert session.metadata == {"k": [1]}

    def test_get_returns_the_whole_session(self, store: SessionStore, clock: FakeClock) -> None:
        """`get` returns id, uid, times and messages."""
        start = clock.now
        store.append("user-123", messages_of("one"))
        later = clock.advance("5m")
        store.append("user-123", messages_of("two", role="assistant"))
        session = store.get("user-123")
        assert session.id == "user-123"
        assert session.uid
        assert (session.created_at, session.updated_at) == (start, later)
        assert [(m.role, m.text, m.created_at) for m in session.messages] == [
            ("user", "one", start),
            ("assistant", "two", later),
        ]

    def test_a_header_reads_no_messages(self, store: SessionStore) -> None:
        """`header` returns the session without its messages."""
        store.append("s", messages_of("one"))
        header = store.header("s")
        assert header.messages == []
        header.messages = store.messages("s")
        assert header == store.get("s")

    def test_slices(self, store: SessionStore) -> None:
        """`last`, `before` and `after` select by position, oldest first."""
        store.append("s", messages_of("a", "b", "c", "d", "e"))
        assert texts(store, "s") == ["a", "b", "c", "d", "e"]
        assert texts(store, "s", last=2) == ["d", "e"]
        assert texts(store, "s", last=9) == ["a", "b", "c", "d", "e"]
        assert texts(store, "s", last=2, before=3) == ["b", "c"]
        assert texts(store, "s", before=2) == ["a", "b"]
        assert texts(store, "s", after=2) == ["d", "e"]
        assert texts(store, "s", after=0, before=4) == ["b", "c", "d"]
        assert texts(store, "s", last=1, after=4) == []
        assert texts(store, "s", before=0) == []
        assert texts(store, "s", after=-5, before=99) == ["a", "b", "c", "d", "e"]

    def test_the_last_zero_messages_are_none(self, store: SessionStore) -> None:
        """`last=0` returns no messages."""
        store.append("s", messages_of("a"))
        assert store.messages("s", last=0) == []

    def test_a_negative_number_of_messages_is_rejected(self, store: SessionStore) -> None:
        """A negative `last` raises UsageError."""
        store.append("s", messages_of("a"))
        with pytest.raises(UsageError):
            store.messages("s", last=-1)

    def test_numbers_may_exceed_64_bits(self, store: SessionStore) -> None:
        """Numbers too large for a database column select everything or nothing."""
        huge = 10**30
        store.append("s", messages_of("a", "b"))
        assert texts(store, "s", last=huge, before=huge) == ["a", "b"]
        assert texts(store, "s", after=huge) == []
        assert texts(store, "s", before=-huge) == []
        assert store.trim("s", huge) == 0
        assert store.truncate_from("s", huge) == 0
        assert ids(store, limit=huge) == ["s"]
        assert len(store.search("a", limit=huge)) == 1
        assert texts(store, store.fork("s", "f", at=huge)) == ["a", "b"]

    def test_a_long_session_is_walked_in_order(self, store: SessionStore) -> None:
        """`iter_messages` yields every message once and in order, across its chunks."""
        store.append("s", messages_of(*map(str, range(1234))))
        assert [int(m.text) for m in store.iter_messages("s")] == list(range(1234))
        assert store.count_messages("s") == 1234

    def test_results_are_copies(self, store: SessionStore) -> None:
        """Changing a returned object does not change the store."""
        store.append("s", [{"role": "user", "content": "a", "extra": {"k": [1]}}])
        store.set_metadata("s", "k", {"deep": [1]})
        session = store.get("s")
        session.messages[0].content = "changed"
        session.messages[0].record["extra"]["k"].append(2)
        session.metadata["k"]["deep"].append(2)
        store.get_metadata("s", "k")["deep"].append(3)
        store.list()[0].metadata["k"]["deep"].append(4)
        assert store.messages("s")[0].record["extra"] == {"k": [1]}
        assert texts(store, "s") == ["a"]
        assert store.get_metadata("s", "k") == {"deep": [1]}

    def test_arguments_are_copied(self, store: SessionStore) -> None:
        """The store does not change its arguments, and changing them later does not change the store."""
        record = {"role": "user", "content": "a", "extra": {"k": [1]}}
        value = {"deep": [1]}
        given = dict(record)
        store.append("s", record)
        store.set_metadata("s", "k", value)
        assert record == given
        record["extra"]["k"].append(2)  # type: ignore[index]
        value["deep"].append(2)
        assert store.messages("s")[0].record["extra"] == {"k": [1]}
        assert store.get_metadata("s", "k") == {"deep": [1]}

    def test_the_default_ttl_is_seven_days(self, make_store: MakeStore, clock: FakeClock) -> None:
        """The default TTL is 7 days."""
        store = make_store(clock=clock)
        assert store.ttl == timedelta(days=7)
        store.append("s", messages_of("a"))
        assert store.get("s").ttl_seconds == 604_800
        assert store.get("s").expires_at == clock.now + timedelta(days=7)

    def test_a_closed_store_raises(self, store: SessionStore) -> None:
        """Every operation on a closed store raises StoreClosed; `close` may be repeated."""
        store.append("s", messages_of("a"))
        store.close()
        store.close()
        operations: list[Callable[[], object]] = [
            lambda: store.get("s"),
            lambda: store.append("s", messages_of("b")),
            store.list,
            lambda: store.search("a"),
            lambda: store.delete("s"),
            lambda: store.search(""),
            store.__enter__,
        ]
        for operation in operations:
            with pytest.raises(StoreClosed):
                operation()

    def test_a_with_block_closes(self, make_store: MakeStore) -> None:
        """Leaving the `with` block closes the store."""
        with make_store() as store:
            store.append("s", messages_of("a"))
        with pytest.raises(StoreClosed):
            store.get("s")

    def test_a_session_as_an_object(self, store: SessionStore) -> None:
        """`store.session(id)` returns a handle on one session; its first write creates the session."""
        heard: list[str] = []
        with store.session("user-123") as chat:
            assert chat.get_messages() == []
            assert chat.get("theme", "light") == "light"
            assert not store.exists("user-123")
            chat.on("message_added", lambda event: heard.append(event.data["message"].text))
            chat.add_message("user", "Hello")
            store.append("other", messages_of("not mine"))
            chat.set("theme", "dark")
            assert chat.get("theme") == "dark"
            assert chat.delete("theme") is True
            assert [m.text for m in chat.get_messages(last=1)] == ["Hello"]
        store.append("user-123", messages_of("after the handle"))
        assert heard == ["Hello"]

    def test_export_and_import_of_one_session(self, store: SessionStore) -> None:
        """Importing an exported session under another id copies everything but the uid."""
        with store.session("a") as chat:
            chat.add_message("user", "Hello", extra={"k": 1})
            chat.set("theme", "dark")
            data = chat.export()
        with store.session("b") as copy:
            copy.import_data(data)
        one, other = store.get("a"), store.get("b")
        assert one.uid != other.uid
        assert one.messages == other.messages
        assert positions(store, "a") == positions(store, "b")
        same = ("title", "metadata", "state", "created_at", "updated_at", "ttl_seconds")
        assert [getattr(one, key) for key in same] == [getattr(other, key) for key in same]

    def test_a_session_record_round_trips(self, store: SessionStore) -> None:
        """A session equals the one read back from its record."""
        store.append("s", messages_of("a", "b"))
        store.set_state("s", "k", None)
        session = store.get("s")
        again = Session.from_record(session.to_record())
        assert again.to_record() == session.to_record()
