"""Account exports: a list of conversations, each with its messages as a tree."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.json_helpers import read_member
from omniagent_cli.formats.json_stream import BadDocument, JsonReader
from omniagent_cli.formats.readers.message_tree import MessageTree, session_threads
from omniagent_cli.formats.readers.records import text_of
from omniagent_cli.formats.types import Problem, ReaderItem, problem


class AccountExport(ABC):
    """Base of the readers of ``conversations.json``, one per vendor.

    Attributes:
        messages_key: key of the messages in a conversation.
        header_keys: further keys that are read; all others are skipped.
        id_keys: keys that may hold the conversation's id, in order of preference.
        leaf_key: key of the id of the last visible message.
    """

    messages_key: ClassVar[str]
    header_keys: ClassVar[frozenset[str]]
    id_keys: ClassVar[tuple[str, ...]]
    leaf_key: ClassVar[str]

    def __init__(self, *, branches: bool = False) -> None:
        self._branches = branches

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the visible thread of each conversation, and its other threads if branches are imported."""
        reader = JsonReader(source)
        try:
            if reader.peek() == "[":
                for _ in reader.array():
                    yield from self._conversation(reader)
            else:
                yield from self._conversation(reader)
        except BadDocument as error:
            yield Problem(error.location, error.message)

    def _conversation(self, reader: JsonReader) -> Iterator[ReaderItem]:
        first, location = reader.peek(), reader.location
        if first != "{":
            reader.skip()
            yield problem(location, "conversation must be an object")
            return
        fields: dict[str, Any] = {}
        document_error: BadDocument | None = None
        with MessageTree() as tree:
            try:
                for key in reader.members():
                    if key == self.messages_key:
                        yield from self._messages(reader, fields, tree)
                    elif key in self.header_keys:
                        yield from read_member(reader, key, fields)
                    else:
                        reader.skip()
            except BadDocument as error:
                document_error = error
            yield from self._threads(fields, tree, location)
        if document_error is not None:
            raise document_error

    def _threads(
        self, fields: dict[str, Any], tree: MessageTree, location: str
    ) -> Iterator[ReaderItem]:
        source_id = next(filter(None, (text_of(fields.get(key)) for key in self.id_keys)), "")
        if not source_id:
            yield problem(location, "conversation has no id; skipped")
            return
        visible = fields.get(self.leaf_key)
        leaf = visible if isinstance(visible, str) and visible in tree else tree.newest_leaf()
        header = partial(self._header, fields, source_id)
        yield from session_threads(tree, leaf, location, header, branches=self._branches)

    @abstractmethod
    def _messages(
        self, reader: JsonReader, fields: dict[str, Any], tree: MessageTree
    ) -> Iterator[Problem]:
        """Add the messages at the reader's position to the tree; yield those that cannot be read."""

    @abstractmethod
    def _header(self, fields: dict[str, Any], source_id: str, branch: str) -> dict[str, Any]:
        """Return the session header of a thread; `branch` is empty for the visible one."""
