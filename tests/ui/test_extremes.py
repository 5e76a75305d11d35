"""Extreme answers and failing terminals."""

import pytest

from omniagent_cli.agent.events import TextDelta
from omniagent_cli.ui.stream import StreamView
from tests.ui.screen import Clock, tty


def test_a_megabyte_without_a_newline_is_shown_whole():
    """A line without end neither stops the program nor loses a character."""
    terminal, out, _ = tty()
    out._stream = type("Sink", (), {"feed": lambda self, text: None})()
    clock = Clock()
    with StreamView(terminal, clock=clock) as view:
        for _ in range(1000):
            clock.now += 0.01
            view.feed(TextDelta("x" * 999 + "é"))
    assert out.written.count("é") >= 1000
    assert len(out.written) < 4_000_000


def test_a_failing_terminal_raises_where_it_is_fed():
    """A failure of the output is an error of the turn, not of a timer."""
    terminal, out, _ = tty()

    def broken(_text):
        raise BrokenPipeError

    clock = Clock()
    view = StreamView(terminal, clock=clock)
    clock.now += 1
    out.write = broken
    with pytest.raises(BrokenPipeError):
        view.feed(TextDelta("Hello\n\n# x\n"))
