"""What each provider wants differently, from the shapes they publish."""

from __future__ import annotations

import json
import re

import pytest

from omniagent_cli.agent.events import ModelSettings, Notice, ThinkingDelta
from omniagent_cli.agent.models.providers import PROVIDERS, Endpoint
from omniagent_cli.agent.models.request_body import chat_request_body
from omniagent_cli.errors import ModelRefused
from tests.agent.asking import ASK, KEY, ask, engine_for
from tests.servers.chat_server import answer, chunk, document, status, stream

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
CALL = {"id": "call_1234567890", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def asked(provider, *messages, model="m", settings=None):
    """Return the messages a provider would be sent."""
    endpoint = Endpoint(PROVIDERS[provider], model, PROVIDERS[provider].base_url)
    return chat_request_body(endpoint, messages, (), settings or ModelSettings())["messages"]


def test_openrouters_reasoning_goes_back_whole(chat_server):
    """Blocks of thinking are put together from their pieces, and sent back to OpenRouter alone."""
    text = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    sealed = {"type": "reasoning.encrypted", "data": "c2VhbA==", "id": "r1", "index": 1}
    pieces = [
        chunk(reasoning="Let ", reasoning_details=[{**text, "text": "Let "}]),
        chunk(reasoning="me", reasoning_details=[{**text, "text": "me"}, "odd"]),
        chunk(reasoning_details=[{**text, "text": "", "signature": "sig"}]),
        chunk(reasoning_details=[sealed]),
        chunk("stop", content="Hi"),
    ]
    events = ask(engine_for(chat_server(stream(*pieces)), "openrouter", KEY))
    end = events[-1]
    details = [{**text, "text": "Let me", "signature": "sig"}, sealed]
    assert [e.text for e in events if isinstance(e, ThinkingDelta)] == ["Let ", "me"]
    assert end.extra == {
        "thinking": "Let me",
        "reasoning_details": details,
        "provider": "openrouter",
    }
    stored = {"role": "assistant", "content": "Hi", "extra": dict(end.extra)}
    assert asked("openrouter", stored)[0]["reasoning_details"] == details
    for other in ("openai", "deepseek", "vllm", "gemini"):
        assert asked(other, stored) == [{"role": "assistant", "content": "Hi"}]


def test_thinking_told_in_details_alone_is_shown(chat_server):
    """A summary that comes only as a detail is thinking too."""
    detail = {"type": "reasoning.summary", "summary": "hm", "index": 0}
    events = ask(engine_for(chat_server(stream(chunk(reasoning_details=[detail]), chunk("stop")))))
    assert events[0] == ThinkingDelta("hm")


def test_googles_signature_of_a_text_goes_back(chat_server):
    """A signature on the answer itself is kept for Google, and a marked thought is no text."""
    parts = [
        chunk(content="hm", extra_content={"google": {"thought": True}}),
        chunk(content="Hi"),
        chunk("stop", content="", extra_content={"google": {"thought_signature": "s"}}),
    ]
    end = ask(engine_for(chat_server(stream(*parts)), "gemini", KEY))[-1]
    signed = {"google": {"thought_signature": "s"}}
    assert (end.text, end.extra) == (
        "Hi",
        {"thinking": "hm", "extra_content": signed, "provider": "gemini"},
    )
    stored = {"role": "assistant", "content": "Hi", "extra": dict(end.extra)}
    assert asked("gemini", stored)[0]["extra_content"] == signed
    assert "extra_content" not in asked("vllm", stored)[0]


def test_calls_of_another_model_are_marked_for_gemini():
    """Gemini 3 refuses calls without a signature; the documented stand-in is on the first, where there is none."""
    signed = {**CALL, "extra_content": {"google": {"thought_signature": "s"}}}
    for model, calls, expected in (
        ("gemini-3-pro-preview", [CALL, CALL], ["skip_thought_signature_validator", None]),
        ("gemini-3-pro-preview", [signed, CALL], ["s", None]),
        ("gemini-2.5-flash", [CALL], [None]),
    ):
        (sent,) = asked("gemini", {"role": "assistant", "tool_calls": calls}, model=model)
        marks = [
            call.get("extra_content", {}).get("google", {}).get("thought_signature")
            for call in sent["tool_calls"]
        ]
        assert marks == expected


@pytest.mark.parametrize(
    ("provider", "model", "rule"),
    [
        ("mistral", "mistral-medium-latest", "[a-zA-Z0-9]{9}"),
        ("vllm", "mistralai/Devstral-Small-2507", "[a-zA-Z0-9]{9}"),
        ("anthropic", "claude-sonnet-5-5", "[a-zA-Z0-9_-]{1,64}"),
        ("openai", "gpt-6.1-sol", ".{1,40}"),
        ("ollama", "llama3.2", ".*"),
    ],
)
def test_call_ids_are_ones_the_provider_takes(provider, model, rule):
    """An id of another provider is rewritten alike in a call and its result, always to the same."""
    odd = {**CALL, "id": f"toolu:{'x' * 60} é"}
    fine = {**CALL, "id": "Ab3dEf6hI"}
    history = [
        {"role": "assistant", "content": "", "tool_calls": [odd, fine]},
        {"role": "tool", "content": "1", "tool_call_id": odd["id"]},
        {"role": "tool", "content": "2", "tool_call_id": fine["id"]},
    ]
    sent = asked(provider, *history, model=model)
    ids = [call["id"] for call in sent[0]["tool_calls"]]
    assert ids == [message["tool_call_id"] for message in sent[1:]]
    assert all(re.fullmatch(rule, call_id) for call_id in ids)
    assert ids[1] == "Ab3dEf6hI"
    assert len(set(ids)) == 2
    assert sent == asked(provider, *history, model=model)
    assert odd["id"] == history[1]["tool_call_id"]


NO_TOOLS = {
    "ollama": status(400, "registry.ollama.ai/library/gemma:2b does not support tools"),
    "openrouter": status(404, "No endpoints found that support tool use. To learn more..."),
    "llama.cpp": status(500, "tools param requires --jinja flag"),
    "vllm": status(400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
    "groq": status(400, "`tool calling` is not supported with this model"),
}  # fmt: skip


@pytest.mark.parametrize("refusal", NO_TOOLS.values(), ids=NO_TOOLS)
def test_a_model_without_tools_answers_without(chat_server, refusal):
    """A model that takes no tools is asked without them, and that is told once, with what it said."""
    server = chat_server(refusal, answer("Hi"), answer("again"))
    engine = engine_for(server)
    first, second = (ask(engine, tools=TOOLS) for _ in range(2))
    assert [("tools" in body) for body in server.chats()] == [True, False, False]
    (notice,) = (event for event in first if isinstance(event, Notice))
    assert notice.text.startswith("m does not support tools; sending requests without them: ")
    assert notice.detail is False
    assert first[-1].text == "Hi"
    assert not any(isinstance(event, Notice) for event in second)


def test_lengths_are_asked_for_by_either_name(chat_server):
    """The name a server knows is learned from its refusal; a length it finds too long is no matter of names."""
    settings = ModelSettings(max_tokens=7)
    server = chat_server(
        status(400, "Unrecognized request argument supplied: max_tokens"), answer("A")
    )
    ask(engine_for(server), settings=settings)
    assert "max_completion_tokens" in server.chats()[1]
    server = chat_server(status(400, "max_tokens is too large: 7. At most 4 are possible"))
    with pytest.raises(ModelRefused) as told:
        ask(engine_for(server), settings=settings)
    assert len(server.chats()) == 1
    assert str(told.value) == (
        "vLLM rejected max_tokens for m: max_tokens is too large: 7. At most 4 are possible; "
        "omit or change it with -o max_tokens=... or the setting agent.max_tokens"
    )


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("Unsupported value: 'temperature' does not support 0 with this model.", "temperature"),
        ("Argument not supported on this model: reasoning_effort", "reasoning_effort"),
        ('Unknown name "seed": Cannot find field.', "seed"),
    ],
)
def test_an_option_the_model_refuses_is_named(chat_server, said, name):
    """Who asked for a temperature hears that it is the temperature, and how to leave it out."""
    settings = ModelSettings(temperature=0.0, seed=1, reasoning_effort="low")
    server = chat_server(status(400, said))
    with pytest.raises(ModelRefused, match=f"rejected {name} for m: .*-o {name}="):
        ask(engine_for(server), settings=settings)
    assert len(server.requests) == 1


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def test_a_schema_is_asked_for(chat_server):
    """A schema goes into the request; strict only where strict mode takes it."""
    server = chat_server()
    closed = {**SCHEMA, "additionalProperties": False, "required": ["a"], "title": "My answer!"}
    for schema in (SCHEMA, closed):
        ask(engine_for(server), settings=ModelSettings(schema=schema))
    open_, strict = (body["response_format"] for body in server.chats())
    assert open_ == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": False},
    }
    assert strict["json_schema"] == {"name": "My_answer", "schema": closed, "strict": True}
    assert [body["messages"] for body in server.chats()] == [ASK, ASK]


@pytest.mark.parametrize(
    "refusal",
    [
        status(400, "This response_format type is unavailable now"),
        status(400, "This model does not support response format `json_schema`"),
        document(b'{"detail": [{"loc": ["body", "response_format"]}]}', "application/json", 422),
        status(400, {"param": "response_format", "message": "Invalid schema for response_format 'answer'"}),
    ],
)  # fmt: skip
def test_a_refused_schema_is_told_in_words(chat_server, refusal):
    """Where the server does not take a schema the model is told it, in its one system message, from then on."""
    server = chat_server(refusal, answer("{}"), answer("{}"))
    engine = engine_for(server)
    messages = [{"role": "system", "content": "Be brief."}, *ASK]
    events = ask(engine, messages, settings=ModelSettings(schema=SCHEMA))
    ask(engine, settings=ModelSettings(schema=SCHEMA))
    (notice,) = (event for event in events if isinstance(event, Notice))
    assert notice.detail
    assert "cannot be forced to follow a schema" in notice.text
    second, third = server.chats()[1:]
    assert "response_format" not in second
    first, *rest = second["messages"]
    assert first["content"].startswith("Be brief.\n\nAnswer with one JSON value")
    assert first["content"].endswith(json.dumps(SCHEMA, separators=(",", ":")))
    assert rest == ASK
    assert [message["role"] for message in third["messages"]] == ["system", "user"]


def test_who_may_ignore_a_schema_is_told_it_twice(chat_server):
    """A provider that does not hold its models to a schema gets it in words from the start."""
    server = chat_server(status(400, "response_format is not supported"), answer("{}"))
    ask(engine_for(server, "deepseek", KEY), settings=ModelSettings(schema=SCHEMA))
    first, second = server.chats()
    assert "response_format" in first
    assert "response_format" not in second
    assert first["messages"] == second["messages"]
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
