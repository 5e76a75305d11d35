"""Thinking in tags inside the text of an answer, in any cut, and the odd shapes of answers."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniagent_cli.agent.events import TextDelta, ThinkingDelta
from omniagent_cli.agent.models.stream_parser import ChatAnswer
from omniagent_cli.errors import ModelError, ModelRefused
from tests.agent.asking import ask, engine_for, one
from tests.servers.chat_server import answer, chunk, completion, document, stream

WHOLE = {
    "<think>I wonder.</think>Hello": ("I wonder.", "Hello"),
    "\n<think>\nI wonder.\n</think>\n\nHello\n": ("I wonder.\n", "Hello\n"),
    "<thinking>a</thinking><think>b</think>c": ("ab", "c"),
    "<thought>a < b</thought> c": ("a < b", "c"),
    "<think></think>Hello": ("", "Hello"),
    "<think>only": ("", "<think>only"),
    "Use `<think>a</think>` here": ("", "Use `<think>a</think>` here"),
    "```\n<think>a</think>\n```": ("", "```\n<think>a</think>\n```"),
    "<thin": ("", "<thin"),
    "<b>bold</b>": ("", "<b>bold</b>"),
    "  plain": ("", "  plain"),
    "<think>a</think>b <think>c</think>": ("a", "b <think>c</think>"),
}


def parsed(pieces, finish="stop"):
    """Return thinking and text of an answer in these pieces, as shown and as stored."""
    parser = ChatAnswer()
    events = [event for piece in pieces for event in parser.feed(chunk(content=piece))]
    events += parser.feed(chunk(finish))
    end = parser.finished("vllm")
    shown = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert shown == end.text
    return end.extra.get("thinking", ""), end.text


@given(st.sampled_from(sorted(WHOLE)), st.lists(st.integers(0, 60)))
def test_tags_wherever_they_are_cut(text, cuts):
    """Thinking is what is in the tags at the start, wherever chunks are cut; a mention anywhere else is text."""
    ends = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[start:end] for start, end in itertools.pairwise(ends)]
    assert parsed(pieces) == WHOLE[text]


def test_thinking_that_is_cut():
    """Thinking that reaches the token limit is thinking, and no answer."""
    assert parsed(["<think>I won", "der"], finish="length") == ("I wonder", "")


def test_tags_are_shown_as_thinking(chat_server):
    """Thinking in tags streams as thinking, is kept in `extra`, and no script gets it."""
    server = chat_server(answer("<think>Let", " me.</think>\n\n", "Hi", " you"))
    events = ask(engine_for(server))
    assert events[:-1] == [
        ThinkingDelta("Let"), ThinkingDelta(" me."), TextDelta("Hi"), TextDelta(" you"),
    ]  # fmt: skip
    assert (events[-1].text, events[-1].extra["thinking"]) == ("Hi you", "Let me.")


def test_characters_wherever_they_are_cut():
    """Halves of a character in two chunks are one character, in text, thinking and arguments."""
    parser = ChatAnswer()
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a": "\ud83d'}}
    rest = {"index": 0, "function": {"arguments": '\ude00"}'}}
    for delta in (
        {"reasoning_content": "\ud83d"}, {"reasoning_content": "\ude00"},
        {"content": "\ud83d"}, {"content": "\ude00\ud83d"},
        {"tool_calls": [call]}, {"tool_calls": [rest]},
    ):  # fmt: skip
        list(parser.feed(chunk(**delta)))
    list(parser.feed(chunk("stop")))
    end = parser.finished("vllm")
    assert (end.text, end.extra["thinking"]) == ("\U0001f600\ud83d", "\U0001f600")
    assert json.loads(end.tool_calls[0]["function"]["arguments"]) == {"a": "\U0001f600"}


REASONS = {
    "max_tokens": "length",
    "MAX_TOKENS": "length",
    "model_length": "length",
    "SAFETY": "content_filter",
    "end_turn": "stop",
    "eos": "stop",
}


@pytest.mark.parametrize(("reason", "known"), REASONS.items())
def test_finish_reasons_of_other_protocols(chat_server, reason, known):
    """A reason under another name means the same, so that a cut answer is reported."""
    assert one(chat_server, stream(chunk(content="a"), chunk(reason))).reason == known


@pytest.mark.parametrize("reason", ["error", "abort", "network_error"])
def test_an_answer_that_ends_with_an_error(chat_server, reason):
    """A finish reason that is an error fails the turn, and what came is kept."""
    seen = []
    with pytest.raises(ModelError, match="vLLM stopped the answer with an error; try again"):
        ask(engine_for(chat_server(stream(chunk(content="Once"), chunk(reason)))), seen=seen)
    assert seen == [TextDelta("Once")]


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", ""])
def test_a_whole_answer_of_any_content_type(chat_server, kind):
    """A completion that is not streamed is an answer, also served as text and without a finish reason."""
    whole = completion("Hello")
    whole["choices"][0]["finish_reason"] = None
    end = one(chat_server, document(b"\n " + json.dumps(whole).encode(), kind))
    assert (end.reason, end.text) == ("stop", "Hello")


def test_an_error_in_a_choice(chat_server):
    """An error inside the only choice is the error that it says."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": ""},
        "error": {"code": 400, "message": "boom"},
    }
    body = json.dumps({"choices": [choice]}).encode()
    for reply in (document(body, "application/json"), stream({"choices": [choice]})):
        with pytest.raises(ModelRefused, match=r"vLLM rejected the request \(400\): boom"):
            ask(engine_for(chat_server(reply)))


def test_a_legacy_function_call(chat_server):
    """The call of a server from before there were tools is a tool call."""
    first = chunk(function_call={"name": "f", "arguments": '{"a"'})
    rest = chunk(function_call={"arguments": ": 1}"})
    end = one(chat_server, stream(first, rest, chunk("function_call")))
    assert (end.reason, end.tool_calls[0]["function"]) == (
        "tool_calls",
        {"name": "f", "arguments": '{"a": 1}'},
    )
    assert end.tool_calls[0]["id"].startswith("call_")
