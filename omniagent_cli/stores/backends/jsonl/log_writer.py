"""Writer of a new log, in a draft file: for a new session, or one from which lines were removed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from omniagent_cli.stores.backend import HeaderRow, MessageRow
from omniagent_cli.stores.backends.jsonl.disk import open_private, write_all
from omniagent_cli.stores.backends.jsonl.lines import (
    header_line,
    identity_line,
    message_line,
    record_line,
)
from omniagent_cli.stores.backends.jsonl.names import SUFFIX, Layout

_BUFFER = 1 << 20


class LogWriter:
    """A draft of a log; it is committed when it is moved to its place."""

    def __init__(self, layout: Layout, header: HeaderRow) -> None:
        self.path: Path = layout.drafts / f"{header.uid}-{secrets.token_hex(4)}{SUFFIX}"
        self._descriptor: int | None = open_private(self.path, os.O_WRONLY | os.O_EXCL)
        self._buffer = bytearray(identity_line(header))
        self._written = 0
        self._records: dict[str, dict[str, int]] = {}

    def add(self, rows: Iterable[MessageRow]) -> None:
        """Add messages, in order of their positions."""
        for row in rows:
            self._put(message_line(row))

    def add_record(self, kind: str, key: str, payload: bytes) -> None:
        """Add an attachment or summary."""
        self._records.setdefault(kind, {})[key] = self._written + len(self._buffer)
        self._put(record_line(kind, key, payload))

    def finish(self, header: HeaderRow, *, durable: bool) -> None:
        """Write the header, with its payload, and sync the file to disk."""
        facts: dict[str, Any] = {"records": self._records} if self._records else {}
        if header.payload is None:
            header = replace(header, payload=b"{}")
        self._put(header_line(header, facts))
        self._flush()
        if self._descriptor is not None and durable:
            os.fsync(self._descriptor)
        self._close()

    def discard(self) -> None:
        """Remove the draft, unless it was moved to its place."""
        self._close()
        self.path.unlink(missing_ok=True)

    def _put(self, line: bytes) -> None:
        self._buffer += line
        if len(self._buffer) > _BUFFER:
            self._flush()

    def _flush(self) -> None:
        if self._descriptor is not None:
            write_all(self._descriptor, bytes(self._buffer))
            self._written += len(self._buffer)
            self._buffer.clear()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
