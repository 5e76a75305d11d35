"""Turns that are taken back and asked again while another program talks in the session too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from omniagent_cli.durations import utc_now
from omniagent_cli.errors import UsageError
from omniagent_cli.models import Message, Session
from omniagent_cli.stores import SessionStore, open_store
from omniagent_cli.testing.scripted import ScriptedModel
from tests.repl.talk import Talk


def theirs(text: str) -> list[Message]:
    """A whole turn of another program."""
    return [
        Message("user", text, turn_id=text),
        Message("assistant", f"to {text}", turn_id=text),
    ]


@pytest.fixture
def other(talk: Talk) -> Iterator[SessionStore]:
    """The store of the chat as another program has it open."""
    path = talk.home / "shared.db"
    talk.store.close()
    talk.store = open_store(path)
    with open_store(path) as other:
        yield other


def test_undo_leaves_anothers_messages_alone(talk: Talk, other: SessionStore) -> None:
    """Another program's messages among and after the turn stay, and the turn comes back in its places."""

    class Interleaved(ScriptedModel):
        async def stream(self, *args):
            other.append("user-123", theirs("theirs"))
            async for event in super().stream(*args):
                yield event

    talk.chat("one", "/undo", model=Interleaved("answer"))
    assert talk.texts() == ["theirs", "to theirs"]
    talk.chat("two", "/undo", "/redo")
    assert talk.texts() == ["theirs", "to theirs", "two", "answer 1"]
    talk.store.restore("user-123")
    assert talk.texts()[:4] == ["one", "theirs", "to theirs", "answer"]


def test_undo_means_ones_own_turn(talk: Talk, other: SessionStore) -> None:
    """The last turn of this chat is taken back, though another program's came after it; then the one before."""

    class Elsewhere(dict):
        def __getitem__(self, name):
            other.append("user-123", theirs("theirs"))
            raise UsageError(f"{name} is no model")

    talk.models = Elsewhere()
    talk.chat("one", "two", "/model x", "/undo", "/undo")
    assert talk.texts() == ["theirs", "to theirs"]


def test_retry_among_anothers_messages(talk: Talk, other: SessionStore) -> None:
    """/retry answers the question where it stands; what another program said stays, and no question is doubled."""
    talk.chat("one")
    talk.store.append("user-123", theirs("theirs"))
    first = talk.store.messages("user-123")[0].turn_id

    class Own(ScriptedModel):
        async def stream(self, *args):
            if not self.requests:
                other.append("user-123", theirs("late"))
            async for event in super().stream(*args):
                yield event

    model = Own("two'", "two''")
    talk.chat("two", "/retry", model=model)
    assert talk.texts()[4:] == ["two", "late", "to late", "two''"]
    assert [m.text for m in talk.store.messages("user-123") if m.turn_id == first] == [
        "one",
        "answer 1",
    ]
    assert [m["content"] for m in model.requests[1]][-1] == "two"


def test_retry_keeps_the_question_where_it_is(talk: Talk) -> None:
    """An imported question without a turn is asked again too; the old answer goes to the trash."""
    session = talk.store.stage(Session("user-123"))
    old = [
        Message("user", "old", id="a", position=0, created_at=utc_now()),
        Message("assistant", "before", id="b", position=1, created_at=utc_now()),
    ]
    talk.store.stage_messages(session, old, trusted=True)
    talk.store.publish(session, Session("user-123"))
    talk.chat("/retry")
    assert talk.texts() == ["old", "answer 1"]
    assert talk.store.messages("user-123")[0].id == "a"
    talk.chat("/undo")
    assert talk.texts() == []


def test_fork_past_the_end_is_refused(talk: Talk) -> None:
    """/fork --at a number that no message has is told with the last number; nothing is copied."""
    talk.chat("one", "/fork --at 2", "/fork --at 99 copy", "/fork --at -3")
    assert talk.err.count("the last is #1") == 2
    assert "no message at or before position -3" in talk.err
    assert talk.store.count() == 1


def test_edit_copies_whole_answers_of_others(talk: Talk) -> None:
    """What another program's earlier question got for an answer comes along, though it stands after the edited one."""
    talk.store.append("user-123", Message("user", "theirs", turn_id="t"))
    talk.store.append("user-123", Message("user", "mine", turn_id="m"))
    talk.store.append("user-123", Message("assistant", "to theirs", turn_id="t"))
    talk.store.append("user-123", Message("assistant", "to mine", turn_id="m"))
    talk.chat("/edit 1 yours")
    (copy,) = [s.id for s in talk.store.list() if s.id != "user-123"]
    assert talk.texts(copy) == ["theirs", "to theirs", "yours", "answer 1"]
    assert talk.texts() == ["theirs", "mine", "to theirs", "to mine"]


def test_a_session_that_went_is_told(talk: Talk, other: SessionStore) -> None:
    """When another program deleted the session, the next turn reports it and creates it again."""
    model = ScriptedModel("1", "2")

    class Deleting(dict):
        def __getitem__(self, name):
            other.delete("user-123")
            raise UsageError(f"{name} is no model")

    talk.models = Deleting()
    shown = talk.chat("one", "/model x", "two", model=model)
    assert "was deleted by another program" in shown
    assert talk.texts() == ["two", "2"]
