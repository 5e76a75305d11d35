"""Tools that write or destroy ask first."""

from __future__ import annotations

import pytest

from omniagent_cli.agent.loop import Agent
from omniagent_cli.agent.tools import Tool
from omniagent_cli.testing.scripted import Say, ScriptedModel
from tests.repl.talk import CTRL_C, CTRL_D, Talk

PARAMETERS = {"type": "object", "properties": {"what": {"type": "string"}}}


@pytest.fixture
def wiped() -> list[str]:
    """What the tool has wiped."""
    return []


@pytest.fixture
def wiping(talk: Talk, wiped: list[str]):
    """Make agents whose model wipes a thing in each turn, then says so."""

    def wipe(what: str) -> str:
        wiped.append(what)
        return "wiped"

    def make(*things: str):
        steps = [
            step for thing in things for step in (Say(calls=[("wipe", {"what": thing})]), "ok")
        ]
        tool = Tool("wipe", "Wipes.", wipe, PARAMETERS, effect="destroy")
        return lambda _tell: Agent(ScriptedModel(*steps), store=talk.store, tools=[tool])

    return make


@pytest.mark.parametrize(("answer", "done"), [("y", ["a"]), ("n", []), ("", []), ("always", ["a"])])
def test_a_tool_asks(talk: Talk, wiping, wiped: list[str], answer: str, done: list[str]) -> None:
    """Only a yes lets a tool destroy; the turn goes on either way."""
    talk.chat("wipe a", answer, open_agent=wiping("a"))
    assert wiped == done
    assert talk.texts()[-1] == "ok"


def test_always_is_for_this_chat(talk: Talk, wiping, wiped: list[str]) -> None:
    """After always, the same tool asks no more in this chat, but in the next one."""
    talk.chat("one", "a", "two", open_agent=wiping("x", "y"))
    talk.chat("three", "n", open_agent=wiping("z"))
    assert wiped == ["x", "y"]


def test_leaving_the_question_stops_the_turn(talk: Talk, wiping, wiped: list[str]) -> None:
    """Ctrl-C at the question refuses and stops the turn; what came is kept."""
    talk.chat(keys=f"wipe\r{CTRL_C}next\r{CTRL_D}", open_agent=wiping("a", "b"))
    assert wiped == []
    roles = [message.role for message in talk.store.messages("user-123")]
    assert roles[:3] == ["user", "assistant", "tool"]
    assert "interrupted" in talk.err


def test_settings_allow_beforehand(talk: Talk, wiping, wiped: list[str]) -> None:
    """A tool that tools.allow names asks nobody."""
    talk.flags = {"tools.allow": ["wipe"]}
    talk.chat("wipe a", open_agent=wiping("a"))
    assert wiped == ["a"]
