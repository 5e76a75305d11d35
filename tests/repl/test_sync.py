"""`/sync` and `sync.auto` in the chat."""

from __future__ import annotations

import threading

import pytest

from omniagent_cli.errors import SyncError
from omniagent_cli.stores import open_store
from tests.repl.talk import Talk


@pytest.fixture
def other():
    """Return the store of another machine."""
    with open_store("memory:") as store:
        store.append("user-123", {"role": "user", "content": "from the laptop"})
        yield store


def test_the_command(talk: Talk, other) -> None:
    """`/sync OTHER` synchronizes, and shows what came for this session."""
    names = []

    def sync(name, *, batch=False):
        names.append((name, batch))
        return talk.store.sync(other)

    talk.sync = sync
    shown = talk.chat("hello", "/sync @work")
    assert names == [("@work", False)]
    assert "Synchronized 1 session: 1 message received, 2 messages sent" in shown
    assert len(talk.texts()) == 3
    assert [m.text for m in other.messages("user-123")] == talk.texts()


def test_the_command_without_a_store(talk: Talk) -> None:
    """Without a store to synchronize with, and in an ephemeral chat, the command says what to do."""
    assert "ephemeral" in talk.chat("/sync @work")
    talk.sync = lambda *_, **__: pytest.fail("no store was named")
    assert "set sync.auto" in talk.chat("/sync")


def test_after_each_turn_in_the_background(talk: Talk, other) -> None:
    """With sync.auto, turns wait for no synchronization, and the end of the chat waits for the last one."""
    talk.flags = {"sync.auto": "ssh://laptop"}
    turns = threading.Event()
    calls = []

    def sync(name, *, batch):
        turns.wait(20)  # longer than the turns take: they must not wait for it
        calls.append((name, batch, len(talk.texts())))
        return talk.store.sync(other)

    talk.sync = sync
    talk.store.on("message_added", lambda _: len(talk.texts()) >= 4 and turns.set())
    talk.chat("one", "two")
    assert calls[0][:2] == ("ssh://laptop", True)
    assert {"from the laptop", "one", "two"} <= {m.text for m in other.messages("user-123")}


def test_a_failure_is_reported_once(talk: Talk) -> None:
    """A machine that cannot be reached is one warning, and the chat goes on."""
    talk.flags = {"sync.auto": "ssh://laptop"}

    def sync(name, *, batch):
        raise SyncError("laptop has no omniagent")

    talk.sync = sync
    shown = talk.chat("one", "two", "three")
    assert shown.count("could not synchronize with ssh://laptop: laptop has no omniagent") == 1
    assert len(talk.texts()) == 6
