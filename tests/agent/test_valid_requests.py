"""Sessions with a strict server: whatever a model said once, later requests are valid, and what is stored stays as it came."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from omniagent_cli import Agent, open_store, tool
from omniagent_cli.agent.events import ModelSettings, Notice, TextDelta
from omniagent_cli.errors import ModelError, ModelRefused
from omniagent_cli.models import Message
from tests.agent.asking import engine_for
from tests.servers.chat_server import STALL, answer, chunk, cut, status, stream

PICTURE = {
    "type": "image_url",
    "image_url": {"url": "data:image/png;base64," + b64encode(b"\x89PNG\r\n\x1a\n").decode()},
}


@pytest.fixture
def store():
    with open_store("memory:") as store:
        yield store


@tool
def sessions_list(limit: int = 3) -> str:
    """List sessions.

    Args:
        limit: at most that many.
    """
    return f"{limit} sessions"


def called(name="sessions_list", arguments="{}", call_id="a", finish="tool_calls"):
    """A stream with one call, as it comes."""
    call = {"index": 0, "id": call_id, "function": {"name": name, "arguments": arguments}}
    return stream(chunk(tool_calls=[call]), chunk(finish))


def talk(store, server, *questions, provider="vllm", **options):
    """Take turns in the session "s", each with an agent of its own as `ask` does; return the answers or errors."""
    said = []
    for question in questions:
        engine = engine_for(server, provider)
        with Agent(engine, store=store, tools=[sessions_list], **options) as agent:
            try:
                said.append(agent.process_with_session("s", question))
            except ModelError as error:
                said.append(error)
    return said


ARGUMENTS = {
    "cut": '{"limit": 2',
    "two objects": '{}{"limit": 2}',
    "trailing comma": '{"limit": 2,}',
    "null": "null",
    "a list": "[1]",
    "encoded twice": '"{\\"limit\\": 2}"',
    "not a number": '{"limit": NaN}',
    "half a character": '{"limit": "\\ud83d"}',
}


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS)
@pytest.mark.parametrize("finish", ["tool_calls", "length"])
def test_arguments_that_are_not_an_object(store, chat_server, arguments, finish):
    """Malformed arguments are stored as they came and sent as an object, so every later question is answered."""
    server = chat_server(
        called(arguments=arguments, finish=finish), answer("one"), answer("two"), strict=True
    )
    assert talk(store, server, "first", "second") == ["one", "two"]
    calls = next(m.tool_calls for m in store.messages("s") if m.tool_calls)
    assert calls[0]["function"]["arguments"] == arguments
    sent = server.chats()[-1]["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert isinstance(json.loads(sent), dict)


def test_the_model_sees_the_arguments_it_wrote(store, chat_server):
    """The text of malformed arguments is what the object holds, beside the error in the result."""
    server = chat_server(called(arguments='{"limit": 2'), answer("one"), strict=True)
    talk(store, server, "first")
    _, call, result = server.chats()[-1]["messages"]
    assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == {
        "invalid_arguments": '{"limit": 2'
    }
    assert result["content"].startswith("error: the arguments are not a JSON object")


NAMES = {
    "browser.tabs.open": "browser_tabs_open",
    "do the thing!": "do_the_thing_",
    "x" * 300: "x" * 64,
    "<|constrain|>": "unnamed",
}


@pytest.mark.parametrize(("name", "sent"), NAMES.items(), ids=range(len(NAMES)))
def test_names_that_no_provider_accepts(store, chat_server, name, sent):
    """A name that a model made up is stored as it came and sent in a legal form, in the call and its result."""
    server = chat_server(called(name), answer("one"), answer("two"), strict=True)
    assert talk(store, server, "first", "second") == ["one", "two"]
    _, call, result, *_ = server.chats()[-1]["messages"]
    assert (call["tool_calls"][0]["function"]["name"], result["name"]) == (sent, sent)
    assert "unknown" in result["content"] or "no tool" in result["content"]
    assert store.messages("s")[1].tool_calls[0]["function"]["name"] == name


@pytest.mark.parametrize(
    "name",
    [
        "sessions_list<|channel|>commentary",
        " sessions_list\n",
        " functions.sessions_list",
        "functions.sessions_list:0",
        "sessions.list",
        "Sessions_List",
    ],
)
def test_another_spelling_of_one_tool(store, chat_server, name):
    """A padded, prefixed or marked name of exactly one tool runs that tool, and goes back as its name."""
    server = chat_server(called(name, '{"limit": 5}'), answer("one"), strict=True)
    assert talk(store, server, "first") == ["one"]
    _, call, result = server.chats()[-1]["messages"]
    assert call["tool_calls"][0]["function"]["name"] == "sessions_list"
    assert result["content"] == "5 sessions"


def test_a_name_in_two_pieces(store, chat_server):
    """A name that is streamed in pieces, grows or is repeated is one name."""
    for pieces in (
        ("sessions_", "list"),
        ("sessions", "sessions_list"),
        ("sessions_list", "sessions_list"),
    ):
        parts = [
            chunk(
                tool_calls=[
                    {"index": 0, "id": "a" if n == 0 else None, "function": {"name": piece}}
                ]
            )
            for n, piece in enumerate(pieces)
        ]
        end = chunk(tool_calls=[{"index": 0, "function": {"arguments": "{}"}}])
        server = chat_server(stream(*parts, end, chunk("tool_calls")), answer("one"), strict=True)
        talk(store, server, "first")
        assert server.chats()[-1]["messages"][-1]["content"] == "3 sessions"
        store.delete("s")


def test_call_ids_that_repeat(store, chat_server):
    """Ids that a server counts from zero in each answer are unique in what is sent, each with its own result."""
    rounds = [called(arguments=json.dumps({"limit": n}), call_id="call_0") for n in (1, 2)]
    server = chat_server(
        *rounds,
        answer("one"),
        called(arguments='{"limit": 9}', call_id="call_0"),
        answer("two"),
        strict=True,
    )
    assert talk(store, server, "first", "second") == ["one", "two"]
    sent = server.chats()[-1]["messages"]
    ids = [call["id"] for m in sent for call in m.get("tool_calls") or ()]
    results = {m["tool_call_id"]: m["content"] for m in sent if m["role"] == "tool"}
    assert len(set(ids)) == 3
    assert [results[call_id] for call_id in ids] == ["1 sessions", "2 sessions", "9 sessions"]
    assert server.chats()[-2]["messages"][:6] == sent[:6]


def test_lone_surrogates(store, chat_server):
    """Half a character of the user, of the model or of an import is stored as it came and replaced in requests."""
    half = stream(chunk(content="smile \ud83d."), chunk("stop"))
    server = chat_server(half, answer("two"), strict=True)
    assert talk(store, server, "caf\udce9", "second") == ["smile \ud83d.", "two"]
    assert [m.text for m in store.messages("s")][:2] == ["caf\udce9", "smile \ud83d."]
    assert [m["content"] for m in server.chats()[-1]["messages"]] == [
        "caf\ufffd",
        "smile \ufffd.",
        "second",
    ]


def test_a_character_in_two_chunks(store, chat_server):
    """A character whose halves come in two chunks is shown, stored and sent as that character."""
    halves = [b'data: {"choices":[{"index":0,"delta":{"content":"smile \\ud83d"}}]}\n\n']
    halves += [b'data: {"choices":[{"index":0,"delta":{"content":"\\ude00"}}]}\n\n']
    server = chat_server(stream(*halves, chunk("stop")), strict=True)
    with Agent(engine_for(server), store=store) as agent:
        events = list(agent.stream_sync("Hi", "s"))
    assert [e.text for e in events if isinstance(e, TextDelta)] == ["smile ", "\U0001f600"]
    assert store.messages("s")[-1].text == "smile \U0001f600"


FIRST = {
    "a refusal": status(401, "no"),
    "an empty answer": answer(""),
    "a cut before a word": cut(),
    "nothing": stream(STALL),
}


@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)
def test_questions_without_an_answer(store, chat_server, first):
    """A question that failed before a word came goes with its successor, as one message, and sides alternate."""
    impatient = ModelSettings(max_retries=0, first_token_timeout_seconds=0.2)
    server = chat_server(first, answer("fine"), answer("good"), strict=True)
    talk(store, server, "one", settings=impatient)
    assert talk(store, server, "two", "three") == ["fine", "good"]
    assert [m["content"] for m in server.chats()[1]["messages"]] == ["one\n\ntwo"]
    assert [m["role"] for m in server.chats()[2]["messages"]] == ["user", "assistant", "user"]
    assert [m.text for m in store.messages("s") if m.role == "user"] == ["one", "two", "three"]


def test_a_turn_that_ended_among_its_tools(store, chat_server):
    """Between a tool result and the next question stands an answer, and all system messages are one at the start."""
    store.append("s", [Message("user", "one")])
    call = {"id": "c", "type": "function", "function": {"name": "sessions_list", "arguments": "{}"}}
    store.append("s", [Message("assistant", "", tool_calls=[call])])
    store.append("s", [Message("tool", "3 sessions", tool_call_id="c")])
    store.append("s", [Message("system", "Be brief."), Message("user", "again?")])
    server = chat_server(answer("fine"), strict=True)
    assert talk(store, server, "two", system_prompt="Be kind.") == ["fine"]
    sent = server.chats()[-1]["messages"]
    assert [m["role"] for m in sent] == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert (sent[0]["content"], sent[-1]["content"]) == ("Be kind.\n\nBe brief.", "again?\n\ntwo")


def test_neighbouring_answers(store, chat_server):
    """Two answers in a row, as imports have them, are sent as one, and each keeps its words."""
    store.append(
        "s", [Message("user", "one"), Message("assistant", "a"), Message("assistant", "b")]
    )
    server = chat_server(answer("fine"), strict=True)
    assert talk(store, server, "two") == ["fine"]
    assert [m["content"] for m in server.chats()[-1]["messages"]] == ["one", "a\n\nb", "two"]


REFUSALS = {
    "OpenRouter": status(404, "No endpoints found that support image input"),
    "llama.cpp": status(500, "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"),
    "DeepSeek": status(422, "messages[0]: unknown variant `image_url`, expected `text`"),
    "Groq": status(400, "'messages.0.content' : value must be a string"),
    "Ollama": status(400, "this model does not support image input"),
    "vLLM": status(400, "test is not a multimodal model"),
}  # fmt: skip


def refusing(reply):
    """Refuse every request with a picture in it."""

    def script(request):
        return reply if "image_url" in json.dumps(request.body) else answer("fine")

    return [script] * 9


@pytest.mark.parametrize("reply", REFUSALS.values(), ids=REFUSALS)
def test_a_picture_that_the_model_refuses(store, chat_server, reply):
    """The question with the picture fails and says what to do; later plain questions are answered without it."""
    server = chat_server(*refusing(reply))
    content = [{"type": "text", "text": "look"}, PICTURE]
    refused, *later = talk(store, server, content, "plain", "more")
    assert isinstance(refused, ModelError)
    assert "has no model" not in str(refused)
    assert str(refused).endswith("choose another model (--model, /retry -m), or ask without")
    assert later == ["fine", "fine"]
    sent = server.chats()[-1]["messages"][0]["content"]
    assert sent == "look\n[image] (not sent: this model does not accept it)\n\nplain"
    assert any(part["type"] == "image_url" for part in store.messages("s")[0].content)


def test_a_refused_picture_is_remembered_and_said_once(store, chat_server):
    """One engine asks once with the picture of an earlier message, says so in a line, and not again."""
    store.append("s", [Message("user", [{"type": "text", "text": "look"}, PICTURE])])
    store.append("s", [Message("assistant", "A cat.")])
    server = chat_server(*refusing(REFUSALS["Ollama"]))
    with Agent(engine_for(server), store=store) as agent:
        notices = [
            event.text
            for question in ("plain", "more")
            for event in agent.stream_sync(question, "s")
            if isinstance(event, Notice)
        ]
    assert notices == [
        (
            "m does not accept images; omitting those of earlier messages:"
            " this model does not support image input"
        )
    ]
    assert len(server.chats()) == 3


WANTED = {
    "Moonshot": "thinking is enabled but reasoning_content is missing in assistant tool call message at index 1",
    "DeepSeek": "The `reasoning_content` in the thinking mode must be passed back to the API.",
    "litellm": "messages[1]: assistant message with tool_calls must include reasoning_content.",
}


@pytest.mark.parametrize("said", WANTED.values(), ids=WANTED)
@pytest.mark.parametrize("provider", ["openai", "vllm", "deepseek"])
def test_thinking_that_a_server_wants_back(store, chat_server, said, provider):
    """The refusal of a call without its thinking is learned from, whatever the address and the model of the call."""

    def script(request):
        calls = [m for m in request.body["messages"] if m.get("tool_calls")]
        if any(not call.get("reasoning_content") for call in calls):
            return status(400, said)
        return answer("fine")

    thinking = stream(
        chunk(reasoning_content="I should list them."),
        chunk(
            tool_calls=[
                {"index": 0, "id": "a", "function": {"name": "sessions_list", "arguments": "{}"}}
            ]
        ),
        chunk("tool_calls"),
    )
    server = chat_server(thinking, *[script] * 9, strict=True)
    assert talk(store, server, "one", "two", provider=provider) == ["fine", "fine"]
    sent = server.chats()[-1]["messages"]
    assert sent[1]["reasoning_content"] == "I should list them."
    assert talk(store, server, "three", provider="groq") == ["fine"]
    assert server.chats()[-1]["messages"][1]["reasoning_content"] == " "


def test_a_refusal_that_is_not_about_pictures(store, chat_server):
    """A picture stays in the request when the refusal speaks of something else."""
    store.append("s", [Message("user", [PICTURE]), Message("assistant", "A cat.")])
    server = chat_server(status(400, "bad temperature"))
    (error,) = talk(store, server, "plain")
    assert isinstance(error, ModelRefused)
    assert len(server.chats()) == 1


def test_a_template_without_a_system_role(store, chat_server):
    """Where the system role is refused, the system prompt is the start of the first question from then on."""

    def script(request):
        roles = [message["role"] for message in request.body["messages"]]
        return status(400, "System role not supported") if "system" in roles else answer("fine")

    server = chat_server(*[script] * 4, strict=True)
    with Agent(engine_for(server), store=store, system_prompt="Be kind.") as agent:
        assert agent.process_with_session("s", "one") == "fine"
        assert agent.process_with_session("s", "two") == "fine"
    assert len(server.chats()) == 3
    sent = [message["content"] for message in server.chats()[-1]["messages"]]
    assert sent == ["Be kind.\n\none", "fine", "two"]


def test_an_empty_question(store, chat_server):
    """A question without a text, as imports have them, is sent as a note that it is empty."""
    store.append("s", [Message("user", ""), Message("assistant", "Hello?")])
    server = chat_server(answer("fine"), strict=True)
    assert talk(store, server, "two") == ["fine"]
    assert server.chats()[-1]["messages"][0]["content"] == "(empty message)"
