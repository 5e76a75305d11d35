"""What the native engines make of providers that refuse, stall, break off or send something else."""

from __future__ import annotations

import pytest

from omniagent_cli.agent.events import ModelSettings, Notice, Retrying, TextDelta
from omniagent_cli.errors import ModelError, ModelRateLimited, ModelRefused, ModelUnreachable
from tests.agent.asking import KEY, QUICK, ask
from tests.agent.native_asking import BY_NAME, PROTOCOLS
from tests.servers import anthropic_server, bedrock_server, google_server
from tests.servers.chat_server import STALL, Cut, Reply, document

ONCE = ModelSettings(max_retries=0)


@pytest.fixture(params=PROTOCOLS, ids=lambda protocol: protocol.name)
def protocol(request):
    """Each of the protocols."""
    return request.param


def fails(engine, settings=ONCE, **options):
    """Ask, and return the error and what came before it."""
    seen = []
    with pytest.raises(ModelError) as caught:
        ask(engine, settings=settings, seen=seen, **options)
    return caught.value, seen


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "rejected the API key; set one with `omniagent keys set"),
        (403, "does not allow this API key to use"),
        (404, "has no model"),
        (400, "rejected the request (400): it went wrong"),
    ],
)
def test_refusals_say_what_to_do(protocol, status, says, native_server):
    """A refusal is one line with the provider's words and what to do, and is not asked again."""
    server = native_server(protocol, protocol.speaks.status(status))
    error, _ = fails(protocol.engine(server), ModelSettings())
    assert isinstance(error, ModelRefused)
    assert error.status == status
    assert says in str(error)
    assert "\n" not in str(error)
    assert len(server.requests) == 1


def test_a_refusal_does_not_repeat_the_key(protocol, native_server):
    """Some providers repeat the key in what they say; we do not."""
    server = native_server(protocol, protocol.speaks.status(400, f"Bad key: {KEY}"))
    error, _ = fails(protocol.engine(server))
    assert KEY not in str(error)
    assert error.__cause__ is None


def test_a_busy_provider_is_asked_again_when_it_says(protocol, native_server):
    """Retry-After is kept to, the person is told, and the next answer counts."""
    server = native_server(
        protocol, protocol.speaks.status(429, Retry_After="0.02"), protocol.speaks.answer("Hi")
    )
    first, *_, end = ask(protocol.engine(server))
    assert isinstance(first, Retrying)
    assert first.wait_seconds == pytest.approx(0.02)
    assert "Rate limited by" in first.reason
    assert end.text == "Hi"


def test_a_provider_that_stays_busy(protocol, native_server):
    """After two more tries it is an error that says when to come back; a long wait is the person's choice."""
    server = native_server(protocol, protocol.speaks.status(429, "slow down", Retry_After="3600"))
    error, seen = fails(protocol.engine(server), ModelSettings())
    assert isinstance(error, ModelRateLimited)
    assert error.retry_after_seconds == 3600
    assert str(error).endswith("slow down; try again in 60 min")
    assert seen == []


def test_a_failing_provider_is_asked_three_times(protocol, native_server):
    """An error of the server's is asked again, by our own count and nobody else's."""
    server = native_server(protocol, *[protocol.speaks.status(503, "down")] * 3)
    error, seen = fails(protocol.engine(server), ModelSettings())
    assert isinstance(error, ModelUnreachable)
    assert "failed or is overloaded (503): down" in str(error)
    assert [type(event) for event in seen] == [Retrying, Retrying]
    assert len(server.requests) == 3


def test_nothing_answers(protocol, native_server):
    """A port where nobody listens is told with its address."""
    server = native_server(protocol)
    engine = protocol.engine(server)
    url = f"http://127.0.0.1:{server.port}"
    server.close()
    error, _ = fails(engine)
    assert isinstance(error, ModelUnreachable)
    assert f"does not respond at {url} (connection failed)" in str(error)


def test_a_cut_in_the_middle(protocol, native_server):
    """A connection that breaks keeps what was said and is an error; it is not asked again, or it would be said twice."""
    server = native_server(protocol, protocol.speaks.partial("Hel", "lo", Cut()))
    error, seen = fails(protocol.engine(server), ModelSettings())
    assert isinstance(error, ModelUnreachable)
    assert "closed the connection in the middle of the answer" in str(error)
    assert seen == [TextDelta("Hel"), TextDelta("lo")]
    assert len(server.requests) == 1


def test_an_end_without_a_reason_is_a_cut(protocol, native_server):
    """A stream that just ends has no reason, which whoever runs the turn takes for a cut."""
    server = native_server(protocol, protocol.speaks.partial("Hel"))
    end = ask(protocol.engine(server))[-1]
    assert (end.reason, end.text) == ("", "Hel")


def test_silence_before_the_first_word(protocol, native_server):
    """A provider that takes the question and says nothing is given up after the first-token time."""
    server = native_server(protocol, Reply([STALL]))
    error, _ = fails(protocol.engine(server), QUICK)
    assert "sent no response for 0.2 s" in str(error)


def test_silence_in_the_middle(protocol, native_server):
    """A provider that falls silent is given up after the time between tokens, what it said kept."""
    server = native_server(protocol, protocol.speaks.partial("Hel", STALL))
    settings = ModelSettings(first_token_timeout_seconds=30, token_timeout_seconds=0.2)
    error, seen = fails(protocol.engine(server), settings)
    assert "sent no more of the answer for 0.2 s" in str(error)
    assert seen == [TextDelta("Hel")]


def test_pings_are_a_sign_of_life(native_server):
    """Anthropic sends pings while a model thinks unseen: that is no silence."""
    protocol = BY_NAME["anthropic"]
    pings = [0.1, anthropic_server.PING] * 12
    whole = anthropic_server.answer(" Ada")
    script = [*anthropic_server.partial("Hello").parts, *pings, *whole.parts[3:]]
    server = native_server(protocol, Reply(script, done=False))
    settings = ModelSettings(first_token_timeout_seconds=30, token_timeout_seconds=1.0)
    assert ask(protocol.engine(server), settings=settings)[-1].text == "Hello Ada"


def test_something_else_than_an_answer(protocol, native_server):
    """A web page instead of an answer is told as such, with the address to check."""
    page = document(b"<html><title>Login</title></html>", "text/html")
    error, _ = fails(protocol.engine(native_server(protocol, page)))
    assert "sent an unreadable response; check that this address supports the protocol of" in str(
        error
    )
    assert "127.0.0.1" in str(error)


def test_garbage_in_the_middle(protocol, native_server):
    """An event that cannot be read is an error, not skipped: words would be lost unseen. What was said is kept."""
    garbage = (
        b"\x00" * 40 if protocol.name == "bedrock" else b"event: content_block_delta\ndata: {oh\n\n"
    )
    reply = protocol.speaks.partial("Hel", garbage, " Ada")
    error, seen = fails(protocol.engine(native_server(protocol, reply)))
    assert str(error).endswith("sent an unreadable event; try again")
    assert seen == [TextDelta("Hel")]


def test_an_error_after_the_beginning(native_server):
    """Anthropic's error event in the middle of an answer is what its type says."""
    protocol = BY_NAME["anthropic"]
    reply = anthropic_server.partial("Hel", anthropic_server.overloaded())
    error, seen = fails(protocol.engine(native_server(protocol, reply)))
    assert isinstance(error, ModelUnreachable)
    assert "failed or is overloaded (529): Overloaded" in str(error)
    assert seen == [TextDelta("Hel")]


def test_an_exception_after_the_beginning(native_server):
    """Bedrock's exception event in the middle of an answer is what its type says."""
    protocol = BY_NAME["bedrock"]
    message = {"message": "Too many tokens"}
    thrown = bedrock_server.event("throttlingException", message, message="exception")
    reply = bedrock_server.partial("Hel", thrown)
    error, _ = fails(protocol.engine(native_server(protocol, reply)))
    assert isinstance(error, ModelRateLimited)
    assert "Too many tokens" in str(error)


def test_an_answer_that_google_breaks_off(native_server):
    """A call that Google's model got wrong is an error with Google's word for it."""
    protocol = BY_NAME["gemini"]
    broken = google_server.piece(finish="MALFORMED_FUNCTION_CALL")
    error, _ = fails(protocol.engine(native_server(protocol, Reply([broken], done=False))))
    assert "stopped in the middle of the answer (MALFORMED_FUNCTION_CALL); try again" in str(error)


def test_a_blocked_question(native_server):
    """Google's refusal to read a question is a content filter's end."""
    protocol = BY_NAME["gemini"]
    blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "modelVersion": "g"}
    reply = Reply([{**blocked, "usageMetadata": google_server.USAGE}], done=False)
    assert ask(protocol.engine(native_server(protocol, reply)))[-1].reason == "content_filter"


@pytest.mark.parametrize(
    ("name", "reply", "says"),
    [
        (
            "gemini",
            lambda: document(
                b'{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT",'
                b' "details": [{"reason": "API_KEY_INVALID"}]}}',
                "application/json",
                400,
            ),
            "rejected the API key",
        ),
        (
            "anthropic",
            lambda: anthropic_server.status(400, "Your credit balance is too low to access"),
            "has no credit left",
        ),
        (
            "anthropic",
            lambda: anthropic_server.status(400, "prompt is too long: 210000 tokens > 200000"),
            "the conversation exceeds the context window of",
        ),
        (
            "bedrock",
            lambda: bedrock_server.status(400, "The provided model identifier is invalid."),
            "has no model",
        ),
    ],
)
def test_400_that_means_something_else(name, reply, says, native_server):
    """Providers that say 400 to a wrong key, no credit, a long conversation or no model are read better."""
    protocol = BY_NAME[name]
    error, _ = fails(protocol.engine(native_server(protocol, reply())))
    assert says in str(error)


def test_google_says_how_long_to_wait(native_server):
    """Google's RetryInfo is kept to."""
    protocol = BY_NAME["gemini"]
    body = b'{"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": [{"@type":'
    body += b' "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.02s"}]}}'
    server = native_server(
        protocol, document(body, "application/json", 429), protocol.speaks.answer("Hi")
    )
    first = ask(protocol.engine(server))[0]
    assert isinstance(first, Retrying)
    assert first.wait_seconds == pytest.approx(0.02)


def test_a_model_that_takes_no_tools(native_server):
    """A refusal of tools is learned: asked without, told once, and not asked with them again."""
    protocol = BY_NAME["groq"]
    refusal = protocol.speaks.status(400, "`tool calling` is not supported with this model")
    server = native_server(
        protocol, refusal, protocol.speaks.answer("A"), protocol.speaks.answer("B")
    )
    engine = protocol.engine(server)
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    first, second = ask(engine, tools=[tool]), ask(engine, tools=[tool])
    assert "does not support tools" in next(e.text for e in first if isinstance(e, Notice))
    assert [first[-1].text, second[-1].text] == ["A", "B"]
    assert not [event for event in second if isinstance(event, Notice)]
    assert [bool(body.get("tools")) for body in server.chats()] == [True, False, False]


def test_an_unknown_host(native_server):
    """A name that leads nowhere is told as such."""
    from dataclasses import replace

    for protocol in PROTOCOLS:
        engine = protocol.engine(native_server(protocol))
        engine.endpoint = replace(engine.endpoint, base_url="http://no-such-host.invalid")
        error, _ = fails(engine)
        assert "unknown host no-such-host.invalid" in str(error)
