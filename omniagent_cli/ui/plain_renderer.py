"""An answer as text that only ever goes on: for pipes, dumb terminals, and those who have the screen read to them."""

from __future__ import annotations

from collections.abc import Callable

from omniagent_cli.models import ToolCall
from omniagent_cli.ui.cells import cut_cells
from omniagent_cli.ui.live_renderer import Thinking
from omniagent_cli.ui.terminal import Terminal
from omniagent_cli.ui.tool_call_rows import CallStatus, ToolCallRows, call_text

_CALL_WIDTH = 60


class PlainRenderer:
    """Text as it comes: unchanged into a pipe, harmless on a terminal that cannot be painted on.

    Args:
        terminal: where to.
        spoken: say in words who speaks, and what begins and ends; only to a terminal, never into a pipe.
        thinking: how much of it is shown; a pipe gets none.
        clock: seconds that only go forward.
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
        self._pending_cr = ""  # a carriage return, until it is known what follows
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
        """Write a piece of what the model thinks, when it is asked for."""
        if self._thinking == "hidden":
            return
        if self._thinking_since is None:
            self._thinking_since = self._clock()
            self._end_line()
        if self._thinking == "full":
            self._write(self._terminal.shown(text), "Thinking")

    def tool_called(self, call: ToolCall) -> None:
        """Set the text before a tool apart from what follows."""
        self._end_thinking()
        self._end_line()
        self._calls.begin(call, self._clock())
        if self._spoken:
            self._terminal.note(f"Tool begins: {cut_cells(call_text(call), _CALL_WIDTH)}")

    def tool_ended(self, call: ToolCall, status: CallStatus, result: str) -> None:
        """Say on stderr what a tool did."""
        self._calls.end(call, status, result, self._clock())
        self._print_calls()

    def note(self, text: str) -> None:
        """Say a line beside the answer."""
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
        """Nothing moves."""

    def pause(self) -> None:
        """Leave the line to somebody else."""
        self._end_line()

    def resume(self) -> None:
        """Nothing was kept back."""

    def _print_calls(self) -> None:
        role = "Tool: " if self._spoken else ""
        for _, text, outcome in self._calls.take_finished():
            self.note(f"{role}{cut_cells(text, _CALL_WIDTH)} {outcome}")

    def _end_thinking(self) -> None:
        if self._thinking_since is None:
            return
        seconds, self._thinking_since = self._clock() - self._thinking_since, None
        self.note(f"thought for {max(1, round(seconds))} s")

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
    """The answer when it is over, or not at all."""

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
        """Keep a piece of the answer."""
        self._pieces.append(text)

    def tool_called(self, call: ToolCall) -> None:
        """Show what was said before the tool."""
        self._print_answer()
        super().tool_called(call)

    def finish(self, *, early: bool = False) -> None:
        """Show what was kept."""
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
