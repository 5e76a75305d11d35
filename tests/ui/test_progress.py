"""Progress line: rate, remaining time and bounded width."""

from __future__ import annotations

import io
import re

import pytest

from omniagent_cli.ui.cells import cell_width
from omniagent_cli.ui.progress import Progress


class Clock:
    """Clock that advances on request."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def shown(total, done, *, seconds=10.0, label="reading big.json", **options) -> str:
    """Return the line after evenly timed steps."""
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, label, total, clock=clock, **options)
    for _ in range(10):
        clock.now += seconds / 10
        progress.advance(done // 10)
    return re.split(r"\r\x1b\[K", stream.getvalue())[-1]


def test_rate_and_time_left_are_told() -> None:
    """A tenth of a gigabyte in ten seconds: ten megabytes per second, a minute and a half remaining."""
    line = shown(1_000_000_000, 100_000_000, steps="bytes", width=120)
    assert (
        line
        == "reading big.json [##----------------------]  10% 100.0 MB of 1.0 GB, 10.0 MB/s, 1:30 left"
    )


def test_without_an_end_there_is_a_count_and_a_rate() -> None:
    """Without a total, as for a pipe, count and rate are shown."""
    assert shown(None, 50_000, label="exporting messages") == "exporting messages: 50,000, 5,000/s"


def test_the_rate_is_that_of_now() -> None:
    """The rate follows a slowdown."""
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, "x", 100_000, clock=clock)
    for steps in [1_000] * 30 + [10] * 30:
        clock.now += 1
        progress.advance(steps)
    assert " 10/s" in stream.getvalue().split("\r")[-1]


def test_nothing_is_shown_in_the_first_second_and_nothing_stays() -> None:
    """A short operation shows no progress, and the line is removed at the end."""
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, "x", 10, clock=clock)
    progress.advance(1)
    clock.now = 0.9
    progress.advance(1)
    progress.clear()
    assert stream.getvalue() == ""
    clock.now = 1.5
    progress.advance(1)
    progress.clear()
    assert stream.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
@pytest.mark.parametrize("label", ["reading a.json", "reading " + "名" * 90, "x" * 500])
@pytest.mark.parametrize("total", [None, 0, 5_000_000_000])
def test_the_line_fits(width, label, total) -> None:
    """The line never wraps, since a wrapped line cannot be removed."""
    line = shown(total, 123_456_789, label=label, width=width, steps="bytes")
    assert line
    assert cell_width(line) < width


def test_hours_are_told_as_hours() -> None:
    """Long remaining times are shown in hours."""
    assert shown(100_000_000, 100_000, width=200).endswith("2:46:30 left")
