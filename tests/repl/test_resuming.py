"""Taking a session up again: the recap, /continue, and what other programs did meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from omniagent_cli.errors import ModelUnreachable, UsageError
from omniagent_cli.models import Message
from omniagent_cli.repl.truncation import beginning, end, open_fence, open_tail
from omniagent_cli.stores import SessionStore, open_store
from omniagent_cli.testing.scripted import Say, ScriptedModel
from tests.repl.home import Home, home
from tests.repl.talk import Talk
from tests.repl.terminal import CTRL_C, CTRL_D
from tests.servers.chat_server import answer, stall

__all__ = ["home"]

LOST = ModelUnreachable("the line is dead")
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "x"}'}}


@pytest.fixture
def other(talk: Talk) -> Iterator[SessionStore]:
    """The store of the chat as another program has it open."""
    path = talk.home / "shared.db"
    talk.store.close()
    talk.store = open_store(path)
    with open_store(path) as other:
        yield other


class Elsewhere(dict):
    """Does something in another program when the person types `/model x`, which then fails."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps = list(steps)

    def __getitem__(self, name: str) -> object:
        self._steps.pop(0)()
        raise UsageError(f"{name} is no model")


def told(talk: Talk, *messages: Message) -> str:
    """Return what a chat shows that takes up a session with these messages."""
    talk.store.append("user-123", list(messages))
    return talk.chat()


def test_the_last_exchanges_are_shown(talk: Talk) -> None:
    """The last three turns are there, and how many messages stand before them."""
    for number in range(5):
        talk.store.append(
            "user-123", [Message("user", f"q{number}"), Message("assistant", f"a{number}")]
        )
    talk.chat()
    assert [word for word in talk.out.split() if word[0] in "qa" and word[1:].isdecimal()] == [
        "q2", "a2", "q3", "a3", "q4", "a4",
    ]  # fmt: skip
    assert "4 messages before. /history N shows more" in talk.err


def test_long_messages_are_folded(talk: Talk) -> None:
    """Of a long answer its beginning is shown, and how many lines more there are."""
    long = "\n".join(f"line {n}" for n in range(100))
    shown = told(talk, Message("user", long), Message("assistant", long))
    assert "... 94 more lines, /history shows all" in shown
    assert "... 76 more lines, /history shows all" in shown
    assert "line 23" in shown
    assert "line 24" not in shown


def test_tools_are_one_line_each(talk: Talk) -> None:
    """Calls and results take a line each, cut to the screen; thinking is not shown."""
    shown = told(
        talk,
        Message("user", "look"),
        Message("assistant", "", tool_calls=[CALL], extra={"thinking": "secret thoughts"}),
        Message("tool", "seen\n" + "x" * 500, tool_call_id="c1", name="look"),
        Message("tool", "broken", tool_call_id="c2", name="hit", extra={"failed": True}),
        Message("assistant", "I saw it."),
    )
    lines = shown.splitlines()
    assert '→ look({"at": "x"})' in lines
    assert "← look: seen" in lines
    assert "← hit: failed: broken" in lines
    assert "secret thoughts" not in shown


def test_a_summary_is_reported(talk: Talk) -> None:
    """When the model gets a summary of the older part, the recap says up to where."""
    talk.store.append("user-123", [Message("user", "q"), Message("assistant", "a")])
    talk.store.put_summary("user-123", 1, {"text": "they spoke", "model": "m"})
    talk.chat()
    assert "a summary of the messages up to #1" in talk.err


@pytest.mark.parametrize(
    ("messages", "note"),
    [
        ([Message("user", "q")], "The last question has no answer. /retry asks it again"),
        (
            [Message("user", "q", status="failed", extra={"error": "no line"})],
            "The last question has no answer (no line). /retry",
        ),
        (
            [
                Message("user", "q"),
                Message("assistant", "ha", status="interrupted", extra={"error": "interrupted"}),
            ],
            "This answer was interrupted. /continue resumes it, /retry asks again",
        ),
        (
            [
                Message("user", "q"),
                Message("assistant", "ha", status="failed", extra={"error": "no line"}),
            ],
            "This answer failed (no line). /continue resumes it",
        ),
        (
            [Message("user", "q"), Message("assistant", "ha", status="interrupted")],
            "another program may still be writing it",
        ),
        (
            [Message("user", "q"), Message("assistant", "ha", extra={"finish_reason": "length"})],
            "truncated at the model's token limit. /continue resumes it",
        ),
        (
            [Message("user", "q"), Message("assistant", "", tool_calls=[CALL])],
            "This turn stopped during its tool calls. /continue resumes it",
        ),
    ],
)
def test_what_has_no_end_is_told(talk: Talk, messages: list[Message], note: str) -> None:
    """A turn that stopped early is shown as such, with what can be done about it."""
    told(talk, *messages)
    assert note in talk.err


def test_a_whole_answer_needs_no_word(talk: Talk) -> None:
    """Nothing is said about a turn that is whole."""
    told(talk, Message("user", "q"), Message("assistant", "a"))
    assert "/continue" not in talk.err
    assert "/retry" not in talk.err


def test_huge_messages_are_quick(talk: Talk) -> None:
    """The recap of messages of a megabyte, with lines or without, costs no more than a glance at them."""
    store = talk.store
    for text in ("word " * 200_000, "line\n" * 200_000, "```\n" + "code\n" * 200_000, "\r" * 10**6):
        store.append("user-123", [Message("user", text), Message("assistant", text)])
    last = Message("assistant", "x" * 10**6, status="failed", extra={"error": "e"})
    store.append("user-123", [Message("user", "q"), last])
    begun = time.process_time()
    talk.chat()
    assert time.process_time() - begun < 5  # measured: 0.2 s; rendering all of it takes a minute
    assert len(talk.out) < 30_000


def test_folding() -> None:
    """A text is cut at rows of the screen; what is left out is counted, and code stays in its fence."""
    assert beginning("a\nb", 2, 40) == ("a\nb", "")
    assert beginning("a\nb\nc", 2, 40) == ("a\nb", "1 more line")
    assert beginning("x" * 100, 2, 40) == ("x" * 80, "the rest of a long line")
    assert beginning("x" * 100 + "\ny", 2, 40)[1] == "1 more line"
    assert end("a\nb\nc", 2, 40) == ("b\nc", "1 line before")
    assert end("```py\n" + "a\n" * 50 + "b", 2, 40) == ("```py\na\nb", "50 lines before")
    assert end("x" * 100, 2, 40) == ("x" * 80, "a long line before")
    assert open_fence("```\na\n```\nb") == ""
    assert open_fence("~~~ sh\n```\n") == "~~~ sh"
    assert open_tail("one\n\ntwo\nthr", 40) == "two\nthr"
    assert open_tail("one\n\n```py\nx = 1\n\ny =", 40) == "```py\nx = 1\n\ny ="
    assert "\x1b" not in beginning("\x1b[2J", 2, 40)[0] + end("\x1b[2J", 2, 40)[0]


def test_continue_after_a_failure(talk: Talk) -> None:
    """/continue makes one answer of what was there and what comes, and shows its open end again."""
    model = ScriptedModel(Say("One.\n\nTwo and", raises=LOST), " three.")
    talk.chat("count", "/continue", "/continue", model=model)
    assert talk.texts() == ["count", "One.\n\nTwo and three."]
    assert talk.out.count("One.") == 1
    assert "Two and three." in talk.out
    assert "The partial answer is saved; /continue resumes it, /retry asks again" in talk.err
    assert "nothing to continue: the last answer is complete" in talk.err


def test_continue_with_another_model(talk: Talk) -> None:
    """/continue -m lets another model go on once."""
    talk.models["big"] = ScriptedModel(" two", name="scripted:big")
    talk.chat(
        "count", "/continue -m big", "next", model=ScriptedModel(Say("one", raises=LOST), "x")
    )
    assert talk.texts() == ["count", "one two", "next", "x"]


@pytest.mark.parametrize(
    ("before", "note"),
    [
        ([], "this session has no question"),
        (
            [Message("user", "q", status="failed")],
            "there is no answer; /retry asks the question again",
        ),
        ([Message("user", "q"), Message("assistant", "a")], "the last answer is complete"),
    ],
)
def test_nothing_to_continue(talk: Talk, before: list[Message], note: str) -> None:
    """/continue says why there is nothing to go on with, and asks nobody."""
    if before:
        talk.store.append("user-123", before)
    talk.chat("/continue", model=ScriptedModel())
    assert note in talk.err


def test_an_answer_that_may_grow_is_asked_about(talk: Talk) -> None:
    """What another program may be writing is gone on with only when the person says so."""
    talk.store.append(
        "user-123", [Message("user", "q"), Message("assistant", "half", status="interrupted")]
    )
    talk.chat("/continue", "n", "/continue", "y", model=ScriptedModel(" whole"))
    assert "Nothing changed" in talk.err
    assert talk.texts() == ["q", "half whole"]


def test_an_answer_of_another_program_is_shown_when_it_is_whole(
    talk: Talk, other: SessionStore
) -> None:
    """What was still being written when it was shown is shown again once it is over, before the next turn."""
    grown: list[Message] = []

    def begin() -> None:
        uid = other.write("user-123", Message("user", "theirs")).uid
        half = other.checkpoint("user-123", Message("assistant", "half"), uid=uid)
        grown.extend(half.messages)

    def finish() -> None:
        grown[0].content, grown[0].status = "half and whole", "complete"
        uid = other.header("user-123").uid
        other.checkpoint("user-123", grown[0], uid=uid, final=True)

    talk.models = Elsewhere(begin, lambda: None, finish, lambda: None)
    talk.chat("mine", "/model x", "/model x", "/model x", "/model x", "again")
    assert talk.out.count("half\n") == 1
    assert talk.out.count("half and whole\n") == 1
    assert talk.err.count("the rest is shown when it is complete") == 1
    assert talk.err.count("Completed by another program") == 1


def test_an_answer_that_grew_while_one_came_in(talk: Talk, other: SessionStore) -> None:
    """The same holds for what was half there when the session was taken up."""
    uid = other.write("user-123", Message("user", "theirs")).uid
    (half,) = other.checkpoint("user-123", Message("assistant", "half"), uid=uid).messages

    def finish() -> None:
        half.content, half.status = "whole", "complete"
        other.checkpoint("user-123", half, uid=uid, final=True)

    talk.models = Elsewhere(finish)
    talk.chat("/model x", "/title")
    assert "Completed by another program" in talk.err
    assert talk.out.count("whole\n") == 1


def test_a_rename_elsewhere_is_followed(talk: Talk, other: SessionStore) -> None:
    """A session another program renamed is gone on with under its new name, with what was written to it."""

    def rename() -> None:
        other.rename("user-123", "better")
        other.append("better", Message("user", "from there"))

    talk.models = Elsewhere(rename)
    talk.chat("one", "/model x", "two")
    assert "Another program renamed this session to 'better'" in talk.err
    assert "from there" in talk.out
    assert talk.texts("better") == ["one", "answer 1", "from there", "two", "answer 2"]
    assert not talk.store.exists("user-123")
    assert talk.used[-1] == "better"


def test_a_session_recreated_elsewhere_is_reported(talk: Talk, other: SessionStore) -> None:
    """When another program deleted the session and began one under its id, that is said and shown."""

    def replace() -> None:
        other.delete("user-123")
        other.append("user-123", Message("user", "fresh"))

    talk.models = Elsewhere(replace)
    talk.chat("one", "/model x", "two")
    assert "was deleted and created again by another program" in talk.err
    assert "fresh" in talk.out
    assert talk.texts() == ["fresh", "two", "answer 2"]


def test_very_much_news_is_cut(talk: Talk, other: SessionStore) -> None:
    """Of hundreds of messages that came meanwhile the last are shown, and how many there were is said."""
    flood = [Message("user", f"news {n}") for n in range(300)]
    talk.models = Elsewhere(lambda: other.append("user-123", flood))
    talk.chat("one", "/model x", "/title")
    assert "from another program (300), the last 50 of them:" in talk.err
    assert "news 299" in talk.out
    assert "news 249\n" not in talk.out


def test_interrupted_and_continued_at_a_terminal(home: Home, chat_server: Callable) -> None:
    """Ctrl-C stops an answer, /continue goes on, Ctrl-C stops that; a new chat shows it and goes on to the end."""
    server = chat_server(stall("The beginning ", "of"), stall(" an answer"), answer(" that ends."))
    home.serve(server)
    chat = home.open()
    chat.say("tell me")
    chat.wait_for("The beginning of")
    chat.send(CTRL_C)
    chat.wait_for("/continue resumes")
    chat.wait_prompt(2)
    chat.say("/continue")
    chat.wait_for("The beginning of an answer")
    chat.send(CTRL_C)
    chat.wait_for("/continue resumes", count=2)
    chat.wait_prompt(3)
    chat.send(CTRL_D)
    assert chat.wait() == 0
    assert home.stored()[1] == ("assistant", "interrupted", "The beginning of an answer")
    again = home.open("-c")
    again.wait_for("This answer was interrupted. /continue resumes it")
    again.say("/continue")
    again.wait_for("The beginning of an answer that ends.")
    again.wait_prompt(2)
    assert home.stored() == [
        ("user", "complete", "tell me"),
        ("assistant", "complete", "The beginning of an answer that ends."),
    ]
    assert server.chats()[-1]["messages"][-2] == {
        "role": "assistant",
        "content": "The beginning of an answer",
    }
