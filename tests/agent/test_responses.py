"""The Responses engine against a server that holds to the published protocol: requests and answers."""

from dataclasses import replace

import pytest

from omniagent_cli.agent.events import (
    Finished,
    ModelSettings,
    Notice,
    TextDelta,
    ThinkingDelta,
)
from tests.agent.asking import ASK, ask
from tests.agent.responses_asking import SCHEMA, WEATHER, as_sent, engine_for, inputs, user
from tests.servers.responses_server import call, output, reasoning, refusal, text

USAGE = {"input_tokens": 9, "output_tokens": 3, "cached_tokens": 4, "cache_write_tokens": 0}
USAGE |= {"reasoning_tokens": 2}


def test_text_streams_and_finishes(responses_server):
    """Pieces come in order; the end has text, reason, counts and the model that answered."""
    events = ask(engine_for(responses_server(output(text("Hel", "lo")))))
    assert events == [
        TextDelta("Hel"),
        TextDelta("lo"),
        Finished("stop", "Hello", usage=USAGE, model="m-2026-11-01"),
    ]


def test_the_request(responses_server):
    """Nothing is stored there, reasoning comes encrypted and summed up, and what is unset is not sent."""
    server = responses_server()
    tool = WEATHER.definition()
    messages = [{"role": "system", "content": "Be brief."}, *ASK]
    settings = ModelSettings(temperature=0.5, max_tokens=99, reasoning_effort="low", schema=SCHEMA)
    ask(engine_for(server), messages)
    ask(engine_for(server), messages, [tool], settings)
    bare, full = server.chats()
    assert bare == {
        "model": "m",
        "input": [{"type": "message", "role": "system", "content": "Be brief."}, user("Hi")],
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"summary": "auto"},
    }
    added = {key: value for key, value in full.items() if bare.get(key) != value}
    assert added == {
        "reasoning": {"summary": "auto", "effort": "low"},
        "tools": [
            {
                "type": "function",
                "name": "weather",
                "description": tool["function"]["description"],
                "parameters": tool["function"]["parameters"],
                "strict": False,
            }
        ],
        "temperature": 0.5,
        "max_output_tokens": 99,
        "text": {
            "format": {"type": "json_schema", "name": "A_dish", "schema": SCHEMA, "strict": True}
        },
    }


def test_there_is_no_seed(responses_server):
    """The protocol has no seed: it is not sent, and a notice reports that once."""
    server = responses_server()
    engine = engine_for(server)
    settings = ModelSettings(seed=7)
    notice = Notice("The Responses API does not support seed; sending the request without it")
    assert ask(engine, settings=settings)[0] == notice
    assert notice not in ask(engine, settings=settings)
    assert "seed" not in server.chats()[0]


def test_summaries_are_thinking(responses_server):
    """Each part of a summary is a paragraph of the thinking."""
    events = ask(engine_for(responses_server(output(reasoning("One", "Two"), text("So.")))))
    said = "".join(event.text for event in events if isinstance(event, ThinkingDelta))
    assert said == events[-1].extra["thinking"] == "One\n\nTwo"
    assert events[-1].text == "So."


def test_reasoning_without_a_summary(responses_server):
    """Hidden reasoning is kept to be sent back, and shows nothing."""
    events = ask(engine_for(responses_server(output(reasoning(), text("So.")))))
    assert [type(event) for event in events] == [TextDelta, Finished]
    assert events[-1].extra == {
        "items": [
            {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAAA2=="},
            {"type": "message", "length": 3},
        ],
        "provider": "openai",
    }


def test_parallel_calls(responses_server):
    """Calls side by side come in order, with the ids that their results are to name."""
    end = ask(
        engine_for(responses_server(output(call("a", {"x": 1}), call("b", {}), text("On it."))))
    )[-1]
    assert end.reason == "tool_calls"
    assert end.text == "On it."
    assert end.tool_calls == (
        {"id": "call_2", "type": "function", "function": {"name": "a", "arguments": '{"x": 1}'}},
        {"id": "call_3", "type": "function", "function": {"name": "b", "arguments": "{}"}},
    )


def test_two_messages_are_two_paragraphs(responses_server):
    """A commentary and the final answer are one message here, with their phases kept for the next request."""
    answer = output(
        text("I look ", "it up.", phase="commentary"), text("Rain.", phase="final_answer")
    )
    server = responses_server(answer)
    engine = engine_for(server)
    events = ask(engine)
    end = events[-1]
    shown = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert shown == end.text == "I look it up.\n\nRain."
    stored = {"role": "assistant", "content": end.text, "extra": end.extra, "model": "openai:m"}
    ask(engine, [*ASK, stored, *ASK])
    assert inputs(server)[1][1:-1] == [
        {"type": "message", "role": "assistant", "content": "I look it up.", "phase": "commentary"},
        {"type": "message", "role": "assistant", "content": "Rain.", "phase": "final_answer"},
    ]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("steered", "steered")],
)
def test_incomplete(responses_server, reason, finish):
    """An answer that was cut says why."""
    answer = output(text("Half"), status="incomplete", reason=reason)
    end = ask(engine_for(responses_server(answer)))[-1]
    assert (end.text, end.reason, end.usage) == ("Half", finish, USAGE)


def test_a_refusal_is_the_answer(responses_server):
    """What a model says when it refuses is shown and stored like any answer."""
    events = ask(engine_for(responses_server(output(refusal("I can", "not.")))))
    assert events[:2] == [TextDelta("I can"), TextDelta("not.")]
    assert (events[-1].text, events[-1].reason) == ("I cannot.", "stop")


def test_a_server_that_does_notas_sent(responses_server):
    """A response in one document gives the same answer as a stream."""
    answer = output(reasoning("Hm"), text("Hello"), call("f", {"a": 1}), whole=True)
    streamed = ask(engine_for(responses_server(replace(answer, whole=False))))
    whole = ask(engine_for(responses_server(answer)))
    assert whole[-1] == streamed[-1]
    assert whole[:-1] == [ThinkingDelta("Hm"), TextDelta("Hello")]


def bare(events, **changed):
    """Return events as simple servers send them: without ids, numbers and deltas, as chosen."""
    for event in events:
        dropped = {
            key: value for key, value in event.items() if key not in changed.get("without", ())
        }
        if not event["type"].endswith(changed.get("skip", ("!",))):
            yield dropped


ITEMS = [reasoning("AB"), text("Hel", "lo"), call("f", {"x": 1}), call("g", {})]
SIMPLE = {
    "without ids": {"without": ("item_id", "sequence_number")},
    "without indexes": {"without": ("output_index", "content_index", "summary_index")},
    "without deltas": {"skip": (".delta",)},
    "without starts": {"skip": (".added", "created", "in_progress")},
    "items alone": {"skip": (".delta", "text.done", "part.done", "arguments.done", "part.added")},
    "the end alone": {"skip": (".delta", ".done", ".added")},
}


@pytest.mark.parametrize("change", SIMPLE.values(), ids=SIMPLE)
def test_simple_servers(responses_server, chat_server, change):
    """Servers leave out events, ids or indexes; the answer is the same."""
    strict = responses_server()
    body = {"model": "m", "stream": True, "include": ["reasoning.encrypted_content"]}
    sent = [dict(event) for event in strict._reply(output(*ITEMS), body).parts]
    expected = ask(engine_for(responses_server(output(*ITEMS))))[-1]
    server = responses_server(lambda _: as_sent(bare(sent, **change)))
    events = ask(engine_for(server))
    assert events[-1] == expected
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "Hello"
    assert "".join(e.text for e in events if isinstance(e, ThinkingDelta)) == "AB"


def test_reasoning_text_of_local_servers(responses_server):
    """Open models stream their reasoning as text; when it comes in two forms it is shown once, and it is sent back."""
    item = {"id": "rs_1", "type": "reasoning", "summary": []}
    part = {"type": "reasoning_text", "text": "Hm."}
    message = {"id": "m1", "type": "message", "role": "assistant"}
    message["content"] = [{"type": "output_text", "text": "So.", "annotations": []}]
    whole = {**item, "content": [part], "summary": [{"type": "summary_text", "text": "Hm."}]}
    place = {"item_id": "rs_1", "output_index": 0}
    events = [
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.reasoning_text.delta", **place, "content_index": 0, "delta": "Hm."},
        {"type": "response.output_item.done", "output_index": 0, "item": whole},
        {"type": "response.output_item.done", "output_index": 1, "item": message},
        {"type": "response.completed", "response": {"status": "completed", "output": []}},
    ]
    got = ask(engine_for(responses_server(lambda _: as_sent(events)), provider="vllm"))
    assert got[:-1] == [ThinkingDelta("Hm."), TextDelta("So.")]
    assert got[-1].extra["thinking"] == "Hm."
    assert got[-1].extra["items"][0] == whole


def test_events_that_mean_nothing_here(responses_server):
    """Keepalives, unknown events and frames without data are skipped."""
    odd = [{"type": "keepalive", "sequence_number": 3}, {"type": "codex.rate_limits"}, b": x\n\n"]
    odd += [b"event: ping\n\n", b"data: null\n\n", {"type": "response.steer.pending", "item": 1}]
    strict = responses_server()
    sent = list(
        strict._reply(
            output(text("Hel", "lo")), {"model": "m", "stream": True, "include": []}
        ).parts
    )
    mixed = [part for event in sent for part in (*odd, event)]
    assert ask(engine_for(responses_server(lambda _: as_sent(mixed))))[-1].text == "Hello"


def test_halves_of_a_character(responses_server):
    """A character that is cut between two pieces is one again; half a one stays what it is."""
    events = ask(engine_for(responses_server(output(text("a\ud83d", "\ude00b")))))
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["a", "\U0001f600b"]
    assert events[-1].text == "a\U0001f600b"
    assert ask(engine_for(responses_server(output(text("a\ud83d")))))[-1].text == "a\ud83d"


def test_thinking_in_tags(responses_server):
    """Thinking in tags is separated from the answer."""
    server = responses_server(output(text("<th", "ink>Hm.</thi", "nk>\n\nSo.")))
    events = ask(engine_for(server))
    assert [type(event) for event in events[:-1]] == [ThinkingDelta, TextDelta]
    assert (events[-1].text, events[-1].extra["thinking"]) == ("So.", "Hm.")
    mention = ask(engine_for(responses_server(output(text("<think>")))))[-1]
    assert (mention.text, mention.extra) == ("<think>", {})


def test_an_end_mark_is_an_end(responses_server):
    """A server that ends with [DONE] and no last event has answered."""
    server = responses_server(output(text("Hi"), after=[b"data: [DONE]\n\n"]))
    assert ask(engine_for(server))[-1].reason == "stop"
