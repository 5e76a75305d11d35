"""The full-screen picker, drawn on the terminal's alternate screen.

Session texts are untrusted and reach the terminal only as plain truncated text.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import BufferControl, FormattedTextControl, HSplit, Layout, Window
from prompt_toolkit.layout.processors import BeforeInput
from prompt_toolkit.output import ColorDepth

from omniagent_cli.durations import describe_age, utc_now
from omniagent_cli.errors import OmniAgentError
from omniagent_cli.models import Message, SessionSummary
from omniagent_cli.repl.picker_model import SessionChoices, last_messages
from omniagent_cli.repl.prompt import without_mouse
from omniagent_cli.repl.truncation import beginning
from omniagent_cli.text.sanitize import first_line, one_line, visible
from omniagent_cli.ui.cells import cell_width, cut_cells
from omniagent_cli.ui.live_area import last_rows
from omniagent_cli.ui.transcript import body
from omniagent_cli.ui.views import counted, marks

if TYPE_CHECKING:
    from omniagent_cli.ui.terminal import Terminal

_BESIDE_COLUMNS = 90
"""Minimum width for the preview beside the list; below it, the preview is under the list."""

_BELOW_ROWS = 14
"""Minimum height for a preview."""

_PREVIEW_PAUSE_SECONDS = 0.12
_ESCAPE_SECONDS = 0.04
"""Seconds that Escape may be the start of another key."""

_NEAR = 50
"""Remaining rows at which the next page is read."""

_TEXT_LENGTH = 2_000
_MESSAGE_ROWS = 5

Line = tuple[str, str]
"""The style and text of one row."""


class PickerScreen:
    """Shows the matching sessions and the last messages of the selected one."""

    def __init__(self, choices: SessionChoices, terminal: Terminal) -> None:
        self._choices = choices
        self._place = 0
        self._top = 0
        self._trouble = ""
        self._previews: dict[str, list[Message] | str] = {}
        self._reading: asyncio.Task[None] | None = None
        self._paging: asyncio.Task[None] | None = None
        self._bar = "│" if terminal.encodes_unicode else "|"
        self._buffer = Buffer(multiline=False, on_text_changed=lambda _: self._typed())
        prompt = BufferControl(self._buffer, input_processors=[BeforeInput("pick> ")])
        self._app: Application[str | None] = Application(
            layout=Layout(
                HSplit(
                    [
                        Window(prompt, height=1),
                        Window(FormattedTextControl(self._painted), wrap_lines=False),
                        Window(FormattedTextControl(self._foot), height=1),
                    ]
                )
            ),
            key_bindings=self._keys(),
            full_screen=True,
            color_depth=None if terminal.colored else ColorDepth.DEPTH_1_BIT,
            min_redraw_interval=0.02,
        )
        self._app.ttimeoutlen = self._app.timeoutlen = _ESCAPE_SECONDS

    async def run(self) -> str | None:
        """Return the id of the chosen session; None if the picker was canceled."""
        try:
            return await self._app.run_async(pre_run=self._moved, handle_sigint=False)
        except (KeyboardInterrupt, EOFError):
            return None

    # Keys.

    def _keys(self) -> KeyBindings:
        keys = without_mouse(KeyBindings())

        def moving(*names: str, by: int = 0, pages: int = 0) -> None:
            def move(_event: KeyPressEvent) -> None:
                self._move(by + pages * max(1, self._list_rows() - 1))

            for name in names:
                keys.add(name)(move)

        moving("up", "c-p", by=-1)
        moving("down", "c-n", by=1)
        moving("pageup", pages=-1)
        moving("pagedown", pages=1)

        @keys.add("enter")
        def _choose(event: KeyPressEvent) -> None:
            if self._chosen is not None:
                event.app.exit(result=self._chosen.id)

        @keys.add("escape", eager=True)
        @keys.add("c-c")
        @keys.add("c-d")
        def _leave(event: KeyPressEvent) -> None:
            event.app.exit(result=None)

        return keys

    @property
    def _chosen(self) -> SessionSummary | None:
        fitting = self._choices.fitting
        return fitting[self._place] if self._place < len(fitting) else None

    def _move(self, rows: int) -> None:
        last = max(0, len(self._choices.fitting) - 1)
        self._place = min(max(0, self._place + rows), last)
        self._moved()

    def _typed(self) -> None:
        self._choices.choose(self._buffer.text)
        self._place = self._top = 0
        self._moved()

    def _moved(self) -> None:
        """Read missing data: the next page, and the messages of the selected session."""
        if self._paging is None or self._paging.done():
            self._paging = self._app.create_background_task(self._read_on())
        chosen = self._chosen
        if self._reading is not None:
            self._reading.cancel()
        if chosen is not None and chosen.uid not in self._previews:
            self._reading = self._app.create_background_task(self._read_preview(chosen))

    # Reading, in threads.

    async def _read_on(self) -> None:
        choices = self._choices
        while not choices.complete and (
            choices.query or self._place + _NEAR > len(choices.fitting)
        ):
            try:
                page = await asyncio.to_thread(choices.read_page)
            except OmniAgentError as error:
                self._trouble = one_line(str(error))
                return
            before = self._chosen
            choices.add(page)
            if before is not None and self._place:  # keep the selection of the user
                self._place = choices.fitting.index(before)
            elif before is None:
                self._moved()
            self._app.invalidate()

    async def _read_preview(self, chosen: SessionSummary) -> None:
        await asyncio.sleep(_PREVIEW_PAUSE_SECONDS)
        try:
            found: list[Message] | str = await asyncio.to_thread(
                last_messages, self._choices.store, chosen.id
            )
        except OmniAgentError as error:
            found = one_line(str(error))
        self._previews[chosen.uid] = found
        self._app.invalidate()

    # Drawing: rows of truncated text.

    def _size(self) -> tuple[int, int]:
        size = self._app.output.get_size()
        return max(1, size.columns), max(1, size.rows - 2)

    def _list_rows(self) -> int:
        columns, rows = self._size()
        below = columns < _BESIDE_COLUMNS and rows >= _BELOW_ROWS
        return rows - rows // 2 if below else rows

    def _painted(self) -> StyleAndTextTuples:
        columns, rows = self._size()
        if columns >= _BESIDE_COLUMNS:
            width = columns * 11 // 20
            left = self._list(width, rows)
            right = self._preview(columns - width - 3, rows)
            fragments: StyleAndTextTuples = []
            for number in range(rows):
                style, text = left[number] if number < len(left) else ("", "")
                preview_row = right[number] if number < len(right) else ("", "")
                fragments += [(style, _padded(text, width)), ("", f" {self._bar} "), preview_row]
                fragments.append(("", "\n"))
            return fragments[:-1]
        list_rows = self._list_rows()
        lines = self._list(columns, list_rows)
        if list_rows < rows:
            lines += [("", "")] * (list_rows - len(lines))
            lines += [("", "-" * columns), *self._preview(columns, rows - list_rows - 1)]
        stacked: StyleAndTextTuples = [piece for line in lines for piece in (line, ("", "\n"))]
        return stacked[:-1]

    def _list(self, width: int, rows: int) -> list[Line]:
        fitting = self._choices.fitting
        if not fitting:
            return [("", cut_cells("No session matches", width))]
        self._top = min(max(self._top, self._place - rows + 1), self._place)
        now = utc_now()
        lines = []
        for place in range(self._top, min(self._top + rows, len(fitting))):
            text = _row(fitting[place], width - 2, describe_age(fitting[place].updated_at, now))
            chosen = place == self._place
            lines.append(("reverse" if chosen else "", ("> " if chosen else "  ") + text))
        return lines

    def _preview(self, width: int, rows: int) -> list[Line]:
        chosen = self._chosen
        if chosen is None or rows < 2:
            return []
        facts = [one_line(chosen.id), counted(chosen.message_count, "message")]
        facts += [one_line(chosen.model), *marks(chosen), *(f"#{one_line(t)}" for t in chosen.tags)]
        head = [
            ("bold", cut_cells(one_line(chosen.title or chosen.id), width)),
            ("", cut_cells(", ".join(fact for fact in facts if fact), width)),
        ]
        found = self._previews.get(chosen.uid)
        if not isinstance(found, list):
            return [*head, ("", cut_cells(found or "", width))][:rows]
        lines = [line for message in found for line in _message_lines(message, width)]
        room = rows - len(head)
        return [*head, *(lines[-room:] if room > 0 else [])][:rows]

    def _foot(self) -> StyleAndTextTuples:
        choices = self._choices
        more = "" if choices.complete else "+"
        status = self._trouble or "Enter: open, Esc: cancel"
        text = f"{len(choices.fitting):,}/{choices.count:,}{more}  {status}"
        return [("", cut_cells(text, self._size()[0]))]


def _row(summary: SessionSummary, width: int, age: str) -> str:
    """Return a session on one row: its title, and as much of the rest as fits."""
    title = ("* " if summary.pinned else "") + one_line(summary.title or summary.preview)
    rest = [f"{age:>11}"]
    if width >= 48:
        rest.insert(0, f"{summary.message_count:>6,} msg")
    if width >= 64:
        rest.insert(0, _padded(one_line(summary.id), 22))
    if width >= 100:
        rest.insert(1, _padded(one_line(summary.model), 20))
    right = "  ".join(rest)
    room = width - cell_width(right) - 2
    return f"{_padded(title or one_line(summary.id), max(room, 6))}  {right}"


def _padded(text: str, width: int) -> str:
    shown = cut_cells(text, width)
    return shown + " " * (width - cell_width(shown))


def _message_lines(message: Message, width: int) -> list[Line]:
    """Return the first lines of a message; of a tool result one row."""
    who = message.role if not message.name else f"{message.role} {one_line(message.name)}"
    if message.role == "tool":
        return [("", cut_cells(f"{who}: {one_line(first_line(message.text, 200))}", width))]
    text, left_out = beginning(body(message)[:_TEXT_LENGTH].strip(), _MESSAGE_ROWS, width)
    rows = last_rows(visible(text), width, _MESSAGE_ROWS) if text else []
    heading = f"{who} ({message.status})" if message.status != "complete" else who
    more: list[Line] = [("", "...")] if left_out or len(body(message)) > _TEXT_LENGTH else []
    return [("bold", cut_cells(heading, width)), *(("", row) for row in rows), *more]
