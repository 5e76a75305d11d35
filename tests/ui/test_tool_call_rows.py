"""Tool calls on the screen: one line each, completed by its result."""

import pytest

from omniagent_cli.agent.events import Notice, TextDelta, ToolCalled, ToolEnded, ToolReturned
from omniagent_cli.models import Message
from omniagent_cli.ui.cells import cell_width
from omniagent_cli.ui.stream import StreamView
from omniagent_cli.ui.tool_call_rows import call_text
from tests.ui.screen import Clock, pipe, tty


def call(number, name="look", arguments="{}"):
    return {
        "id": f"c{number}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def rows(out):
    return [line for line in out.shown.splitlines() if line]


def test_parallel_calls_each_keep_their_line():
    """A call that ends early shows its result and time in its row, while the calls around it continue."""
    terminal, out, _ = tty()
    clock = Clock()
    with StreamView(terminal, clock=clock) as view:
        for number in (1, 2, 3):
            view.feed(ToolCalled(call(number, f"tool{number}")))
        clock.now += 2
        view.feed(ToolEnded(call(2), "second is done"))
        assert rows(out) == [
            "⠦ tool1() 2 s",
            "✓ tool2() ok, 2.0 s: second is done",
            "⠦ tool3() 2 s",
        ]
        clock.now += 1
        view.feed(ToolEnded(call(1), "no", failed=True))
        view.feed(ToolReturned(call(1), Message("tool", "no"), failed=True))
        view.feed(ToolReturned(call(2), Message("tool", "second is done")))
        view.feed(ToolReturned(call(3), Message("tool", "third")))
        clock.now += 1
        view.feed(TextDelta("So."))
    assert rows(out) == [
        "✗ tool1() failed, 3.0 s: no",
        "✓ tool2() ok, 2.0 s: second is done",
        "✓ tool3() ok, 3.0 s: third",
        "So.",
    ]


def test_a_denied_call_has_no_duration():
    """A call that the user denied is neither a failure nor timed; one that nobody could allow has its reason."""
    terminal, out, _ = tty()
    clock = Clock()
    with StreamView(terminal, clock=clock) as view:
        for number, by in ((1, "asked"), (2, "default")):
            view.feed(ToolCalled(call(number, f"tool{number}")))
            clock.now += 24
            reply = Message("tool", "error: not allowed")
            view.feed(ToolReturned(call(number, f"tool{number}"), reply, failed=True, denied_by=by))
    assert rows(out) == ["- tool1() denied", "- tool2() denied: error: not allowed"]


def test_the_same_call_id_may_come_again_in_the_next_round():
    """Servers that number calls from one in each answer still get a row per call."""
    terminal, out, _ = tty()
    with StreamView(terminal, clock=Clock()) as view:
        for text in ("one", "two"):
            view.feed(ToolCalled(call(1)))
            view.feed(ToolReturned(call(1), Message("tool", text)))
    assert rows(out) == ["✓ look() ok, 0.0 s: one", "✓ look() ok, 0.0 s: two"]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ('{"city": "Paris", "days": 3, "deep": {"a": [1]}}', 'city: Paris, days: 3, deep: {"a": [1]}'),
        ("", ""),
        ("{}", ""),
        ("[1, 2]", "[1, 2]"),
        ("not json\x1b[2J", "not json\ufffd[2J"),
        ('{"text": "first\\nsecond"}', "text: first"),
        ('{"x": "\\u001b[31m"}', "x: \ufffd[31m"),
    ],
)  # fmt: skip
def test_arguments_are_short_and_harmless(arguments, shown):
    """Arguments are shown as names and values on one line; anything but a JSON object is shown verbatim."""
    assert call_text(call(1, arguments=arguments)) == f"look({shown})"


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_a_call_never_takes_more_than_its_row(columns):
    """Long names, arguments and results, with wide characters too, are shortened to one row."""
    terminal, out, _ = tty(columns=columns)
    clock = Clock()
    long = call(1, "名前" * 20, '{"question": "%s"}' % ("warum " * 30))
    with StreamView(terminal, clock=clock) as view:
        view.feed(ToolCalled(long))
        clock.now += 4
        view.feed(Notice("still there"))
        assert [cell_width(row) <= columns for row in rows(out)] == [True]
        view.feed(ToolReturned(long, Message("tool", "darum " * 30)))
    (row,) = rows(out)
    assert cell_width(row) <= columns
    assert row.startswith("✓ ")


def test_nothing_is_written_while_a_question_is_asked():
    """Output is paused while the user is prompted; pending output follows in order."""
    terminal, out, err = tty()
    clock = Clock()
    with StreamView(terminal, clock=clock) as view:
        view.feed(ToolCalled(call(1)))
        view.feed(ToolCalled(call(2)))
        clock.now += 1
        with view.paused():
            before = out.written
            assert rows(out) == []
            view.feed(ToolEnded(call(1), "early"))
            view.feed(Notice("by the way"))
            clock.now += 1
            assert out.written == before
            assert err.getvalue() == ""
        assert rows(out)[0] == "✓ look() ok, 1.0 s: early"
        assert err.getvalue() == "by the way\n"
        view.feed(ToolReturned(call(2), Message("tool", "late")))
    assert rows(out) == ["✓ look() ok, 1.0 s: early", "✓ look() ok, 2.0 s: late"]


def test_a_pipe_tells_of_tools_on_stderr():
    """In a pipe, tool rows go to stderr and only the answer to stdout."""
    terminal, data, err = pipe()
    clock = Clock()
    with StreamView(terminal, clock=clock) as view:
        view.feed(TextDelta("Let me see."))
        view.feed(ToolCalled(call(1, arguments='{"at": "home"}')))
        clock.now += 1.5
        view.feed(ToolReturned(call(1), Message("tool", "found")))
        view.feed(TextDelta("It is there."))
    assert data.getvalue() == b"Let me see.\nIt is there.\n"
    assert err.getvalue() == "look(at: home) ok, 1.5 s: found\n"
