"""What a person sees of each failure of a provider, with which exit code, and what is stored of it."""

from __future__ import annotations

import pytest

from tests.cli.asking import variables
from tests.servers.chat_server import (
    Reply,
    answer,
    calls,
    chunk,
    cut,
    document,
    status,
    stream,
)
from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]

KEYS = "set one with `omniagent keys set openai` or set OPENAI_API_KEY"
NO_CHAT = "check that this address supports Chat Completions (it often ends in /v1)"
WAY_OUT = "; prompt saved; retry with -c or -c -m MODEL"
FUTURE = "Sat, 01 Jan 2039 00:00:00 GMT"
HTML = b"<html><head><title>Welcome to nginx</title></head></html>"

# What the server does, the exit code, the error, and what is stored: question's status, answer's text and status.
FAILURES = {
    "401": (status(401, "bad key sk-of-a-test"), 1, f"OpenAI rejected the API key; {KEYS}", "failed", None),
    "403": (status(403, "not you"), 1, "OpenAI does not allow this API key to use fake-1: not you; choose another model or key", "failed", None),
    "404": (status(404, "The model `fake-1` does not exist"), 1, "OpenAI has no model fake-1: The model `fake-1` does not exist; run `omniagent models list` or check the base_url URL", "failed", None),
    "429": (status(429, "slow down", Retry_After="3600"), 1, "OpenAI rate limit exceeded: slow down; try again in 60 min", "failed", None),
    "429 date": (status(429, Retry_After=FUTURE), 1, "OpenAI rate limit exceeded: it went wrong; try again in ", "failed", None),
    "no credit": (status(429, {"code": "insufficient_quota", "message": "You exceeded your quota"}), 1, "the OpenAI account has no credit left: You exceeded your quota; see its billing page", "failed", None),
    "501": (status(501, "no"), 3, "OpenAI failed or is overloaded (501): no; try again later", "failed", None),
    "too long": (status(400, {"code": "context_length_exceeded", "message": "too long"}), 1, "the conversation exceeds the context window of fake-1: too long; shorten the question, offer fewer tools (--no-tools), or choose a model with a longer context (--model)", "failed", None),
    "redirect": (status(308, "", Location="https://evil.example/\x1b[31m"), 1, "OpenAI at URL redirects to https://evil.example/", "failed", None),
    "web page": (document(HTML, "text/html"), 1, f"OpenAI at URL sent a web page; {NO_CHAT}", "failed", None),
    "other JSON": (document(b'{"message": "hello"}', "application/json"), 1, f"OpenAI at URL sent an unexpected response; {NO_CHAT}", "failed", None),
    "garbage": (document(b"\x00\xff\x1b]0;owned\x07\n\n", "text/event-stream"), 1, "OpenAI at URL sent ", "failed", None),
    "huge error": (document(b"E" * 5_000_000, "text/plain", 400), 1, "OpenAI rejected the request (400): EEEE", "failed", None),
    "hostile error": (status(400, "\x1b[2J\x1b]0;owned\x07 bad\nrequest"), 1, "OpenAI rejected the request (400): ", "failed", None),
    "error in the stream": (stream({"error": {"message": "the GPU is on fire"}}), 1, "OpenAI stopped with an error: the GPU is on fire", "failed", None),
    "cut": (cut("Once ", "upon"), 3, "OpenAI closed the connection in the middle of the answer; try again", "complete", ("Once upon", "failed")),
    "no end": (stream(chunk(content="Once"), done=False), 3, "openai:fake-1 stopped in the middle of its answer", "complete", ("Once", "failed")),
    "broken line": (stream(chunk(content="Once"), b"data: {oops\n\n"), 1, "OpenAI sent an unreadable event; try again", "complete", ("Once", "failed")),
    "error in the middle": (stream(chunk(content="Once"), {"error": {"message": "boom"}}), 1, "OpenAI stopped with an error: boom", "complete", ("Once", "failed")),
}  # fmt: skip


@pytest.fixture
def ask(run, monkeypatch):
    """Ask a server in the session x."""

    def ask(server, *argv):
        for name, value in variables(server).items():
            monkeypatch.setenv(name, value)
        return run("ask", "-s", "x", *argv, "Tell me")

    return ask


@pytest.mark.parametrize("case", FAILURES.values(), ids=FAILURES)
def test_each_failure_is_one_line_and_stored_as_what_it_was(ask, chat_server, store, case):
    """One line with what to do, an exit code that means something, what came on stdout, and it all in the session."""
    reply, code, told, question, kept = case
    server = chat_server(reply)
    ran = ask(server)
    error = ran.err.replace(server.url, "URL")
    assert error.startswith(f"omniagent: error: {told}"), error
    assert ran.err.count("\n") == 1
    assert len(ran.err) < 600
    assert not {"\x1b", "\x07"} & set(ran.err)
    assert "sk-of-a-test" not in ran.err
    assert (ran.code, ran.out) == (code, f"{kept[0]}\n" if kept else "")
    asked, *answers = store.messages("x")
    assert (asked.text, asked.status) == ("Tell me", question)
    assert [(m.text, m.status) for m in answers] == ([kept] if kept else [])
    why = (answers[-1] if answers else asked).extra["error"]
    assert ran.err == f"omniagent: error: {why}{WAY_OUT}\n"


def test_a_failed_question_is_not_doubled_by_asking_again(ask, chat_server, store):
    """After a failure the same question is the same message, and its answer makes it whole."""
    server = chat_server(status(401, "no"), answer("Fine"))
    assert ask(server).code == 1
    assert ask(server).out == "Fine\n"
    assert [(m.text, m.status) for m in store.messages("x")] == [
        ("Tell me", "complete"),
        ("Fine", "complete"),
    ]


ODD_ENDS = {
    "length": (answer("Once upon", finish="length"), "Once upon\n", "The answer was cut at the model's token limit; ask it to continue, or raise agent.max_tokens", "length"),
    "content_filter": (answer("I", finish="content_filter"), "I\n", "The provider's content filter stopped the answer; rephrase the message, or choose another model", "content_filter"),
    "empty": (answer(), "", "The model returned an empty answer; ask again, or choose another model", None),
}  # fmt: skip


@pytest.mark.parametrize("case", ODD_ENDS.values(), ids=ODD_ENDS)
def test_an_answer_that_ends_oddly_says_so(ask, chat_server, store, case):
    """A cut, filtered or empty answer is an answer with a line beside it; none at all is exit 1 for a script."""
    reply, out, told, reason = case
    ran = ask(chat_server(reply))
    assert (ran.code, ran.out, ran.err) == (0 if out else 1, out, f"{told}\n")
    last = store.messages("x")[-1]
    assert (last.status, (last.extra or {}).get("finish_reason")) == ("complete", reason)


def test_each_wait_is_told(ask, chat_server):
    """A server that is busy for a moment is asked again, and the person sees why and for how long."""
    busy = status(429, Retry_After="0"), Reply(status=503, headers={"Retry-After": "0"}, body=b"")
    ran = ask(chat_server(*busy, answer("Hi")))
    assert (ran.code, ran.out) == (0, "Hi\n")
    assert ran.err.splitlines() == [
        "Rate limited by OpenAI; retrying in 0 s",
        "OpenAI failed (503); retrying in 0 s",
    ]


def test_silence_ends_at_the_limits_of_the_settings(ask, chat_server, monkeypatch):
    """How long to wait for the first word, and between words, are settings; both ends are told as what they are."""
    monkeypatch.setenv("OMNIAGENT_AGENT_FIRST_TOKEN_TIMEOUT", "1s")
    ran = ask(chat_server(answer("x", before=30)))
    assert (ran.code, "OpenAI sent no response for 1 s" in ran.err) == (3, True)
    monkeypatch.setenv("OMNIAGENT_AGENT_FIRST_TOKEN_TIMEOUT", "1m")
    monkeypatch.setenv("OMNIAGENT_AGENT_TOKEN_TIMEOUT", "1s")
    ran = ask(chat_server(stream(chunk(content="Once"), float("inf"))))
    assert ran.code == 3
    assert "OpenAI sent no more of the answer for 1 s" in ran.err
    assert ran.out == "Once\n"


def test_a_failure_after_a_tool_keeps_what_the_tool_did(ask, chat_server, store):
    """A provider that fails behind a tool call leaves call and result in the session."""
    server = chat_server(calls(("sessions_list", {})), status(401, "no"))
    ran = ask(server)
    assert (ran.code, "OpenAI rejected the API key" in ran.err) == (1, True)
    assert [m.role for m in store.messages("x")] == ["user", "assistant", "tool"]


def test_in_a_chat_a_failure_is_one_line_and_the_chat_goes_on(person, chat_server):
    """At the prompt a failure is told, and the next question is asked."""
    server = chat_server(status(401, "no"), status(429, Retry_After="3600"), answer("Fine"))
    with person("chat", columns=160, **variables(server)) as terminal:
        terminal.wait_for("/help")
        terminal.say("one")
        terminal.wait_for(f"error: OpenAI rejected the API key; {KEYS}")
        terminal.wait_prompt(2)
        terminal.say("two")
        terminal.wait_for("error: OpenAI rate limit exceeded: it went wrong; try again in 60 min")
        terminal.wait_prompt(3)
        terminal.say("three")
        terminal.wait_for("Fine")
        terminal.wait_prompt(4)
        terminal.say("/quit")
        assert terminal.wait() == 0


def test_a_failed_question_names_the_way_out(ask, chat_server, store):
    """The line says how to ask again, which works; a question that is kept nowhere says nothing of it."""
    server = chat_server(status(400, "no"), answer("fine"), status(400, "no"))
    assert ask(server).err.endswith(f"{WAY_OUT}\n")
    assert ask(server).out == "fine\n"
    assert [m.text for m in store.messages("x")] == ["Tell me", "fine"]


def test_a_question_that_is_kept_nowhere(run, chat_server, monkeypatch):
    """Without a session the line ends with the refusal."""
    for name, value in variables(chat_server(status(400, "no"))).items():
        monkeypatch.setenv(name, value)
    ran = run("ask", "--ephemeral", "Tell me")
    assert ran.err == "omniagent: error: OpenAI rejected the request (400): no\n"


def test_a_question_that_is_too_long_is_sent_again(ask, chat_server, store):
    """The older part is compacted, said in one line on stderr, and stdout is the answer alone."""
    store.append(
        "x", [{"role": "user", "content": "long " * 2000}, {"role": "assistant", "content": "yes"}]
    )
    refused = status(400, "prompt is too long: 3000 tokens > 2000 maximum")
    ran = ask(chat_server(refused, *[answer("They talked.")] * 2, answer("fine")))
    assert (ran.code, ran.out) == (0, "fine\n")
    assert ran.err == (
        "The conversation is longer than openai:fake-1 accepts; compacting 2 older messages and asking again\n"
    )
