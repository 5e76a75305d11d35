"""The states of logs, in memory, and of large ones cached in the directory ``cache``."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from omniagent_cli.private_files import replace_file
from omniagent_cli.stores.backend import HEADER_COLUMNS, HeaderRow
from omniagent_cli.stores.backends.jsonl.line_reader import LineReader
from omniagent_cli.stores.backends.jsonl.lines import from_base64, to_base64
from omniagent_cli.stores.backends.jsonl.log import derive, extended
from omniagent_cli.stores.backends.jsonl.names import Layout
from omniagent_cli.stores.backends.jsonl.state import Irregular, State

CACHE_VERSION = 1
_CACHE_BYTES = 1 << 14
"""Size of appended lines after which the cache of a log's state is written."""
_TAIL_BYTES = 32
_MOST_STATES = 256

Stamp = tuple[int, ...]


class _Known(NamedTuple):
    """The state of a log of this size, time and inode, with the last bytes before its end."""

    state: State
    stamp: Stamp
    tail: str
    cached: int = 0


class States:
    """The states of logs, in memory and cached on disk."""

    def __init__(self, layout: Layout, *, read_only: bool) -> None:
        self._layout = layout
        self._read_only = read_only
        self._lock = threading.RLock()
        self._known: dict[str, _Known] = {}

    def of(self, tape: LineReader) -> State:
        """Return the state of an open log, which must not be changed."""
        name = self._layout.relative(tape.path)
        known = self._known.get(name) or self._load(tape.path)
        if known is not None and known.stamp == tape.stamp:
            return known.state
        if known is not None and _is_continued(known, tape):
            with contextlib.suppress(Irregular):
                state = extended(tape, known.state.copy())
                return self._keep(name, _Known(state, tape.stamp, _tail(tape, state), known.cached))
        state = derive(tape)
        return self._keep(name, _Known(state, tape.stamp, _tail(tape, state)))

    def appended(self, path: Path, state: State, data: bytes) -> None:
        """Record the state of a log after an append."""
        name = self._layout.relative(path)
        status = path.stat()
        stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
        tail = data[-_TAIL_BYTES:].decode("latin-1")
        known = self._known.get(name)
        self._keep(name, _Known(state, stamp, tail, known.cached if known else 0))

    def forget(self, path: Path) -> None:
        """Forget a log, also on disk."""
        self._known.pop(self._layout.relative(path), None)
        self._layout.cache_path(path).unlink(missing_ok=True)

    def clear(self) -> None:
        """Clear the memory."""
        with self._lock:
            self._known.clear()

    def _keep(self, name: str, known: _Known) -> State:
        state = known.state
        if state.end - known.cached > _CACHE_BYTES:
            known = known._replace(cached=state.end)
            target = self._layout.cache_path(self._layout.root / name)
            if not self._read_only:
                with contextlib.suppress(OSError):  # it is only a cache
                    replace_file(target, _to_cache(known), durable=False)
        with self._lock:
            self._known.pop(name, None)
            self._known[name] = known
            if len(self._known) > _MOST_STATES:
                del self._known[next(iter(self._known))]
        return state

    def _load(self, path: Path) -> _Known | None:
        try:
            return _from_cache(self._layout.cache_path(path).read_bytes())
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None


def _tail(tape: LineReader, state: State) -> str:
    return tape.read(max(0, state.end - _TAIL_BYTES), state.end).decode("latin-1")


def _is_continued(known: _Known, tape: LineReader) -> bool:
    """Return True if the file may have the same lines as before, and more."""
    state, same_file = known.state, known.stamp[2] == tape.stamp[2]
    usable = same_file and not state.unended and not state.bad
    return (
        usable
        and tape.size > known.stamp[0]
        and _tail(tape, state)[-len(known.tail) :] == known.tail
    )


def _to_cache(known: _Known) -> bytes:
    """Return a state as JSON, with dictionaries as lists of pairs."""
    state = known.state
    record = {each.name: getattr(state, each.name) for each in fields(State)}
    for name, value in record.items():
        if isinstance(value, dict):
            record[name] = [*value.items()]
    record["header"] = [getattr(state.header, name) for name in HEADER_COLUMNS[:-2]]
    record["preview"] = None if state.preview is None else to_base64(state.preview)
    own = {"version": CACHE_VERSION, "stamp": known.stamp, "tail": known.tail, "state": record}
    return json.dumps(own, separators=(",", ":")).encode("ascii")


def _from_cache(data: bytes) -> _Known:
    own = json.loads(data)
    if own["version"] != CACHE_VERSION:
        raise ValueError(own["version"])
    record = own["state"]
    for name in ("free", "gone", "marks"):
        record[name] = [tuple(pair) for pair in record[name]]
    for name in ("facts", "records"):
        record[name] = {tuple(key): value for key, value in record[name]}
    record["moved"], record["newest"] = dict(record["moved"]), tuple(record["newest"])
    record["header"] = HeaderRow(*record["header"])
    if record["preview"] is not None:
        record["preview"] = from_base64(record["preview"])
    state = State(**record)
    return _Known(state, tuple(own["stamp"]), own["tail"], state.end)
