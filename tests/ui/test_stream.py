"""View of a turn on a terminal, on a dumb terminal and in a pipe."""

import asyncio
import random
from contextlib import suppress

import pytest

from omniagent_cli.agent.events import (
    Notice,
    Retrying,
    TextDelta,
    ThinkingDelta,
    ToolCalled,
    ToolReturned,
    TurnDone,
)
from omniagent_cli.errors import StoreFull
from omniagent_cli.models import Message
from omniagent_cli.ui.markdown_blocks import MarkdownBlocks
from omniagent_cli.ui.stream import StreamView
from tests.ui.screen import Clock, pipe, tty

DOCUMENT = """\
# Title

First paragraph with *stress* and `code`,
over two lines.

Setext
------

- one
- two

  still two
- three

1. first
2. second

> quoted
lazily

```python
def f():

    return 1
```

| a | b |
|---|---|
| 1 | 2 |

    indented code

~~~
```
nested
```
~~~

---

Last paragraph, [a link](https://example.org) and List<String>.
"""


def streamed(view, text, clock, size=7, step=0.01):
    """Feed a text in pieces, a hundred a second."""
    for start in range(0, len(text), size):
        clock.now += step
        view.feed(TextDelta(text[start : start + size]))


def call(name="weather", arguments='{"city":"Paris"}'):
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}


def test_a_streamed_answer_ends_as_its_blocks_laid_out_one_by_one():
    """The finished screen does not depend on how the answer was split into chunks."""
    pictures = set()
    for size in (1, 3, 7, 50, len(DOCUMENT)):
        terminal, out, _ = tty()
        clock = Clock()
        with StreamView(terminal, clock=clock) as view:
            streamed(view, DOCUMENT, clock, size=size)
        pictures.add(out.shown)
    (shown,) = pictures
    for words in ("Title", "still two", "2. second", "nested", "a link (https://example.org)"):
        assert shown.count(words) == 1, words
    assert "List<String>" in shown


def test_cutting_never_changes_a_block():
    """Blocks finished early equal the blocks of the complete text."""
    rng = random.Random(5)
    whole = MarkdownBlocks()
    whole.add(DOCUMENT)
    expected = [block.strip("\n") for block in whole.take_rest()]
    for _ in range(50):
        blocks, found, left = MarkdownBlocks(), [], DOCUMENT
        while left:
            size = rng.randint(1, 40)
            blocks.add(left[:size])
            left = left[size:]
            found += blocks.take_finished()
        found += blocks.take_rest()
        assert [block.strip("\n") for block in found] == expected


def test_finished_text_is_never_written_again():
    """A finished block is written once; only the open tail is replaced."""
    terminal, out, _ = tty()
    clock = Clock()
    paragraphs = [f"paragraph number {n} " + "word " * 30 for n in range(30)]
    with StreamView(terminal, clock=clock) as view:
        streamed(view, "\n\n".join(paragraphs), clock)
        assert "\x1b[2J" not in out.written
        before = out.shown
    for n in range(30):
        assert out.shown.count(f"paragraph number {n} ") == 1
    assert before.splitlines()[:40] == out.shown.splitlines()[:40]


def test_the_open_tail_is_shown_while_it_grows():
    """The open block is on the screen before it is finished."""
    terminal, out, _ = tty()
    clock = Clock()
    view = StreamView(terminal, clock=clock)
    streamed(view, "```python\nprint('hello')\nprint('wor", clock, size=5, step=0.06)
    assert "print('hello')" in out.shown
    assert "print('wo" in out.shown
    view.finish()
    assert out.shown.count("hello") == 1
    assert "```" not in out.shown


def test_a_full_row_keeps_its_last_character():
    """Nothing is erased after a row that fills the terminal, since the cursor is on its last character."""
    terminal, out, _ = tty(columns=40)
    clock = Clock()
    view = StreamView(terminal, clock=clock)
    streamed(view, "x" * 100, clock, step=0.06)
    assert "x" * 40 in out.written
    assert "x\x1b[K" not in out.written
    view.finish()


def test_what_came_before_the_store_failed_is_laid_out():
    """An answer that cannot be stored stays on the screen as finished text."""
    terminal, out, _ = tty(columns=40)
    clock = Clock()
    with suppress(StoreFull), StreamView(terminal, clock=clock) as view:
        streamed(view, "some *words* of an answer", clock, step=0.06)
        raise StoreFull("no room")
    assert out.shown == "some words of an answer"


def test_a_long_open_block_shows_its_last_rows_only():
    """The live area never fills the screen, so it can always be replaced."""
    terminal, out, _ = tty()
    clock = Clock()
    view = StreamView(terminal, clock=clock)
    streamed(view, "```\n" + "".join(f"line {n}\n" for n in range(100)), clock, size=8, step=0.06)
    assert "line 99" in out.shown
    assert out.shown.count("line") <= 12
    view.finish()
    assert [out.shown.count(f"line {n}\n") for n in (0, 50, 98)] == [1, 1, 1]


@pytest.mark.parametrize("columns", [40, 120])
def test_a_resize_in_the_middle_loses_no_finished_text(columns):
    """After a resize, all finished text is shown exactly once."""
    terminal, out, _ = tty(columns=80)
    clock = Clock()
    view = StreamView(terminal, clock=clock)
    streamed(view, "alpha beta\n\ngamma delta\n\n" + "epsilon " * 20, clock, size=6, step=0.06)
    out.resize(columns)
    terminal.environ["COLUMNS"] = str(columns)
    streamed(view, "zeta " * 20 + "\n\nthe end", clock, size=6, step=0.06)
    view.finish()
    for words in ("alpha beta", "gamma delta", "the end"):
        assert out.shown.count(words) == 1


def test_hostile_text_cannot_drive_the_terminal():
    """No escape sequence, entity or bidi mark of a model, tool or notice reaches the terminal."""
    terminal, out, err = tty()
    clock = Clock()
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eabc &#x202e; &#27;[31m </kbd>\r\n\udc80"
    with StreamView(terminal, clock=clock) as view:
        for character in evil:
            clock.now += 0.06
            view.feed(TextDelta(character))
        view.feed(ToolCalled(call(name="x\x1b[31m", arguments='{"a":"\x1b[2J\n"}')))
        view.feed(
            ToolReturned(call(name="x\x1b[31m"), Message("tool", "\x1b[31mred\u202e"), failed=True)
        )
        view.feed(Notice("note\x1b[2J"))
        view.feed(TextDelta("```\n\x1b[31mred\n```\n[x](javascript:\x1b[2J)"))
    ours = out.written
    for known in ("\x1b[K", "\x1b[J", "\x1b[?7l", "\x1b[?7h", *(f"\x1b[{n}A" for n in range(25))):
        ours = ours.replace(known, "")
    assert not {c for c in ours + err.getvalue() if c < " " and c != "\n"}
    assert not set("\x9b\u202e\udc80\x7f") & set(ours + err.getvalue())
    assert "</kbd>" in out.shown


def test_code_is_shown_without_decoration():
    """A code block is copied as it was written: no frame and no padding."""
    code = "def f():\n\n    return 'x'"
    terminal, out, _ = tty()
    terminal.color = "always"
    with StreamView(terminal, clock=Clock()) as view:
        view.feed(TextDelta(f"```python\n{code}\n```"))
    assert out.shown == code
    assert "\x1b[35mdef" in out.written
    assert " \n" not in out.written
    assert " \x1b[0m\n" not in out.written


def test_a_tool_call_is_one_line_that_ends_with_its_result():
    """A call is shown while it runs and becomes one line with its result."""
    terminal, out, _ = tty()
    clock = Clock()
    with StreamView(terminal, clock=clock) as view:
        view.feed(TextDelta("Let me look."))
        clock.now += 1
        view.feed(ToolCalled(call()))
        assert "weather(city: Paris)" in out.shown
        clock.now += 1
        view.feed(ToolReturned(call(), Message("tool", "21 degrees\nand more")))
        clock.now += 1
        view.feed(TextDelta("It is warm."))
    lines = [line for line in out.shown.splitlines() if line]
    assert lines == [
        "Let me look.",
        "✓ weather(city: Paris) ok, 1.0 s: 21 degrees",
        "It is warm.",
    ]


def test_a_failed_and_an_interrupted_tool_say_so():
    """Failed and interrupted calls are marked on their lines."""
    terminal, out, _ = tty()
    with StreamView(terminal, clock=Clock()) as view:
        view.feed(ToolCalled(call()))
        view.feed(ToolReturned(call(), Message("tool", "error: no net"), failed=True))
        view.feed(ToolCalled(call(name="slow")))
    first, last = out.shown.splitlines()
    assert first == "✗ weather(city: Paris) failed, 0.0 s: error: no net"
    assert last == "✗ slow(city: Paris) interrupted, 0.0 s"


def test_thinking_is_folded_into_one_line():
    """Thinking is shown as one line with its duration."""
    terminal, out, _ = tty()
    clock = Clock()
    with StreamView(terminal, clock=clock) as view:
        view.feed(ThinkingDelta("hmm, secret thoughts"))
        clock.now += 4
        view.feed(ThinkingDelta("still"))
        assert "thinking 4 s" in out.shown
        view.feed(TextDelta("Yes."))
    assert [line for line in out.shown.splitlines() if line] == ["Thought for 4 s", "Yes."]


def test_thinking_is_shown_when_asked_for():
    """With full thinking, the text stays on the screen above the answer."""
    terminal, out, _ = tty()
    with StreamView(terminal, thinking="full", clock=Clock()) as view:
        view.feed(ThinkingDelta("first thought\nsecond "))
        view.feed(ThinkingDelta("thought"))
        view.feed(TextDelta("Yes."))
    shown = [line for line in out.shown.splitlines() if line]
    assert shown == ["first thought", "second thought", "Thought for 1 s", "Yes."]


def test_notices_go_to_stderr():
    """Notices and retries are written to stderr, one line each."""
    terminal, out, err = tty()
    with StreamView(terminal, clock=Clock()) as view:
        view.feed(Retrying("the server is busy", 2.0))
        view.feed(Notice("the session had expired"))
        view.feed(TextDelta("Hello"))
    assert err.getvalue() == "the server is busy; retrying in 2 s\nthe session had expired\n"
    assert out.shown.strip() == "Hello"


def test_the_spinner_turns_by_itself_until_the_first_word():
    """In an event loop a spinner runs until the first text, and is removed."""
    terminal, out, _ = tty()

    async def wait():
        with StreamView(terminal) as view:
            end = asyncio.get_running_loop().time() + 5
            while out.writes < 3 and asyncio.get_running_loop().time() < end:
                await asyncio.sleep(0.01)
            view.feed(TextDelta("Hello"))

    asyncio.run(wait())
    assert out.writes >= 3
    assert out.shown == "Hello"


def test_what_came_last_is_painted_without_another_event():
    """Text received between two frames is shown without another event."""
    terminal, out, _ = tty()

    async def wait():
        view = StreamView(terminal)
        view.feed(TextDelta("one "))
        view.feed(TextDelta("two"))
        end = asyncio.get_running_loop().time() + 5
        while "two" not in out.shown and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.01)
        shown = out.shown
        view.abort("interrupted")
        return shown

    assert "one two" in asyncio.run(wait())


@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {}])
def test_a_terminal_that_is_not_painted_on_gets_plain_harmless_text(environ):
    """Dumb terminals and screen readers get text as received, without sequences and spinner."""
    terminal, out, _ = tty(**environ)
    with StreamView(terminal, spoken=not environ, clock=Clock()) as view:
        for piece in ("# Ti", "tle\r", "\nte\x1bxt\r", "more"):
            view.feed(TextDelta(piece))
    role = "" if environ else "Answer: "
    assert out.written == f"{role}# Title\nte\ufffdxt\nmore\n"


def test_a_pipe_gets_the_raw_text():
    """In a pipe the answer is unchanged data with a final newline, without thinking."""
    terminal, data, err = pipe()
    with StreamView(terminal) as view:
        view.feed(ThinkingDelta("hmm"))
        view.feed(TextDelta("# a\x1b[31m\r\n"))
        assert data.getvalue() == b"# a\x1b[31m\r\n"
        view.feed(Notice("psst"))
        view.feed(TextDelta("\udc80 é"))
        view.feed(TurnDone(Message("assistant", "x")))
    assert data.getvalue() == b"# a\x1b[31m\r\n\\udc80 \xc3\xa9\n"
    assert err.getvalue() == "psst\n"


def test_the_whole_answer_comes_at_the_end_when_asked_for():
    """Without streaming, the answer is printed at its end, or not at all."""
    for answer, expected in (("whole", b"Hello there\n"), ("none", b"")):
        terminal, data, _ = pipe()
        with StreamView(terminal, answer=answer) as view:
            view.feed(TextDelta("Hello "))
            view.feed(TextDelta("there"))
            assert data.getvalue() == b""
        assert data.getvalue() == expected


def test_after_a_flood_blocks_are_laid_out_again():
    """A code block too long for layout is printed verbatim, and the text after it is Markdown again."""
    terminal, out, _ = tty(rows=40)
    clock = Clock()
    long = "".join(f"row {n} of the long listing\n" for n in range(2000))
    with StreamView(terminal, clock=clock) as view:
        streamed(view, f"Before\n\n```\n{long}```\n\nAfter **that** all.\n", clock, size=300)
    assert "After that all." in out.shown
    assert out.written.count("row 1999 of the long listing\n") >= 1
    for n in (0, 700, 1400):
        assert out.shown.count(f"row {n} of the long listing\n") == 1


def test_a_list_without_end_is_shown_in_order():
    """A block with blank lines that is too long for layout keeps its order and loses nothing."""
    terminal, out, _ = tty(rows=40)
    clock = Clock()
    text = "".join(f"{n}. entry number {n} of many\n\n   with more\n\n" for n in range(1, 600))
    with StreamView(terminal, clock=clock) as view:
        streamed(view, text + "# The end\n", clock, size=333)
    shown = out.shown
    places = [shown.find(f"entry number {n} of") for n in range(1, 600)]
    assert -1 not in places
    assert places == sorted(places)
    assert shown.count("entry number 300 of") == 1
    assert shown.endswith("The end")
