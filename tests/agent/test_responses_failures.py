"""The Responses engine where a server refuses, breaks off or speaks something else."""

import asyncio

import pytest

from omniagent_cli.agent.events import (
    Finished,
    ModelSettings,
    Retrying,
    TextDelta,
    ThinkingDelta,
)
from omniagent_cli.errors import ModelError, ModelRateLimited, ModelRefused, ModelUnreachable
from tests.agent.asking import ASK, QUICK, ask
from tests.agent.asking import engine_for as chat_engine_for
from tests.agent.responses_asking import (
    SCHEMA,
    WEATHER,
    as_sent,
    engine_for,
)
from tests.servers.chat_server import STALL, Cut, answer, chunk, document, status
from tests.servers.responses_server import output, reasoning, text

ERROR = {
    "type": "error",
    "code": "server_error",
    "message": "boom",
    "param": None,
    "sequence_number": 9,
}
WRAPPED = {"type": "error", "error": {"type": "server_error", "code": None, "message": "boom"}}
FAILED = {
    "type": "response.failed",
    "response": {"object": "response", "status": "failed", "error": {"code": "server_error", "message": "boom"}},
}  # fmt: skip
LIMIT = {
    "type": "response.failed",
    "response": {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "slow"}},
}
BREAKS = {
    "error": (ERROR, ModelUnreachable, "OpenAI failed or is overloaded (500): boom; try again later"),
    "wrapped": (WRAPPED, ModelUnreachable, "OpenAI failed or is overloaded (500): boom; try again later"),
    "failed": (FAILED, ModelUnreachable, "OpenAI failed or is overloaded (500): boom; try again later"),
    "limit": (LIMIT, ModelRateLimited, "OpenAI rate limit exceeded: slow; try again later"),
    "bare": ({"type": "response.failed", "response": {}}, ModelError, "OpenAI stopped with an error: no reason given"),
    "cut": (Cut(), ModelUnreachable, "OpenAI closed the connection in the middle of the answer; try again"),
    "stall": (STALL, ModelUnreachable, "OpenAI sent no more of the answer for 0.1 s; try again or choose another model"),
    "no JSON": (b"data: {oops\n\n", ModelError, "OpenAI sent an unreadable event; try again"),
}  # fmt: skip


@pytest.mark.parametrize(("bad", "error", "said"), BREAKS.values(), ids=BREAKS)
def test_broken_in_the_middle(responses_server, bad, error, said):
    """Whatever goes wrong in an answer keeps what came, and is one line."""
    seen = []
    server = responses_server(output(text("Once"), after=[bad]))
    with pytest.raises(error) as raised:
        ask(engine_for(server), settings=QUICK, seen=seen)
    assert (str(raised.value), seen) == (said, [TextDelta("Once")])
    assert len(server.chats()) == 1


def test_a_stream_without_an_end_is_cut(responses_server):
    """An answer that just ends has no finish reason."""
    end = ask(engine_for(responses_server(output(text("Half"), after=[]))))[-1]
    assert (end.text, end.reason) == ("Half", "")


def test_a_failure_before_the_answer_is_tried_again(responses_server):
    """While nothing of an answer has come, a failure is retried; created events are not an answer."""
    server = responses_server(output(after=[FAILED]), status(503), output(text("There")))
    events = ask(engine_for(server))
    assert [type(event) for event in events] == [Retrying, Retrying, TextDelta, Finished]


def test_refusals_name_the_setting(responses_server):
    """A setting that a model does not take is named as the user knows it."""
    said = "Unsupported parameter: 'reasoning.effort' is not supported with this model."
    server = responses_server(status(400, said))
    with pytest.raises(ModelRefused, match=r"-o reasoning_effort=\.\.\. or the setting"):
        ask(engine_for(server), settings=ModelSettings(reasoning_effort="high"))
    server = responses_server(status(400, "Invalid 'max_output_tokens': Expected a value >= 16."))
    with pytest.raises(ModelRefused, match=r"-o max_tokens=\.\.\. or the setting"):
        ask(engine_for(server), settings=ModelSettings(max_tokens=1))


def test_cancelling_hangs_up(responses_server):
    """A cancelled request is closed at the server."""
    server = responses_server(output(text("Once"), after=[STALL]))
    engine = engine_for(server)

    async def run():
        stream = engine.stream(ASK, (), ModelSettings())
        assert await anext(stream) == TextDelta("Once")
        await stream.aclose()
        await engine.aclose()

    asyncio.run(run())
    assert server.wait_hangup()


# What a model or an account does without.

NO_ENCRYPTED = status(400, "Encrypted content is not supported with this model.")
NO_SUMMARY = status(
    400,
    {
        "message": "Unsupported parameter: 'reasoning.summary' is not supported with this model.",
        "param": "reasoning.summary",
        "code": "unsupported_parameter",
    },
)
UNVERIFIED = status(
    400,
    {
        "message": "Your organization must be verified to generate reasoning summaries.",
        "param": "reasoning.summary",
        "code": "unsupported_value",
    },
)
WITHOUT = {
    "encrypted content": (NO_ENCRYPTED, None, None),
    "summary": (NO_SUMMARY, None, None),
    "verification": (UNVERIFIED, ["reasoning.encrypted_content"], None),
}


@pytest.mark.parametrize(("refusal", "include", "thinks"), WITHOUT.values(), ids=WITHOUT)
def test_a_model_without_reasoning_answers_without(responses_server, refusal, include, thinks):
    """What a model or an account does not have is left out, in the same request and from then on."""
    server = responses_server(refusal, output(text("Hi")), output(text("Again")))
    engine = engine_for(server)
    assert ask(engine)[0] == TextDelta("Hi")
    ask(engine)
    assert [body.get("include") for body in server.chats()[1:]] == [include] * 2
    assert [body.get("reasoning") for body in server.chats()[1:]] == [thinks] * 2


NO_REASONING = [
    "Unrecognized request argument supplied: reasoning",
    "Extra inputs are not permitted: reasoning",
    "Unknown parameter: 'reasoning'.",
]


@pytest.mark.parametrize("said", NO_REASONING)
def test_a_server_without_reasoning(responses_server, said):
    """A server that does not know the option is called without it; an effort that the user set is an error."""
    server = responses_server(status(400, said), output(text("Hi")))
    assert ask(engine_for(server))[0] == TextDelta("Hi")
    assert "reasoning" not in server.chats()[-1]
    server = responses_server(status(400, said))
    with pytest.raises(ModelRefused, match="reasoning"):
        ask(engine_for(server), settings=ModelSettings(reasoning_effort="low"))


UNSTREAMED = status(
    400,
    {
        "message": "Your organization must be verified to stream this model.",
        "param": "stream",
        "code": "unsupported_value",
    },
)


def test_an_organization_that_may_not_stream(responses_server):
    """Without the right to stream, answers come in one piece, with a notice."""
    server = responses_server(UNSTREAMED, output(reasoning("Hm"), text("Hi")), output(text("Bye")))
    engine = engine_for(server)
    events = ask(engine)
    assert "does not stream" in events[0].text
    assert events[1:3] == [ThinkingDelta("Hm"), TextDelta("Hi")]
    assert events[-1].usage
    assert ask(engine)[0] == TextDelta("Bye")
    assert ["stream" in body for body in server.chats()] == [True, False, False]


def test_chat_completions_may_not_stream(chat_server):
    """The same through Chat Completions."""
    server = chat_server(UNSTREAMED, answer("Hi"))
    events = ask(chat_engine_for(server))
    assert "does not stream" in events[0].text
    assert events[-1].text == "Hi"
    assert {"stream", "stream_options"} & server.chats()[1].keys() == set()


def test_the_effort_is_kept_without_a_summary(responses_server):
    """The reasoning effort is still sent when summaries are not available."""
    server = responses_server(UNVERIFIED, output(text("Hi")))
    ask(engine_for(server), settings=ModelSettings(reasoning_effort="high"))
    assert server.chats()[1]["reasoning"] == {"effort": "high"}


def test_a_model_without_tools(responses_server):
    """A model that rejects tools gets the request without them, with a notice."""
    server = responses_server(status(400, "this model does not support tools"), output(text("Hi")))
    events = ask(engine_for(server), tools=[WEATHER.definition()])
    assert "does not support tools" in events[0].text
    assert "tools" not in server.chats()[1]


def test_a_server_without_schemas(responses_server):
    """A schema that the server rejects becomes part of the system message."""
    refused = status(400, "Invalid parameter: 'text.format' of type 'json_schema' is not supported")
    server = responses_server(refused, output(text("{}")))
    ask(engine_for(server), settings=ModelSettings(schema=SCHEMA))
    first = server.chats()[1]["input"][0]
    assert first["role"] == "system"
    assert "is valid against this JSON schema" in first["content"]
    assert "text" not in server.chats()[1]


@pytest.mark.parametrize(
    "reply",
    [
        document(b"<html><title>Hi</title></html>", "text/html"),
        document(b'{"ok": true}', "application/json"),
        lambda _: as_sent([chunk(content="Hi"), chunk("stop")]),
    ],
    ids=["web page", "other JSON", "another protocol"],
)
def test_what_speaks_something_else(responses_server, reply):
    """An address where something else lives is named as that."""
    with pytest.raises(ModelError, match="supports the Responses API"):
        ask(engine_for(responses_server(reply)))
