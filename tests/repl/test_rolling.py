"""A chat whose session rolls over while it is open."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from omniagent_cli.agent.agent import Agent
from omniagent_cli.agent.context.rollover import Rollover
from omniagent_cli.stores import SessionStore, open_store
from omniagent_cli.testing.clock import FakeClock
from omniagent_cli.testing.scripted import ScriptedModel
from tests.repl.talk import Talk

RULE = Rollover(idle=timedelta(hours=8))
BEFORE = "user-123@2026-01-01"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def talk(tmp_path: Path, clock: FakeClock) -> Talk:
    return Talk(tmp_path, store=open_store("memory:", clock=clock))


def silence(store: SessionStore, clock: FakeClock, then=lambda: None) -> None:
    """Let nine hours pass once the first answer is stored."""

    def pause(event) -> None:
        if event.data["message"].role == "assistant":
            off()
            clock.advance("9h")
            then()

    off = store.on("message_added", pause)


def test_a_chat_goes_on_in_the_new_conversation(talk: Talk, clock: FakeClock) -> None:
    """It is told in one line, and what was said before is neither gone nor news of another program."""
    silence(talk.store, clock)
    model = ScriptedModel("1", "2", "3")
    shown = talk.chat(
        "first",
        "second",
        "third",
        "/undo",
        open_agent=lambda _: Agent(model, store=talk.store, rollover=RULE),
    )
    told = f"Started a new conversation after a long pause; the previous one is {BEFORE}"
    assert shown.count(told) == 1
    assert "another program" not in shown
    assert talk.texts(BEFORE) == ["first", "1"]
    assert talk.texts() == ["second", "2"]


def test_another_program_rolls_over_the_session(tmp_path: Path, clock: FakeClock) -> None:
    """The chat follows to the new conversation, says where the old one is, and shows what is new there."""
    url = str(tmp_path / "sessions.db")
    with open_store(url, clock=clock) as store, open_store(url, clock=clock) as other:

        def elsewhere() -> None:
            RULE.apply(other, "user-123")
            other.append("user-123", {"role": "user", "content": "from elsewhere"})

        silence(store, clock, elsewhere)
        talk = Talk(tmp_path, store=store)
        shown = talk.chat("first", "second")
        assert (
            f"Another program rolled over 'user-123'; the earlier messages are in '{BEFORE}'"
        ) in shown
        assert "New messages from another program (1):" in shown
        assert talk.texts(BEFORE) == ["first", "answer 1"]
        assert talk.texts() == ["from elsewhere", "second", "answer 2"]
