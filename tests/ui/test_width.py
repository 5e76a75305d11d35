"""Width of prose: limited on a wide terminal, and broken between words only."""

import io

import pytest

from omniagent_cli.agent.events import Notice, TextDelta
from omniagent_cli.ui.cells import cell_width, wrap_prose
from omniagent_cli.ui.stream import StreamView
from omniagent_cli.ui.terminal import Terminal
from tests.ui.screen import FakeTty, tty

WORDS = "several words of prose that would fill a wide line " * 6
CODE = "x = " + "1 + " * 60
TABLE = f"| name | {'a heading ' * 12} |\n|---|---|\n| value | {'a cell ' * 20} |"


def rows_of(text, columns, **settings):
    terminal, out, _ = tty(columns=columns)
    for name, value in settings.items():
        setattr(terminal, name, value)
    with StreamView(terminal) as view:
        view.feed(TextDelta(text))
    return out.shown.splitlines()


@pytest.mark.parametrize(
    ("columns", "settings", "widest"),
    [(250, {}, 100), (250, {"max_prose": 60}, 60), (250, {"max_prose": 300}, 250), (40, {}, 40)],
)
def test_prose_is_at_most_display_width(columns, settings, widest):
    """Prose, lists and quotes use display.width columns, or those of a narrower terminal."""
    rows = rows_of(f"{WORDS}\n\n- {WORDS}\n\n> {WORDS}\n", columns, **settings)
    assert widest - 14 < max(map(cell_width, rows)) <= widest


def test_tables_and_code_use_the_whole_terminal():
    """A table and a line of code are as wide as they need to be."""
    rows = rows_of(f"{TABLE}\n\n```python\n{CODE}\n```\n", 250)
    assert [row for row in rows if row.startswith("value")] == [
        "value  " + ("a cell " * 20).strip()
    ]
    assert CODE.strip() in rows


def test_a_table_in_a_list_keeps_to_the_prose():
    """A table inside a list item is as wide as the item."""
    nested = "- item\n\n" + "\n".join(f"  {line}" for line in TABLE.splitlines())
    assert max(map(cell_width, rows_of(nested, 250))) <= 100


MESSAGE = "the first message of a chat about configuration, long enough for three rows"


@pytest.mark.parametrize("columns", [20, 40, 250])
@pytest.mark.parametrize("method", ["note", "warn", "error"])
def test_messages_break_between_words(columns, method):
    """Notes, warnings and errors on a terminal are wrapped between words; color does not count."""
    err = FakeTty(columns)
    environ = {"TERM": "xterm", "COLUMNS": str(columns)}
    terminal = Terminal(stdin=io.StringIO(), stdout=FakeTty(columns), stderr=err, environ=environ)
    getattr(terminal, method)(MESSAGE + MESSAGE * (columns > 100))
    rows = err.shown.splitlines()
    assert max(map(len, rows)) <= min(columns, 100)
    said = " ".join(rows).removeprefix("omniagent: ").partition(": ")
    assert (said[2] or said[0]) == MESSAGE + MESSAGE * (columns > 100)


def test_a_word_wider_than_the_terminal_is_not_broken():
    """A URL in a note is one word for copying, however narrow the terminal is."""
    url = "https://example.org/" + "a" * 60
    err = FakeTty(40)
    environ = {"TERM": "xterm", "COLUMNS": "40"}
    Terminal(stdin=io.StringIO(), stdout=FakeTty(40), stderr=err, environ=environ).note(
        f"see {url}"
    )
    assert f"{url}" in err.written


def test_messages_in_a_pipe_are_one_line():
    """Messages that do not go to a terminal are not wrapped."""
    terminal, _, err = tty(columns=20)
    terminal.note(MESSAGE)
    with StreamView(terminal) as view:
        view.feed(Notice(MESSAGE))
    assert err.getvalue() == f"{MESSAGE}\n{MESSAGE}\n"


def test_typed_text_is_wrapped_except_code():
    """Lines that a user typed are broken between words; indented and fenced lines are left as they are."""
    code = "    " + CODE
    text = f"{WORDS}\n{code}\n```\n{CODE}\n```\nshort"
    lines = wrap_prose(text, 60).split("\n")
    assert max(map(len, lines[:5])) <= 60
    assert " ".join(lines[:-5]).split() == WORDS.split()
    assert lines[-5:] == [code, "```", CODE, "```", "short"]
