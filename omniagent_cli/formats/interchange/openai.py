"""``openai``: chat-completions messages, as fine-tuning files hold them: one conversation a line.

The shape is the published one of the chat-completions API: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from omniagent_cli.formats.byte_source import Source
from omniagent_cli.formats.json_helpers import (
    documents,
    is_by_line,
    kept,
    list_entries,
    with_problems,
)
from omniagent_cli.formats.json_stream import BadDocument, JsonReader
from omniagent_cli.formats.readers.records import listed
from omniagent_cli.formats.types import (
    Entry,
    Incoming,
    MessageEntry,
    Outgoing,
    Problem,
    RecordEntry,
    problem,
)
from omniagent_cli.json_format import dump
from omniagent_cli.models import detached, inlined, published

_MESSAGE_KEYS = ("role", "content", "name", "tool_calls", "tool_call_id")
_ROLES = {"developer": "system", "function": "tool"}
"""Roles of newer and older versions of the API, and what they are here."""


class ChatCompletions:
    """One ``{"messages": [...]}`` a line; a bare list of messages and a document of one are read too."""

    def write(self, sessions: Iterable[Outgoing]) -> Iterator[bytes]:
        """Yield one line for each session; what the API does not know is left out."""
        for session in sessions:
            separator = b'{"messages":['
            for message in session.messages:
                yield separator + dump(_published(message, session.attachment))
                separator = b","
            yield b"]}\n" if separator == b"," else separator + b"]}\n"

    def read(self, source: Source) -> Iterator[Incoming | Problem]:
        """Yield one session for each conversation; none has an id."""
        return documents(source, _conversation, by_line=is_by_line(source.head()))


def _conversation(reader: JsonReader) -> Iterator[Incoming | Problem]:
    first, place = reader.peek(), reader.place
    incoming = Incoming(place, {}, iter(()))
    found: Iterable[Entry] | None = None
    if first == "[":
        found = list_entries(reader)
    else:
        members = reader.members()
        for key in members:
            if key == "messages":
                # What stands behind the messages belongs to the conversation too.
                found = chain(list_entries(reader), _rest(reader, members, incoming))
                break
            yield from _kept(reader, key, incoming)
    facts = incoming.header.get("metadata", {}).get("openai", {})
    if found is None and isinstance(facts.get("input"), dict):
        found = _compared(facts, incoming)
    if found is None:
        yield problem(place, "there is no list of messages")
        return
    incoming.entries = _entries(reader, found)
    yield from with_problems(incoming)


def _compared(facts: dict[str, Any], incoming: Incoming) -> Iterator[Entry]:
    """Yield the messages of an example for preference tuning: the question, and the answer that was liked better."""
    asked = facts.pop("input")
    for said in (*listed(asked.pop("messages", [])), *listed(facts.pop("preferred_output", []))):
        yield MessageEntry(incoming.place, said)
    facts |= asked


def _rest(reader: JsonReader, members: Iterator[str], incoming: Incoming) -> Iterator[Problem]:
    for key in members:
        yield from _kept(reader, key, incoming)


def _kept(reader: JsonReader, key: str, incoming: Incoming) -> Iterator[Problem]:
    """Keep a key beside the messages (``tools`` and the like) in the metadata."""
    found: dict[str, Any] = {}
    yield from kept(reader, key, found)
    if found:
        metadata = incoming.header.setdefault("metadata", {})
        metadata.setdefault("openai", {}).update(found)


def _entries(reader: JsonReader, found: Iterable[Entry]) -> Iterator[Entry]:
    try:
        for entry in found:
            if isinstance(entry, MessageEntry) and isinstance(entry.record, dict):
                own, attachments = _kept_apart(_ours(entry.record))
                yield MessageEntry(entry.place, own)
                for key, value in attachments.items():
                    yield RecordEntry(entry.place, "attachment", key, value)
            else:
                yield entry
    except BadDocument as error:
        yield Problem(error.place, error.what)
        reader.abandon()


def _published(message: dict[str, Any], attachment: Callable[[str], Any] | None) -> dict[str, Any]:
    """Return a message with the API's keys, attachments with their data in it, or by name where that is left out."""
    own = {key: message[key] for key in _MESSAGE_KEYS if key in message}
    if attachment is None:
        content, _ = inlined(own.get("content", ""), lambda _: None, why="left out of this export")
    else:
        content, _ = inlined(own.get("content", ""), attachment)
    return {**own, "content": published(content)}


def _kept_apart(message: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return a message with references in the place of data, and the attachments it refers to by SHA-256."""
    content = message.get("content")
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return message, {}
    content, attachments = detached(content)
    return {**message, "content": content}, attachments


def _ours(record: dict[str, Any]) -> dict[str, Any]:
    """Turn a message of any version of the API into a message record."""
    own = dict(record)
    role = own.get("role")
    if isinstance(role, str) and role in _ROLES:
        own["role"] = _ROLES[role]
        extra = own.get("extra")
        own["extra"] = {**(extra if isinstance(extra, dict) else {}), "role": role}
    call = own.pop("function_call", None)
    if call is not None and "tool_calls" not in own:
        own["tool_calls"] = [{"id": "", "type": "function", "function": call}]
    return own
