"""The end of a chat that comes from outside, in the moment in which something was said."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from omniagent_cli.agent.loop import Agent
from omniagent_cli.errors import UsageError
from tests.repl.talk import Talk

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has no such signals")


def _ended_while_opening(
    talk: Talk, number: signal.Signals, over: threading.Event
) -> Callable[..., Agent]:
    """Return what makes no agent, but sends a signal once the first line was entered."""

    def open_agent(_tell: Any) -> Agent:
        entered = talk.home / "state" / "chat-history"
        end = time.monotonic() + 20
        while not (entered.exists() and entered.read_text().endswith("\n")):
            if over.wait(0.005) or time.monotonic() > end:
                break
        os.kill(os.getpid(), number)
        over.wait(20)
        raise UsageError("nobody is there")

    return open_agent


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_was_said_while_the_model_was_chosen_is_stored(
    talk: Talk, number: signal.Signals
) -> None:
    """A signal between Enter and the model's being there ends the chat, and the question is in the session."""
    over = threading.Event()
    talk.chat(keys="tell me\r", open_agent=_ended_while_opening(talk, number, over))
    over.set()
    assert talk.code == 128 + number
    (question,) = talk.store.messages("user-123")
    assert (question.text, question.status) == ("tell me", "interrupted")
    assert talk.used == ["user-123"]


def test_a_question_that_a_signal_overtook_is_asked_by_retry(talk: Talk) -> None:
    """What the end of a chat overtook is offered for /retry by the next, which asks it once."""
    over = threading.Event()
    talk.chat(keys="tell me\r", open_agent=_ended_while_opening(talk, signal.SIGTERM, over))
    over.set()
    shown = talk.chat("/retry")
    assert "the last question has no answer; /retry asks it again" in shown
    assert talk.texts() == ["tell me", "answer 1"]


def test_a_command_that_a_signal_overtook_asks_nothing(talk: Talk) -> None:
    """A command that waits for the model ends with the chat, and nothing is asked or stored for it."""
    talk.chat("hello")
    over = threading.Event()
    talk.chat(keys="/model x\r", open_agent=_ended_while_opening(talk, signal.SIGTERM, over))
    over.set()
    assert talk.code == 128 + signal.SIGTERM
    assert talk.texts() == ["hello", "answer 1"]
