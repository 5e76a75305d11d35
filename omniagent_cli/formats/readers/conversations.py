"""Shared base of readers of JSON documents with one or several conversations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.json_helpers import is_json_lines, read_documents
from omniagent_cli.formats.json_stream import BadValue, JsonReader
from omniagent_cli.formats.readers.message_tree import MessageTree, session_threads
from omniagent_cli.formats.readers.records import session_header
from omniagent_cli.formats.types import ReaderItem, problem

Header = Callable[[str], dict[str, Any]]
"""Returns the session header of a branch; the visible thread has an empty name."""


class ConversationReader(ABC):
    """Reader of documents that hold a conversation, a list of conversations, or an object with such a list.

    One conversation is in memory at a time.

    Attributes:
        format_name: a key of `formats.FORMATS`.
        list_key: key of the list of conversations in an object; empty if each object is a conversation.
    """

    format_name: ClassVar[str]
    list_key: ClassVar[str] = ""

    def __init__(self, *, branches: bool = False) -> None:
        self._branches = branches

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the sessions of a file in file order."""
        self._source = source
        head = source.head().lstrip()
        by_line = head[:1] == b"{" and is_json_lines(head) and not self.list_key
        yield from read_documents(source, self._document, by_line=by_line)

    def _document(self, reader: JsonReader) -> Iterator[ReaderItem]:
        if reader.peek() == "[":
            for _ in reader.array():
                yield from self._value(reader)
        elif self.list_key:
            for key in reader.members():
                if key == self.list_key and reader.peek() == "[":
                    yield from self._document(reader)
                else:
                    reader.skip()
        else:
            yield from self._value(reader)

    def _value(self, reader: JsonReader) -> Iterator[ReaderItem]:
        reader.peek()
        location = reader.location
        try:
            raw = reader.value()
            if not isinstance(raw, dict):
                yield problem(location, "conversation must be an object")
                return
            yield from self._conversation(raw, location)
        except (BadValue, InvalidRecord) as error:
            yield problem(location, error)

    @abstractmethod
    def _conversation(self, raw: dict[str, Any], location: str) -> Iterator[ReaderItem]:
        """Yield the sessions of a conversation.

        Raises:
            InvalidRecord: the conversation contains an unsupported value.
        """

    def _header(self, source_id: str, **facts: Any) -> Header:
        """Return the headers of a conversation; for `facts` see `records.session_header`."""

        def header(branch: str) -> dict[str, Any]:
            return session_header(self.format_name, source_id, branch=branch, **facts)

        return header

    def _thread(
        self, records: Iterable[dict[str, Any]], location: str, header: Header
    ) -> Iterator[ReaderItem]:
        """Yield the session of message records in order."""
        nodes = ((f"{n}", f"{n - 1}" if n else None, [record]) for n, record in enumerate(records))
        return self._tree(nodes, None, location, header)

    def _tree(
        self,
        nodes: Iterable[tuple[str, str | None, list[dict[str, Any]]]],
        leaf: str | None,
        location: str,
        header: Header,
    ) -> Iterator[ReaderItem]:
        """Yield the visible thread, and the others if branches are imported.

        Args:
            nodes: id, id of the parent, and message records of each node, in order of time.
            leaf: id of the last visible node; None for the newest.
            location: start of the conversation in the input.
            header: returns the session header of a branch.
        """
        with MessageTree() as tree:
            for node_id, parent, records in nodes:
                tree.add(node_id, parent, location, records)
            visible = leaf if leaf is not None and leaf in tree else tree.newest_leaf()
            yield from session_threads(tree, visible, location, header, branches=self._branches)
