"""Picking a session: on the screen, by number, and what fits what was typed."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from omniagent_cli.models import Message
from omniagent_cli.repl.picker_model import PAGE, SessionChoices
from omniagent_cli.stores import SessionStore, open_store
from omniagent_cli.testing import FakeClock
from tests.repl.home import Home, home
from tests.repl.piped import PipedProgram
from tests.repl.talk import Talk
from tests.repl.terminal import CTRL_C, ESCAPE, TerminalProgram

__all__ = ["home"]

DOWN, CTRL_N, CTRL_P, PAGE_DOWN = "\x1b[B", "\x0e", "\x10", "\x1b[6~"
ENTER_ALTERNATE, LEAVE_ALTERNATE = b"\x1b[?1049h", b"\x1b[?1049l"


def fill(store: SessionStore, *titles: str) -> None:
    """Make a session for each title, the last one the newest."""
    for title in titles:
        name = title.split()[0].lower()
        store.append(name, [Message("user", title), Message("assistant", f"about {title}")])


@pytest.fixture
def some(home: Home) -> Home:
    """A home with three sessions."""
    fill(home.store(), "Garden gate", "Tax return 2025", "Sourdough bread")
    return home


def picking(home: Home, **options: object) -> PipedProgram:
    """Start a chat with --pick and wait for the list."""
    return listed(home.begin("--pick", **options))  # type: ignore[arg-type]


def listed(program: PipedProgram | TerminalProgram) -> Any:
    """Wait for the list of a program."""
    program.wait_for("pick>")
    program.wait_for("Sourdough bread")
    return program


def test_picking_with_keys(some: Home) -> None:
    """The last used stands first; arrows and Ctrl-N/P move the bar, Enter: open with that session."""
    chat = picking(some)
    assert next(row for row in chat.rows if row.startswith(">")).split()[1] == "Sourdough"
    chat.send(DOWN + CTRL_N + CTRL_P)
    chat.wait_match(r"(?m)^> Tax return")
    chat.send("\r")
    chat.wait_prompt(1)
    chat.wait_for("about Tax return 2025")
    assert chat.raw.count(ENTER_ALTERNATE) == chat.raw.count(LEAVE_ALTERNATE) == 1
    chat.say("/title")
    chat.wait_match(r"(?m)^Tax return 2025$")


def test_typing_narrows_down(some: Home) -> None:
    """What is typed filters by title, id and last line, also by letters in order; nothing that fits is said."""
    chat = picking(some)
    chat.send("grdn")
    chat.wait_until(lambda _: "Tax return" not in "\n".join(chat.rows), "the filter")
    assert any(row.startswith("> Garden gate") for row in chat.rows)
    chat.send("zzz")
    chat.wait_for("No session matches")
    chat.send("\r")  # nothing to choose
    chat.send("\x15bread")
    chat.wait_match(r"(?m)^> Sourdough")
    chat.send("\r")
    chat.wait_for("about Sourdough bread")


def test_the_preview_shows_the_last_messages(some: Home) -> None:
    """After a moment the last messages of the session the bar stands on are shown beside, below where it is narrow."""
    chat = picking(some)
    chat.wait_for("about Sourdough bread")
    chat.send(DOWN)
    chat.wait_for("about Tax return 2025")
    narrow = picking(some, columns=40)
    narrow.wait_for("about Sourdough bread")
    assert all(len(row) <= 40 for row in narrow.rows)
    low = picking(some, columns=40, rows=6)
    assert "about" not in low.shown
    assert low.rows[-1].startswith("3/3")


@pytest.mark.parametrize("key", [ESCAPE, CTRL_C])
def test_leaving_the_list(some: Home, key: str) -> None:
    """Escape and Ctrl-C leave at once with exit code 130; nothing was created, nothing stays on the screen."""
    chat = picking(some)
    chat.send(key)
    assert chat.wait() == 130
    assert chat.rows == ["No session chosen."]
    assert some.store().count() == 3


def test_switch_lets_one_pick(some: Home) -> None:
    """/switch without an id picks; left with Escape or Ctrl-C, the prompt is back in the session it was."""
    chat = some.chat("-s", "garden")
    for prompts, key in ((2, ESCAPE), (3, CTRL_C)):
        chat.say("/switch")
        chat.wait_for("pick>")
        chat.wait_for("Enter: open")
        chat.send(key)
        chat.wait_for("Still in 'garden'", count=prompts - 1)
        chat.wait_prompt(prompts)
    chat.say("/switch")
    chat.wait_for("Enter: open")
    chat.send("sour\r")
    chat.wait_for("Switched to 'sourdough' (2 messages)")
    chat.wait_for("about Sourdough bread")


def test_a_signal_ends_it(some: Home) -> None:
    """SIGTERM leaves the screen as it was and ends with its code."""
    chat = listed(some.start("--pick"))
    chat.signal(signal.SIGTERM)
    assert chat.wait() == 128 + signal.SIGTERM
    assert bytes(chat.raw).endswith(b"\n") or LEAVE_ALTERNATE in chat.raw
    assert LEAVE_ALTERNATE in chat.raw


def test_hostile_titles_are_harmless(home: Home) -> None:
    """Titles, ids and messages that would drive the terminal stand there as plain cut text."""
    store = home.store()
    store.append("evil\u202eid", Message("user", "hi \x1b]0;owned\x07 <b> [red]\x1b[2J there"))
    store.set_title("evil\u202eid", "\x1b[31mred\x1b[2J\x07 {title}")
    chat = home.begin("--pick")
    chat.wait_for("{title}")
    chat.wait_for("<b> [red]")
    assert b"owned\x07" not in chat.raw
    assert b"\x1b[2J there" not in chat.raw
    assert "\u202e".encode() not in chat.raw


def test_no_sessions_to_pick(home: Home) -> None:
    """Without any session that is said, and a new one begins."""
    chat = home.begin("--pick")
    chat.wait_for("No sessions yet")
    chat.wait_prompt(1)
    chat.say("hello")
    chat.wait_prompt(2)
    assert home.store().count() == 1


def test_a_dumb_terminal_gets_a_numbered_list(some: Home) -> None:
    """Where nothing can be painted there are numbers and a question; words narrow the list down."""
    chat = some.begin("--pick", TERM="dumb")
    chat.wait_for("3. Garden gate, garden")
    chat.wait_for("Number of a session")
    chat.say("tax")
    chat.wait_match(r"(?m)^1\. Tax return 2025")
    chat.wait_for("Number of a session", count=2)
    chat.say("1")
    chat.wait_for("about Tax return 2025")
    assert b"\x1b" not in chat.raw


def test_by_number_in_the_chat(talk: Talk) -> None:
    """/switch asks for a number where there is no screen; Enter alone, or a wrong number, changes nothing."""
    fill(talk.store, "First one", "Second one")
    shown = talk.chat("/switch", "", "/switch", "9", "", "/switch", "2", "/title")
    assert "1. Second one, second" in shown
    assert "No session matches 9" in talk.err
    assert talk.err.count("Still in 'user-123'") == 2
    assert "Switched to 'first'" in talk.err


def test_switching_where_one_is(talk: Talk) -> None:
    """/switch without sessions says so, and to the session one is in changes nothing."""
    talk.chat("/switch", "hello", "/switch user-123", "/switch -")
    assert "No sessions yet" in talk.err
    assert "Already in 'user-123'" in talk.err
    assert "no previous session" in talk.err


def test_choices_fit_in_order() -> None:
    """Words in title, id or tags come before words elsewhere, those before letters in order; pinned ones first."""
    clock = FakeClock()
    with open_store("memory:", clock=clock) as store:
        for title, said in (
            ("bread", "x"),
            ("b r e a d", "y"),
            ("other", "of bread"),
            ("bread two", "z"),
        ):
            clock.advance("1m")
            store.append(title.replace(" ", "-"), Message("user", said))
            store.set_title(title.replace(" ", "-"), title)
        store.set_metadata("bread", "pinned", True)
        store.set_metadata("other", "tags", ["kitchen"])
        choices = SessionChoices(store)
        choices.add(choices.read_page())
        assert choices.complete
        assert choices.fitting[0].id == "bread"
        choices.choose("BREAD")
        assert [s.id for s in choices.fitting] == ["bread", "bread-two", "other", "b-r-e-a-d"]
        choices.choose("kitchen bread")
        assert [s.id for s in choices.fitting] == ["other"]
        choices.choose("")
        assert len(choices.fitting) == 4


def test_many_sessions_are_read_by_the_page() -> None:
    """Only summaries are read, a page at a time, each once though sessions are used meanwhile."""
    clock = FakeClock()
    with open_store("memory:", clock=clock) as store:
        for number in range(PAGE + 10):
            clock.advance("1s")
            store.append(f"s{number}", Message("user", f"number {number}"))
        choices = SessionChoices(store)
        choices.add(choices.read_page())
        assert (choices.count, choices.complete) == (PAGE, False)
        clock.advance("1s")
        store.append("s0", Message("user", "used again"))
        choices.add(choices.read_page())
        assert choices.complete
        assert choices.count == len({s.id for s in choices.fitting}) >= PAGE + 9


def test_pages_of_sessions(home: Home) -> None:
    """The list is there at once, the end of it is reached, and the oldest session is found by its name."""
    store = home.store()
    pages = 3
    for number in range(PAGE * pages):
        store.append(f"s{number}", Message("user", f"number {number}."))
    chat = home.begin("--pick")
    chat.wait_for(f"number {PAGE * pages - 1}.")
    chat.send("number 0.")
    chat.wait_match(r"(?m)^> number 0\.")
    chat.send("\r")
    chat.wait_for("'s0': 1 message")


def test_wrong_uses(home: Home) -> None:
    """--pick beside another way to name a session, or without a terminal, is exit 2 and one line."""
    for options in (("--pick", "-s", "x"), ("--pick", "-c"), ("--pick", "--ephemeral")):
        chat = home.begin(*options)
        assert chat.wait() == 2
        assert len(chat.rows) <= 2
        assert "--pick" in chat.shown
