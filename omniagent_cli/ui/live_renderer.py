"""Live renderer of a streaming answer: finished blocks are printed once, the rest is updated in place."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Literal

from omniagent_cli.errors import OmniAgentError
from omniagent_cli.models import ToolCall
from omniagent_cli.ui.cells import cut_cells, wrap_cells
from omniagent_cli.ui.live_area import LiveArea, last_rows
from omniagent_cli.ui.markdown_blocks import MarkdownBlocks, closing_fence
from omniagent_cli.ui.terminal import Terminal
from omniagent_cli.ui.tool_call_rows import CallStatus, ToolCallRows, call_row

FRAME_SECONDS = 0.05
SPINNER_SECONDS = 0.12
TAIL_ROWS = 12
LONGEST_BLOCK = 32_768
"""Length limit for Markdown layout of a block, in characters; longer blocks are streamed as plain text."""

LONGEST_INTERRUPTED = 4_096
"""The same limit for the rest of an interrupted answer, since the user waits for the prompt."""

Thinking = Literal["folded", "full", "hidden"]

_QUICK_SECONDS = 3.0
_STOP_HINT = " (Ctrl-C stops)"
_SILENCE_SECONDS = 2.0
"""Time without text after which a spinner appears below the open block."""

_LONG_THINKING = 2_000
_LOOKBACK = 200
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_BRAILLE = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN = "|/-\\"


class LiveRenderer:
    """Renderer for terminals: finished blocks above, the open block or a spinner in a `LiveArea` below."""

    def __init__(
        self, terminal: Terminal, *, thinking: Thinking, clock: Callable[[], float]
    ) -> None:
        self._terminal = terminal
        self._thinking_mode = thinking
        self._clock = clock
        self._area = LiveArea(self._write)
        self._blocks = MarkdownBlocks()
        self._pieces: list[str] = []
        self._pending_cr = ""
        self._oversized: _OversizedBlock | None = None
        self._started_at = self._last_text_at = clock()
        self._waiting = True
        self._thinking_since: float | None = None
        self._thinking_text = ""
        self._calls = ToolCallRows()
        self._is_paused = False
        self._is_finished = False
        self._notes: list[str] = []
        self._above: list[str] = []
        self._needs_gap = False  # a blank line is due before the next block
        self._next_frame = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._failure: Exception | None = None
        self._schedule_render()

    # Input.

    def text(self, text: str) -> None:
        """Add a piece of the answer."""
        if not text:
            return
        self._waiting = False
        if self._thinking_since is not None:
            self._end_thinking()
        self._pieces.append(text)
        self._last_text_at = self._clock()
        self._schedule_render()

    def thinking(self, text: str) -> None:
        """Add a piece of the model's thinking."""
        if self._thinking_mode == "hidden":
            return
        self._waiting = False
        if self._thinking_since is None:
            self._flush_all()
            self._thinking_since = self._clock()
        if self._thinking_mode == "full":
            self._thinking_text += self._terminal.shown(text)
            self._print_thinking()
        self._schedule_render()

    def tool_called(self, call: ToolCall) -> None:
        """Show a running tool call."""
        self._flush_all()
        self._waiting = False
        if not self._calls:
            self._started_at = self._clock()
        self._calls.begin(call, self._clock())
        self._schedule_render()

    def tool_ended(self, call: ToolCall, status: CallStatus, result: str) -> None:
        """Complete the row of a tool call with its result."""
        self._flush_all()
        self._calls.end(call, status, result, self._clock())
        self._print_calls()
        if not self._calls:
            self._waiting, self._started_at = True, self._clock()
        self._render()

    def note(self, text: str) -> None:
        """Print a note beside the answer."""
        self._notes.append(text)
        if self._is_paused:
            return
        self._flush_all()
        self.clear()
        self._print_notes()
        if self._waiting or self._calls:
            self._schedule_render()

    def finish(self, *, early: bool = False) -> None:
        """Print the rest and remove the live area; quickly if the answer ends early."""
        self._is_paused = self._waiting = False
        self._is_finished = True
        self._flush_all(LONGEST_INTERRUPTED if early else LONGEST_BLOCK)
        self._calls.interrupt(self._clock())
        self._print_calls()
        self.clear()
        self._print_notes()

    def clear(self) -> None:
        """Remove the live area."""
        self._stop_timer()
        self._frame([])

    def pause(self) -> None:
        """Remove the live area and write nothing until `resume`, while the terminal is used otherwise."""
        self.clear()
        self._is_paused = True

    def resume(self) -> None:
        """Continue, and print everything received during the pause."""
        self._is_paused = False
        self.clear()
        self._print_notes()
        self._render()

    # Scheduling.

    def _schedule_render(self) -> None:
        if self._failure is not None:
            raise self._failure
        shown = self._clock()
        if shown >= self._next_frame:
            self._render()
        else:
            self._schedule(self._next_frame - shown)

    def _schedule(self, seconds: float) -> None:
        """Render again after a delay, or at the time already scheduled if that is earlier."""
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
            self._render()
        except (OSError, OmniAgentError) as error:
            self._failure = error  # a timer has no caller; the next event raises it

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _render(self) -> None:
        if self._is_paused:
            return
        self._next_frame = self._clock() + FRAME_SECONDS
        self._consume_pieces()
        if self._oversized is None:
            for block in self._blocks.take_finished():
                self._print_block(block)
            if len(self._blocks.tail) > LONGEST_BLOCK:
                self._start_oversized()
        self._frame(self._rows())
        if self._is_animated() or self._is_silent():
            self._schedule(SPINNER_SECONDS)
        elif not self._is_finished:
            self._schedule(self._last_text_at + _SILENCE_SECONDS - self._clock())

    def _frame(self, rows: list[str]) -> None:
        above, self._above = self._above, []
        self._area.update(rows, "".join(f"{text}\n" for text in above))

    def _write(self, text: str) -> None:
        self._terminal.write(text)
        self._terminal.flush()

    # Finished output.

    def _consume_pieces(self) -> None:
        """Pass received pieces to the blocks, or directly to the screen within an oversized block."""
        if not self._pieces:
            return
        text = self._pending_cr + "".join(self._pieces)
        self._pieces.clear()
        self._pending_cr = "\r" if text.endswith("\r") else ""
        text = self._terminal.shown(text.removesuffix("\r"))
        if self._oversized is not None:
            shown, text = self._oversized.take(text)
            self._write(shown)
            if not self._oversized.is_over:
                return
            self._needs_gap = self._oversized.in_fence
            self._oversized = None
        self._blocks.add(text)

    def _flush_all(self, longest: int = LONGEST_BLOCK) -> None:
        """Print everything received, with layout unless it is too long, before other output."""
        self._consume_pieces()
        if self._oversized is not None:
            self._write("" if self._oversized.at_line_start else "\n")
            self._oversized = None
        if len(self._blocks.tail) > longest:
            left, _ = self._blocks.take_open()
            self._print_spaced(left.strip("\n"))
        for block in self._blocks.take_rest():
            self._print_block(block)
        self._end_thinking()

    def _print_block(self, source: str) -> None:
        text = self._terminal.markdown(source).strip("\n")
        if text:
            self._print_spaced(text)

    def _print_spaced(self, text: str) -> None:
        if self._needs_gap:
            self._above.append("")
        self._above.append(text)
        self._needs_gap = True

    def _start_oversized(self) -> None:
        text, fence = self._blocks.take_open()
        if self._needs_gap:
            self._above.append("")
        self._frame([])
        self._oversized = _OversizedBlock(fence, text)
        self._write(text)
        self._needs_gap = True

    def _print_calls(self) -> None:
        for status, text, outcome in self._calls.take_finished():
            row = call_row(status, text, outcome, self._terminal.width)
            self._above.append(self._call_style(status, row))
            self._needs_gap = True

    def _call_style(self, status: CallStatus | None, row: str) -> str:
        if status in ("failed", "interrupted"):
            return self._terminal.style(row, "red")
        return self._dim(row)

    def _print_notes(self) -> None:
        notes, self._notes = self._notes, []
        for text in notes:
            self._terminal.note(text)

    def _print_thinking(self, *, final: bool = False) -> None:
        """Print complete lines of thinking; of very long ones also complete rows."""
        *lines, rest = self._thinking_text.split("\n")
        width = self._terminal.prose_width
        for line in lines:
            self._above += map(self._dim, wrap_cells(line, width))
        if rest and (final or len(rest) > _LONG_THINKING):
            *rows, rest = [*wrap_cells(rest, width), *([""] * final)]
            self._above += map(self._dim, rows)
        self._thinking_text = rest

    def _end_thinking(self) -> None:
        if self._thinking_since is None:
            return
        self._print_thinking(final=True)
        seconds = self._clock() - self._thinking_since
        self._above.append(self._dim(f"Thought for {max(1, round(seconds))} s"))
        self._thinking_since = None
        self._needs_gap = True

    # Live rows.

    def _is_animated(self) -> bool:
        """Return True if something shown changes over time."""
        return bool(self._calls) or self._thinking_since is not None or self._waiting

    def _is_silent(self) -> bool:
        return self._clock() - self._last_text_at >= _SILENCE_SECONDS and not self._is_finished

    def _rows(self) -> list[str]:
        rows = self._live_rows()
        if self._is_silent() and not self._is_animated() and self._oversized is None:
            seconds = self._clock() - self._last_text_at
            silence = f"{self._spinner()} {seconds:.0f} s{_STOP_HINT}"
            rows = [*rows, self._dim(cut_cells(silence, self._terminal.prose_width))]
        return rows[-self._max_rows() :]

    def _live_rows(self) -> list[str]:
        width = self._terminal.prose_width
        if self._calls:
            rows = self._calls.rows(self._spinner(), self._clock(), self._terminal.width)
            return [self._call_style(status, row) for status, row in rows][-self._max_rows() :]
        if self._thinking_since is not None:
            rest = (
                wrap_cells(self._thinking_text, width)[-self._max_rows() + 1 :]
                if self._thinking_text
                else []
            )
            rest.append(cut_cells(f"{self._spinner()} thinking{self._elapsed()}", width))
            return [self._dim(row) for row in rest]
        if self._oversized is not None:
            return []
        if self._blocks.tail.strip():
            tail = last_rows(self._blocks.tail.strip("\n"), width, self._max_rows())
            return ["", *tail[-self._max_rows() + 1 :]] if self._needs_gap else tail
        waited = cut_cells(f"{self._spinner()}{self._elapsed()}", width)
        return [self._dim(waited)] if self._waiting else []

    def _max_rows(self) -> int:
        return max(2, min(TAIL_ROWS, self._terminal.height - 2))

    def _spinner(self) -> str:
        frames = _BRAILLE if self._terminal.draws_unicode else _PLAIN
        return frames[int((self._clock() - self._started_at) / SPINNER_SECONDS) % len(frames)]

    def _elapsed(self) -> str:
        since = self._started_at if self._thinking_since is None else self._thinking_since
        seconds = self._clock() - since
        return f" {seconds:.0f} s{_STOP_HINT}" if seconds >= _QUICK_SECONDS else ""

    def _dim(self, text: str) -> str:
        return self._terminal.style(text, "dim")


class _OversizedBlock:
    """Block too long for layout: its text is printed as received until the block ends."""

    def __init__(self, fence: str, text: str) -> None:
        self.is_over = False
        self.in_fence = bool(fence)
        self.at_line_start = text.endswith("\n")
        self._end = closing_fence(fence) if fence else _BLANK_LINE
        self._last = text[-_LOOKBACK:]

    def take(self, text: str) -> tuple[str, str]:
        """Split text into the part that belongs to the block and the rest."""
        seen, before = self._last + text, len(self._last)
        # A match in already printed text is too late to end the block.
        ends = (found.end() - before for found in self._end.finditer(seen))
        end = next((place for place in ends if place >= 0), None)
        self.is_over = end is not None
        shown, rest = text[:end], text[len(text) if end is None else end :]
        self._last = seen[-_LOOKBACK:]
        if shown:
            self.at_line_start = shown.endswith("\n")
        return shown, rest
