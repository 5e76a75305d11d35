"""Keys typed while an answer streams: Escape stops the answer; other keys are the draft of the next prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from select import select
from typing import TYPE_CHECKING

from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.keys import Keys

from omniagent_cli.repl.draft import draft_text

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.key_binding import KeyPress
    from prompt_toolkit.output import Output

_ESCAPE_SECONDS = 0.05
"""Time after which Escape is a key of its own and not the beginning of an arrow key or a paste."""


class StreamKeys:
    """Reader of the keys that arrive between two prompts.

    Args:
        source: input of the prompts; a prompt inside `reading` takes it over until it ends.
        output: output of the prompts, which makes the terminal mark what is pasted.
        stop: called when Escape was pressed alone.
        enabled: False leaves all keys in the input, for the next prompt to read.
    """

    def __init__(
        self, source: Input, output: Output, stop: Callable[[], object], *, enabled: bool = True
    ) -> None:
        self._source = source
        self._output = output
        self._stop = stop
        self._is_enabled = enabled
        self._keys: list[KeyPress] = []
        self._timer: asyncio.TimerHandle | None = None
        self._has_read = False
        self.escaped = False
        """Escape stopped the last answer; what was typed stays the draft."""

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read keys and keep them for `take_draft`."""
        self._has_read, self.escaped = True, False
        if self._is_enabled:
            self._output.enable_bracketed_paste()  # on until the next prompt, which turns it on by itself
            self._output.flush()
        with self._source.attach(self._read) if self._is_enabled else nullcontext():
            try:
                yield
            finally:
                self.keep()

    def keep(self) -> None:
        """Read and keep all keys that have arrived, which then do not answer a question."""
        if self._is_enabled:
            self._flush(lambda: None)
            with suppress(OSError, ValueError):  # a closed terminal has no keys
                while not self._source.closed and select([self._source.fileno()], [], [], 0)[0]:
                    self._keys += self._source.read_keys()

    def take_draft(self) -> str:
        """Return the text of all keys since an answer began, and forget them; Ctrl-D alone stays for the prompt.

        Keys after a command, which ends at once, are left for the prompt.
        """
        if not (self._is_enabled and self._has_read):
            return ""
        self._has_read = False
        self.keep()
        keys, self._keys = [*get_typeahead(self._source), *self._keys], []
        text = draft_text(keys)
        if not text:
            store_typeahead(self._source, [key for key in keys if key.key is Keys.ControlD])
        return text

    def _read(self) -> None:
        self._keys += self._source.read_keys()
        self._cancel_timer()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_ESCAPE_SECONDS, self._flush, self._stop)

    def _flush(self, stop: Callable[[], object]) -> None:
        """Complete the keys if no more arrive; a single Escape calls `stop` and is dropped."""
        if self._timer is None:
            return
        self._cancel_timer()
        keys = self._source.flush_keys()
        if [press.key for press in keys] == [Keys.Escape]:
            self.escaped = True
            stop()
        else:
            self._keys += keys

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
