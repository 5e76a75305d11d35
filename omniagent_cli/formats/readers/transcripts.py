"""Shared base of readers of files with one session and one record per line."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.json_helpers import feed_lines, line_objects
from omniagent_cli.formats.readers.message_tree import MessageTree, session_threads
from omniagent_cli.formats.readers.records import file_time, session_header, text_of
from omniagent_cli.formats.types import ReaderItem


class TranscriptReader(ABC):
    """Reader of one session per file, line by line; the tree is on disk when it is large.

    Attributes:
        format_name: a key of `formats.FORMATS`.
        suffixes: endings of file names that are not part of a session id.
        session_id: id of the session; the name of the file if empty.
        facts: keyword arguments of `records.session_header`, besides the times.
    """

    format_name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)

    def __init__(self, *, branches: bool = False) -> None:
        self._branches = branches
        self._tree = MessageTree()
        self._last: str | None = None
        self._location = ""
        self._has_parents = False
        self._first_at: Any = None
        self._last_at: Any = None
        self.session_id = ""
        self.facts: dict[str, Any] = {}

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the session at the end of the file; `add_line` has built it."""

        def add(entry: Any) -> None:
            self._location = entry.location
            self.add_line(entry.record)

        with self._tree:
            yield from feed_lines(line_objects(source), add)
            yield from session_threads(
                self._tree, self._tree.newest_leaf(), source.name, lambda branch: self._header(source, branch), branches=self._branches,
            )  # fmt: skip

    def _header(self, source: ByteSource, branch: str) -> dict[str, Any]:
        name = Path(source.name).name
        for suffix in self.suffixes:
            name = name.removesuffix(suffix)
        written = file_time(source)
        times = {"created": self._first_at or written, "updated": self._last_at or written}
        return session_header(
            self.format_name, self.session_id or name, branch=branch, **(times | self.facts)
        )

    @abstractmethod
    def add_line(self, line: dict[str, Any]) -> None:
        """Add the record of a line.

        Raises:
            InvalidRecord: the line contains an unsupported value.
        """

    def add_time(self, at: Any) -> None:
        """Note the time of a record."""
        self._first_at = self._first_at or at
        self._last_at = at or self._last_at

    def add(self, records: list[dict[str, Any]], *, node_id: Any = "", parent: Any = None) -> None:
        """Add message records after another node; in a file that names no parents, after the last line.

        Args:
            records: message records and omissions, possibly none.
            node_id: id of the node in the file, if it has one.
            parent: id of its parent, if the file names one.
        """
        key, named = text_of(node_id) or f"line-{len(self._tree)}", text_of(parent)
        self._has_parents |= bool(named)
        self._tree.add(
            key, named or (None if self._has_parents else self._last), self._location, records
        )
        self._last = key
