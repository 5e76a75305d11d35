"""``openai``: Chat Completions messages as in fine-tuning files, one conversation per line.

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.interchange.call_order import in_call_order
from omniagent_cli.formats.interchange.preferences import PREFERENCE_KEYS, preference_entries
from omniagent_cli.formats.json_helpers import (
    is_json_lines,
    list_entries,
    read_documents,
    read_member,
    until_damage,
    with_problems,
)
from omniagent_cli.formats.json_stream import JsonReader
from omniagent_cli.formats.key_paths import key_paths
from omniagent_cli.formats.readers.records import list_of, text_of
from omniagent_cli.formats.types import (
    Entry,
    IncomingSession,
    MessageEntry,
    OutgoingSession,
    Problem,
    ReaderItem,
    RecordEntry,
    problem,
)
from omniagent_cli.json_format import dump
from omniagent_cli.models import detached, inlined, published

_MESSAGE_KEYS = ("role", "content", "name", "tool_calls", "tool_call_id")
_ROLES = {"developer": "system", "function": "tool"}
"""Roles of other API versions and their equivalents."""


_TEXT_TYPES = frozenset({"text", "input_text", "output_text"})


class ChatCompletions:
    """One ``{"messages": [...]}`` per line; a bare list of messages and a single document are read too."""

    def write(self, sessions: Iterable[OutgoingSession]) -> Iterator[bytes]:
        """Yield one line per session, a valid request; keys unknown to the API are omitted."""
        for session in sessions:
            separator = b'{"messages":['
            for message in in_call_order(session.messages):
                yield separator + dump(_to_api(message, session.attachment))
                separator = b","
            yield b"]}\n" if separator == b"," else separator + b"]}\n"

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield one session per conversation, without ids."""
        head = source.head()
        is_list = head.lstrip()[:1] == b"[" and "messages" in key_paths(head)
        read = _conversations if is_list else _conversation
        return read_documents(source, read, by_line=is_json_lines(head))


def _conversations(reader: JsonReader) -> Iterator[ReaderItem]:
    for _ in reader.array():
        yield from _conversation(reader)


def _conversation(reader: JsonReader) -> Iterator[ReaderItem]:
    first, location = reader.peek(), reader.location
    incoming = IncomingSession(location, {}, iter(()))
    entries: Iterable[Entry] | None = None
    if first == "[":
        entries = list_entries(reader)
    else:
        members = reader.members()
        for key in members:
            if key == "messages":
                # Keys after the messages belong to the conversation too.
                entries = chain(list_entries(reader), _remaining_members(reader, members, incoming))
                break
            yield from _read_extra(reader, key, incoming)
    facts = incoming.header.get("metadata", {}).get("openai", {})
    if entries is None and isinstance(facts.get("input"), dict):
        entries = _preference_messages(facts, incoming)
    if entries is None:
        yield problem(location, "no list of messages")
        return
    incoming.entries = _entries(reader, entries)
    yield from with_problems(incoming)


def _preference_messages(facts: dict[str, Any], incoming: IncomingSession) -> list[Entry]:
    """Return the messages of a preference-tuning example: the prompt and the preferred answer."""
    prompt = facts.pop("input")
    records = (
        *list_of(prompt.pop("messages", [])),
        *list_of(facts.pop("preferred_output", [])),
    )
    facts |= prompt
    return [MessageEntry(incoming.location, record) for record in records]


def _remaining_members(
    reader: JsonReader, members: Iterator[str], incoming: IncomingSession
) -> Iterator[Entry]:
    """Yield the preferred answer of a preference set; read other keys into the metadata."""
    for key in members:
        if key not in PREFERENCE_KEYS:
            yield from _read_extra(reader, key, incoming)
            continue
        answers: dict[str, Any] = {}
        yield from read_member(reader, key, answers)
        yield from preference_entries(key, answers.get(key), incoming.location)


def _read_extra(reader: JsonReader, key: str, incoming: IncomingSession) -> Iterator[Problem]:
    """Read a key beside the messages, such as ``tools``, into the metadata."""
    entries: dict[str, Any] = {}
    yield from read_member(reader, key, entries)
    if entries:
        metadata = incoming.header.setdefault("metadata", {})
        metadata.setdefault("openai", {}).update(entries)


def _entries(reader: JsonReader, entries: Iterable[Entry]) -> Iterator[Entry]:
    for entry in until_damage(reader, entries):
        if isinstance(entry, MessageEntry) and isinstance(entry.record, dict):
            record, attachments = _detach_attachments(_to_record(entry.record))
            yield MessageEntry(entry.location, record)
            for key, value in attachments.items():
                yield RecordEntry(entry.location, "attachment", key, value)
        else:
            yield entry


def _to_api(message: dict[str, Any], attachment: Callable[[str], Any] | None) -> dict[str, Any]:
    """Return a message with the API's keys; attachments are inlined, or named if omitted from the export."""
    record = {key: message[key] for key in _MESSAGE_KEYS if key in message}
    if attachment is None:
        content, _ = inlined(
            record.get("content", ""), lambda _: None, why="left out of this export"
        )
    else:
        content, _ = inlined(record.get("content", ""), attachment)
    return {**record, "content": published(content)}


def _detach_attachments(
    message: dict[str, Any],
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return a message with references instead of data, and its attachments by SHA-256."""
    content = message.get("content")
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return message, {}
    content, attachments = detached(content)
    return {**message, "content": content}, attachments


def _to_record(record: dict[str, Any]) -> dict[str, Any]:
    """Convert a message of any API version to a message record."""
    record = dict(record)
    if isinstance(record.get("content"), list):
        record["content"] = [_part(part) for part in record["content"]]
    role = record.get("role")
    if isinstance(role, str) and role in _ROLES:
        record["role"] = _ROLES[role]
        extra = record.get("extra")
        record["extra"] = {**(extra if isinstance(extra, dict) else {}), "role": role}
    call = record.pop("function_call", None)
    if call is not None and "tool_calls" not in record:
        record["tool_calls"] = [{"id": "", "type": "function", "function": call}]
    return record


def _part(part: Any) -> Any:
    """Return a content part; text parts of other APIs become text parts of this one."""
    if not isinstance(part, dict) or text_of(part.get("type")) not in _TEXT_TYPES or ("text" in part and part["type"] == "text"):  # fmt: skip
        return part
    return {"type": "text", "text": text_of(part.get("text", part.get("value")))}
