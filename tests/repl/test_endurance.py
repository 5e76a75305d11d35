"""A chat on a terminal that is narrow, plain, stopped, interrupted too early, or without room on its disk."""

from __future__ import annotations

import re
import resource
import sys
from collections.abc import Callable

import pytest

from tests.repl.home import OMNIAGENT, Home, home
from tests.repl.terminal import CTRL_C, CTRL_D, CTRL_Z, TerminalProgram
from tests.servers.chat_server import answer, calls, stall

__all__ = ["home"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no ptys")


def test_ctrl_c_right_after_enter(home: Home, chat_server: Callable) -> None:
    """Ctrl-C in the same breath as Enter stops the turn instead of waiting for the next prompt; no key is lost."""
    server = chat_server(stall("never to end"), answer("Here."))
    home.serve(server)
    chat = home.open()
    chat.send(f"tell me\rnext {CTRL_C}words")
    chat.wait_until(lambda _: chat.rows[-2].startswith("you> next words"), "the prompt")
    chat.send(CTRL_D * 2 + CTRL_C)
    chat.wait_until(lambda _: chat.rows[-2] == "you>", "the prompt")
    chat.send(CTRL_D)
    assert chat.wait() == 0


def test_a_screen_reader_gets_text_in_order(home: Home, chat_server: Callable) -> None:
    """With chat.screen_reader roles are words, and between Enter and the next prompt nothing but text is written."""
    home.serve(chat_server(answer("One **bold** ", "answer.\n\n", "And more.", thinking=["hm"])))
    chat = home.begin(OMNIAGENT_CHAT_SCREEN_READER="true", OMNIAGENT_DISPLAY_COLOR="never")
    chat.wait_for("You:")
    chat.say("tell me")
    shown = chat.wait_for("You:", count=2)
    assert "You: tell me\nThought for 1 s\nAnswer: One **bold** answer.\n\nAnd more.\nYou:" in shown
    begin, end = chat.raw.index(b"Thought for"), chat.raw.index(b"And more.")
    assert b"\x1b" not in chat.raw[begin:end]
    assert b"\x1b[6n" not in chat.raw
    assert "user-123 |" not in shown
    chat.say("/history")
    assert "\nYou:\ntell me\n\nAnswer:\nOne **bold** answer." in chat.wait_for("You:", count=4)
    chat.send(CTRL_D)
    assert chat.wait() == 0


def test_the_locale_c(home: Home, chat_server: Callable) -> None:
    """With LANG=C spinner, tool lines, tables and the toolbar are ASCII."""
    table = "| a | b |\n|---|---|\n| 1 | 2 |\n\n> quoted\n\nand so on"
    home.serve(chat_server(calls(("sessions_search", {"query": "go"})), answer(table)))
    chat = home.chat(columns=60, LANG="C")
    chat.say("go")
    chat.wait_for("and so on")
    shown = chat.wait_prompt(2)
    assert "+ sessions_search(query: go) ok" in shown
    assert "| quoted" in shown
    assert "----" in shown
    assert all(byte < 0x80 for byte in chat.raw)


@pytest.mark.parametrize("columns", [20, 40])
def test_a_narrow_window(home: Home, chat_server: Callable, columns: int) -> None:
    """In a window of 40 or even 20 columns tool lines, answers, menus and the toolbar stay in their rows."""
    home.serve(
        chat_server(calls(("sessions_search", {"query": "go"})), answer("A *short* answer."))
    )
    chat = home.chat(columns=columns, rows=20)
    chat.say("go")
    shown = chat.wait_for("A short answer.")
    chat.wait_prompt(2)
    assert len([line for line in shown.splitlines() if line.startswith("✓ ")]) == 1
    chat.wait_until(lambda _: chat.rows[-1].startswith(" user-123"), "the toolbar")
    chat.send("/se")
    chat.wait_for("search")
    chat.send(CTRL_C)
    chat.wait_prompt(3)
    chat.send(CTRL_D)
    assert chat.wait() == 0


def test_ctrl_z_gives_the_terminal_back(home: Home, chat_server: Callable) -> None:
    """Ctrl-Z in an answer leaves the terminal as it was and no half-painted rows; fg resumes below the shell's lines."""
    home.serve(chat_server(stall("```\nfirst line\nsecond line\nthird")))
    argv = ["bash", "--norc", "--noprofile", "-i"]
    with TerminalProgram(argv, {**home.environ, "PS1": "shell> "}, cwd=str(home.path)) as shell:
        shell.wait_for("shell>")
        shell.say(f"{OMNIAGENT} chat -s user-123")
        shell.wait_prompt(1)
        shell.say("tell me")
        shell.wait_for("third")
        shell.send(CTRL_Z)
        shown = shell.wait_for("Stopped")
        assert "second line" not in shown
        shell.say("echo $((40 + 2))")
        assert "echo $((40 + 2))" in shell.wait_match(r"(?m)^42$")
        shell.say("fg")
        shown = shell.wait_for("third")
        assert re.search(r"(?m)^42$", shown)
        assert "Stopped" in shown
        shell.send(CTRL_C)
        shell.wait_for("Interrupted")
        shell.wait_prompt(2)
        shell.send(CTRL_D)
        shell.wait_for("shell>", count=4)
        assert shell.shown.count("second line") == 1
    role, status, text = home.stored()[1]
    assert (role, status) == ("assistant", "interrupted")
    assert "second line" in text


def test_a_disk_that_is_full_in_the_middle_of_a_chat(home: Home, chat_server: Callable) -> None:
    """What the disk has no room for is told at once, kept in a file that is named, and the chat goes on."""
    words = "so many words " * 10_000
    home.serve(
        chat_server(answer("small"), answer("It begins. ", words, "It ends."), answer("small"))
    )
    chat = home.open("--session", "user-123")
    chat.say("hello")
    chat.wait_for("small")
    chat.wait_prompt(2)
    largest = max(path.stat().st_size for path in home.path.rglob("*") if path.is_file())
    none = resource.RLIM_INFINITY
    resource.prlimit(chat.pid, resource.RLIMIT_FSIZE, (largest + 100_000, none))
    chat.say("tell me all")
    chat.wait_for("error: the disk of")
    chat.wait_for("a copy was written to")
    chat.wait_prompt(3)
    (kept,) = home.path.rglob("recovered/*.md")
    assert "tell me all" in kept.read_text()
    assert "It begins." in kept.read_text()
    resource.prlimit(chat.pid, resource.RLIMIT_FSIZE, (none, none))
    chat.say("/history")
    chat.wait_prompt(4)
    chat.send(CTRL_D)
    assert chat.wait() == 0
