"""`omniagent chat` as a person has it: a real process on a real terminal, read from the emulated screen."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from omniagent_cli.models import Message
from omniagent_cli.stores import open_store
from tests.repl.home import OMNIAGENT, Home, home
from tests.repl.terminal import (
    ALT_ENTER,
    CTRL_C,
    CTRL_D,
    CTRL_R,
    ESCAPE,
    PASTE,
    TAB,
    UP,
)
from tests.servers.chat_server import Cut, Reply, answer, chunk, stall, stream

__all__ = ["home"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no ptys")


def test_two_turns_and_leaving(home: Home) -> None:
    """A chat starts, remembers what was said, leaves on Ctrl-D, and everything is stored."""
    chat = home.chat()
    chat.say("My name is Alice")
    chat.wait_prompt(2)
    chat.say("What's my name?")
    chat.wait_match(r"You said .*My name is Alice")
    chat.wait_prompt(3)
    chat.send(CTRL_D)
    assert chat.wait() == 0
    assert [text for _, _, text in home.stored()][::2] == ["My name is Alice", "What's my name?"]


def test_ctrl_c_keeps_the_partial_answer(home: Home, chat_server: Callable) -> None:
    """Ctrl-C in a stalled answer brings the prompt back; what came is stored, marked interrupted, and chat -c continues it."""
    server = chat_server(stall("The beginning ", "of an answer"), answer("And now whole."))
    home.serve(server)
    chat = home.open()
    chat.say("tell me")
    chat.wait_for("of an answer")
    chat.send(CTRL_C)
    chat.wait_for("Interrupted")
    chat.wait_prompt(2)
    assert home.stored()[1] == ("assistant", "interrupted", "The beginning of an answer")
    chat.wait_until(lambda _: "2 messages" in chat.rows[-1], "the toolbar")
    chat.say("again")
    chat.wait_for("And now whole.")
    chat.wait_prompt(3)
    chat.send(CTRL_D)
    assert chat.wait() == 0
    home.chat("-c").wait_for("The beginning of an answer")


def test_ctrl_c_before_the_first_word(home: Home, chat_server: Callable) -> None:
    """Ctrl-C while nothing has come yet brings the prompt back, and /retry asks the same again once."""
    server = chat_server(stall(), answer("Here."))
    home.serve(server)
    chat = home.open()
    chat.say("tell me")
    chat.wait_until(lambda _: bool(server.chats()), "the question")
    chat.send(CTRL_C)
    chat.wait_for("Interrupted")
    chat.wait_prompt(2)
    chat.say("/retry")
    chat.wait_for("Here.")
    chat.wait_prompt(3)
    assert home.stored() == [("user", "complete", "tell me"), ("assistant", "complete", "Here.")]


def test_escape_stops_the_answer(home: Home, chat_server: Callable) -> None:
    """Escape alone stops an answer and keeps what came and what was typed; an arrow key does not stop it."""
    home.serve(chat_server(stall("The beginning"), answer("Second.")))
    chat = home.chat()
    chat.say("tell me")
    chat.wait_for("The beginning")
    chat.send("draft" + "\x1b[D" + "X" + ESCAPE)
    chat.wait_for("Interrupted")
    chat.wait_for("you> drafXt")
    assert home.stored()[1] == ("assistant", "interrupted", "The beginning")


def home_has(home: Home) -> bool:
    """Tell whether the session is there yet."""
    path = home.path / ".local/share/omniagent/sessions.db"
    return path.exists() and home.store().exists("user-123")


def test_ctrl_c_at_the_prompt(home: Home) -> None:
    """Ctrl-C drops the line, twice on an empty one tells how to leave; exit leaves."""
    chat = home.chat()
    chat.send("never said")
    chat.wait_for("never said")
    chat.send(CTRL_C)
    chat.wait_prompt(2)
    chat.send(CTRL_C)
    chat.wait_prompt(3)
    chat.send(CTRL_C)
    chat.wait_for("To leave, press Ctrl-D or type /quit")
    chat.wait_prompt(4)
    chat.say("exit")
    assert chat.wait() == 0
    assert not home_has(home)


def test_commands(home: Home) -> None:
    """/help lists, /switch to nothing suggests and creates nothing, /undo and /retry work on the last turn."""
    chat = home.chat()
    chat.say("one")
    chat.wait_prompt(2)
    chat.say("/help retry")
    chat.wait_for("/retry [--model MODEL]")
    chat.wait_prompt(3)
    chat.say("/switch user-132")
    chat.wait_for("did you mean 'user-123'")
    chat.say("two")
    chat.wait_prompt(5)
    chat.say("/undo")
    chat.wait_for("2 messages undone")
    chat.say("/retry")
    chat.wait_prompt(7)
    chat.send(CTRL_D)
    assert chat.wait() == 0
    assert [text for role, _, text in home.stored() if role == "user"] == ["one"]
    assert home.store().count() == 1


def test_a_paste_of_many_lines_is_one_message(home: Home) -> None:
    """Pasted lines and Alt-Enter make one message."""
    chat = home.chat()
    chat.send(PASTE.format("first line\nsecond line\n/clear"))
    chat.wait_for("/clear")
    chat.send(f"{ALT_ENTER}last line\r")
    chat.wait_prompt(2)
    assert home.stored()[0][2] == "first line\nsecond line\n/clear\nlast line"


def test_an_editor_writes_the_message(home: Home) -> None:
    """Ctrl-X Ctrl-E opens the person's editor with what was typed; what it saved is sent by Enter."""
    editor = home.path / "editor"
    editor.write_text(
        '#!/bin/sh\necho editing\nread answer\nprintf "%s\\nand more" "$answer" >> "$1"\n'
    )
    editor.chmod(0o755)
    chat = home.open(EDITOR=str(editor), VISUAL=str(editor))
    chat.send("begun here ")
    chat.wait_for("begun here")
    chat.send("\x18\x05")
    chat.wait_for("editing")
    chat.say("typed in the editor")
    chat.wait_for("and more")
    chat.send("\r")
    chat.wait_for("I am recall")
    assert home.stored()[0][2] == "begun here typed in the editor\nand more"


def test_completion_menu(home: Home) -> None:
    """A slash offers commands while it is typed, TAB takes one, and the session ids after it."""
    home.store().append("holiday-plans", Message("user", "to Rome?"))
    chat = home.chat()
    chat.send("/sw")
    chat.wait_for("Switch to another")
    chat.send(f"{TAB} hol")
    chat.wait_for("to Rome?")
    chat.send(f"{TAB}\r")
    chat.wait_for("Switched to 'holiday-plans'")


def test_history_across_runs(home: Home) -> None:
    """The next run finds what was typed, by Up and by Ctrl-R, in a private file."""
    chat = home.chat()
    chat.say("the first thing")
    chat.wait_prompt(2)
    chat.say("the other thing")
    chat.wait_prompt(3)
    chat.send(CTRL_D)
    chat.wait()
    (path,) = (home.path / ".local/state/omniagent").glob("*history*")
    assert path.stat().st_mode & 0o777 == 0o600
    again = home.chat("--session", "another")
    again.send(UP)
    again.wait_for("the other thing")
    again.send(CTRL_C)
    again.wait_prompt(2)
    again.send(f"{CTRL_R}first")
    again.wait_for("the first thing")
    again.send("\r\r")
    again.wait_prompt(3)
    assert home.stored("another")[0][2] == "the first thing"


def test_typing_while_an_answer_streams(home: Home, chat_server: Callable) -> None:
    """What is typed during an answer that Ctrl-C stops is not sent; Up brings it back."""
    server = chat_server(stall("A long answer"), answer("Second."))
    home.serve(server)
    chat = home.open()
    chat.say("first")
    chat.wait_for("A long answer")
    chat.send("typed \x7fahead\r")
    chat.send(CTRL_C)
    shown = chat.wait_for("is in the history; Up brings it back")
    between = shown[shown.index("A long answer") : shown.index("Interrupted")]
    assert "ahead" not in between
    chat.wait_prompt(2)
    chat.send(UP)
    chat.wait_for("you> typedahead")
    chat.send("\r")
    chat.wait_for("Second.")
    assert home.stored()[2] == ("user", "complete", "typedahead")
    assert len(server.chats()) == 2


def held(released: threading.Event) -> Reply:
    """Return an answer whose end waits for an event."""

    def parts() -> Iterator[Any]:
        yield chunk(content="A long ")
        released.wait(60)
        yield chunk(content="answer.")
        yield chunk("stop")

    return Reply(parts())  # type: ignore[arg-type]  # read once


@pytest.mark.parametrize("form", ["{}", PASTE], ids=["typed", "pasted"])
def test_lines_during_an_answer_are_one_draft(home: Home, chat_server: Callable, form: str) -> None:
    """200 lines that arrive during an answer are the draft of the next prompt: one text, sent by Enter only."""
    released = threading.Event()
    server = chat_server(held(released), answer("Second."))
    home.serve(server)
    chat = home.chat(rows=20)
    chat.say("first")
    chat.wait_for("A long")
    lines = [f"line {n}" for n in range(1, 201)]
    chat.send(form.format("\r".join(lines)) + "\r")
    released.set()
    chat.wait_for("answer.")
    chat.wait_for("line 200")
    assert len(server.chats()) == 1
    chat.send("\r")
    chat.wait_for("Second.")
    assert [text for role, _, text in home.stored() if role == "user"] == [
        "first",
        "\n".join(lines),
    ]
    assert len(server.chats()) == 2


def test_a_paste_without_end_can_be_left(home: Home) -> None:
    """Ctrl-C ends a paste whose end was lost: its text is at the prompt, and the next Ctrl-C clears it."""
    chat = home.chat()
    chat.send("\x1b[200~lost")
    chat.send(CTRL_C)
    chat.wait_prompt(2)
    chat.say("next")
    chat.wait_prompt(3)
    assert [text for role, _, text in home.stored() if role == "user"] == ["next"]


@pytest.mark.parametrize(
    "keys", ["\n", ALT_ENTER, "\x1b[13;2u", "\x1b[13;5u", "\x1b[27;2;13~", "\x1b[27;6;13~"]
)
def test_modified_enter_begins_a_line(home: Home, keys: str) -> None:
    """Ctrl-J, and Enter with a modifier in every form that terminals send, make a new line."""
    chat = home.chat()
    chat.send(f"one{keys}two\r")
    chat.wait_prompt(2)
    assert home.stored()[0][2] == "one\ntwo"


def test_two_programs_on_one_session(home: Home) -> None:
    """What a second program says is shown before its next turn, once; nothing is lost."""
    one = home.chat()
    one.say("from one")
    one.wait_prompt(2)
    argv = [OMNIAGENT, "ask", "-s", "user-123", "from two"]
    subprocess.run(argv, env=home.environ, cwd=home.path, stdin=subprocess.DEVNULL, check=True)
    one.say("again one")
    shown = one.wait_prompt(3)
    assert shown.count("from two") == 1
    assert shown.index("messages from another program") < shown.index("from two")
    one.say("and again")
    assert one.wait_prompt(4).count("from two") == 1
    said = [text for role, _, text in home.stored() if role == "user"]
    assert said == ["from one", "from two", "again one", "and again"]


def test_hostile_output_never_drives_the_terminal(home: Home, chat_server: Callable) -> None:
    """Escape sequences, titles and direction marks from a model, a title or an id arrive as harmless text."""
    evil = "\x1b]0;owned\x07 \x1b[2J\x9b31m \u202egnp.exe \x1b]52;c;aGk=\x07 [link](http://x)\n\n"
    home.serve(chat_server(answer(evil, "and the end"), answer("fine")))
    path = home.path / ".local/share/omniagent/sessions.db"
    with open_store(path, ttl=None) as store:
        store.append("user-123", [Message("user", f"x{evil}"), Message("assistant", evil)])
        store.set_title("user-123", evil)
    chat = home.chat()
    chat.say("go on")
    chat.wait_for("and the end")
    chat.wait_prompt(2)
    chat.say("/history")
    chat.wait_prompt(3)
    chat.send("/switch \t")
    chat.send(CTRL_C)
    chat.wait_prompt(4)
    chat.send(CTRL_D)
    chat.wait()
    assert chat.screen.title != "owned"
    for sequence in (b"\x1b]0;", b"\x1b]52", b"\xc2\x9b", "\u202e".encode(), b"\x07"):
        assert sequence not in chat.raw


def test_errors_are_one_line_and_the_chat_goes_on(home: Home, chat_server: Callable) -> None:
    """A connection that breaks is told in one line; what came is stored as failed; the next turn works."""
    home.serve(chat_server(stream(chunk(content="a part"), Cut()), answer("whole")))
    chat = home.chat()
    chat.say("one")
    chat.wait_for("error:")
    chat.wait_prompt(2)
    chat.say("two")
    chat.wait_for("whole")
    chat.wait_prompt(3)
    assert home.stored()[1] == ("assistant", "failed", "a part")
    assert "Traceback" not in chat.shown


def test_forty_columns(home: Home) -> None:
    """On a narrow terminal nothing overflows: prompt, toolbar, help and answers stay in their lines."""
    chat = home.chat(columns=40, rows=20)
    chat.wait_for("recall |")
    chat.say("My name is Alice and I live in a very small terminal")
    chat.wait_prompt(2)
    chat.say("/help")
    shown = chat.wait_prompt(3)
    listed = shown[shown.index("This conversation") : shown.index("Enter sends")]
    assert "…" not in listed
    assert (
        " ".join(listed.split()).count(
            "Fork this session and switch to the fork; --at N copies up to and including message #N."
        )
        == 1
    )
    chat.say("/sessions")
    chat.wait_prompt(4)
    chat.wait_until(lambda _: "user-123 | recall" in chat.rows[-1], "the toolbar")
    chat.send(CTRL_D)
    assert chat.wait() == 0


def test_a_dumb_terminal(home: Home) -> None:
    """With TERM=dumb nothing but text is written."""
    chat = home.chat(TERM="dumb")
    chat.say("My name is Alice")
    chat.wait_for("recall")
    chat.wait_prompt(2)
    chat.say("What's my name?")
    chat.wait_match("You said")
    chat.wait_prompt(3)
    chat.send(CTRL_D)
    assert chat.wait() == 0
    assert b"\x1b" not in chat.raw


def test_no_color(home: Home) -> None:
    """NO_COLOR takes the colours away from prompt and answers."""
    chat = home.chat(NO_COLOR="1")
    chat.say("hello")
    chat.wait_prompt(2)
    chat.say("/help")
    chat.wait_prompt(3)
    assert not re.search(rb"\x1b\[[0-9;]*3[0-7]m|\x1b\[38;", bytes(chat.raw))


def test_an_automatic_choice_is_told(home: Home) -> None:
    """When nobody named a model, who answers and why is told above the prompt, once."""
    del home.environ["OMNIAGENT_MODEL"]
    chat = home.chat()
    chat.wait_for("using recall, a stand-in")
    chat.wait_for("| recall |")
    chat.say("hello")
    shown = chat.wait_prompt(2)
    assert shown.count("using recall, a stand-in") == 1


def test_a_model_that_is_none_ends_the_chat(home: Home) -> None:
    """A wrong --model is an error of the command: one line, exit code 2."""
    chat = home.begin("-m", "nosuch:model")
    assert chat.wait() == 2
    assert chat.shown.count("omniagent: error:") == 1


def test_the_first_turn_may_be_typed_before_the_prompt(home: Home) -> None:
    """What is typed while the chat starts is its first message."""
    chat = home.begin()
    chat.say("an early bird")
    chat.wait_prompt(2)
    assert home.stored()[0][2] == "an early bird"


def test_a_crash_shows_what_came(home: Home, chat_server: Callable) -> None:
    """After kill -9 in an answer the next start shows the question and what came, marked interrupted."""
    home.serve(chat_server(stall("half an answer"), answer("whole")))
    chat = home.open()
    chat.say("tell me")
    chat.wait_for("half an answer")
    chat.signal(signal.SIGKILL)
    assert chat.wait() == -signal.SIGKILL
    again = home.open()
    again.wait_match(r"assistant · #1 · .* · interrupted")
    again.wait_for("half an answer")
    again.say("/retry")
    again.wait_for("whole")
    again.wait_prompt(2)
    assert home.stored() == [("user", "complete", "tell me"), ("assistant", "complete", "whole")]


def test_an_ephemeral_chat_leaves_nothing(home: Home) -> None:
    """--ephemeral keeps no session and no history."""
    chat = home.chat("--ephemeral")
    chat.say("off the record")
    chat.wait_prompt(2)
    chat.send(CTRL_D)
    assert chat.wait() == 0
    for path in home.path.rglob("*"):
        assert not path.is_file() or b"off the record" not in path.read_bytes()
