"""A terminal painted while an answer comes: what is finished for good, and a few rows below that change."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Literal

from omniagent_cli.errors import OmniAgentError
from omniagent_cli.models import ToolCall
from omniagent_cli.ui.cells import cut_cells, wrap_cells
from omniagent_cli.ui.live_area import LiveArea, last_rows
from omniagent_cli.ui.markdown_blocks import Blocks, closing_fence
from omniagent_cli.ui.terminal import Terminal
from omniagent_cli.ui.tool_call_rows import Calls, Ending, call_row

FRAME_SECONDS = 0.05
SPINNER_SECONDS = 0.12
TAIL_ROWS = 12
LONGEST_BLOCK = 32_768
"""A block that is longer is printed as plain text, because laying it out would take as long as a pause."""

LONGEST_LEFT = 4_096
"""The same for all that is left when the answer ends early: who pressed Ctrl-C wants the prompt."""

Thinking = Literal["folded", "full", "hidden"]

_QUICK_SECONDS = 3.0
_SILENCE_SECONDS = 2.0
"""After that long without a word the spinner shows below the open text that something is still waited for."""

_LONG_THOUGHT = 2_000
_LOOK_BACK = 200
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_BRAILLE = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN = "|/-\\"


class LivePainter:
    """The terminal: finished blocks above, the open tail or the spinner in a `LiveArea` below."""

    def __init__(
        self, terminal: Terminal, *, thinking: Thinking, clock: Callable[[], float]
    ) -> None:
        self._terminal = terminal
        self._show = thinking
        self._clock = clock
        self._area = LiveArea(self._put)
        self._blocks = Blocks()
        self._pieces: list[str] = []
        self._held = ""
        self._flood: _Flood | None = None
        self._begun_at = self._heard_at = clock()
        self._waiting = True
        self._thinking_since: float | None = None
        self._thoughts = ""
        self._calls = Calls()
        self._held_back = False
        self._over = False
        self._notes: list[str] = []
        self._above: list[str] = []
        self._gap = False  # something was printed, and the next block stands apart from it
        self._next_frame = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._failure: Exception | None = None
        self._paint_soon()

    # What comes.

    def text(self, text: str) -> None:
        """Take a piece of the answer."""
        if not text:
            return
        self._waiting = False
        if self._thinking_since is not None:
            self._end_thinking()
        self._pieces.append(text)
        self._heard_at = self._clock()
        self._paint_soon()

    def thinking(self, text: str) -> None:
        """Take a piece of what the model thinks."""
        if self._show == "hidden":
            return
        self._waiting = False
        if self._thinking_since is None:
            self._settle()
            self._thinking_since = self._clock()
        if self._show == "full":
            self._thoughts += self._terminal.shown(text)
            self._print_thoughts()
        self._paint_soon()

    def called(self, call: ToolCall) -> None:
        """Show a tool at work."""
        self._settle()
        self._waiting = False
        if not self._calls:
            self._begun_at = self._clock()
        self._calls.begin(call, self._clock())
        self._paint_soon()

    def ended(self, call: ToolCall, ending: Ending, result: str) -> None:
        """Let the line of a call grow into what the tool did."""
        self._settle()
        self._calls.end(call, ending, result, self._clock())
        self._print_calls()
        if not self._calls:
            self._waiting, self._begun_at = True, self._clock()
        self._paint()

    def note(self, text: str) -> None:
        """Say a line beside the answer."""
        self._notes.append(text)
        if self._held_back:
            return
        self._settle()
        self.clear()
        self._say_notes()
        if self._waiting or self._calls:
            self._paint_soon()

    def finish(self, *, early: bool = False) -> None:
        """Print all that came and leave nothing that moves; quickly when the answer ends early."""
        self._held_back = self._waiting = False
        self._over = True
        self._settle(LONGEST_LEFT if early else LONGEST_BLOCK)
        self._calls.interrupt(self._clock())
        self._print_calls()
        self.clear()
        self._say_notes()

    def clear(self) -> None:
        """Take away what moves."""
        self._stop_timer()
        self._frame([])

    def hold(self) -> None:
        """Take away what moves and write nothing until `release`: somebody else uses the terminal."""
        self.clear()
        self._held_back = True

    def release(self) -> None:
        """Go on, with all that came meanwhile."""
        self._held_back = False
        self.clear()
        self._say_notes()
        self._paint()

    # When it is painted.

    def _paint_soon(self) -> None:
        if self._failure is not None:
            raise self._failure
        now = self._clock()
        if now >= self._next_frame:
            self._paint()
        else:
            self._wake(self._next_frame - now)

    def _wake(self, seconds: float) -> None:
        """Paint again after a while, or when that was going to be anyway if it is sooner."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._timer is not None:
            if self._timer.when() <= loop.time() + seconds:
                return
            self._timer.cancel()
        self._timer = loop.call_later(max(0.0, seconds), self._tick)

    def _tick(self) -> None:
        self._timer = None
        try:
            self._paint()
        except (OSError, OmniAgentError) as error:
            self._failure = error  # nobody is above a timer; the next event raises it

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _paint(self) -> None:
        if self._held_back:
            return
        self._next_frame = self._clock() + FRAME_SECONDS
        self._take()
        if self._flood is None:
            for block in self._blocks.finished():
                self._print_block(block)
            if len(self._blocks.tail) > LONGEST_BLOCK:
                self._begin_flood()
        self._frame(self._rows())
        if self._turns() or self._is_silent():
            self._wake(SPINNER_SECONDS)
        elif not self._over:
            self._wake(self._heard_at + _SILENCE_SECONDS - self._clock())

    def _frame(self, rows: list[str]) -> None:
        above, self._above = self._above, []
        self._area.paint(rows, "".join(f"{text}\n" for text in above))

    def _put(self, text: str) -> None:
        self._terminal.write(text)
        self._terminal.flush()

    # What is printed for good.

    def _take(self) -> None:
        """Hand the pieces that came to the blocks, or straight to the screen when the block is too long."""
        if not self._pieces:
            return
        text = self._held + "".join(self._pieces)
        self._pieces.clear()
        self._held = "\r" if text.endswith("\r") else ""
        text = self._terminal.shown(text.removesuffix("\r"))
        if self._flood is not None:
            now, text = self._flood.take(text)
            self._put(now)
            if not self._flood.over:
                return
            self._gap = self._flood.in_fence
            self._flood = None
        self._blocks.add(text)

    def _settle(self, longest: int = LONGEST_BLOCK) -> None:
        """Print everything that came so far, laid out if it is not too long: something else follows."""
        self._take()
        if self._flood is not None:
            self._put("" if self._flood.at_line_start else "\n")
            self._flood = None
        if len(self._blocks.tail) > longest:
            left, _ = self._blocks.give_up()
            self._print_apart(left.strip("\n"))
        for block in self._blocks.rest():
            self._print_block(block)
        self._end_thinking()

    def _print_block(self, source: str) -> None:
        text = self._terminal.markdown(source).strip("\n")
        if text:
            self._print_apart(text)

    def _print_apart(self, text: str) -> None:
        if self._gap:
            self._above.append("")
        self._above.append(text)
        self._gap = True

    def _begin_flood(self) -> None:
        text, fence = self._blocks.give_up()
        if self._gap:
            self._above.append("")
        self._frame([])
        self._flood = _Flood(fence, text)
        self._put(text)
        self._gap = True

    def _print_calls(self) -> None:
        for ending, text, outcome in self._calls.take_finished():
            row = call_row(ending, text, outcome, self._terminal.width)
            self._above.append(self._call_style(ending, row))
            self._gap = True

    def _call_style(self, ending: Ending | None, row: str) -> str:
        if ending in ("failed", "interrupted"):
            return self._terminal.style(row, "red")
        return self._dim(row)

    def _say_notes(self) -> None:
        notes, self._notes = self._notes, []
        for text in notes:
            self._terminal.note(text)

    def _print_thoughts(self, *, all_of_them: bool = False) -> None:
        """Print the lines of a thought that are whole; of a very long one also the rows that are."""
        *whole, rest = self._thoughts.split("\n")
        width = max(1, self._terminal.width)
        for line in whole:
            self._above += map(self._dim, wrap_cells(line, width))
        if rest and (all_of_them or len(rest) > _LONG_THOUGHT):
            *rows, rest = [*wrap_cells(rest, width), *([""] * all_of_them)]
            self._above += map(self._dim, rows)
        self._thoughts = rest

    def _end_thinking(self) -> None:
        if self._thinking_since is None:
            return
        self._print_thoughts(all_of_them=True)
        seconds = self._clock() - self._thinking_since
        self._above.append(self._dim(f"thought for {max(1, round(seconds))} s"))
        self._thinking_since = None
        self._gap = True

    # What is live.

    def _turns(self) -> bool:
        """Whether something is shown that changes by itself."""
        return bool(self._calls) or self._thinking_since is not None or self._waiting

    def _is_silent(self) -> bool:
        return self._clock() - self._heard_at >= _SILENCE_SECONDS and not self._over

    def _rows(self) -> list[str]:
        rows = self._what_changes()
        if self._is_silent() and not self._turns() and self._flood is None:
            silence = f"{self._mark()} {self._clock() - self._heard_at:.0f} s"
            rows = [*rows, self._dim(cut_cells(silence, max(1, self._terminal.width)))]
        return rows[-self._room() :]

    def _what_changes(self) -> list[str]:
        width = max(1, self._terminal.width)
        if self._calls:
            rows = self._calls.rows(self._mark(), self._clock(), width)
            return [self._call_style(ending, row) for ending, row in rows][-self._room() :]
        if self._thinking_since is not None:
            rest = wrap_cells(self._thoughts, width)[-self._room() + 1 :] if self._thoughts else []
            rest.append(cut_cells(f"{self._mark()} thinking{self._waited()}", width))
            return [self._dim(row) for row in rest]
        if self._flood is not None:
            return []
        if self._blocks.tail.strip():
            tail = last_rows(self._blocks.tail.strip("\n"), width, self._room())
            return ["", *tail[-self._room() + 1 :]] if self._gap else tail
        return [self._dim(f"{self._mark()}{self._waited()}")] if self._waiting else []

    def _room(self) -> int:
        return max(2, min(TAIL_ROWS, self._terminal.height - 2))

    def _mark(self) -> str:
        frames = _BRAILLE if self._terminal.draws_unicode else _PLAIN
        return frames[int((self._clock() - self._begun_at) / SPINNER_SECONDS) % len(frames)]

    def _waited(self) -> str:
        since = self._begun_at if self._thinking_since is None else self._thinking_since
        seconds = self._clock() - since
        return f" {seconds:.0f} s" if seconds >= _QUICK_SECONDS else ""

    def _dim(self, text: str) -> str:
        return self._terminal.style(text, "dim")


class _Flood:
    """A block too long to lay out: its text goes to the screen as it comes, until the block ends."""

    def __init__(self, fence: str, text: str) -> None:
        self.over = False
        self.in_fence = bool(fence)
        self.at_line_start = text.endswith("\n")
        self._end = closing_fence(fence) if fence else _BLANK_LINE
        self._last = text[-_LOOK_BACK:]

    def take(self, text: str) -> tuple[str, str]:
        """Split text into what belongs to the block and what comes after it."""
        seen, before = self._last + text, len(self._last)
        # What lies in the text before is printed already, so it is too late to end there.
        ends = (found.end() - before for found in self._end.finditer(seen))
        end = next((place for place in ends if place >= 0), None)
        self.over = end is not None
        now, rest = text[:end], text[len(text) if end is None else end :]
        self._last = seen[-_LOOK_BACK:]
        if now:
            self.at_line_start = now.endswith("\n")
        return now, rest
