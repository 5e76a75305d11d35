"""The strict Responses server: it speaks as published, and refuses what the API refuses."""

import json

import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from tests.agent.responses_asking import user
from tests.servers.responses_protocol import Refused, check_request
from tests.servers.responses_server import call, output, reasoning, refusal, text


def test_the_events_of_the_server_are_as_published(responses_server):
    """Every event that these tests send is one of the `openai` library's types, in numbered order."""
    server = responses_server()
    items = [reasoning("A", "B"), text("a", "b", phase="commentary"), refusal("no"), call("f", {})]
    known = TypeAdapter(ResponseStreamEvent)
    for answer in (
        output(*items),
        output(*items, status="incomplete", reason="max_output_tokens"),
        output(*items, status="failed", error={"code": "server_error", "message": "x"}),
    ):
        sent = server._reply(
            answer, {"model": "m", "stream": True, "include": ["reasoning.encrypted_content"]}
        ).parts
        assert [event["sequence_number"] for event in sent] == list(range(len(sent)))
        for event in sent:
            known.validate_python(event, strict=True)


CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c", "output": "1"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "known"}
BAD = {
    "orphan output": [RESULT],
    "unanswered call": [user("x"), CALL],
    "call answered late": [CALL, user("x"), RESULT],
    "two results": [CALL, RESULT, RESULT],
    "same call twice": [CALL, RESULT, CALL, RESULT],
    "illegal name": [{**CALL, "name": "a.b"}, RESULT],
    "no JSON": [{**CALL, "arguments": '{"a":'}, RESULT],
    "no object": [{**CALL, "arguments": "[1]"}, RESULT],
    "wrong role": [{"type": "message", "role": "tool", "content": "x"}],
    "input_text of an assistant": [
        {**user([{"type": "input_text", "text": "x"}]), "role": "assistant"}
    ],
    "output_text of a user": [user([{"type": "output_text", "text": "x", "annotations": []}])],
    "Chat Completions part": [user([{"type": "text", "text": "x"}])],
    "unknown key": [{**user("x"), "created_at": "now"}],
    "nested tool call": [{**user("x"), "tool_calls": []}],
    "unknown type": [{"type": "thinking", "text": "x"}],
    "image without detail": [
        user([{"type": "input_image", "image_url": "data:image/png;base64,A"}])
    ],
    "reasoning alone": [user("x"), THOUGHT],
    "reasoning before a user": [THOUGHT, user("x")],
    "reasoning without content": [{**THOUGHT, "encrypted_content": None}, CALL, RESULT],
    "reasoning of somebody else": [{**THOUGHT, "encrypted_content": "other"}, CALL, RESULT],
    "repeated id": [THOUGHT, CALL, RESULT, THOUGHT, {**CALL, "call_id": "d"}],
    "lone surrogate": [user("\ud800")],
}


@pytest.mark.parametrize("items", BAD.values(), ids=BAD)
def test_the_server_is_strict(items):
    """A request that breaks a rule of the protocol is refused."""
    good = {
        "model": "m",
        "input": [user("x"), THOUGHT, CALL, RESULT],
        "stream": True,
        "store": False,
    }
    check_request(json.dumps(good).encode(), {"known"})
    with pytest.raises(Refused):
        check_request(json.dumps({**good, "input": items}).encode(), {"known"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"messages": []},
        {"max_tokens": 1},
        {"seed": 1},
        {"store": True},
        {"reasoning_effort": "low"},
        {"reasoning": {"depth": 1}},
        {"include": ["everything"]},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}]},
        {"text": {"format": {"type": "json_schema", "json_schema": {}}}},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_the_server_knows_its_parameters(wrong):
    """Parameters of another protocol, and shapes of another, are refused."""
    good = {"model": "m", "input": [user("x")], "stream": True, "store": False}
    with pytest.raises(Refused):
        check_request(json.dumps({**good, **wrong}).encode(), ())
