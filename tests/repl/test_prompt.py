"""The prompt: keys, history, paste, more than one line."""

from __future__ import annotations

import os
import stat

from omniagent_cli.models import Message
from tests.repl.talk import CTRL_C, CTRL_D, Talk


def test_alt_enter_begins_a_line(talk: Talk) -> None:
    """Alt-Enter begins a line, Enter sends all of them as one message."""
    talk.chat(keys=f"one\x1b\rtwo\r{CTRL_D}")
    assert talk.texts()[0] == "one\ntwo"


def test_a_paste_is_one_message(talk: Talk) -> None:
    """Pasted lines are one message, sent by Enter only."""
    talk.chat(keys=f"\x1b[200~first\nsecond\r\nthird\x1b[201~\r{CTRL_D}")
    assert talk.texts()[0] == "first\nsecond\nthird"


def test_multiline_swaps_the_keys(talk: Talk) -> None:
    """After /multiline Enter begins a line and Alt-Enter sends."""
    shown = talk.chat(keys=f"/multiline\rone\rtwo\x1b\r/multiline\x1b\rthree\r{CTRL_D}")
    assert talk.texts()[::2] == ["one\ntwo", "three"]
    assert "Alt-Enter sends now" in shown


def test_ctrl_c_drops_the_line(talk: Talk) -> None:
    """Ctrl-C drops what was typed; on an empty line, the second one tells how to leave."""
    shown = talk.chat(keys=f"secret{CTRL_C}{CTRL_C}{CTRL_C}hello\r{CTRL_D}")
    assert talk.texts()[0] == "hello"
    assert shown.count("To leave, press Ctrl-D or type /quit") == 1


def test_history_is_private_and_lasts(talk: Talk) -> None:
    """What was typed is there in the next run, in a file for its owner only whatever the umask."""
    before = os.umask(0)
    try:
        talk.chat("first thing", "multi\x1b\rline")
    finally:
        os.umask(before)
    path = talk.home / "state" / "chat-history"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    talk.chat(keys=f"\x1b[A\r{CTRL_D}")
    talk.chat(keys=f"\x12first\r\r{CTRL_D}")
    assert talk.texts()[-4::2] == ["multi\nline", "first thing"]


def test_an_open_history_is_closed(talk: Talk) -> None:
    """A history that others could read is made private by the next line."""
    path = talk.home / "state" / "chat-history"
    path.parent.mkdir()
    path.write_text("\n# x\n+old line\n")
    path.chmod(0o644)
    talk.chat("new line")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_history_that_cannot_be_written_stops_nothing(talk: Talk) -> None:
    """A directory where the history should be is no reason not to chat."""
    (talk.home / "state" / "chat-history").mkdir(parents=True)
    talk.chat("hello")
    assert talk.texts() == ["hello", "answer 1"]


def test_an_ephemeral_chat_keeps_no_history(talk: Talk) -> None:
    """--ephemeral writes nothing to the disk."""
    talk.chat("hello", ephemeral=True)
    assert not (talk.home / "state").exists()


def test_vi_keys(talk: Talk) -> None:
    """With chat.editing_mode vi, Escape and vi's keys edit the line."""
    talk.flags = {"chat.editing_mode": "vi"}
    # A plain Escape waits for what may follow it; dd needs no such wait after ESC ESC.
    talk.chat(keys=f"wrong\x1b\x1bddiright\r{CTRL_D}")
    assert talk.texts()[0] == "right"


def test_blank_lines_are_nothing(talk: Talk) -> None:
    """Enter on an empty line, or on blanks, sends nothing."""
    talk.chat("", "   ", "hello")
    assert talk.texts() == ["hello", "answer 1"]


def test_text_is_sent_as_typed(talk: Talk) -> None:
    """Blanks at the ends of a text belong to it; odd characters survive."""
    talk.chat("  indented  ", "Ärger 😀 \u200d")
    assert talk.texts()[::2] == ["  indented  ", "Ärger 😀 \u200d"]


def test_colour_codes_typed_in_are_no_keys(talk: Talk) -> None:
    """Text with colour codes that is typed rather than pasted loses them, at the prompt and at a question."""
    talk.store.append("user-123", [Message("user", "hello")])
    keys = "\x1b[31mred\x1b[0m\r" + "/delete\r" + "\x1b[1;31mn\x1b[0m\r" + CTRL_D
    talk.chat(keys=keys)
    assert talk.texts() == ["hello", "red", "answer 1"]
    assert "Nothing deleted" in talk.err
