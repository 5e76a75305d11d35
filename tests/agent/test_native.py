"""The native engines against servers that speak each provider's own protocol, as its documentation has it."""

from __future__ import annotations

import asyncio
import json

import pytest

from omniagent_cli.agent.events import Finished, ModelSettings, Notice, TextDelta, ThinkingDelta
from omniagent_cli.errors import ModelRefused, ModelUnreachable, UsageError
from tests.agent.asking import ASK, KEY, ask
from tests.agent.native_asking import BY_NAME, PROTOCOLS
from tests.servers.chat_server import STALL

USAGE = {
    "anthropic": {
        "input_tokens": 112,
        "output_tokens": 42,
        "cached_tokens": 100,
        "cache_write_tokens": 7,
    },
    "gemini": {
        "input_tokens": 112,
        "output_tokens": 42,
        "cached_tokens": 100,
        "reasoning_tokens": 4,
    },
    "mistral": {"input_tokens": 112, "output_tokens": 42},
    "groq": {"input_tokens": 112, "output_tokens": 42},
}
USAGE["bedrock"] = USAGE["anthropic"]
PNG = "iVBORw0KGgo="
TOOL = {
    "type": "function",
    "function": {
        "name": "free",
        "description": "Which room is free.",
        "parameters": {
            "type": "object",
            "properties": {"day": {"type": "string"}},
            "required": ["day"],
        },
    },
}


@pytest.fixture(params=PROTOCOLS, ids=lambda protocol: protocol.name)
def protocol(request):
    """Each of the protocols."""
    return request.param


def test_streams_text_and_finishes(protocol, native_server):
    """Every piece comes in order, the first one too, and the end carries text, reason, counts and model."""
    server = native_server(protocol, protocol.speaks.answer("Hel", "lo ", "Ada"))
    *deltas, end = ask(protocol.engine(server))
    assert deltas == [TextDelta("Hel"), TextDelta("lo "), TextDelta("Ada")]
    assert (end.reason, end.text, end.tool_calls) == ("stop", "Hello Ada", ())
    assert dict(end.usage) == USAGE[protocol.name]
    assert end.model == protocol.model
    assert end.extra == {}


def test_thinking_is_told_apart(protocol, native_server):
    """Thinking comes as such, is kept beside the answer, and says whose it is."""
    server = native_server(protocol, protocol.speaks.answer("17.", thinking=["Let me ", "see."]))
    *deltas, end = ask(protocol.engine(server))
    thoughts = [delta.text for delta in deltas if isinstance(delta, ThinkingDelta)]
    assert "".join(thoughts) == "Let me see."
    assert [delta for delta in deltas if isinstance(delta, TextDelta)] == [TextDelta("17.")]
    assert end.text == "17."
    assert (end.extra["thinking"], end.extra["provider"]) == ("Let me see.", protocol.name)


def test_calls_of_tools_keep_every_byte(protocol, native_server):
    """Arguments are kept as they were sent, blanks included; calls side by side keep their order."""
    wanted = [("free", '{"day":  "Monday é"}'), ("book", '{"room": 17, "guests": ["Ada"]}')]
    server = native_server(protocol, protocol.speaks.calls(*wanted, text="Looking."))
    end = ask(protocol.engine(server), tools=[TOOL])[-1]
    assert (end.reason, end.text) == ("tool_calls", "Looking.")
    made = [(c["function"]["name"], c["function"]["arguments"]) for c in end.tool_calls]
    if protocol.name == "gemini":  # it sends objects, not their text
        made = [(name, json.loads(arguments)) for name, arguments in made]
        wanted = [(name, json.loads(arguments)) for name, arguments in wanted]
    assert made == wanted
    assert len({call["id"] for call in end.tool_calls}) == 2
    assert all(call["type"] == "function" for call in end.tool_calls)


@pytest.mark.parametrize("finish", ["stop", "length", "content_filter"])
def test_reasons_of_the_end(protocol, finish, native_server):
    """The end of an answer is told by the same words whoever answered."""
    if finish == "content_filter" and protocol.name in ("mistral", "groq"):
        finish = "stop"  # their protocols have no such end
    server = native_server(protocol, protocol.speaks.answer("Hi", finish=finish))
    assert ask(protocol.engine(server))[-1].reason == finish


def test_asks_as_told(protocol, native_server):
    """The question, the system prompt, the tools and the key go where the protocol has them, and nothing else goes."""
    server = native_server(protocol)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    ask(protocol.engine(server), messages, tools=[TOOL], settings=ModelSettings(max_tokens=77))
    (request,) = server.requests
    body = json.dumps(request.body)
    for part in ("Be brief.", "Hi", '"free"', "Which room is free.", "77", '"required": ["day"]'):
        assert part in body
    assert "temperature" not in body
    name, value = protocol.key_header
    assert request.headers[name] == value
    assert request.headers["user-agent"].startswith("omniagent")
    plain = {"host", "accept", "accept-encoding", "connection", "content-type", "content-length"}
    own = {"anthropic-version", "user-agent", name}
    amazon = {"amz-sdk-invocation-id", "amz-sdk-request"}
    assert set(request.headers) <= plain | own | amazon


def test_without_a_key_none_is_sent(protocol, native_server, monkeypatch):
    """A server on this machine is asked without a key, and no other variable stands in for it."""
    for name in ("ANTHROPIC_AUTH_TOKEN", "GOOGLE_API_KEY", "GROQ_API_KEY", "MISTRAL_API_KEY"):
        monkeypatch.setenv(name, "sk-of-somebody-else")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    server = native_server(protocol)
    ask(protocol.engine(server, key=""))
    headers = server.requests[0].headers
    assert "sk-of-somebody-else" not in str(headers)
    name, _ = protocol.key_header
    if protocol.name == "bedrock":  # signs in as Amazon's own tools do
        assert headers[name].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    else:
        assert name not in headers


@pytest.mark.parametrize("name", ["anthropic", "gemini", "mistral", "groq"])
def test_the_own_address_wants_a_key(name):
    """Without a key nobody is asked, and what to do is said."""
    from omniagent_cli.agent.models.providers import PROVIDERS, Endpoint
    from omniagent_cli.agent.native.engine import NativeEngine

    provider = PROVIDERS[name]
    endpoint = Endpoint(provider, "m", provider.native_url, native=True)
    with pytest.raises(ModelUnreachable, match=f"omniagent keys set {name}"):
        ask(NativeEngine(endpoint))


def test_results_go_back_with_their_calls(protocol, native_server):
    """A call and its result are sent as the protocol pairs them, with an id it takes."""
    call = {
        "id": "call:1 é",
        "type": "function",
        "function": {"name": "free", "arguments": '{"day": "Monday"}'},
    }
    messages = [
        {"role": "user", "content": "Which room?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "17 is free", "name": "free", "tool_call_id": "call:1 é"},
    ]
    server = native_server(protocol)
    ask(protocol.engine(server), messages, tools=[TOOL])
    said = protocol.speaks.said(server.chats()[0])
    assert len(said) == 3
    made, result = json.dumps(said[1][1]), json.dumps(said[2])
    assert "Monday" in made
    assert "17 is free" in result
    sent = server.chats()[0]
    ids = {
        "anthropic": lambda: (said[1][1][0]["id"], said[2][1][0]["tool_use_id"]),
        "bedrock": lambda: (
            said[1][1][0]["toolUse"]["toolUseId"],
            said[2][1][0]["toolResult"]["toolUseId"],
        ),
        "gemini": lambda: (
            said[1][1][0]["functionCall"]["id"],
            said[2][1][0]["functionResponse"]["id"],
        ),
    }.get(
        protocol.name,
        lambda: (sent["messages"][1]["tool_calls"][0]["id"], sent["messages"][2]["tool_call_id"]),
    )
    first, second = ids()
    assert first == second
    if protocol.name == "mistral":
        assert len(first) == 9


def test_sides_alternate(protocol, native_server):
    """Questions in a row, as of turns that were taken back in part, are one message where a protocol wants that."""
    messages = [
        {"role": "user", "content": "One"},
        {"role": "user", "content": "Two"},
        {"role": "assistant", "content": "A"},
        {"role": "assistant", "content": "B"},
        {"role": "user", "content": "Three"},
    ]
    server = native_server(protocol)
    ask(protocol.engine(server), messages)
    said = protocol.speaks.said(server.chats()[0])
    assert [
        text for text in ("One", "Two", "A", "B", "Three") if text not in json.dumps(said)
    ] == []
    if protocol.name in ("anthropic", "bedrock", "gemini"):
        assert len(said) == 3


@pytest.mark.parametrize("kind", ["image", "file"])
def test_what_is_attached_goes_along(protocol, kind, native_server):
    """A picture and a PDF file go with the question, in the protocol's own shape; who takes none refuses by name."""
    url = f"data:{'image/png' if kind == 'image' else 'application/pdf'};base64,{PNG}"
    part = {"type": "image_url", "image_url": {"url": url}}
    if kind == "file":
        part = {"type": "file", "file": {"filename": "a.pdf", "file_data": url}}
    server = native_server(protocol)
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}]
    if (protocol.name, kind) == ("groq", "file"):
        with pytest.raises(ModelRefused):
            ask(protocol.engine(server), messages)
        return
    ask(protocol.engine(server), messages)
    ((who, content),) = protocol.speaks.said(server.chats()[0])
    assert who == "user"
    assert "What is it?" in json.dumps(content[0])
    assert PNG in json.dumps(content[1])


def test_half_characters_are_told_as_such(protocol, native_server):
    """A lone half of a character, from a broken tool, does not break the question."""
    server = native_server(protocol)
    ask(protocol.engine(server), [{"role": "user", "content": "lone \ud800 é"}])
    assert "lone \N{REPLACEMENT CHARACTER} é" in str(protocol.speaks.said(server.chats()[0]))


def test_broken_arguments_go_back_as_an_object(protocol, native_server):
    """Arguments that are no JSON, which a model once sent, do not make the session unusable."""
    call = {"id": "c", "type": "function", "function": {"name": "free", "arguments": '{"day": '}}
    messages = [
        {"role": "user", "content": "Which?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "the arguments are no JSON", "tool_call_id": "c"},
    ]
    server = native_server(protocol)
    assert isinstance(ask(protocol.engine(server), messages)[-1], Finished)
    assert "day" in json.dumps(protocol.speaks.said(server.chats()[0]))


SETTINGS = {
    "anthropic": {"temperature": None, "max_tokens": 500},
    "gemini": {"temperature": 0.5, "maxOutputTokens": 500, "seed": 7},
    "bedrock": {"maxTokens": 500},
    "mistral": {"temperature": 0.5, "max_tokens": 500, "random_seed": 7},
    "groq": {"temperature": 0.5, "max_tokens": 500, "seed": 7},
}


def test_settings_go_by_the_names_of_the_protocol(protocol, native_server):
    """What is asked for is sent by the provider's names; what it has not is left out and told once."""
    server = native_server(protocol)
    engine = protocol.engine(server)
    settings = ModelSettings(temperature=0.5, max_tokens=500, seed=7)
    first, second = ask(engine, settings=settings), ask(engine, settings=settings)
    body = server.chats()[0]
    flat = {**body, **body.get("generationConfig", {}), **body.get("inferenceConfig", {})}
    assert {name: flat.get(name) for name in SETTINGS[protocol.name]} == SETTINGS[protocol.name]
    told = {
        event.text.split(" does not support ")[1].split(";")[0]
        for event in first
        if isinstance(event, Notice)
    }
    assert told == {
        "anthropic": {"temperature", "seed"},
        "bedrock": {"seed"},
    }.get(protocol.name, set())
    assert not [event for event in second if isinstance(event, Notice)]


def test_reasoning_effort_is_the_protocols_own(protocol, native_server):
    """How long a model may think is one setting of ours and another of each provider."""
    server = native_server(protocol)
    ask(protocol.engine(server), settings=ModelSettings(reasoning_effort="low", max_tokens=9000))
    body = server.chats()[0]
    sent = {
        "anthropic": lambda: body["output_config"]["effort"],
        "gemini": lambda: str(body["generationConfig"]["thinkingConfig"]["thinking_level"]),
        "bedrock": lambda: body["additionalModelRequestFields"]["output_config"]["effort"],
        "mistral": lambda: "low" if body["reasoning_effort"] == "high" else "",  # it has one level
        "groq": lambda: body["reasoning_effort"],
    }[protocol.name]
    assert sent().lower() == "low"


def test_a_model_that_does_not_think_is_told(native_server):
    """Effort for a model without thinking is left out, and that is said."""
    groq = BY_NAME["groq"]
    server = native_server(groq)
    engine = groq.engine(server, model="llama-3.3-70b-versatile")
    told = ask(engine, settings=ModelSettings(reasoning_effort="high"))[0]
    assert told == Notice(
        "llama-3.3-70b-versatile does not support reasoning_effort; sending the request without it"
    )
    assert "reasoning_effort" not in server.chats()[0]


def test_an_effort_that_there_is_none_of(native_server):
    """A word that is no effort is a mistake of whoever set it."""
    groq = BY_NAME["groq"]
    with pytest.raises(UsageError, match="unknown reasoning_effort 'a lot'; must be one of none,"):
        ask(groq.engine(native_server(groq)), settings=ModelSettings(reasoning_effort="a lot"))


SCHEMA = {
    "type": "object",
    "properties": {"room": {"type": "integer"}},
    "required": ["room"],
    "additionalProperties": False,
}


def test_a_schema_is_asked_for(protocol, native_server):
    """The answer is held to a schema where the model can be, and else it is told in words."""
    server = native_server(protocol, protocol.speaks.answer('{"room": 17}'))
    end = ask(protocol.engine(server), settings=ModelSettings(schema=SCHEMA))[-1]
    assert end.text == '{"room": 17}'
    assert "room" in json.dumps(server.chats()[0])


def test_cancelling_hangs_up(protocol, native_server):
    """Ctrl-C ends the request: the server sees that nobody listens any more."""
    server = native_server(protocol, protocol.speaks.partial("Hel", STALL))

    async def run():
        engine = protocol.engine(server)
        events = engine.stream(ASK, (), ModelSettings())
        assert await anext(events) == TextDelta("Hel")
        task = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await events.aclose()
        await engine.aclose()

    asyncio.run(run())
    assert server.wait_hangup()


def test_nothing_is_printed(protocol, native_server, capfd, monkeypatch):
    """The libraries below say nothing on the screen, whatever they think of the surroundings."""
    monkeypatch.setenv("GOOGLE_API_KEY", "one")
    monkeypatch.setenv("GEMINI_API_KEY", "two")
    server = native_server(protocol, protocol.speaks.status(400), protocol.speaks.answer("Hi"))
    engine = protocol.engine(server)
    with pytest.raises(ModelRefused):
        ask(engine)
    ask(engine)
    assert capfd.readouterr() == ("", "")


def test_a_proxy_does_not_stand_before_this_machine(protocol, native_server, monkeypatch):
    """Proxy variables do not apply to a server here, where no proxy can help."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server = native_server(protocol, protocol.speaks.answer("Hi"))
    assert ask(protocol.engine(server))[-1].text == "Hi"


def test_an_engine_lives_in_one_loop_after_another(protocol, native_server):
    """The connections of an ended loop are not used in the next."""
    server = native_server(protocol, protocol.speaks.answer("A"), protocol.speaks.answer("B"))
    engine = protocol.engine(server)
    assert [ask(engine)[-1].text, ask(engine)[-1].text] == ["A", "B"]


def test_the_key_is_not_shown(protocol):
    """The text form of an engine's endpoint does not hold its key."""
    from omniagent_cli.agent.models.providers import PROVIDERS, Endpoint

    assert KEY not in repr(Endpoint(PROVIDERS[protocol.name], "m", "http://127.0.0.1", KEY))
