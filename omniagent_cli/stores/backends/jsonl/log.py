"""One session log as of when it was opened: identity, newest header, messages, attachments and summaries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from omniagent_cli.errors import CorruptSession, InvalidRecord
from omniagent_cli.models import check_version
from omniagent_cli.stores.backend import HIDDEN, HeaderRow
from omniagent_cli.stores.backends.jsonl.line_reader import LineReader, NotAFile, Shrunk
from omniagent_cli.stores.backends.jsonl.lines import (
    BadLine,
    check_time,
    check_uid,
    kind_of,
    may_be_unfinished,
    read_header,
    read_identity,
    read_record,
)

_LONGEST_IDENTITY = 1 << 20


class NotALog(Exception):
    """The file does not begin like a session log."""


class Log:
    """A log file up to its last complete change; later changes are not seen.

    Attributes:
        header: the newest header, without payload; `header_at` is the offset of its line.
        facts: facts about the file in the newest header line.
        first: offset of the second line.
        end: end of the last complete change.
        bad_end: the end was changed, so the newest header is lost; only a lenient reader continues.
        unended: the last line has no line end, as some editors leave it.
        size: size of the file; more than `end` after an incomplete change.
    """

    def __init__(self, path: Path, *, lenient: bool = False) -> None:
        self.path = path
        try:
            self.tape = LineReader(path)
        except NotAFile as error:
            raise NotALog from error
        self.size = self.tape.size
        self.stamp = self.tape.stamp
        self.facts: dict[str, Any] = {}
        self._data: tuple[bytes, dict[str, Any]] | None = None
        try:
            self._read_identity()
            self._read_tail(lenient=lenient)
        except BaseException:
            self.tape.close()
            raise

    @classmethod
    def open(cls, path: Path, *, lenient: bool = False) -> Self | None:
        """Open a log, or return None if the file does not exist.

        Args:
            path: the file.
            lenient: skip bad lines at its end, to return what is known.

        Raises:
            NotALog: it is another file.
            CorruptSession: it has no header, or its end was changed.
            NewerVersion: a newer omniagent wrote it.
        """
        for attempt in range(3):
            try:
                return cls(path, lenient=lenient)
            except FileNotFoundError:
                return None
            except Shrunk:
                if attempt == 2:
                    raise
        return None

    def close(self) -> None:
        """Close the file."""
        self.tape.close()

    @property
    def uid(self) -> str:
        """The session's uid."""
        return self.header.uid

    def damaged(self, offset: int) -> CorruptSession:
        """Return the error for an unreadable line."""
        return CorruptSession(
            f"the session {self._name!r} is damaged at line {self.tape.line_number(offset)} of {self.path};"
            " run: omniagent store check",
            session_id=self._name,
        )

    def miscounted(self, count: int) -> CorruptSession:
        """Return the error for a wrong number of messages."""
        return CorruptSession(
            f"the session {self._name!r} is damaged: {self.path} has {count} messages instead of"
            f" {self.header.message_count}; run: omniagent store check",
            session_id=self._name,
        )

    def _read_identity(self) -> None:
        offset, line = next(self.tape.forward(0, min(self.size, _LONGEST_IDENTITY)), (0, b""))
        try:
            identity = read_identity(line)
            self._name: str = identity["id"]
            check_version(identity, f"the session file {self.path}")
            self._uid = check_uid(identity["uid"])
            self._created_at = check_time(identity["created_at"])
        except (BadLine, InvalidRecord, KeyError) as error:
            raise NotALog from error
        self.first = offset + len(line) + 1

    def _read_tail(self, *, lenient: bool) -> None:
        """Find the newest header line from the end; only an incomplete change may follow it."""
        bad: int | None = None
        partial = True
        for offset, line in self.tape.backward(self.size, self.first):
            if self._take_header(line):
                self.header_at = offset
                self.end = offset + len(line) + (not partial)
                self.unended = partial
                break
            # An incomplete write ends anywhere, or in zeros after a power cut; a complete but wrong line was changed.
            if not partial and b"\0" not in line and not may_be_unfinished(line):
                bad = offset
            partial = False
        else:
            if not lenient:
                raise CorruptSession(
                    f"the session {self._name!r} has no header in {self.path}; run: omniagent store check",
                    session_id=self._name,
                )
            self._placeholder()
        self.bad_end = bad is not None or self.end == self.first
        if bad is not None:
            if not lenient:
                raise self.damaged(bad)
            # An older header may contain an expiry that the lost one changed.
            self.header.expires_at = None

    def _placeholder(self) -> None:
        """Create a placeholder header for a log whose header is damaged, so that the session is listed."""
        hidden = self._name.startswith(HIDDEN)
        self.header = HeaderRow(
            self._uid, self._name, self._created_at, self._created_at, hidden=hidden
        )
        self.facts = {}
        self._data = (b"{}", {})
        self.header_at = self.end = self.first
        self.unended = False

    def _take_header(self, line: bytes) -> bool:
        try:
            if not line or kind_of(line) != "header":
                return False
            self.header, self.facts = read_header(line, self._uid)
        except BadLine:
            return False
        self._name = self.header.id
        if self.header.payload is not None:
            self._data = (self.header.payload, self.facts)
            self.header.payload = None
        return True

    def data(self) -> bytes:
        """Return the newest payload of the header."""
        return self._full()[0]

    def record_offsets(self) -> dict[str, dict[str, int]]:
        """Return the offsets of attachments and summaries, by kind and key."""
        offsets = self._full()[1].get("records", {})
        return offsets if isinstance(offsets, dict) else {}

    @property
    def data_at(self) -> int:
        """Offset of the line with the newest data, from the newest header line."""
        offset = self.facts.get("data_at")
        return offset if isinstance(offset, int) else self.header_at

    def _full(self) -> tuple[bytes, dict[str, Any]]:
        if self._data is None:
            self._data = self._full_at(self.data_at) or self._search_full()
        return self._data

    def _full_at(self, offset: int) -> tuple[bytes, dict[str, Any]] | None:
        line = self.tape.line_at(offset, self.end)
        return None if line is None else self._as_full(line)

    def _as_full(self, line: bytes) -> tuple[bytes, dict[str, Any]] | None:
        try:
            if kind_of(line) != "header":
                return None
            header, facts = read_header(line, self._uid)
        except BadLine:
            return None
        return None if header.payload is None else (header.payload, facts)

    def _search_full(self) -> tuple[bytes, dict[str, Any]]:
        """Search the newest data in a file that was edited by hand, so that its offsets are wrong."""
        for _, line in self.tape.backward(self.end, self.first):
            if full := self._as_full(line):
                return full
        raise CorruptSession(
            f"the session {self._name!r} has no readable title and metadata in {self.path};"
            " run: omniagent store check",
            session_id=self._name,
        )

    def records(self, kind: str | None = None) -> Iterator[tuple[str, str, bytes]]:
        """Yield attachments and summaries (kind, key, payload), by kind and key."""
        offsets = self.record_offsets()
        places = sorted(
            (own, key, offset)
            for own, keys in offsets.items()
            if kind in (None, own)
            for key, offset in keys.items()
        )
        for own, key, offset in places:
            yield own, key, self._record_at(own, key, offset)

    def record(self, kind: str, key: str) -> bytes | None:
        """Return the payload of an attachment or summary."""
        offset = self.record_offsets().get(kind, {}).get(key)
        return None if offset is None else self._record_at(kind, key, offset)

    def _record_at(self, kind: str, key: str, offset: int) -> bytes:
        line = self.tape.line_at(offset, self.end)
        if line is not None:
            payload = _payload_of(line, kind, key)
            if payload is not None:
                return payload
        for _, line in self.tape.backward(self.end, self.first):
            payload = _payload_of(line, kind, key)
            if payload is not None:
                return payload
        raise CorruptSession(
            f"the session {self._name!r} has no readable {kind} {key} in {self.path}",
            session_id=self._name,
        )


def _payload_of(line: bytes, kind: str, key: str) -> bytes | None:
    try:
        own, name, payload = read_record(line)
    except BadLine:
        return None
    return payload if (own, name) == (kind, key) else None
