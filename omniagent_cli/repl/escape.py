"""Keys typed while an answer streams: Escape stops the answer; other keys are kept for the next prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from prompt_toolkit.input.typeahead import store_typeahead
from prompt_toolkit.keys import Keys

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.key_binding import KeyPress

_ESCAPE_SECONDS = 0.05
"""Time after which Escape is a key of its own and not the beginning of an arrow key or a paste."""


class StreamKeys:
    """Reader of the keys that arrive between two prompts.

    Args:
        source: input of the prompts; a prompt inside `reading` takes it over until it ends.
        stop: called when Escape was pressed alone.
        enabled: False leaves all keys in the input.
    """

    def __init__(self, source: Input, stop: Callable[[], object], *, enabled: bool = True) -> None:
        self._source = source
        self._stop = stop
        self._is_enabled = enabled
        self._keys: list[KeyPress] = []
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read keys; at the end pass them to the next prompt."""
        with self._source.attach(self._read) if self._is_enabled else nullcontext():
            try:
                yield
            finally:
                self._flush(lambda: None)
                store_typeahead(self._source, self._keys)
                self._keys = []

    def forget(self) -> None:
        """Discard the keys read so far, before a question."""
        self._flush(lambda: None)
        self._keys.clear()

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
            stop()
        else:
            self._keys += keys

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
