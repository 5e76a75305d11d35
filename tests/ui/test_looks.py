"""Appearance of an answer by background, color support, encoding and window width."""

import io
import re

import pytest

from omniagent_cli.agent.events import (
    Retrying,
    TextDelta,
    ThinkingDelta,
    ToolCalled,
    ToolReturned,
)
from omniagent_cli.models import Message
from omniagent_cli.ui.cells import cell_width, wrap_cells
from omniagent_cli.ui.palette import background_of
from omniagent_cli.ui.stream import StreamView
from omniagent_cli.ui.terminal import Terminal
from tests.ui.screen import Clock, tty

ANSWER = """\
# A title

Some `code`, a [link](https://example.org/x), ![a picture](pic.png) and 漢字.

- one
- two

> quoted

```python
def f(name: str) -> str:
    return "x" * 3  # %s
```

| first column | second column | third column |
|---|---|---|
| a value that is long | another value | extraordinarily |

---
""" % ("long " * 30)


def painted(terminal, text=ANSWER):
    with StreamView(terminal, clock=Clock()) as view:
        view.feed(TextDelta(text))


@pytest.mark.parametrize(
    ("theme", "variable", "background"),
    [
        ("light", "15;0", "light"),
        ("dark", "", "dark"),
        ("auto", "", ""),
        ("auto", "0;15", "light"),
        ("auto", "15;default;0", "dark"),
        ("auto", "12;8", "dark"),
        ("auto", "default;default", ""),
        ("auto", "nonsense", ""),
        ("auto", "0;99", ""),
    ],
)
def test_the_background_is_configured_or_told(theme, variable, background):
    """chat.theme decides; ``auto`` uses a valid COLORFGBG."""
    assert background_of(theme, {"COLORFGBG": variable} if variable else {}) == background


@pytest.mark.parametrize(
    ("theme", "never"), [("auto", "3[034]|9[0-7]"), ("light", "3[367]|9[0-7]"), ("dark", "3[04]")]
)
def test_colours_can_be_read_on_the_background(theme, never):
    """Bright colors and yellow are not used on light, blue not on dark, none of them on unknown backgrounds."""
    terminal, out, _ = tty()
    terminal.color, terminal.theme = "always", theme
    painted(terminal)
    codes = {
        code for run in re.findall(r"\x1b\[([0-9;]*)m", out.written) for code in run.split(";")
    }
    assert [code for code in codes if re.fullmatch(f"{never}|4[0-9]|10[0-7]|[34]8", code)] == []
    assert any(re.fullmatch("3[0-7]|9[0-7]", code) for code in codes)


MARKED = "# Title\n\n## Part\n\n**bold** *slanted* ~~gone~~ `code`\n\n1. one\n"


def test_no_color_keeps_attributes():
    """With NO_COLOR bold, italic and strike-through stay, and no color is written."""
    terminal, out, _ = tty(NO_COLOR="1")
    terminal.color = "auto"
    painted(terminal, MARKED)
    codes = set(re.findall(r"\x1b\[([0-9;]*)m", out.written))
    assert codes == {"0", "1;4", "1", "2", "3", "9"}


def test_color_never_writes_no_style():
    """With --color never only cursor movement is written, and what is struck out keeps its marks."""
    terminal, out, _ = tty()
    painted(terminal, MARKED)
    assert not re.search(r"\x1b\[[0-9;]*m", out.written)
    assert "bold slanted ~~gone~~ code" in out.shown


def drawn_terminal(encoding, **environ):
    """Return a terminal whose stdout has an encoding, and its output."""

    class Tty(io.TextIOWrapper):
        def isatty(self):
            return True

    data = io.BytesIO()
    known = {"TERM": "xterm", "COLUMNS": "60", **environ}
    out = Tty(data, encoding=encoding, newline="")
    terminal = Terminal(stdin=io.StringIO(), stdout=out, stderr=io.StringIO(), environ=known)
    terminal.color = "never"
    return terminal, data


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_what_an_encoding_lacks_is_drawn_in_ascii(encoding):
    """No character is lost: drawn elements become ASCII, and text that cannot be encoded is escaped."""
    terminal, data = drawn_terminal(encoding)
    with StreamView(terminal, clock=Clock()) as view:
        call = {"id": "1", "function": {"name": "look", "arguments": '{"at": "%s"}' % ("x" * 99)}}
        view.feed(ThinkingDelta("…"))
        view.feed(ToolCalled(call))
        view.feed(ToolReturned(call, Message("tool", "found \u2014 it")))
        view.feed(TextDelta(f"{ANSWER}\n\u201cquoted\u201d 😀"))
    shown = data.getvalue().decode(encoding)
    assert "+ look(at: xxxxx" in shown
    assert "~ ok, 0.0 s: found - it" in shown
    assert "\\u6f22\\u5b57" in shown
    assert "| quoted" in shown
    assert '"quoted" \\U0001f600' in shown
    assert not [c for c in shown if not c.isascii()]


@pytest.mark.parametrize(
    ("environ", "ascii_only"),
    [
        ({"LANG": "C"}, True),
        ({"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),  # Python sets it so
        ({"LC_CTYPE": "C", "LANG": "de_DE.UTF-8"}, True),
        ({"LANG": "C", "LC_CTYPE": "en_US.UTF-8"}, False),
        ({"LANG": "C.UTF-8"}, False),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, False),
        ({}, False),
    ],
)
def test_the_locale_c_is_heard(environ, ascii_only):
    """In the C locale, lines, dots and spinners are ASCII, and text is unchanged."""
    terminal, data = drawn_terminal("utf-8", **environ)
    painted(terminal)
    shown = data.getvalue().decode()
    assert ("▌" in shown, "─" in shown, "⠋" in shown) == (not ascii_only,) * 3
    assert "漢字" in shown


@pytest.mark.parametrize("columns", [10, 20, 40, 80])
def test_nothing_is_cut_off_in_a_narrow_window(columns):
    """Every word of an answer is shown at any width, and only code is wider than a row."""
    terminal, out, _ = tty(columns=columns)
    painted(terminal)
    joined = re.sub(r"\s", "", out.shown)
    for word in ("Atitle", "extraordinarily", "another", "https://example.org/x", "pic.png"):
        assert word in joined or word in re.sub(r"\W", "", joined), word
    assert "…" not in out.shown


def test_code_has_no_break_that_is_not_in_it():
    """A long line of code is written as one line, so it can be copied."""
    terminal, out, _ = tty(columns=40)
    painted(terminal)
    (line,) = [line for line in out.written.splitlines() if line.startswith("    return")]
    assert line == '    return "x" * 3  # ' + ("long " * 30).rstrip()


def test_a_table_that_does_not_fit_has_a_line_for_each_cell():
    """A table whose columns would split words is shown with a labelled line per cell."""
    terminal, out, _ = tty(columns=22)
    painted(
        terminal, "| name | what it does |\n|---|---|\n| sessions_search | finds |\n| b | c |\n"
    )
    assert out.shown == ("name: sessions_search\nwhat it does: finds\n\nname: b\nwhat it does: c")


def test_a_picture_stands_among_its_words():
    """An image is shown as text and URL at its place in the sentence."""
    terminal, out, _ = tty()
    painted(terminal, "before ![the plan](plan.png) after")
    assert out.shown == "before the plan (plan.png) after"


def test_thinking_can_be_hidden_or_full():
    """Hidden thinking is not shown; full thinking is wrapped between words."""
    for thinking, expected in (
        ("hidden", ["Yes."]),
        ("full", ["some thoughts about", "it", "Thought for 1 s", "Yes."]),
    ):
        terminal, out, _ = tty(columns=20)
        with StreamView(terminal, thinking=thinking, clock=Clock()) as view:
            view.feed(ThinkingDelta("some thoughts about it"))
            view.feed(TextDelta("Yes."))
        assert [line for line in out.shown.splitlines() if line] == expected


def test_a_screen_reader_hears_who_speaks():
    """Speakers are announced in order, and only text is written."""
    terminal, out, err = tty()
    terminal.stderr = out
    clock = Clock()
    call = {"id": "1", "function": {"name": "look", "arguments": "{}"}}
    with StreamView(terminal, spoken=True, thinking="full", clock=clock) as view:
        view.feed(Retrying("the server is busy", 2.0))
        view.feed(ThinkingDelta("hm, "))
        view.feed(ThinkingDelta("yes"))
        clock.now += 2
        view.feed(TextDelta("Let me "))
        view.feed(TextDelta("see."))
        view.feed(ToolCalled(call))
        view.feed(ToolReturned(call, Message("tool", "found")))
        view.feed(TextDelta("It is there."))
    assert out.written.splitlines() == [
        "the server is busy; retrying in 2 s",
        "Thinking: hm, yes",
        "Thought for 2 s",
        "Answer: Let me see.",
        "Running tool: look()",
        "Tool: look() ok, 0.0 s: found",
        "Answer: It is there.",
    ]
    assert err.getvalue() == ""


def test_a_notice_never_sticks_to_the_answer_in_one_pipe(tmp_path):
    """If stdout and stderr are the same file, a notice starts a new line."""
    with (tmp_path / "both").open("w", encoding="utf-8") as out:
        terminal = Terminal(stdin=io.StringIO(), stdout=out, stderr=out, environ={})
        with StreamView(terminal, clock=Clock()) as view:
            view.feed(TextDelta("half an answer"))
            view.abort("interrupted")
            terminal.flush()
    assert (tmp_path / "both").read_text() == "half an answer\ninterrupted\n"


def test_a_silence_in_an_answer_shows_that_something_is_waited_for():
    """After two seconds without text a spinner appears below the open block, until the next text."""
    terminal, out, _ = tty()
    clock = Clock()
    with StreamView(terminal, clock=clock) as view:
        view.feed(TextDelta("half"))
        clock.now += 4
        view._renderer._render()
        assert out.shown.splitlines()[-1].endswith("4 s (Ctrl-C stops)")
        view.feed(TextDelta(" whole"))
        clock.now += 0.1
        view._renderer._render()
        assert out.shown == "half whole"


@pytest.mark.parametrize("width", [5, 9, 20])
def test_words_are_broken_only_where_they_must(width):
    """Rows contain all words in order, and none exceeds the width in cells."""
    text = "a few words 漢字漢字漢字 unbreakableword end"
    rows = wrap_cells(text, width)
    assert all(cell_width(row) <= width for row in rows)
    assert "".join("".join(rows).split()) == "".join(text.split())
    assert wrap_cells("", width) == [""]


@pytest.mark.parametrize("width", [12, 20, 80])
def test_lists_keep_their_numbers_and_words(width):
    """Numbered lists keep their delimiters, and deep lists lose no word in a narrow window."""
    deep = "\n".join(f"{'    ' * level}{level + 1}. level word{level}" for level in range(6))
    flat = "9) nine\n10) ten\n\n- bullet"
    terminal, out, _ = tty(columns=width)
    with StreamView(terminal, clock=Clock()) as view:
        view.feed(TextDelta(f"{deep}\n\n---\n\n{flat}\n"))
    words = out.shown.split()
    assert [word for word in words if word.startswith("word")] == [f"word{n}" for n in range(6)]
    assert {"1.", "9)", "10)"} <= set(words)
