"""Contract of running turns (checkpoints) and of staged imports."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from omniagent_cli.errors import (
    InvalidRecord,
    SessionConflict,
    SessionExists,
    SessionNotFound,
    UsageError,
)
from omniagent_cli.models import Message, Session
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


class CheckpointContract(ContractBase):
    """A streaming answer is stored from its first chunk and never lost."""

    def test_an_answer_grows_in_place(self, store: SessionStore) -> None:
        """Checkpoints store the answer as interrupted, replace it in place, and complete it at the end."""
        uid = store.write("s", messages_of("question")).uid
        answer = Message("assistant", "One")
        for text in ("One", "One two", "One two three"):
            answer.content = text
            written = store.checkpoint("s", answer, uid=uid)
            assert not written.created
            (answer,) = written.messages
            (_, stored) = store.messages("s")
            assert stored == answer
            assert (stored.text, stored.status, stored.position) == (text, "interrupted", 1)
        answer.content, answer.status = "One two three.", "complete"
        store.checkpoint("s", answer, uid=uid, final=True)
        (_, stored) = store.messages("s")
        assert (stored.text, stored.status, stored.id) == ("One two three.", "complete", answer.id)
        assert store.count_messages("s") == 2
        assert store.summary("s").preview == "One two three."

    def test_an_answer_emits_one_event(self, store: SessionStore) -> None:
        """`message_added` is emitted for the final checkpoint only."""
        uid = store.write("s", messages_of("question")).uid
        events = listen(store)
        (answer,) = store.checkpoint("s", Message("assistant", "One"), uid=uid).messages
        (answer,) = store.checkpoint("s", answer, uid=uid).messages
        assert events == []
        answer.status = "complete"
        store.checkpoint("s", answer, uid=uid, final=True)
        assert [(e.name, e.data["message"].text) for e in events] == [("message_added", "One")]

    def test_an_answer_in_one_piece(self, store: SessionStore) -> None:
        """A final first checkpoint is an ordinary message."""
        uid = store.write("s", messages_of("question")).uid
        events = listen(store)
        store.checkpoint("s", Message("assistant", "apple"), uid=uid, final=True)
        assert store.messages("s")[1].status == "complete"
        assert [e.name for e in events] == ["message_added"]
        assert found(store, "apple") == [("s", 1)]

    @pytest.mark.parametrize("status", ["interrupted", "failed"])
    def test_the_end_keeps_its_own_status(self, store: SessionStore, status: str) -> None:
        """The final checkpoint keeps the status interrupted or failed."""
        uid = store.write("s", messages_of("question")).uid
        (answer,) = store.checkpoint("s", Message("assistant", "One"), uid=uid).messages
        answer.status = status
        store.checkpoint("s", answer, uid=uid, final=True)
        assert store.messages("s")[1].status == status

    def test_others_write_between_checkpoints(self, store: SessionStore) -> None:
        """A message appended during the turn is kept after the answer."""
        uid = store.write("s", messages_of("question")).uid
        (answer,) = store.checkpoint("s", Message("assistant", "One"), uid=uid).messages
        store.append("s", messages_of("other"))
        answer.content, answer.status = "One two", "complete"
        store.checkpoint("s", answer, uid=uid, final=True)
        assert texts(store, "s") == ["question", "One two", "other"]
        assert store.summary("s").preview == "other"

    def test_a_turn_follows_a_rename(self, store: SessionStore) -> None:
        """The answer follows a rename of its session during the turn."""
        uid = store.write("s", messages_of("question")).uid
        (answer,) = store.checkpoint("s", Message("assistant", "One"), uid=uid).messages
        store.rename("s", "t")
        store.append("s", messages_of("another session"))
        answer.status = "complete"
        written = store.checkpoint("s", answer, uid=uid, final=True)
        assert (written.session_id, written.recovered) == ("t", False)
        assert texts(store, "t") == ["question", "One"]
        assert store.write("s", messages_of("more"), uid=uid).session_id == "t"
        assert texts(store, "s") == ["another session"]

    @pytest.mark.parametrize("way", ["delete", "purge", "replace", "expire"])
    def test_a_turn_outlives_its_session(
        self, store: SessionStore, clock: FakeClock, way: str
    ) -> None:
        """If the session is removed during a turn, the answer is stored in a new session that links it."""
        first = store.write("s", messages_of("question"))
        (answer,) = store.checkpoint("s", Message("assistant", "One"), uid=first.uid).messages
        if way == "expire":
            clock.advance("8d")
        else:
            store.delete("s", purge=way == "purge")
        if way == "replace":
            store.append("s", messages_of("another session"))
        answer.content, answer.status = "One two", "complete"
        events = listen(store)
        written = store.checkpoint("s", answer, uid=first.uid, final=True)
        assert written.recovered
        assert written.session_id != "s"
        assert written.uid != first.uid
        session = store.get(written.session_id)
        assert [m.text for m in session.messages] == ["One two"]
        assert session.title == "recovered from s"
        assert session.metadata["recovered_from"] == "s"
        assert [e.name for e in events] == ["session_created", "message_added"]
        assert store.exists("s") == (way == "replace")
        again = store.write(written.session_id, messages_of("more"), uid=written.uid)
        assert not again.recovered
        assert texts(store, written.session_id) == ["One two", "more"]

    @pytest.mark.parametrize("way", ["trim", "clear", "undo"])
    def test_an_answer_outlives_its_place(self, store: SessionStore, way: str) -> None:
        """If its first checkpoints were removed, the answer is appended at the end."""
        uid = store.write("s", messages_of("question")).uid
        (answer,) = store.checkpoint("s", Message("assistant", "One"), uid=uid).messages
        ways: dict[str, Callable[[], object]] = {
            "trim": lambda: store.trim("s", 0),
            "clear": lambda: store.clear("s"),
            "undo": lambda: store.truncate_from("s", 0),
        }
        ways[way]()
        store.append("s", messages_of("next"))
        answer.content, answer.status = "One two", "complete"
        (stored,) = store.checkpoint("s", answer, uid=uid, final=True).messages
        assert texts(store, "s") == ["next", "One two"]
        assert stored.position == 3
        assert found(store, "two") == [("s", 3)]
        assert store.count_messages("s") == 2

    def test_the_status_of_a_message(self, store: SessionStore) -> None:
        """`set_message_status` changes status and extra data, and keeps text and position."""
        store.append("s", {"role": "user", "content": "apple", "extra": {"a": 1, "b": 2}})
        store.set_message_status("s", 0, "failed", {"a": None, "error": "no answer"})
        (message,) = store.messages("s")
        assert (message.text, message.status) == ("apple", "failed")
        assert message.extra == {"b": 2, "error": "no answer"}
        assert found(store, "apple") == [("s", 0)]
        store.set_message_status("s", 0, "complete", {"b": None, "error": None})
        assert store.messages("s")[0].extra is None
        for position, status in ((1, "failed"), (10**30, "failed"), (0, "maybe")):
            with pytest.raises(InvalidRecord):
                store.set_message_status("s", position, status)
        with pytest.raises(SessionNotFound):
            store.set_message_status("typo", 0, "failed")

    def test_a_checkpoint_with_an_unknown_uid(self, store: SessionStore) -> None:
        """A checkpoint with an unknown uid creates a recovered session and leaves others alone."""
        store.append("s", messages_of("mine"))
        written = store.checkpoint("s", Message("assistant", "x"), uid="0" * 22)
        assert written.recovered
        assert texts(store, "s") == ["mine"]


class StagingContract(ContractBase):
    """An import is invisible until it is complete."""

    def test_a_staged_session_is_invisible(self, store: SessionStore, clock: FakeClock) -> None:
        """A staged session is invisible until `publish`, which keeps the given header."""
        made = datetime(2020, 2, 2, tzinfo=UTC)
        header = Session(
            "s",
            title="T",
            agent_id="x",
            model="a:b",
            created_at=made,
            updated_at=made + timedelta(days=1),
            metadata={"k": 1, "archived": True},
            state={"n": 2},
            unknown={"x_future": 1},
        )
        events = listen(store)
        uid = store.stage(header)
        store.stage_messages(uid, [Message("user", "a"), Message("assistant", "b")])
        store.stage_messages(uid, [Message("user", "c")])
        assert ids(store, archived=None) == []
        assert not store.exists("s")
        assert events == []
        store.publish(uid, header)
        session = store.get("s")
        assert [m.text for m in session.messages] == ["a", "b", "c"]
        assert positions(store, "s") == [0, 1, 2]
        for key in ("title", "agent_id", "model", "created_at", "updated_at", "metadata", "state"):
            assert getattr(session, key) == getattr(header, key)
        assert (session.unknown, session.ttl_seconds) == ({"x_future": 1}, None)
        assert ids(store, archived=True) == ["s"]
        assert [e.name for e in events] == ["session_created"]

    def test_positions_can_be_given(self, store: SessionStore) -> None:
        """Staged messages keep ascending positions across batches; other positions are rejected."""
        uid = store.stage(Session("s"))
        first = [Message("user", "a", position=3), Message("user", "b", position=7)]
        store.stage_messages(uid, first)
        with pytest.raises(InvalidRecord):
            store.stage_messages(uid, [Message("user", "x", position=7)])
        with pytest.raises(InvalidRecord):
            store.stage_messages(
                uid, [Message("user", "x", position=9), Message("user", "y", position=8)]
            )
        store.stage_messages(uid, [Message("user", "c", position=8)])
        store.publish(uid, Session("s"))
        assert positions(store, "s") == [3, 7, 8]
        store.append("s", messages_of("d"))
        assert positions(store, "s") == [3, 7, 8, 9]

    def test_publishing_onto_a_session(self, store: SessionStore) -> None:
        """Publishing to an id in use raises SessionExists; `replace=True` moves the old session to the trash."""
        store.append("s", messages_of("old"))
        uid = store.stage(Session("s"))
        store.stage_messages(uid, [Message("user", "new")])
        with pytest.raises(SessionExists):
            store.publish(uid, Session("s"))
        assert texts(store, "s") == ["old"]
        store.publish(uid, Session("s"), replace=True)
        assert texts(store, "s") == ["new"]
        store.restore("s", as_id="old")
        assert texts(store, "old") == ["old"]

    def test_a_staged_session_can_be_discarded(self, store: SessionStore, clock: FakeClock) -> None:
        """A discarded session is gone; an unpublished one expires after a day."""
        uid = store.stage(Session("s"))
        store.discard_staged(uid)
        with pytest.raises(UsageError):
            store.stage_messages(uid, [Message("user", "x")])
        with pytest.raises(UsageError):
            store.publish(uid, Session("s"))
        forgotten = store.stage(Session("s"))
        clock.advance("1d")
        assert store.purge_expired() == 0
        with pytest.raises(UsageError):
            store.publish(forgotten, Session("s"))
        assert ids(store) == []

    def test_only_staged_sessions_can_be_discarded(self, store: SessionStore) -> None:
        """`discard_staged` and `publish` leave visible sessions and the trash alone."""
        uid = store.write("s", messages_of("a")).uid
        store.discard_staged(uid)
        assert texts(store, "s") == ["a"]
        store.delete("s")
        store.discard_staged(uid)
        with pytest.raises(UsageError):
            store.publish(uid, Session("t"))
        store.restore("s")
        assert texts(store, "s") == ["a"]

    def test_attachments_and_summaries_are_staged(self, store: SessionStore) -> None:
        """Staged attachments and summaries are published with their session."""
        uid = store.stage(Session("s"))
        store.stage_messages(uid, [Message("user", "a")])
        store.stage_record(uid, "attachment", "a" * 64, {"name": "f"})
        store.stage_record(uid, "summary", f"{0:012d}", {"text": "x", "up_to": 0})
        store.publish(uid, Session("s"))
        assert list(store.iter_records("s", "attachment")) == [("a" * 64, {"name": "f"})]
        assert store.last_summary("s") == {"text": "x", "up_to": 0}
        with pytest.raises(UsageError):
            store.stage_record(uid, "attachment", "b" * 64, {"name": "g"})
        with pytest.raises(SessionNotFound):
            list(store.iter_records("typo", "attachment"))

    def test_a_staged_session_can_be_appended(self, store: SessionStore) -> None:
        """`append_staged` adds the staged messages to an existing session, with search entries and events."""
        store.append("s", messages_of("one"))
        store.put_attachment("s", "a" * 64, {"name": "mine"})
        uid = store.stage(Session("s"))
        store.stage_messages(uid, [Message("user", "two"), Message("assistant", "three")])
        store.stage_record(uid, "attachment", "a" * 64, {"name": "theirs"})
        store.stage_record(uid, "attachment", "b" * 64, {"name": "new"})
        events = listen(store)
        assert store.append_staged(uid, "s", revision=store.header("s").revision) == 2
        assert texts(store, "s") == ["one", "two", "three"]
        assert positions(store, "s") == [0, 1, 2]
        assert found(store, "three") == [("s", 2)]
        assert [e.name for e in events] == ["message_added", "message_added"]
        assert dict(store.iter_records("s", "attachment")) == {
            "a" * 64: {"name": "mine"},
            "b" * 64: {"name": "new"},
        }
        with pytest.raises(UsageError):
            store.publish(uid, Session("t"))

    def test_append_staged_to_a_changed_session_is_rejected(self, store: SessionStore) -> None:
        """`append_staged` raises SessionConflict if the session has changed since."""
        store.append("s", messages_of("one"))
        revision = store.header("s").revision
        uid = store.stage(Session("s"))
        store.stage_messages(uid, [Message("user", "two")])
        store.append("s", messages_of("other"))
        with pytest.raises(SessionConflict):
            store.append_staged(uid, "s", revision=revision)
        assert texts(store, "s") == ["one", "other"]

    def test_a_failed_import_leaves_nothing(self, store: SessionStore) -> None:
        """A failed `import_data` leaves no session."""
        with store.session("s") as chat:
            with pytest.raises(InvalidRecord):
                chat.import_data({"id": "x", "messages": [*messages_of("good"), {"role": "robot"}]})
            assert not store.exists("s")
            chat.import_data({"id": "x", "messages": messages_of("good")})
            with pytest.raises(SessionExists):
                chat.import_data({"id": "x", "messages": messages_of("other")})
        assert texts(store, "s") == ["good"]
        with pytest.raises(SessionNotFound):
            store.get("x")
