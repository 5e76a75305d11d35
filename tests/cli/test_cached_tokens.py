"""Tokens read from and written to a provider's cache: counted alike through every protocol, and shown everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.agent.native_asking import BY_NAME, Servers
from tests.servers import anthropic_server
from tests.servers.chat_server import ChatServer, answer
from tests.servers.responses_server import ResponsesServer, output, text

CHAT = {
    "prompt_tokens": 112,
    "completion_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 7},
}
RESPONSES = {
    "input_tokens": 112,
    "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 7},
    "output_tokens": 12,
}


@pytest.fixture(params=["chat", "responses", "native"])
def variables(request) -> Iterator[dict[str, str]]:
    """The environment of a server that answers twice and reports cached tokens, in each protocol."""
    if request.param == "native":
        with closing(Servers()) as servers:
            reply = anthropic_server.answer("Hi")
            server = servers(BY_NAME["anthropic"], reply, reply)
            yield {
                "OMNIAGENT_MODEL": f"anthropic:{anthropic_server.MODEL}",
                "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{server.port}",
                "ANTHROPIC_API_KEY": "sk-ant-of-mine-0123456789",
            }
        return
    if request.param == "chat":
        other = ChatServer(*[answer("Hi", usage=CHAT)] * 2)
    else:
        other = ResponsesServer(*[output(text("Hi"), usage=RESPONSES)] * 2)
    with other as server:
        yield {
            "OMNIAGENT_MODEL": "openai:gpt-6.1-sol",
            "OMNIAGENT_AGENT_API": request.param,
            "OPENAI_BASE_URL": server.url,
            "OPENAI_API_KEY": "sk-of-mine",
        }


def test_cached_tokens_are_shown(run, person, variables, monkeypatch):
    """`ask --json`, `show --json`, `stats` and `/usage` have the tokens read from the cache and written to it."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    used = run("ask", "-s", "s", "--json", "hi").json["usage"]
    assert (used["input_tokens"], used["cached_tokens"], used["cache_write_tokens"]) == (
        112,
        100,
        7,
    )
    assert run("sessions", "show", "s", "--json").json["messages"][1]["usage"] == used
    run("ask", "-s", "s", "again")
    used = run("sessions", "show", "s", "--json").json["usage"]
    assert (used["input_tokens"], used["cached_tokens"], used["cache_write_tokens"]) == (
        224,
        200,
        14,
    )
    (model,) = run("sessions", "stats", "--json").json["models"]
    assert (model["cached_tokens"], model["cache_write_tokens"]) == (200, 14)
    with person("chat", "-s", "s", **variables) as chat:
        chat.wait_prompt(1)
        chat.say("/usage")
        shown = chat.wait_for("Last turn:")
    assert re.search(r"ANSWERS +INPUT +CACHED +CACHE WRITE +OUTPUT", shown)
    assert re.search(r" 2 +224 +200 +14 +\d+", shown)
    assert "Last turn: 112 tokens in (100 cached, 7 to the cache)" in shown
