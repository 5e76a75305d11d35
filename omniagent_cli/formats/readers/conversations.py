"""Shared base of readers of JSON documents with one or several conversations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.json_helpers import is_json_lines, list_entries, read_documents
from omniagent_cli.formats.json_stream import BadValue, JsonReader
from omniagent_cli.formats.readers.message_tree import MessageTree, session_threads
from omniagent_cli.formats.readers.records import (
    file_time,
    list_of,
    object_of,
    session_header,
    text_of,
)
from omniagent_cli.formats.types import Problem, ReaderItem, problem

Header = Callable[[str], dict[str, Any]]
"""Returns the session header of a branch; the visible thread has an empty name."""


class ConversationReader(ABC):
    """Reader of documents that hold a conversation, a list of conversations, or an object with such a list.

    One conversation is in memory at a time.

    Attributes:
        format_name: a key of `formats.FORMATS`.
        list_key: key of the list of conversations in an object; empty if each object is a conversation.
        nested_keys: keys whose lists and objects are read element by element, so that an invalid one costs only itself.
    """

    format_name: ClassVar[str]
    list_key: ClassVar[str] = ""
    nested_keys: ClassVar[frozenset[str]] = frozenset()

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
        first, location = reader.peek(), reader.location
        if first != "{":
            reader.skip()
            yield problem(location, "conversation must be an object")
            return
        problems: list[Problem] = []
        raw = self._members(reader, problems)
        yield from problems
        try:
            yield from self._conversation(raw, location)
        except InvalidRecord as error:
            yield problem(location, error)

    def _members(self, reader: JsonReader, problems: list[Problem]) -> dict[str, Any]:
        """Return the object at the reader's position; an unreadable member is None."""
        fields: dict[str, Any] = {}
        for key in reader.members():
            first, location = reader.peek(), reader.location
            try:
                if key not in self.nested_keys or first not in ("{", "["):
                    fields[key] = reader.value()
                elif first == "{":
                    fields[key] = self._members(reader, problems)
                else:
                    fields[key] = self._list(reader, problems)
            except BadValue as error:
                fields[key] = None
                problems.append(problem(location, error))
        return fields

    def _list(self, reader: JsonReader, problems: list[Problem]) -> list[Any]:
        """Return the list at the reader's position, without unreadable elements."""
        found = []
        for entry in list_entries(reader):
            if isinstance(entry, Problem):
                problems.append(entry)
            else:
                found.append(entry.record)
        return found

    @abstractmethod
    def _conversation(self, raw: dict[str, Any], location: str) -> Iterator[ReaderItem]:
        """Yield the sessions of a conversation.

        Raises:
            InvalidRecord: the conversation contains an unsupported value.
        """

    def _header(self, source_id: str, **facts: Any) -> Header:
        """Return the headers of a conversation; for `facts` see `records.session_header`."""
        facts["created"] = facts.get("created") or file_time(self._source)

        def header(branch: str) -> dict[str, Any]:
            return session_header(self.format_name, source_id, branch=branch, **facts)

        return header

    def _thread(
        self, records: Iterable[dict[str, Any]], location: str, header: Header
    ) -> Iterator[ReaderItem]:
        """Yield the session of message records in order."""
        nodes = ((f"{n}", f"{n - 1}" if n else None, [record]) for n, record in enumerate(records))
        return self._tree(nodes, None, location, header)

    def _mapping(
        self, mapping: dict[str, Any], parent_key: str, children_key: str
    ) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
        """Yield id, id of the parent, and object of each node; an unreadable node gets the parent that lists it."""
        parents = {
            child: key
            for key, node in mapping.items()
            for child in list_of(object_of(node).get(children_key))
            if isinstance(child, str)
        }
        for key, node in mapping.items():
            parent = text_of(object_of(node).get(parent_key)) or parents.get(key)
            yield key, parent, object_of(node)

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
