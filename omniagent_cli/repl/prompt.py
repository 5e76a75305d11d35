"""The prompt: one or more lines, with history, search, suggestions and completion."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit.application import (
    create_app_session,
    get_app_or_none,
    get_app_session,
    run_in_terminal,
)
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.shortcuts import PromptSession
from prompt_toolkit.utils import is_dumb_terminal

from omniagent_cli.repl.draft import let_paste_end, name_modified_enter
from omniagent_cli.repl.escape import StreamKeys
from omniagent_cli.repl.history import PrivateHistory
from omniagent_cli.repl.toolbar import Part, fitted_line
from omniagent_cli.text.sanitize import one_line
from omniagent_cli.ui.ascii import to_ascii

if TYPE_CHECKING:
    from prompt_toolkit.completion import Completer

    from omniagent_cli.ui.terminal import Terminal

MARK = "you> "
SPOKEN_MARK = "You: "


@contextmanager
def configure_output(terminal: Terminal, *, plain: bool) -> Iterator[None]:
    """Restrict the output of prompts to what the terminal supports; leave the program's name out of errors.

    Args:
        terminal: the terminal of the prompts.
        plain: omit the query for the cursor position, which screen readers read aloud.
    """
    program = terminal.program
    if terminal.is_terminal:
        terminal.program = ""
    try:
        with create_app_session(output=_output(terminal, plain=plain)):
            yield
    finally:
        terminal.program = program


def _output(terminal: Terminal, *, plain: bool) -> Output | None:
    """Return the output of prompts; None for that of prompt-toolkit."""
    if terminal.is_dumb:
        from prompt_toolkit.output.plain_text import PlainTextOutput

        return PlainTextOutput(terminal.stdout)
    if not plain:
        return None
    from prompt_toolkit.output.defaults import create_output

    output = create_output(terminal.stdout)
    output.enable_cpr = False  # type: ignore[attr-defined]  # only some outputs have it, and others ignore it
    return output


class Prompt:
    """Reads input from the user.

    Args:
        terminal: the terminal, which decides about color.
        history_file: the file for typed lines; None keeps them in memory.
        completer: completes slash commands.
        toolbar: returns the parts of the bottom line.
        multiline: returns whether Enter inserts a line break instead of sending.
        vi: use vi keys instead of emacs keys.
        plain: no toolbar, menu or suggestions, for screen readers.
    """

    def __init__(
        self,
        terminal: Terminal,
        *,
        history_file: Path | None = None,
        completer: Completer | None = None,
        toolbar: Callable[[], list[Part]] = list,
        multiline: Callable[[], bool] = lambda: False,
        vi: bool = False,
        plain: bool = False,
    ) -> None:
        self._terminal = terminal
        self._draft = ""
        self._toolbar = toolbar
        self._spaced = terminal.is_terminal and not plain
        self._apps = get_app_session()  # the context that knows the active prompt
        depth = None if terminal.colored else ColorDepth.DEPTH_1_BIT
        self._session: PromptSession[str] = PromptSession(
            SPOKEN_MARK if plain else [("bold ansicyan", MARK)],
            multiline=True,
            history=PrivateHistory(history_file) if history_file else InMemoryHistory(),
            completer=completer,
            complete_in_thread=True,
            complete_while_typing=Condition(lambda: not plain and self._is_command()),
            auto_suggest=None if plain else AutoSuggestFromHistory(),
            key_bindings=_keys(multiline),
            bottom_toolbar=None if plain else self._bottom_line,
            prompt_continuation=lambda width, _number, _wraps: "." * (width - 1) + " ",
            color_depth=depth,
            vi_mode=vi,
            enable_open_in_editor=True,
            enable_suspend=True,
            reserve_space_for_menu=0 if plain else 8,
            tempfile_suffix=".md",
        )
        let_paste_end(self._session.app.input)
        name_modified_enter()
        self._question: PromptSession[str] = PromptSession(
            color_depth=depth, key_bindings=without_mouse(KeyBindings())
        )

    async def read(self, ready: Callable[[], None] | None = None) -> str:
        """Read and return the next input, which begins with the draft.

        Args:
            ready: called once the prompt is on the screen.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
            EOFError: Ctrl-D was pressed.
        """
        if (
            ready is not None and is_dumb_terminal()
        ):  # nothing is drawn there, so there is no first drawing
            asyncio.get_running_loop().call_soon(ready)
            ready = None
        draft, self._draft = self._draft, ""
        return await self._session.prompt_async(
            pre_run=None if ready is None else lambda: _after_first_paint(ready),
            default=draft,
            handle_sigint=False,
        )

    def was_interrupted(self) -> bool:
        """Return True if Ctrl-C was pressed since `read` ended, when it was an ordinary key.

        Other keys typed since then are kept for the next prompt. Input from a pipe is not checked.
        """
        if not self._terminal.reads_terminal:
            return False
        from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead

        source = self._session.app.input
        keys = get_typeahead(source)
        with suppress(OSError, ValueError):  # a closed terminal has no keys
            keys += source.read_keys()
        place = next((n for n, press in enumerate(keys) if press.key == Keys.ControlC), None)
        store_typeahead(source, keys if place is None else keys[:place] + keys[place + 1 :])
        return place is not None

    async def ask(self, question: str, default: str = "") -> str | None:
        """Ask for a line that is not added to the history; return None when the user leaves."""
        try:
            return await self._question.prompt_async(
                one_line(question),
                default=default,
                handle_sigint=False,
            )
        except (KeyboardInterrupt, EOFError):
            return None

    def stream_keys(self, stop: Callable[[], object]) -> StreamKeys:
        """Return a reader of the keys typed at a terminal while an answer streams; Escape calls `stop`."""
        app, terminal = self._session.app, self._terminal
        enabled = terminal.reads_terminal and terminal.is_terminal
        return StreamKeys(app.input, app.output, stop, enabled=enabled)

    def take_draft(self, keys: StreamKeys, *, dropped: bool) -> None:
        """Make what was typed since the last prompt the draft of the next one.

        Args:
            keys: the reader of those keys.
            dropped: the user interrupted, so the draft goes to the history, from where Up brings it back.
        """
        draft = keys.take_draft()
        if draft and dropped and not keys.escaped:
            self._session.history.append_string(draft)
            self._terminal.note("Your draft is in the history; Up brings it back")
            draft = ""
        self._draft = draft

    def close(self) -> None:
        """Turn off what the last answer turned on."""
        if self._terminal.is_terminal:
            self._session.app.output.disable_bracketed_paste()
            self._session.app.output.flush()

    def show(self, lines: Sequence[str], head_style: str) -> None:
        """Print untrusted lines above a question, the first one in a style."""
        for place, line in enumerate(map(self._terminal.shown, lines)):
            self._terminal.line(line if place else self._terminal.style(line, head_style))

    def separate(self, text: str) -> None:
        """Print a blank line after the turn of an input; data and speech have none."""
        if self._spaced and text.strip():
            self._terminal.line()

    @property
    def typed(self) -> str:
        """The text at the prompt that was not sent."""
        return self._session.default_buffer.text

    async def print_above(self, say: Callable[[], None]) -> None:
        """Print above the prompt if it is on the screen, else immediately."""
        if self._apps.app is None:
            say()
        else:
            await run_in_terminal(say)

    def stop(self, error: BaseException) -> bool:
        """End a waiting `read` or `ask` with an error; return whether one was waiting."""
        app = self._apps.app
        if app is None or not app.is_running or not app.future or app.future.done():
            return False
        app.exit(exception=error)
        return True

    def refresh(self) -> None:
        """Redraw the bottom line."""
        if self._apps.app is not None:
            self._apps.app.invalidate()

    def _is_command(self) -> bool:
        text = self._session.default_buffer.text
        return text.startswith("/") and not text.startswith("//")

    def _bottom_line(self) -> str:
        line = fitted_line(self._toolbar(), max(8, self._terminal.width - 2))
        return f" {line if self._terminal.draws_unicode else to_ascii(line)}"


def _after_first_paint(ready: Callable[[], None]) -> None:
    app = get_app_or_none()
    if app is None:
        return

    def painted(_: object) -> None:
        app.after_render -= painted
        ready()

    app.after_render += painted


def without_mouse(keys: KeyBindings) -> KeyBindings:
    """Ignore mouse events and return the key bindings.

    Mouse reporting is off, so that these are color codes in pasted text, on which prompt-toolkit fails.
    """

    @keys.add(Keys.Vt100MouseEvent)
    def _ignore(_event: KeyPressEvent) -> None:
        """Do nothing."""

    return keys


def _keys(multiline: Callable[[], bool]) -> KeyBindings:
    keys = without_mouse(KeyBindings())
    many = Condition(multiline)

    @keys.add("enter", filter=~many & _typing())
    @keys.add("escape", "enter", filter=many & _typing())
    def _send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("c-j", filter=_typing())  # also Enter with a modifier key, see `name_modified_enter`
    @keys.add("escape", "enter", filter=~many & _typing())
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    return keys


def _typing() -> Condition:
    from prompt_toolkit.enums import DEFAULT_BUFFER
    from prompt_toolkit.filters import has_focus

    return Condition(has_focus(DEFAULT_BUFFER))
