"""A conversation longer than the model's context: recognized in every wording, compacted, and sent again once."""

from __future__ import annotations

import asyncio
import json

import pytest

from omniagent_cli import Agent, Window, open_store
from omniagent_cli.agent.events import Notice, TurnDone
from omniagent_cli.agent.models.limits import context_tokens, is_too_long
from omniagent_cli.errors import ContextLengthExceeded, ModelRateLimited, ModelUnreachable
from tests.agent.asking import ask, engine_for
from tests.servers.chat_server import answer, document, status

WORDINGS = {
    "OpenAI": (400, {"message": "too long", "code": "context_length_exceeded"}, None),
    "OpenAI Responses": (400, {"message": "Your input exceeds the context window of this model. Please adjust your input and try again."}, None),
    "llama.cpp": (400, {"code": 400, "message": "request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it", "type": "exceed_context_size_error"}, 4096),
    "llama.cpp, older": (500, {"code": 500, "message": "context shift is disabled", "type": "server_error"}, None),
    "LM Studio": (400, "Trying to keep the first 7092 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough. Try to load the model with a larger context length, or provide a shorter input", 4096),
    "vLLM": (400, {"message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"}, 4096),
    "vLLM, decoder": (400, {"message": "The decoder prompt (length 5000) is longer than the maximum model length of 4096."}, 4096),
    "Anthropic": (400, {"type": "invalid_request_error", "message": "prompt is too long: 215000 tokens > 200000 maximum"}, 200000),
    "Gemini": (400, {"code": 400, "message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", "status": "INVALID_ARGUMENT"}, 1048576),
    "Groq": (400, {"message": "Please reduce the length of the messages or completion."}, None),
    "Mistral": (400, {"message": "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length"}, 32768),
    "xAI": (400, "This model's maximum prompt length is 131072 but the request contains 150000 tokens.", 131072),
    "Together": (422, {"message": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens and 512 `max_new_tokens`"}, 8193),
    "Moonshot": (400, {"message": "Invalid request: Your request exceeded model token limit: 131072"}, 131072),
    "Alibaba": (400, {"message": "Range of input length should be [1, 129024]"}, 129024),
    "Bedrock": (400, {"message": "Input is too long for requested model."}, None),
    "GitHub": (400, {"message": "prompt token count of 70000 exceeds the limit of 64000 tokens"}, 64000),
    "a proxy": (413, {"message": "Payload Too Large"}, None),
}  # fmt: skip


@pytest.mark.parametrize(("code", "error", "limit"), WORDINGS.values(), ids=WORDINGS)
def test_every_wording_is_recognised(chat_server, code, error, limit):
    """The refusals that 15 servers publish are one error, not tried again, with the length they name."""
    server = chat_server(document(json.dumps({"error": error}).encode(), "application/json", code))
    with pytest.raises(ContextLengthExceeded) as raised:
        ask(engine_for(server))
    assert raised.value.limit_tokens == limit
    assert str(raised.value).startswith("the conversation exceeds the context window of m")
    assert len(server.chats()) == 1


@pytest.mark.parametrize(
    "said",
    [
        "temperature must be below 2",
        "max_tokens is too large: 100000",
        "the image is too large",
        "invalid tool name",
    ],
)
def test_other_refusals_are_not_taken_for_it(said):
    """A refusal about something else is not about length."""
    assert not is_too_long(said)
    assert context_tokens("no number") is None


def test_tokens_per_minute_are_a_rate(chat_server):
    """Groq's 413 is a limit of tokens per minute; the line says so, and it is not tried again."""
    said = "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 9000, please reduce your message size and try again."
    server = chat_server(
        status(413, {"message": said, "type": "tokens", "code": "rate_limit_exceeded"})
    )
    with pytest.raises(
        ModelRateLimited,
        match=r"Groq allows fewer tokens per minute than this request has: .*; compact",
    ):
        ask(engine_for(server, "groq", "gsk-of-a-test-0123"))
    assert len(server.chats()) == 1


# What a turn makes of it.

TOO_LONG = status(400, {"message": "too long", "code": "context_length_exceeded"})


@pytest.fixture
def store():
    with open_store("memory:") as store:
        for number in range(8):
            store.append("s", [
                {"role": "user", "content": f"question {number} {'words ' * 300}"},
                {"role": "assistant", "content": f"answer {number} {'words ' * 300}"},
            ])  # fmt: skip
        yield store


def accepting(size, reply=TOO_LONG):
    """Refuse bodies of more than so many bytes; sum up, and answer everything else."""

    def script(request):
        if len(request.raw) > size:
            return reply
        is_summary = "keep the memory of a conversation" in request.raw.decode()
        return answer("They counted." if is_summary else "fine")

    return [script] * 20


def turn(server, store, question="and now?", **options):
    """Take one turn; return its notices and its answer."""
    with Agent(engine_for(server), store=store, **options) as agent:
        events = list(agent.stream_sync(question, "s"))
    notices = [event.text for event in events if isinstance(event, Notice)]
    (done,) = [event for event in events if isinstance(event, TurnDone)]
    return notices, done.message.text


@pytest.mark.parametrize("code", [400, 413, 500])
def test_the_older_part_is_compacted_and_the_question_sent_again(store, chat_server, code):
    """A refusal compacts the older part, says so in one line, and the question is answered; nothing stored is lost."""
    reply = status(code, "the request exceeds the available context size")
    server = chat_server(*accepting(22_000, reply))
    notices, text = turn(server, store)
    assert notices == [
        "The conversation is longer than vllm:m accepts; compacting 14 older messages and asking again"
    ]
    assert text == "fine"
    assert store.count_messages("s") == 18
    assert store.last_summary("s")["text"] == "They counted."
    last = server.chats()[-1]["messages"]
    assert "They counted." in last[0]["content"]
    assert last[-1]["content"] == "and now?"
    assert turn(server, store, "more") == ([], "fine")


def test_a_partial_answer_goes_on_after_a_compaction(store, chat_server):
    """Resuming a cut answer survives the refusal too."""
    ended = {"status": "interrupted", "extra": {"error": "interrupted"}, "turn_id": "t"}
    store.append("s", {"role": "user", "content": "count", "turn_id": "t"})
    store.append("s", {"role": "assistant", "content": "one, ", **ended})
    server = chat_server(*accepting(22_000))

    async def go_on():
        async with Agent(engine_for(server), store=store) as agent:
            return [event async for event in agent.continue_turn("s")]

    events = asyncio.run(go_on())
    assert events[-1].message.text == "one, fine"


ADVICE = "shorten the question, offer fewer tools (--no-tools), or choose a model with a longer context (--model)"


def refusal(server, store, session_id="s", question="and now?", **options):
    with (
        Agent(engine_for(server), store=store, **options) as agent,
        pytest.raises(ContextLengthExceeded) as raised,
    ):
        list(agent.stream_sync(question, session_id))
    return str(raised.value)


def test_a_compaction_that_does_not_help(store, chat_server):
    """The question is sent again once only; then the line says what to do."""
    asked = []

    def script(request):
        if "keep the memory of a conversation" in request.raw.decode():
            return answer("sum")
        asked.append(request)
        return TOO_LONG

    assert (
        refusal(chat_server(*[script] * 20), store)
        == f"the conversation exceeds the context window of m: too long; {ADVICE}"
    )
    assert len(asked) == 2
    assert store.messages("s")[-1].status == "failed"


def test_a_compaction_that_fails(store, chat_server):
    """A model that cannot sum up either leaves everything as it was, and the line says what to do."""

    def script(request):
        is_summary = "keep the memory of a conversation" in request.raw.decode()
        return status(401, "no") if is_summary else TOO_LONG

    raised = refusal(chat_server(*[script] * 20), store)
    assert raised.startswith(
        "the conversation exceeds the context window of m: too long; compacting it failed (vLLM requires an API key"
    )
    assert raised.endswith("; choose another model (--model)")
    assert store.last_summary("s") is None


def test_one_long_question(store, chat_server):
    """There is nothing to compact before a first question, in a session or without one."""
    for session_id in ("new", None):
        raised = refusal(chat_server(TOO_LONG), store, session_id)
        assert raised == f"the conversation exceeds the context window of m: too long; {ADVICE}"


def test_tools_that_are_too_long(store, chat_server):
    """Where the messages are a small share of the context, nothing is compacted: something else is too long."""
    said = "request (99000 tokens) exceeds the available context size (65536 tokens)"
    server = chat_server(status(400, said))
    assert refusal(server, store).endswith(ADVICE)
    assert len(server.chats()) == 1


def test_a_session_far_beyond_the_context(store, chat_server):
    """Many summaries are not requested automatically: the line names the command for it."""
    for _ in range(6):
        store.append("s", {"role": "user", "content": "long " * 20_000})
        store.append("s", {"role": "assistant", "content": "yes"})
    said = "request (99000 tokens) exceeds the available context size (2048 tokens)"
    raised = refusal(chat_server(status(400, said)), store, window=Window(max_messages=100))
    assert (
        "older messages are too many to compact automatically: run /compact, or omniagent sessions compact s -m MODEL"
        in raised
    )


def test_a_refusal_in_the_middle_of_an_answer(store, chat_server):
    """An answer that has begun is not asked for again."""
    from tests.servers.chat_server import chunk, stream

    error = {"error": {"code": 500, "message": "context shift is disabled"}}
    server = chat_server(stream(chunk(content="Once"), error))
    with Agent(engine_for(server), store=store) as agent, pytest.raises(ContextLengthExceeded):
        list(agent.stream_sync("and now?", "s"))
    assert store.messages("s")[-1].text == "Once"
    assert len(server.chats()) == 1


def test_a_server_error_is_still_one(chat_server):
    """A 500 about something else is tried again, as before."""
    server = chat_server(*[status(500, "out of memory")] * 3)
    with pytest.raises(ModelUnreachable):
        ask(engine_for(server))
    assert len(server.chats()) == 3
