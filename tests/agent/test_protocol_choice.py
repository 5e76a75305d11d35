"""Responses or Chat Completions: by the address, by the setting, and by what a server says."""

from __future__ import annotations

import pytest

from omniagent_cli.agent.events import Finished, Notice, TextDelta
from omniagent_cli.agent.models.engine_factory import open_engine
from omniagent_cli.agent.models.protocol_choice import ProtocolEngine, engine_for
from omniagent_cli.agent.models.protocol_memory import KEPT_SECONDS, ProtocolMemory
from omniagent_cli.agent.models.providers import PROVIDERS, Endpoint
from omniagent_cli.errors import ModelError, ModelRefused, ModelUnreachable, UsageError
from omniagent_cli.keys import KeyChain
from tests.agent.asking import ASK, KEY, ask
from tests.agent.responses_asking import WEATHER
from tests.servers.chat_server import answer, calls, chunk, document, status, stream
from tests.servers.responses_server import output, text

FUNCTIONS = (
    "Function tools with reasoning_effort are not supported for gpt-5.6-luna in /v1/chat/completions."
    " To use function tools, use /v1/responses or set reasoning_effort to 'none'."
)
USE_RESPONSES = {
    "function tools": status(400, FUNCTIONS),
    "deep research": status(404, "This model is only supported in v1/responses and not in v1/chat/completions."),
    "not a chat model": status(404, "This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean to use v1/completions?"),
    "gateway": status(400, "Unsupported legacy protocol: /v1/chat/completions is not supported. Please use /v1/responses."),
}  # fmt: skip
NO_SUCH_PATH = {
    "Ollama": document(b"404 page not found", "text/plain", 404),
    "vLLM": document(b'{"detail":"Not Found"}', "application/json", 404),
    "llama.cpp": status(404, {"code": 404, "message": "File Not Found", "type": "not_found_error"}),
    "LM Studio": document(b'{"error":"Unexpected endpoint or method. (POST /v1/x)"}', "application/json"),
    "Express": document(b"<html><pre>Cannot POST /v1/x</pre></html>", "text/html", 404),
    "OpenAI": status(404, "Invalid URL (POST /v1/x)"),
    "no method": document(b'{"detail":"Method Not Allowed"}', "application/json", 405),
    "not implemented": document(b"", "text/plain", 501),
    "web page": document(b"<html><title>Open WebUI</title></html>", "text/html"),
    "says so": status(400, "The responses endpoint is not available here. Use /v1/chat/completions."),
}  # fmt: skip


def new_engine(server, api=None, memory=None, provider="vllm", model="m"):
    endpoint = Endpoint(PROVIDERS[provider], model, server.url, KEY)
    return ProtocolEngine(endpoint, api=api, memory=memory, backoff_seconds=0.01)


def paths(server):
    return [request.path.removeprefix("/v1/") for request in server.requests]


@pytest.mark.parametrize(
    ("name", "url", "protocol"),
    [
        ("openai", None, "responses"),
        ("openai", "https://api.openai.com/v1", "responses"),
        ("openai", "https://eu.api.openai.com/v1", "responses"),
        ("openai", "https://api.openai.com.example.org/v1", "chat"),
        ("openai", "http://127.0.0.1:9/v1", "chat"),
        ("vllm", None, "chat"),
        ("xai", None, "chat"),
        ("vllm", "https://api.openai.com/v1", "chat"),
    ],
)
def test_the_address_decides(name, url, protocol):
    """OpenAI is called through Responses, every other address through Chat Completions."""
    engine = open_engine(f"{name}:m", base_url=url, keys=KeyChain(environ={}))
    assert engine.protocol == protocol


def test_the_setting_decides():
    """A protocol that is named comes first; one that does not exist is refused."""
    keys = KeyChain(environ={})
    assert open_engine("vllm:m", api="responses", keys=keys).protocol == "responses"
    assert open_engine("openai:m", api="chat", keys=keys).protocol == "chat"
    with pytest.raises(UsageError, match="unknown api 'soap': choose responses or chat"):
        open_engine("vllm:m", api="soap", keys=keys)


@pytest.mark.parametrize("refusal", USE_RESPONSES.values(), ids=USE_RESPONSES)
def test_a_model_that_needs_responses(both_server, refusal):
    """A model that Chat Completions refuses is called through Responses, with its tools, in the same request."""
    server = both_server([refusal], output(text("Hi")), output(text("Again")))
    engine = new_engine(server)
    events = ask(engine, tools=[WEATHER.definition()])
    assert isinstance(events[0], Notice)
    assert events[0].detail
    assert events[0].text.startswith("m does not support this protocol; using the Responses API: ")
    assert events[1] == TextDelta("Hi")
    assert ask(engine)[0] == TextDelta("Again")
    assert paths(server) == ["chat/completions", "responses", "responses"]
    assert server.chats()[1]["tools"][0]["name"] == "weather"
    assert server.refused == []


@pytest.mark.parametrize("refusal", NO_SUCH_PATH.values(), ids=NO_SUCH_PATH)
@pytest.mark.parametrize("api", ["responses", "chat"])
def test_a_server_without_the_path(both_server, api, refusal):
    """A server that has one of the two paths is called through that one, in the same request and from then on."""
    if api == "chat" and refusal is NO_SUCH_PATH["says so"]:
        refusal = USE_RESPONSES["gateway"]
    chat = [refusal] if api == "chat" else [answer("Hi"), answer("Again")]
    script = [refusal] if api == "responses" else [output(text("Hi")), output(text("Again"))]
    server = both_server(chat, *script)
    engine = new_engine(server, api)
    assert [e for e in ask(engine) if isinstance(e, TextDelta)] == [TextDelta("Hi")]
    assert ask(engine)[0] == TextDelta("Again")
    first, other = (
        ("chat/completions", "responses") if api == "chat" else ("responses", "chat/completions")
    )
    assert paths(server) == [first, other, other]


def test_tool_rounds_after_a_change(chat_server):
    """The tool rounds of a turn continue through the other protocol."""
    from omniagent_cli import Agent

    server = chat_server(calls(("weather", {"city": "Paris"})), answer("Rain."))
    with Agent(new_engine(server, "responses"), tools=[WEATHER]) as agent:
        assert agent.process("Weather?") == "Rain."
    assert paths(server) == ["responses", "chat/completions", "chat/completions"]


MISSING = {
    "OpenAI": {"message": "The model `m` does not exist or you do not have access to it.", "code": "model_not_found"},
    "Ollama": "model 'm' not found",
    "vLLM": "The model `m` does not exist.",
    "Azure": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."},
}  # fmt: skip


@pytest.mark.parametrize("said", MISSING.values(), ids=MISSING)
@pytest.mark.parametrize("api", ["responses", "chat"])
def test_a_missing_model_is_not_asked_for_twice(both_server, api, said):
    """A model that is not there is not looked for through the other protocol."""
    server = both_server([status(404, said)], status(404, said))
    with pytest.raises(ModelRefused, match="has no model m"):
        ask(new_engine(server, api))
    assert len(server.requests) == 1


def test_nothing_speaks_to_a_model(both_server):
    """When both protocols are refused, the first refusal is the error."""
    server = both_server([status(404, "first")], status(404, "second"))
    with pytest.raises(ModelRefused, match="first"):
        ask(new_engine(server))
    server = both_server([status(404, "first")], status(403, "second"))
    with pytest.raises(ModelRefused, match="first"):
        ask(new_engine(server))
    server = both_server([status(400, FUNCTIONS)], status(403, "second"))
    with pytest.raises(ModelRefused, match="second"):
        ask(new_engine(server))


NO_EFFORT = status(400, "Unsupported value: 'none' is not supported with this model. Supported values are: 'low'.")  # fmt: skip


def test_tools_where_responses_is_missing(both_server):
    """A model that wants Responses for tools is called without reasoning where its server has no such path."""
    chat = [*[status(400, FUNCTIONS)] * 2, answer("Hi"), answer("Again")]
    server = both_server(chat, NO_SUCH_PATH["vLLM"])
    engine = new_engine(server)
    events = ask(engine, tools=[WEATHER.definition()])
    told = [event.text for event in events if isinstance(event, Notice) and not event.detail]
    assert told == [f"m is called without reasoning, which its server does not combine with tools: {FUNCTIONS[:-1]}"]  # fmt: skip
    assert TextDelta("Hi") in events
    assert server.chats()[-1]["reasoning_effort"] == "none"
    assert server.chats()[-1]["tools"]
    assert ask(engine, tools=[WEATHER.definition()])[0] == TextDelta("Again")


def test_tools_where_nothing_takes_them(both_server):
    """A model that refuses tools with and without reasoning is called without them."""
    chat = [*[status(400, FUNCTIONS)] * 2, NO_EFFORT, answer("Hi")]
    server = both_server(chat, NO_SUCH_PATH["vLLM"])
    events = ask(new_engine(server), tools=[WEATHER.definition()])
    assert TextDelta("Hi") in events
    assert any(
        "does not support tools" in event.text for event in events if isinstance(event, Notice)
    )
    assert not {"tools", "reasoning_effort"} & server.chats()[-1].keys()


MENTIONS = [
    {"error": {"message": "use /v1/responses", "code": 400}},
    {"error": "Unexpected endpoint or method. (POST /v1/chat/completions)"},
]


@pytest.mark.parametrize("error", MENTIONS, ids=["code", "text"])
def test_an_answer_that_began_is_not_asked_for_again(both_server, error):
    """Whatever a server says in the middle of an answer, the request is not sent a second time."""
    server = both_server([stream(chunk(content="Once"), error)])
    seen = []
    with pytest.raises(ModelError):
        ask(new_engine(server), seen=seen)
    assert seen == [TextDelta("Once")]
    assert len(server.requests) == 1


def test_a_failure_of_the_other_is_the_error(both_server):
    """A server that is overloaded in the other protocol is retried, and the error says so."""
    overloaded = [status(503, "busy")] * 3
    server = both_server([status(400, FUNCTIONS)], *overloaded)
    with pytest.raises(ModelUnreachable, match="busy"):
        ask(new_engine(server))
    assert paths(server) == ["chat/completions", *["responses"] * 3]


# What is remembered.


def test_it_is_remembered_in_a_file(chat_server, tmp_path):
    """Another process begins with the protocol that was found, for this address and model alone."""
    path = tmp_path / "cache" / "protocols.json"
    server = chat_server(answer("a"), answer("b"), answer("c"))
    ask(new_engine(server, "responses", ProtocolMemory(path)))
    assert path.stat().st_mode & 0o777 == 0o600
    assert KEY not in path.read_text()
    ask(new_engine(server, "responses", ProtocolMemory(path)))
    ask(new_engine(server, "responses", ProtocolMemory(path), model="other"))
    both = ["responses", "chat/completions"]
    assert paths(server) == [*both, "chat/completions", *both]


def test_refused_reasoning_is_remembered(responses_server, tmp_path):
    """A model that has no reasoning costs one refused request a day, not one for each run."""
    path = tmp_path / "p.json"
    refused = status(400, "Encrypted content is not supported with this model.")
    server = responses_server(refused, output(text("a")), output(text("b")))
    for _ in range(2):
        ask(new_engine(server, "responses", ProtocolMemory(path)))
    assert len(server.requests) == 3
    assert "include" not in server.chats()[2]
    assert "reasoning" not in server.chats()[2]


def test_it_is_forgotten_after_a_day(chat_server, tmp_path):
    """A server that has learned Responses since is found out after a day."""
    now = [1000.0]
    memory = ProtocolMemory(tmp_path / "p.json", clock=lambda: now[0])
    engine = new_engine(chat_server(answer("a")), "responses", memory)
    ask(engine)
    now[0] += KEPT_SECONDS - 1
    assert engine.protocol == "chat"
    now[0] += 1
    assert engine.protocol == "responses"


def test_it_is_forgotten_when_it_fails(both_server, tmp_path):
    """A server that does not speak the remembered protocol any more is called through the first again."""
    path = tmp_path / "p.json"
    server = both_server([answer("a"), status(404, "")], status(404, ""), output(text("b")))
    ask(new_engine(server, "responses", ProtocolMemory(path)))
    ask(new_engine(server, "responses", ProtocolMemory(path)))
    assert paths(server) == ["responses", "chat/completions", "chat/completions", "responses"]
    assert path.read_text() == "{}"


def test_a_failed_change_is_not_remembered(both_server, tmp_path):
    """Only a protocol that gave an answer is remembered."""
    path = tmp_path / "p.json"
    server = both_server([status(400, FUNCTIONS)], output(after=[b"data: {oops\n\n"]))
    with pytest.raises(ModelError):
        ask(new_engine(server, memory=ProtocolMemory(path)))
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"k": 1}',
        b'{"k": ["chat", "x"]}',
        b'{"k": ["soap", 1e12]}',
        b"[" * 99_999,
    ],
)
def test_a_broken_file_is_no_trouble(chat_server, tmp_path, content):
    """What is not a memory is ignored, and replaced."""
    path = tmp_path / "p.json"
    server = chat_server(answer("a"))
    key = f"responses {server.url} m"
    path.write_bytes(content.replace(b'"k"', f'"{key}"'.encode()))
    end = ask(new_engine(server, "responses", ProtocolMemory(path)))[-1]
    assert isinstance(end, Finished)
    assert list(ProtocolMemory(path)._entries()) == [key]


def test_a_directory_that_cannot_be_written(chat_server, tmp_path):
    """Without a place for the memory everything works; it is learned again each time."""
    (tmp_path / "file").write_text("")
    memory = ProtocolMemory(tmp_path / "file" / "p.json")
    engine = new_engine(chat_server(answer("a"), answer("b")), "responses", memory)
    assert ask(engine)[-1].text == "a"
    assert engine.protocol == "chat"


def test_the_library_writes_no_files(chat_server, home):
    """Without a path nothing is written anywhere."""
    server = chat_server(answer("a"))
    endpoint = Endpoint(PROVIDERS["vllm"], "m", server.url, KEY)
    ask(engine_for(endpoint, api="responses"), ASK)
    assert list(home.rglob("*")) == []
