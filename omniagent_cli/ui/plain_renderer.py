"""Append-only renderers of an answer: for pipes, dumb terminals and screen readers."""

from __future__ import annotations

from collections.abc import Callable

from omniagent_cli.models import ToolCall
from omniagent_cli.ui.cells import cut_cells
from omniagent_cli.ui.live_renderer import Thinking
from omniagent_cli.ui.terminal import Terminal
from omniagent_cli.ui.tool_call_rows import CallStatus, ToolCallRows, call_text

_CALL_WIDTH = 60


class PlainRenderer:
    """Renderer that writes text as received: unchanged to a pipe, sanitized to a terminal.

    Args:
        terminal: output.
        spoken: announce speakers and tool calls in words; only on a terminal, never in a pipe.
        thinking: display mode of thinking; never shown in a pipe.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        terminal: Terminal,
        *,
        spoken: bool = False,
        thinking: Thinking = "hidden",
        clock: Callable[[], float],
    ) -> None:
        self._terminal = terminal
        self._spoken = spoken and terminal.is_terminal
        self._thinking: Thinking = thinking if terminal.is_terminal else "hidden"
        self._clock = clock
        self._speaker = ""
        self._is_mid_line = False
        self._pending_cr = ""  # a carriage return, until the next character is known
        self._calls = ToolCallRows()
        self._thinking_since: float | None = None

    def text(self, text: str) -> None:
        """Write a piece of the answer."""
        self._end_thinking()
        if self._terminal.is_terminal:
            text = self._pending_cr + text
            self._pending_cr = "\r" if text.endswith("\r") else ""
            text = self._terminal.shown(text.removesuffix("\r"))
        self._write(text, "Answer")

    def thinking(self, text: str) -> None:
        """Write a piece of thinking, if it is shown."""
        if self._thinking == "hidden":
            return
        if self._thinking_since is None:
            self._thinking_since = self._clock()
            self._end_line()
        if self._thinking == "full":
            self._write(self._terminal.shown(text), "Thinking")

    def tool_called(self, call: ToolCall) -> None:
        """End the line before a tool call."""
        self._end_thinking()
        self._end_line()
        self._calls.begin(call, self._clock())
        if self._spoken:
            self._terminal.note(f"Running tool: {cut_cells(call_text(call), _CALL_WIDTH)}")

    def tool_ended(self, call: ToolCall, status: CallStatus, result: str) -> None:
        """Report the result of a tool call on stderr."""
        self._calls.end(call, status, result, self._clock())
        self._print_calls()

    def note(self, text: str) -> None:
        """Print a note beside the answer."""
        if self._terminal.shares_stderr:
            self._end_line()
        self._terminal.note(text)

    def finish(self, *, early: bool = False) -> None:
        """End the last line."""
        del early
        self._end_thinking()
        self._end_line()
        self._calls.interrupt(self._clock())
        self._print_calls()

    def clear(self) -> None:
        """Do nothing: there is no live area."""

    def pause(self) -> None:
        """End the line for other output."""
        self._end_line()

    def resume(self) -> None:
        """Do nothing: no output was held back."""

    def _print_calls(self) -> None:
        role = "Tool: " if self._spoken else ""
        for _, text, outcome in self._calls.take_finished():
            self.note(f"{role}{cut_cells(text, _CALL_WIDTH)} {outcome}")

    def _end_thinking(self) -> None:
        if self._thinking_since is None:
            return
        seconds, self._thinking_since = self._clock() - self._thinking_since, None
        self.note(f"Thought for {max(1, round(seconds))} s")

    def _end_line(self) -> None:
        if self._is_mid_line:
            self._write("\n", self._speaker)
        self._speaker = ""

    def _write(self, text: str, speaker: str) -> None:
        if not text:
            return
        if self._spoken and self._speaker != speaker:
            text = f"{speaker}: {text}"
        self._speaker = speaker
        self._is_mid_line = not text.endswith("\n")
        self._terminal.write(text)
        self._terminal.flush()


class BufferedRenderer(PlainRenderer):
    """Renderer that prints the answer at its end, or not at all."""

    def __init__(
        self,
        terminal: Terminal,
        *,
        silent: bool,
        as_markdown: bool,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(terminal, clock=clock)
        self._silent = silent
        self._as_markdown = as_markdown
        self._pieces: list[str] = []

    def text(self, text: str) -> None:
        """Buffer a piece of the answer."""
        self._pieces.append(text)

    def tool_called(self, call: ToolCall) -> None:
        """Print the text before a tool call."""
        self._print_answer()
        super().tool_called(call)

    def finish(self, *, early: bool = False) -> None:
        """Print the buffered text."""
        self._print_answer()
        super().finish(early=early)

    def _print_answer(self) -> None:
        text, self._pieces = "".join(self._pieces), []
        if self._silent or not text:
            return
        if self._as_markdown:
            self._terminal.line(self._terminal.markdown(text))
        else:
            super().text(text)
            self._end_line()
