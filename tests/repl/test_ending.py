"""The end of a chat that comes from outside: signals, and windows that are closed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.output import DummyOutput

from omniagent_cli.agent.agent import Agent
from omniagent_cli.errors import UsageError
from omniagent_cli.testing.scripted import ScriptedModel
from tests.repl.home import Home, home
from tests.repl.talk import CTRL_D, Talk
from tests.servers.chat_server import stall

__all__ = ["home"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has no such signals")


def _entered(history: Path) -> bool:
    """Return True if a line was entered."""
    return history.exists() and history.read_text().endswith("\n")


def _ended_while_opening(
    talk: Talk, number: signal.Signals, over: threading.Event
) -> Callable[..., Agent]:
    """Return what makes no agent, but sends a signal once the first line was entered."""

    def open_agent(_tell: Any) -> Agent:
        end = time.monotonic() + 60
        while not _entered(talk.history):
            if over.wait(0.005) or time.monotonic() > end:
                break
        os.kill(os.getpid(), number)
        over.wait(60)
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


def test_ctrl_c_while_the_model_is_chosen_keeps_the_question(talk: Talk) -> None:
    """What was said before anybody could be asked is in the session, and /retry means it."""
    over = threading.Event()
    talk.store.on("message_added", lambda *_: over.set())
    interrupted = _ended_while_opening(talk, signal.SIGINT, over)

    def open_agent(tell: Any) -> Agent:
        with suppress(UsageError):
            interrupted(tell)
        return Agent(ScriptedModel("answer"), store=talk.store)

    talk.chat(keys=f"tell me\r/retry\r{CTRL_D}", open_agent=open_agent)
    question, answer = talk.store.messages("user-123")
    assert (question.text, question.status, answer.text) == ("tell me", "complete", "answer")
    assert "/retry sends it" in talk.err


class _Signalling(DummyOutput):
    """An output that sends a signal some steps of the event loop after Enter."""

    def __init__(self, number: signal.Signals, history: Path, steps: int) -> None:
        self._number = number
        self._history = history
        self._steps = steps
        self._counting = False

    def flush(self) -> None:
        if not self._counting and _entered(self._history):
            self._counting = True
            self._count()

    def _count(self) -> None:
        if not self._steps:
            signal.raise_signal(self._number)
            return
        self._steps -= 1
        asyncio.get_running_loop().call_soon(self._count)


@pytest.fixture
def late_signals() -> Iterator[None]:
    """Let a signal that comes after the end of a chat do nothing to the process of the tests."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("late_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("steps", range(30))
def test_a_signal_at_any_step_after_enter_keeps_the_question(
    talk: Talk, number: signal.Signals, steps: int
) -> None:
    """Wherever the event loop is after Enter, Ctrl-C and SIGTERM leave the question in the session."""
    over = threading.Event()

    def open_agent(_tell: Any) -> Agent:
        over.wait(60)
        raise UsageError("no model")

    output = _Signalling(number, talk.history, steps)
    talk.chat(keys=f"tell me\r{CTRL_D}", open_agent=open_agent, output=output)
    over.set()
    (question,) = talk.store.messages("user-123")
    assert (question.text, question.status) == ("tell me", "interrupted")


@pytest.mark.usefixtures("late_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("steps", range(0, 60, 3))
def test_a_signal_at_any_step_of_a_turn_keeps_the_question(
    talk: Talk, number: signal.Signals, steps: int
) -> None:
    """Wherever the event loop is in a turn, Ctrl-C and SIGTERM leave the question in the session."""
    output = _Signalling(number, talk.history, steps)
    talk.chat(keys=f"tell me\r{CTRL_D}", output=output)
    assert talk.texts()[0] == "tell me"


def test_a_question_that_a_signal_overtook_is_asked_by_retry(talk: Talk) -> None:
    """What the end of a chat overtook is offered for /retry by the next, which asks it once."""
    over = threading.Event()
    talk.chat(keys="tell me\r", open_agent=_ended_while_opening(talk, signal.SIGTERM, over))
    over.set()
    shown = talk.chat("/retry")
    assert "The last question has no answer. /retry asks it again" in shown
    assert talk.texts() == ["tell me", "answer 1"]


def test_a_command_that_a_signal_overtook_asks_nothing(talk: Talk) -> None:
    """A command that waits for the model ends with the chat, and nothing is asked or stored for it."""
    talk.chat("hello")
    over = threading.Event()
    talk.chat(keys="/model x\r", open_agent=_ended_while_opening(talk, signal.SIGTERM, over))
    over.set()
    assert talk.code == 128 + signal.SIGTERM
    assert talk.texts() == ["hello", "answer 1"]


def test_signals_at_the_prompt(home: Home) -> None:
    """SIGTERM at the prompt ends the chat too, also where the terminal is dumb."""
    for term in ("xterm", "dumb"):
        chat = home.open(TERM=term)
        chat.signal(signal.SIGTERM)
        assert chat.wait() == 128 + signal.SIGTERM


def test_closing_the_window_keeps_everything(home: Home, chat_server: Callable) -> None:
    """A terminal that is closed in an answer leaves it stored, and no process behind."""
    home.serve(chat_server(stall("half an answer")))
    chat = home.open()
    chat.say("tell me")
    chat.wait_for("half an answer")
    chat.hang_up()
    assert chat.wait() == 128 + signal.SIGHUP
    assert home.stored()[1] == ("assistant", "interrupted", "half an answer")


def test_closing_the_window_at_the_prompt(home: Home) -> None:
    """A terminal that is closed at the prompt leaves no process behind."""
    chat = home.open()
    chat.hang_up()
    assert chat.wait() in (0, 128 + signal.SIGHUP)


def test_the_terminal_is_left_as_it_was(home: Home, chat_server: Callable) -> None:
    """SIGTERM in an answer ends the chat, with what came stored and the terminal as it was before."""
    import termios

    home.serve(chat_server(stall("half")))
    chat = home.open()
    before = termios.tcgetattr(chat._master)
    chat.say("x")
    chat.wait_for("half")
    assert not termios.tcgetattr(chat._master)[3] & termios.ECHO
    chat.signal(signal.SIGTERM)
    assert chat.wait() == 128 + signal.SIGTERM
    assert home.stored()[1] == ("assistant", "interrupted", "half")
    after = termios.tcgetattr(chat._master)
    assert after[3] & termios.ECHO
    assert after[3] & termios.ICANON
    assert before is not after
