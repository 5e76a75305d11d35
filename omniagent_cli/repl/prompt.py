"""Where the person types: one line or many, with history, search, suggestions and completion."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
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

from omniagent_cli.repl.history import PrivateHistory
from omniagent_cli.repl.toolbar import Part, fitted_line
from omniagent_cli.text.sanitize import one_line
from omniagent_cli.ui.ascii import plainly_drawn

if TYPE_CHECKING:
    from prompt_toolkit.completion import Completer

    from omniagent_cli.ui.terminal import Terminal

MARK = "you> "
SPOKEN_MARK = "You: "


@contextmanager
def fitting_output(terminal: Terminal, *, plain: bool) -> Iterator[None]:
    """Let prompts write nothing but text to a terminal that understands nothing else.

    Args:
        terminal: where they stand.
        plain: for a screen reader, which would read what is painted to find out how much room there is.
    """
    if terminal.is_dumb:
        from prompt_toolkit.output.plain_text import PlainTextOutput

        output: Output = PlainTextOutput(terminal.stdout)
    elif plain:
        from prompt_toolkit.output.defaults import create_output

        output = create_output(terminal.stdout)
        output.enable_cpr = False  # type: ignore[attr-defined]  # only some outputs have it, and others ignore it
    else:
        yield
        return
    with create_app_session(output=output):
        yield


class Prompt:
    """Reads what the person says.

    Args:
        terminal: decides about colour.
        history_file: where the lines are remembered; None remembers them while this runs.
        completer: completes slash commands.
        toolbar: the parts of the bottom line.
        multiline: tells whether Enter begins a line instead of sending.
        vi: keys of vi instead of emacs.
        plain: no toolbar, no menu while typing, no suggestions: for screen readers.
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
        self._toolbar = toolbar
        self._apps = get_app_session()  # knows which prompt is on the screen
        depth = None if terminal.colored else ColorDepth.DEPTH_1_BIT
        self._session: PromptSession[str] = PromptSession(
            SPOKEN_MARK if plain else MARK,
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
        self._question: PromptSession[str] = PromptSession(
            color_depth=depth, key_bindings=without_mouse(KeyBindings())
        )

    async def read(self, ready: Callable[[], None] | None = None) -> str:
        """Return what the person says next.

        Args:
            ready: called once the prompt is on the screen.

        Raises:
            KeyboardInterrupt: they pressed Ctrl-C.
            EOFError: they pressed Ctrl-D.
        """
        if (
            ready is not None and is_dumb_terminal()
        ):  # nothing is painted there, and nobody tells when
            asyncio.get_running_loop().call_soon(ready)
            ready = None
        return await self._session.prompt_async(
            pre_run=None if ready is None else lambda: _after_first_paint(ready),
            handle_sigint=False,
        )

    def took_interrupt(self) -> bool:
        """Tell whether Ctrl-C was pressed between the end of `read` and now, while it was a key like others.

        What else was typed since then answers the next prompt. Keys from a pipe are in nobody's hands any more.
        """
        if not self._terminal.reads_terminal:
            return False
        from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead

        source = self._session.app.input
        keys = get_typeahead(source)
        with suppress(OSError, ValueError):  # a terminal that is gone has no keys
            keys += source.read_keys()
        place = next((n for n, press in enumerate(keys) if press.key == Keys.ControlC), None)
        store_typeahead(source, keys if place is None else keys[:place] + keys[place + 1 :])
        return place is not None

    async def ask(self, question: str, default: str = "") -> str | None:
        """Ask for a line that is not remembered; None when they leave."""
        try:
            return await self._question.prompt_async(
                one_line(question),
                default=default,
                handle_sigint=False,
            )
        except (KeyboardInterrupt, EOFError):
            return None

    @property
    def typed(self) -> str:
        """What stands at the prompt and was not sent."""
        return self._session.default_buffer.text

    async def tell(self, say: Callable[[], None]) -> None:
        """Print above the prompt when it is on the screen, else at once."""
        if self._apps.app is None:
            say()
        else:
            await run_in_terminal(say)

    def stop(self, error: BaseException) -> bool:
        """End a `read` or `ask` that is waiting, with an error; tell whether one was."""
        app = self._apps.app
        if app is None or not app.is_running or not app.future or app.future.done():
            return False
        app.exit(exception=error)
        return True

    def refresh(self) -> None:
        """Paint the bottom line again."""
        if self._apps.app is not None:
            self._apps.app.invalidate()

    def _is_command(self) -> bool:
        text = self._session.default_buffer.text
        return text.startswith("/") and not text.startswith("//")

    def _bottom_line(self) -> str:
        line = fitted_line(self._toolbar(), max(8, self._terminal.width - 2))
        return f" {line if self._terminal.draws_unicode else plainly_drawn(line)}"


def _after_first_paint(ready: Callable[[], None]) -> None:
    app = get_app_or_none()
    if app is None:
        return

    def painted(_: object) -> None:
        app.after_render -= painted
        ready()

    app.after_render += painted


def without_mouse(keys: KeyBindings) -> KeyBindings:
    """Let what a terminal tells of its mouse do nothing, and return the keys.

    Nobody asked for it, so that it is colour codes of a text that was put in; prompt-toolkit fails on them.
    """

    @keys.add(Keys.Vt100MouseEvent)
    def _ignore(_event: KeyPressEvent) -> None:
        """Nothing."""

    return keys


def _keys(multiline: Callable[[], bool]) -> KeyBindings:
    keys = without_mouse(KeyBindings())
    many = Condition(multiline)

    @keys.add("enter", filter=~many & _typing())
    @keys.add("escape", "enter", filter=many & _typing())
    def _send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter", filter=~many & _typing())
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    return keys


def _typing() -> Condition:
    from prompt_toolkit.enums import DEFAULT_BUFFER
    from prompt_toolkit.filters import has_focus

    return Condition(has_focus(DEFAULT_BUFFER))
