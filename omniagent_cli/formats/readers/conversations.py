"""Shared base of readers of JSON documents with one or several conversations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.json_helpers import is_json_lines, read_documents
from omniagent_cli.formats.json_stream import JsonReader, LargeContainer
from omniagent_cli.formats.json_values import BadValue
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
        """Return the object at the reader's position; an unreadable member is None, an unreadable element is left out."""
        root: dict[str, Any] = {}
        _NestedReading(reader, self.nested_keys, problems).read_into(root, reader.members())
        return root

    def _list(self, reader: JsonReader, problems: list[Problem]) -> list[Any]:
        """Return the list at the reader's position, without unreadable elements."""
        root: list[Any] = []
        _NestedReading(reader, self.nested_keys, problems).read_into(root, reader.array())
        return root

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
                try:
                    tree.add(node_id, parent, location, records)
                except InvalidRecord as error:
                    yield problem(location, f"message {node_id}: {error}")
                    tree.add(node_id, parent, location, [])
            visible = leaf if leaf is not None and leaf in tree else tree.newest_leaf()
            yield from session_threads(tree, visible, location, header, branches=self._branches)


_Container = dict[str, Any] | list[Any]


class _NestedReading:
    """Reading of a container whose parts under some keys are entered, at any depth.

    What such a part holds is read as one value each as long as that is possible, which is faster.
    """

    def __init__(
        self, reader: JsonReader, nested_keys: frozenset[str], problems: list[Problem]
    ) -> None:
        self._reader = reader
        self._nested_keys = nested_keys
        self._problems = problems
        self._enters_objects = False
        self._open: list[tuple[_Container, Iterator[str | None], bool]] = []

    def read_into(self, root: _Container, steps: Iterator[str | None]) -> None:
        """Read the container that the steps enter."""
        self._open.append((root, steps, isinstance(root, list)))
        while self._open:
            target, steps, is_nested = self._open[-1]
            try:
                key = next(steps)
            except StopIteration:
                self._open.pop()
                continue
            self._read_one(target, key, is_nested=is_nested)

    def _read_one(self, target: _Container, key: str | None, *, is_nested: bool) -> None:
        """Read a member or element; an object in a nested part may be entered."""
        reader = self._reader
        first, location = reader.peek(), reader.location
        may_enter = is_nested and first == "{"
        try:
            if key in self._nested_keys and first in ("{", "["):
                value = self._enter(first, is_nested=True)
            elif may_enter and self._enters_objects:
                value = self._enter(first, is_nested=False)
            else:
                value = reader.value(may_enter=may_enter)
        except LargeContainer:
            self._enters_objects = True
            value = self._enter(first, is_nested=False)
        except BadValue as error:
            self._problems.append(problem(location, error))
            if key is None:
                return
            value = None
        if isinstance(target, list):
            target.append(value)
        else:
            target[str(key)] = value

    def _enter(self, first: str, *, is_nested: bool) -> _Container:
        value: _Container = {} if first == "{" else []
        steps = self._reader.members() if first == "{" else self._reader.array()
        self._open.append((value, steps, is_nested))
        return value
