"""Stores as message histories of pydantic-ai, with its own agents and test model."""

import asyncio

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import (
    BinaryContent,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel as ScriptedTestModel

from omniagent_cli import open_store
from omniagent_cli.adapters.pydantic_ai import MessageHistory
from omniagent_cli.cli import main
from tests.stores.test_contract import CASES

TALK = [
    ModelRequest([SystemPromptPart("Be brief."), UserPromptPart("How tall is the minster?")], instructions="x"),
    ModelResponse([ThinkingPart("hm", signature="s"), TextPart("Let me see."), ToolCallPart("height", {"of": "minster"}, "c1"), ToolCallPart("height", '{"of": 1}', "c2")], model_name="m"),
    ModelRequest([ToolReturnPart("height", {"metres": 161}, "c1"), ToolReturnPart("height", "wrong", "c2")]),
    ModelResponse([TextPart("It has 161 metres.")]),
    ModelRequest([UserPromptPart(["And this?", BinaryContent(b"\x89PNG\0", media_type="image/png")])]),
    ModelResponse([]),
]  # fmt: skip


@pytest.fixture(params=["memory", "sqlite", "file", "redis", "postgres", "sqlite-both"])
def store(request, tmp_path):
    with CASES[request.param].open(tmp_path) as opened:
        yield opened


def test_messages_are_equal(store):
    """Model messages of every kind are loaded equal and in order, from another object too."""
    history = MessageHistory("s", store)
    assert history.load() == []
    history.append([])
    assert not store.exists("s")
    history.append(TALK[:1])
    asyncio.run(history.aappend(TALK[1:]))
    # Its own JSON form reads a picture back as a BinaryImage.
    expected = ModelMessagesTypeAdapter.validate_json(ModelMessagesTypeAdapter.dump_json(TALK))
    assert asyncio.run(MessageHistory("s", store).aload()) == expected


def test_an_agent_continues(store):
    """Two runs of agents of pydantic-ai share a history, and the second model gets what the first one said."""
    agent = Agent(ScriptedTestModel(custom_output_text="Rain."))

    @agent.tool_plain
    def weather(city: str) -> str:
        """Return the weather."""
        return f"rain in {city}"

    history = MessageHistory("s", store)
    first = asyncio.run(agent.run("How is Ulm?", message_history=history.load()))
    history.append(first.new_messages())
    got = []

    def answer(messages, info):
        got.extend(messages)
        return ModelResponse([TextPart("Yes.")])

    other = Agent(FunctionModel(answer))
    second = asyncio.run(other.run("Sure?", message_history=history.load()))
    history.append(second.new_messages())
    assert got[: len(first.all_messages())] == first.all_messages()
    assert history.load() == second.all_messages()
    roles = [message.role for message in store.messages("s")]
    assert roles == ["user", "assistant", "tool", "assistant", "user", "assistant"]


def test_messages_of_other_programs(store):
    """What the chat stored becomes the closest model messages, between those of pydantic-ai."""
    call = {"id": "c", "type": "function", "function": {"name": "ls", "arguments": '{"a": 1}'}}
    store.append("s", [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "x.txt", "tool_call_id": "c"},
        {"role": "assistant", "content": ""},
    ])  # fmt: skip
    history = MessageHistory("s", store)
    history.append(TALK[3:4])
    parts = [part for message in history.load() for part in message.parts]
    assert [part.part_kind for part in parts] == [
        "system-prompt",
        "user-prompt",
        "tool-call",
        "tool-return",
        "text",
    ]
    assert (parts[2].tool_name, parts[2].args, parts[3].tool_name) == ("ls", '{"a": 1}', "ls")


def test_what_the_user_sees(tmp_path, capsys, monkeypatch):
    """A session is listed by its question, shown with tool calls, and found by its words."""
    monkeypatch.setenv("OMNIAGENT_STORE", f"sqlite://{tmp_path}/s.db")
    with open_store(tmp_path / "s.db") as store:
        MessageHistory("s", store).append(TALK)
    assert main(["sessions", "list"]) == 0
    assert "How tall is the minster?" in capsys.readouterr().out
    assert main(["sessions", "show", "s"]) == 0
    shown = capsys.readouterr().out
    assert all(
        text in shown
        for text in ("Let me see.", "height", "161", "It has 161 metres.", "And this?")
    )
    assert main(["sessions", "search", "metres"]) == 0
    assert "161 metres" in capsys.readouterr().out
