"""Streams as the standard allows them, whatever frames a gateway adds to them."""

import asyncio
import json

import pytest

from omniagent_cli.agent.events import ModelSettings, TextDelta
from tests.agent.asking import ASK, ask, engine_for
from tests.servers.chat_server import chunk, stream, usage_chunk

NO_DATA = {
    "retry": b"retry: 3000\n\n",
    "id": b"id: 7\n\n",
    "event": b"event: ping\n\n",
    "bare data": b"data:\n\n",
    "data and a blank": b"data: \n\n",
    "comment after an id": b"id: 1\n\n: keep-alive\n\n",
    "field without a colon": b"data\n\n",
    "null": b"data: null\n\n",
}


@pytest.mark.parametrize("frame", NO_DATA.values(), ids=NO_DATA)
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_frame_without_data_is_skipped(chat_server, frame, place):
    """Control frames change nothing of an answer, before it, in it and after it."""
    parts = [chunk(content="Hel"), chunk("stop", content="lo"), usage_chunk({"prompt_tokens": 3})]
    parts.insert(place, frame)
    events = ask(engine_for(chat_server(stream(*parts))))
    assert events[:-1] == [TextDelta("Hel"), TextDelta("lo")]
    assert (events[-1].text, events[-1].reason) == ("Hello", "stop")
    assert events[-1].usage == {"input_tokens": 3}


def frames(end):
    """Return an answer as bytes, with these line ends; one event in two data lines."""
    first = json.dumps(chunk(content="Gr\u00fc\u2028\u00dfe")).replace(
        ', "created"', ',\n"created"'
    )
    lines = [*(f"data: {line}" for line in first.split("\n")), ""]
    lines += [f"data:{json.dumps(chunk('stop'))}", "", "data: [DONE]", "", ""]
    return end.join(lines).encode()


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
@pytest.mark.parametrize("size", [1, 2, 7, 100_000])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_line_ends_and_cuts(chat_server, end, size, bom):
    """Every line end, a byte order mark, and chunks that cut anywhere give the same answer."""
    body = bom + frames(end)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    end_event = ask(engine_for(chat_server(stream(*pieces, done=False))))[-1]
    assert (end_event.text, end_event.reason) == ("Gr\u00fc\u2028\u00dfe", "stop")


def test_an_end_without_a_blank_line(chat_server):
    """The last event counts although the server closes right behind it; half an event does not."""
    whole = b"data: " + json.dumps(chunk("stop", content="Hi")).encode()
    assert ask(engine_for(chat_server(stream(whole, done=False))))[-1].reason == "stop"
    cut = ask(engine_for(chat_server(stream(chunk(content="Hi"), whole[:40], done=False))))[-1]
    assert (cut.text, cut.reason) == ("Hi", "")


def test_comments_keep_an_answer_alive(chat_server):
    """A model that thinks for long while its server sends comments is waited for."""
    quiet = [part for _ in range(4) for part in (0.4, b": keepalive\n\n")]
    parts = [chunk(content="Hel"), *quiet, chunk("stop", content="lo")]
    settings = ModelSettings(token_timeout_seconds=1.0)
    assert ask(engine_for(chat_server(stream(*parts))), settings=settings)[-1].text == "Hello"


def test_the_connection_is_kept(chat_server):
    """The end of a stream is read, so that the next question needs no new connection."""
    server = chat_server(stream(chunk("stop", content="a")), stream(chunk("stop", content="b")))
    engine = engine_for(server)

    async def twice():
        for _ in range(2):
            async for _ in engine.stream(ASK, (), ModelSettings()):
                pass
        await engine.aclose()

    asyncio.run(twice())
    assert (len(server.requests), server.connections) == (2, 1)
