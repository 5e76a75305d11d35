"""The engine against a real server that answers well and badly."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import time

import pytest

from omniagent_cli.agent.events import Finished, ModelSettings, TextDelta, ThinkingDelta
from omniagent_cli.agent.models.engine_factory import open_engine
from omniagent_cli.agent.models.providers import PROVIDERS, Endpoint
from omniagent_cli.agent.models.request_body import chat_request_body
from omniagent_cli.keys import KeyChain
from tests.agent.asking import ASK, KEY, ask, engine_for, one
from tests.servers.chat_server import (
    USAGE,
    Reply,
    answer,
    calls,
    chunk,
    completion,
    document,
    stall,
    status,
    stream,
    usage_chunk,
)


def test_streams_text_and_finishes(chat_server):
    """Pieces come in order and the end carries text, reason, counts and model."""
    events = ask(engine_for(chat_server(answer("Hel", "lo"))))
    assert events == [
        TextDelta("Hel"),
        TextDelta("lo"),
        Finished("stop", "Hello", usage={"input_tokens": 9, "output_tokens": 3}, model="fake-1"),
    ]


def test_sends_chat_completion_keys_only(chat_server):
    """What is stored beside a message stays here; unset settings are not sent."""
    server = chat_server()
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "lone \ud800 é", "created_at": "x", "status": "complete"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{**call, "extra_content": {"google": {"thought_signature": "s"}}}],
            "extra": {"thinking": "hm", "provider": "deepseek"},
        },
        {"role": "tool", "content": "1", "tool_call_id": "c", "turn_id": "t"},
    ]
    ask(engine_for(server), messages)
    assert server.chats() == [
        {
            "model": "m",
            "messages": [
                {"role": "user", "content": "lone \ufffd é"},
                {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "content": "1", "tool_call_id": "c"},
            ],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ]
    assert server.requests[0].headers["content-type"] == "application/json"


def test_thinking_goes_back_only_where_it_came_from(chat_server):
    """DeepSeek gets its own thinking back beside a call, Google its signatures, nobody else anything."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    signed = {**call, "extra_content": {"google": {"thought_signature": "s"}}}
    message = {
        "role": "assistant",
        "content": "",
        "tool_calls": [signed],
        "extra": {"thinking": "hm", "provider": "deepseek"},
    }
    sent = {}
    for provider in ("deepseek", "gemini", "openai"):
        server = chat_server()
        ask(engine_for(server, provider, KEY), [message])
        sent[provider] = server.chats()[0]["messages"][0]
    plain = {"role": "assistant", "content": "", "tool_calls": [call]}
    assert sent == {
        "deepseek": {**plain, "reasoning_content": "hm"},
        "gemini": {**plain, "tool_calls": [signed]},
        "openai": plain,
    }


def test_settings_and_tools_are_sent(chat_server):
    """Settings that are set reach the server, under the names of its provider."""
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    settings = ModelSettings(temperature=0.0, max_tokens=5, seed=1, reasoning_effort="low")
    local = chat_server()
    ask(engine_for(local), tools=tools, settings=settings)
    body = local.chats()[0]
    assert [body[k] for k in ("temperature", "max_tokens", "seed", "reasoning_effort", "tools")] == [
        0.0, 5, 1, "low", tools,
    ]  # fmt: skip
    named = {}
    for provider in ("openai", "mistral"):
        row = PROVIDERS[provider]
        body = chat_request_body(Endpoint(row, "m", row.base_url), ASK, (), settings)
        named[provider] = {key for key in body if "tokens" in key or "seed" in key}
    assert named == {
        "openai": {"max_completion_tokens", "seed"},
        "mistral": {"max_tokens", "random_seed"},
    }


def test_tool_calls_in_pieces(chat_server):
    """Two calls whose arguments come in pieces are put together."""
    end = one(chat_server, calls(("add", {"a": 1}), ("sub", {"b": 2}), text="Let me see"))
    assert (end.reason, end.text) == ("tool_calls", "Let me see")
    assert end.tool_calls == (
        {"id": "call_0", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}},
        {"id": "call_1", "type": "function", "function": {"name": "sub", "arguments": '{"b": 2}'}},
    )


def piece(arguments=None, *, name=None, **keys):
    """Make a chunk with one piece of a tool call."""
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}
    return chunk(tool_calls=[{**keys, "function": function}])


IRREGULAR_CALLS = {
    "no index": [piece('{"a":', name="f", id="1"), piece("1}"), piece("{}", name="g", id="2")],
    "no index, id in each": [piece('{"a":', name="f", id="1"), piece("1}", id="1"), piece("{}", name="g", id="2")],
    "same index, other ids": [piece('{"a":1}', name="f", id="1", index=0), piece("{}", name="g", id="2", index=0)],
    "object": [piece({"a": 1}, name="f", id="1", index=0), piece({}, name="g", id="2", index=1)],
    "name repeated": [piece('{"a":', name="f", id="1", index=0), piece("1}", name="f", id="1", index=0), piece("", name="g", index=1)],
    "no ids, one index": [piece('{"a":1}', name="f", index=0), piece("{}", name="g", index=0)],
    "one id for both": [piece('{"a":1}', name="f", id="1", index=0), piece("{}", name="g", id="1", index=1)],
    "nameless dropped": [piece('{"a":1}', name="f", index=0), piece("{}", name="g", index=1), piece("{}", id="9", index=2)],
    "null pieces": [piece(None, name="f", id="1", index=0), chunk(tool_calls=None), piece('{"a":1}', index=0), chunk(tool_calls=["x", {"index": 1, "function": None}]), piece("{}", name="g", index=1)],
}  # fmt: skip


@pytest.mark.parametrize("pieces", IRREGULAR_CALLS.values(), ids=IRREGULAR_CALLS)
def test_irregular_tool_calls(chat_server, pieces):
    """However a server cuts its calls, two calls come out, with ids of their own and arguments as text."""
    end = one(chat_server, stream(*pieces, chunk("stop")))
    assert end.reason == "tool_calls"
    told = [
        (c["function"]["name"], c["function"]["arguments"].replace(" ", "")) for c in end.tool_calls
    ]
    assert told == [("f", '{"a":1}'), ("g", "{}")]
    assert len({c["id"] for c in end.tool_calls} - {""}) == 2


def test_googles_signature_is_kept(chat_server):
    """What a provider hangs on a call survives, for it is asked for again."""
    signature = {"google": {"thought_signature": "s"}}
    end = one(
        chat_server,
        stream(piece("{}", name="f", id="1", index=0, extra_content=signature), chunk("stop")),
    )
    assert end.tool_calls[0]["extra_content"] == signature


IRREGULAR_CHUNKS = {
    "no choices": [{"id": "x"}, {"choices": None}, {"choices": []}, None, b"data: 7\n\n", ["x"]],
    "no delta": [{"choices": [{"index": 0}]}, {"choices": [{"delta": None}]}, {"choices": ["x"]}],
    "comments": [b": keep-alive\n\n", b"event: ping\ndata: {}\n\n", b"\n\n"],
    "another choice": [{"choices": [{"index": 1, "delta": {"content": "no"}}]}],
}


@pytest.mark.parametrize("odd", IRREGULAR_CHUNKS.values(), ids=IRREGULAR_CHUNKS)
def test_odd_chunks_add_nothing(chat_server, odd):
    """Chunks without content are passed over wherever they stand."""
    parts = [*odd, chunk(content="a"), *odd, chunk(content="b"), chunk("stop"), *odd]
    assert one(chat_server, stream(*parts)).text == "ab"


USAGES = {
    "own chunk": ([chunk("stop"), usage_chunk(USAGE)], {"input_tokens": 9, "output_tokens": 3}),
    "last content chunk": ([{**chunk("stop", content="!"), "usage": USAGE}], {"input_tokens": 9, "output_tokens": 3}),
    "growing": ([usage_chunk({"prompt_tokens": 9, "completion_tokens": 1}), chunk("stop"), usage_chunk(USAGE), {**chunk(), "usage": None}], {"input_tokens": 9, "output_tokens": 3}),
    "none": ([chunk("stop")], {}),
    "details": (
        [chunk("stop"), usage_chunk({**USAGE, "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}})],
        {"input_tokens": 9, "output_tokens": 3, "cached_tokens": 4, "reasoning_tokens": 2},
    ),
    "nonsense": ([chunk("stop"), usage_chunk({"prompt_tokens": "9", "completion_tokens": -1, "prompt_tokens_details": 3})], {}),
    "groq": ([{**chunk("stop"), "x_groq": {"usage": USAGE}}], {"input_tokens": 9, "output_tokens": 3}),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "expected"), USAGES.values(), ids=USAGES)
def test_usage_wherever_it_stands(chat_server, parts, expected):
    """Counts are found in any chunk and carry our names; no counts is no error."""
    assert one(chat_server, stream(chunk(content="x"), *parts)).usage == expected


@pytest.mark.parametrize(
    "thought",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"reasoning_content": "hm", "reasoning": "hm"},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
    ],
    ids=["reasoning_content", "reasoning", "both", "parts"],
)
def test_thinking_is_kept_apart(chat_server, thought):
    """Thinking is told as such, once, and kept beside the answer with who thought it."""
    events = ask(engine_for(chat_server(stream(chunk(**thought), chunk("stop", content="yes")))))
    assert events[:2] == [ThinkingDelta("hm"), TextDelta("yes")]
    assert (events[2].text, events[2].extra) == ("yes", {"thinking": "hm", "provider": "vllm"})


def test_a_refusal_and_parts_are_text(chat_server):
    """A refusal, and content in parts, are what the model said."""
    parts = [chunk(content=[{"type": "text", "text": "I "}]), chunk(refusal="won't"), chunk("stop")]
    assert one(chat_server, stream(*parts)).text == "I won't"


def test_an_empty_answer_is_an_answer(chat_server):
    """No text at all ends well, with empty text."""
    assert one(chat_server, answer(usage=None)) == Finished("stop", "", model="fake-1")


def test_a_stream_without_a_finish_reason_was_cut(chat_server):
    """An end without a reason and without the end mark is reported by an empty reason."""
    end = one(chat_server, stream(chunk(content="Once upon"), done=False))
    assert (end.reason, end.text) == ("", "Once upon")


@pytest.mark.parametrize("reason", [None, ""])
def test_the_end_mark_makes_an_answer_whole(chat_server, reason):
    """A stream that ends with [DONE] is a whole answer, also without a finish reason, and with tool calls."""
    end = one(chat_server, stream(chunk(reason, content="All"), chunk(reason)))
    assert (end.reason, end.text) == ("stop", "All")
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    assert one(chat_server, stream(chunk(reason, tool_calls=[call]))).reason == "tool_calls"


def test_servers_that_do_not_stream(chat_server):
    """A whole completion in place of a stream is an answer too."""
    whole = document(json.dumps(completion("Hello")).encode(), "application/json")
    events = ask(engine_for(chat_server(whole)))
    assert events[0] == TextDelta("Hello")
    assert (events[1].reason, events[1].usage["output_tokens"]) == ("stop", 3)


def test_a_server_that_packs_its_answer_all_the_same(chat_server):
    """An answer is asked for as it is, and one that comes compressed is read too."""
    events = b"".join(
        b"data: " + json.dumps(part).encode() + b"\n\n"
        for part in (chunk(content="Hi"), chunk("stop"))
    )
    headers = {"Content-Type": "text/event-stream", "Content-Encoding": "gzip"}
    server = chat_server(Reply(headers=headers, body=gzip.compress(events)))
    assert ask(engine_for(server))[-1].text == "Hi"
    assert server.requests[0].headers["accept-encoding"] == "identity"


def test_stream_options_are_given_up_when_refused(chat_server):
    """A server that knows no stream_options is asked without, now and from now on."""
    detail = [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]
    server = chat_server(
        document(str({"detail": detail}).encode(), "application/json", 422),
        answer("A"),
        answer("B"),
    )
    engine = engine_for(server)
    assert ask(engine)[-1].text == "A"
    assert ask(engine)[-1].text == "B"
    assert ["stream_options" in body for body in server.chats()] == [True, False, False]


def test_the_newer_name_of_max_tokens_is_learned(chat_server):
    """A model that wants max_completion_tokens gets it."""
    server = chat_server(status(400, "use 'max_completion_tokens' instead"), answer("A"))
    ask(engine_for(server), settings=ModelSettings(max_tokens=7))
    assert server.chats()[1]["max_completion_tokens"] == 7
    assert "max_tokens" not in server.chats()[1]


def test_cancelling_hangs_up(chat_server):
    """Cancelling stops the request at once and the engine can be used again."""
    server = chat_server(stall("Once"), answer("again"))
    engine = engine_for(server)
    seen = []

    async def run():
        async def turn():
            async for event in engine.stream(ASK, (), ModelSettings()):
                seen.append(event)  # noqa: PERF401  # it is watched while it grows

        task = asyncio.create_task(turn())
        while not seen:
            await asyncio.sleep(0.005)
        begun = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        took = time.monotonic() - begun
        await turn()
        await engine.aclose()
        return took

    assert asyncio.run(run()) < 0.1
    assert server.wait_hangup()
    assert seen[-1].text == "again"


def test_proxies_do_not_stand_before_loopback(chat_server, monkeypatch):
    """Proxy variables that lead nowhere do not matter to a server on this machine."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert one(chat_server, answer("ok")).text == "ok"


def test_only_the_key_given_is_sent(chat_server, monkeypatch):
    """What the environment holds for OpenAI reaches no other server, nor facts about this machine."""
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Mine: {KEY}\nAuthorization: Bearer {KEY}")
    server = chat_server()
    ask(engine_for(server))
    ask(engine_for(server, "groq", "gsk-own"))
    ask(engine_for(server, "openai"))
    bare, groq, openai = (request.headers for request in server.requests)
    plain = {
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "content-type",
        "content-length",
        "user-agent",
    }
    assert set(bare) == plain
    assert set(groq) == plain | {"authorization"}
    assert groq["authorization"] == "Bearer gsk-own"
    assert openai["x-mine"] == KEY
    assert "authorization" not in openai


def test_open_engine_finds_the_key(chat_server):
    """The key of the provider is used, except for servers found by themselves and Ollama on this machine."""
    server = chat_server()
    keys = KeyChain(environ={"VLLM_API_KEY": "v", "OLLAMA_API_KEY": "o"}, use_keyring=False)
    sent = []
    for name, send in (("vllm:m", True), ("vllm:m", False), ("ollama:m", True)):
        ask(open_engine(name, base_url=server.url, keys=keys, send_key=send))
        sent.append(server.requests[-1].headers.get("authorization"))
    assert sent == ["Bearer v", None, None]


def test_the_library_loads_on_first_use():
    """Importing the engine costs no import of the library."""
    code = "import sys, omniagent_cli.agent.models.chat_completions; print({'openai', 'httpx2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
