"""`ask` through the Responses API: by the setting, and as a fallback."""

from __future__ import annotations

import base64
import json

import pytest

from tests.cli.asking import variables
from tests.servers.chat_server import answer, status
from tests.servers.fixtures import both_server, chat_server, responses_server
from tests.servers.responses_server import call, output, reasoning, text

__all__ = ["both_server", "chat_server", "responses_server"]

PNG = base64.b64decode(
    b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
REFUSED = (
    "Function tools with reasoning_effort are not supported for gpt-5.6-luna in /v1/chat/completions."
    " To use function tools, use /v1/responses or set reasoning_effort to 'none'."
)


@pytest.fixture
def ask(run, monkeypatch):
    """Ask a server with a script."""

    def ask(server, *argv, api="responses"):
        for name, value in variables(server).items():
            monkeypatch.setenv(name, value)
        if api:
            monkeypatch.setenv("OMNIAGENT_AGENT_API", api)
        return run("ask", *argv)

    return ask


def test_a_turn_with_tools_and_reasoning(ask, responses_server, store):
    """Tools run, the answer is printed and stored with its reasoning and counts, and the next turn sends it back."""
    server = responses_server(
        output(reasoning("I look."), call("sessions_list", {})),
        output(reasoning(), text("None.")),
        output(text("Bye.")),
    )
    ran = ask(server, "-s", "s", "Which sessions?")
    assert (ran.code, ran.out) == (0, "None.\n")
    assert ran.err.startswith("sessions_list() ok")
    assert ask(server, "-s", "s", "Thanks").out == "Bye.\n"
    messages = store.messages("s")
    assert [m.role for m in messages] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
        "assistant",
    ]
    assert messages[1].extra["thinking"] == "I look."
    assert messages[3].usage["reasoning_tokens"] == 2
    kinds = [item["type"] for item in server.chats()[2]["input"]]
    assert kinds.count("reasoning") == 2


def test_attachments_and_a_schema(ask, responses_server, tmp_path):
    """Pictures, PDF files and a schema go in the shapes of this protocol."""
    (tmp_path / "dot.png").write_bytes(PNG)
    (tmp_path / "page.pdf").write_bytes(b"%PDF-1.4\n%%EOF\n")
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    server = responses_server(output(text('{"a": 1}')))
    ran = ask(server, "--schema", json.dumps(schema), "-a", "dot.png", "-a", "page.pdf", "What?")
    assert (ran.code, ran.out) == (0, '{"a":1}\n')
    body = server.chats()[0]
    parts = [part["type"] for part in body["input"][-1]["content"]]
    assert parts == ["input_text", "input_image", "input_file"]
    assert body["text"]["format"]["schema"] == schema


def test_a_current_openai_model_answers_with_tools(ask, both_server):
    """The refusal that OpenAI's current models give is answered through Responses, and remembered by the next run."""
    server = both_server([status(400, REFUSED)], output(text("Hi")), output(text("Again")))
    ran = ask(server, "hello", api=None)
    assert (ran.code, ran.out, ran.err) == (0, "Hi\n", "")
    assert ask(server, "hello", api=None).out == "Again\n"
    asked = [request.path for request in server.requests]
    assert asked == ["/v1/chat/completions", "/v1/responses", "/v1/responses"]
    assert server.refused == []


def test_a_server_without_responses(ask, chat_server):
    """A server without the Responses API is called through Chat Completions; -v reports that."""
    server = chat_server(answer("Hi"))
    ran = ask(server, "-v", "hello")
    assert (ran.code, ran.out) == (0, "Hi\n")
    assert "fake-1 does not support this protocol; using Chat Completions" in ran.err


def test_a_protocol_that_does_not_exist(ask, run, responses_server):
    """A wrong value of the setting is refused with the right ones."""
    ran = ask(responses_server(), "hello", api="soap")
    assert ran.code == 2
    assert "OMNIAGENT_AGENT_API" in ran.err
    assert "responses" in ran.err
    assert run("config", "set", "agent.api", "soap").code == 2
    assert run("config", "set", "agent.api", "chat").code == 0
