"""/copy: the clipboard of the system by real programs, and of the terminal by its sequence."""

from __future__ import annotations

import base64
import re
import stat
from pathlib import Path

import pytest

from omniagent_cli.models import Message
from omniagent_cli.repl.clipboard import SEQUENCE_BYTES, copy_with_program, sequence
from tests.repl.home import Home, home
from tests.repl.talk import Talk
from tests.repl.terminal import CTRL_C

__all__ = ["home"]

ANSWER = "Look:\n\n```sh\nls\n```\n\nor\n\n~~~~py\nprint('`hi`')\n~~~~\n\ndone \x1b]0;x\x07"
OSC_52 = re.compile(rb"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07")


def program(place: Path, name: str, script: str) -> Path:
    """Put a program in a place on the PATH."""
    place.mkdir(exist_ok=True)
    path = place / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def bins(tmp_path: Path) -> Path:
    return tmp_path / "bin"


def environ(bins: Path, **more: str) -> dict[str, str]:
    return {"PATH": f"{bins}:/usr/bin:/bin", **more}


def test_a_program_of_the_system_takes_it(bins: Path, tmp_path: Path) -> None:
    """The text goes to stdin of the program that fits the desktop, as it is, without a shell."""
    taken = tmp_path / "taken"
    program(bins, "xclip", f'echo "$@" > {taken}.args; cat > {taken}')
    text = "a $(touch x) `b` 'c' é\nlast"
    assert copy_with_program(text, environ(bins, DISPLAY=":0")) == ("xclip", [])
    assert taken.read_bytes().decode() == text
    assert Path(f"{taken}.args").read_text() == "-selection clipboard\n"
    assert copy_with_program(text, environ(bins)) == ("", [])  # no screen to talk to


def test_the_next_program_is_tried(bins: Path, tmp_path: Path) -> None:
    """One that fails is told and the next one is asked; one for Windows gets what it reads."""
    program(bins, "wl-copy", "exit 3")
    program(bins, "clip.exe", f"cat > {tmp_path / 'taken'}")
    taker, problems = copy_with_program("é", environ(bins, WAYLAND_DISPLAY="wayland-0"))
    assert (taker, problems) == ("clip.exe", ["wl-copy failed with exit code 3"])
    assert (tmp_path / "taken").read_bytes() == "é".encode("utf-16-le")


def test_a_program_that_lives_on(bins: Path) -> None:
    """What keeps the text in the background holds nobody up, though it keeps its output open."""
    program(bins, "xsel", "cat > /dev/null; (exec sleep 30) & exit 0")
    assert copy_with_program("x", environ(bins, DISPLAY=":0")) == ("xsel", [])


def test_a_program_that_hangs_is_given_up(bins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that does nothing is ended after a while and told."""
    monkeypatch.setattr("omniagent_cli.repl.clipboard._PATIENCE_SECONDS", 0.1)
    program(bins, "wl-copy", "exec sleep 30")
    taker, problems = copy_with_program("x", environ(bins, WAYLAND_DISPLAY="w"))
    assert (taker, problems) == ("", ["wl-copy did not finish within 0.1 s"])


def test_the_sequence_holds_nothing_but_base64() -> None:
    """Whatever the text is, the sequence ends where it should, and tells the terminal exactly the text."""
    text = "\x07\x1b\\]52;c;!\x1b]0;owned\x07 é \ud800"
    found = OSC_52.fullmatch(sequence(text, {}).encode())
    assert found
    assert base64.b64decode(found[1]) == text.encode("utf-8", "replace")


def test_the_sequence_inside_of_others() -> None:
    """Inside tmux it is plain and wrapped with doubled escapes, in screen in pieces; what is too long is not sent."""
    plain = sequence("hi", {})
    assert sequence("hi", {"TMUX": "x"}) == f"{plain}\x1bPtmux;\x1b{plain}\x1b\\"
    pieces = sequence("hi" * 500, {"STY": "x"}).split("\x1b\\")
    assert "".join(piece.removeprefix("\x1bP") for piece in pieces) == sequence("hi" * 500, {})
    assert all(len(piece) <= 256 for piece in pieces)
    assert sequence("x" * SEQUENCE_BYTES, {})
    assert sequence("x" * (SEQUENCE_BYTES + 1), {}) == ""


def test_what_is_copied(home: Home, tmp_path: Path) -> None:
    """The last answer, a message by its number, the last code block of one; both ways are said."""
    program(tmp_path / "bin", "xclip", f"cat > {tmp_path / 'taken'}")
    home.store().append("user-123", [Message("user", "my question"), Message("assistant", ANSWER)])
    path = f"{tmp_path / 'bin'}:{home.environ['PATH']}"
    chat = home.chat(PATH=path, DISPLAY=":0")
    copies = (
        ("/copy", ANSWER.replace("\x1b", "\ufffd").replace("\x07", "\ufffd")),
        ("/copy 0", "my question"),
        ("/copy code", "print('`hi`')"),
        ("/copy 1 code", "print('`hi`')"),
    )
    for number, (typed, text) in enumerate(copies, 1):
        chat.say(typed)
        chat.wait_for("copied by xclip and through the terminal", count=number)
        chat.wait_prompt(number + 1)
        assert (tmp_path / "taken").read_text() == text
        assert base64.b64decode(OSC_52.findall(bytes(chat.raw))[-1]).decode() == text
    assert "2 control characters replaced" in chat.shown


def test_nothing_fails_in_silence(talk: Talk) -> None:
    """Where no clipboard takes it, that is an error with a way out; so are wrong uses."""
    talk.store.append("user-123", [Message("user", "q"), Message("assistant", "no code")])
    talk.chat("/copy", "/copy 9", "/copy code", "/copy two", "/copy 1 text")
    assert "#1 was not copied: this terminal has no clipboard" in talk.err
    assert "/save FILE writes it" in talk.err
    assert "no message #9" in talk.err
    assert "#1 has no code block" in talk.err
    assert talk.err.count("/copy copies the last answer, /copy N message #N") == 2
    talk.chat("/copy", session_id="empty")
    assert "no answer to copy yet" in talk.err


def test_too_long_for_the_terminal(home: Home) -> None:
    """A text no terminal takes is not sent, and an error where nothing else takes it."""
    home.store().append("user-123", Message("assistant", "x" * (SEQUENCE_BYTES + 1)))
    chat = home.chat()
    chat.say("/copy")
    chat.wait_for("was not copied")
    chat.wait_for("too long for the terminal")
    assert b"\x1b]52" not in chat.raw


def test_ctrl_c_while_a_program_hangs(home: Home, tmp_path: Path) -> None:
    """Ctrl-C brings the prompt back though a clipboard program does nothing."""
    started = tmp_path / "started"
    program(tmp_path / "bin", "xclip", f"touch {started}; exec sleep 30")
    home.store().append("user-123", Message("assistant", "text"))
    chat = home.open(PATH=f"{tmp_path / 'bin'}:{home.environ['PATH']}", DISPLAY=":0")
    chat.say("/copy")
    chat.wait_until(lambda _: started.exists(), "the program")
    chat.send(CTRL_C)
    chat.wait_prompt(2)
    assert "copied" not in chat.shown
