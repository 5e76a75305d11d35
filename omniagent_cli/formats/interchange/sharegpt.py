"""``sharegpt``: conversations of training sets: ``{"conversations": [{"from": "human", "value": "..."}]}``.

A list, or one conversation per line. The format has no specification; this reads what LLaMA-Factory accepts
(https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md): ``function_call`` with the call as JSON in
``value``, ``observation`` with its result, and ``system`` and ``tools`` beside the conversation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.formats.byte_source import ByteSource
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
from omniagent_cli.formats.json_values import BadValue, parse
from omniagent_cli.formats.readers.message_sequence import MessageSequence
from omniagent_cli.formats.readers.records import (
    as_text,
    message,
    object_of,
    session_header,
    text_of,
    tool_call,
)
from omniagent_cli.formats.types import (
    Entry,
    IncomingSession,
    MessageEntry,
    OutgoingSession,
    ReaderItem,
    problem,
)
from omniagent_cli.json_format import dump
from omniagent_cli.models import content_text

_LISTS = frozenset({"conversations", "conversation", "messages"})
_SENDERS = {"user": "human", "assistant": "gpt", "system": "system", "tool": "observation"}
_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "system": "system",
    "observation": "tool",
    "tool": "tool",
    "function_call": "call",
}


class ShareGpt:
    """List with one conversation per line; read in both layouts."""

    def write(self, sessions: Iterable[OutgoingSession]) -> Iterator[bytes]:
        """Yield the list; it contains only roles, texts and tool calls."""
        before = b"[\n"
        for session in sessions:
            yield before + b'{"id":' + dump(session.header.get("id", "")) + b',"conversations":['
            separator = b""
            for record in session.messages:
                for turn in _to_turns(record):
                    yield separator + dump(turn)
                    separator = b","
            yield b"]}"
            before = b",\n"
        yield b"[]\n" if before == b"[\n" else b"\n]\n"

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield one session per conversation; a missing id is derived from the content."""
        head = source.head()
        by_line = head.lstrip()[:1] == b"{" and is_json_lines(head)
        return read_documents(source, _document, by_line=by_line)


def _document(reader: JsonReader) -> Iterator[ReaderItem]:
    if reader.peek() != "[":
        yield from _conversation(reader)
        return
    for _ in reader.array():
        yield from _conversation(reader)


def _conversation(reader: JsonReader) -> Iterator[ReaderItem]:
    first, location = reader.peek(), reader.location
    if first != "{":
        reader.skip()
        yield problem(location, "conversation must be an object")
        return
    facts: dict[str, Any] = {}
    members = reader.members()
    for key in members:
        if key in _LISTS:
            incoming = IncomingSession(location, {}, iter(()))
            incoming.entries = MessageSequence().entries(
                chain(
                    _system_entry(facts, location),
                    _converted(until_damage(reader, list_entries(reader))),
                    _converted(_remaining_members(reader, members, facts, incoming)),
                )
            )
            _update_header(incoming, facts)
            yield from with_problems(incoming)
            return
        yield from read_member(reader, key, facts)
    yield problem(location, "no list of messages")


def _remaining_members(
    reader: JsonReader, members: Iterator[str], facts: dict[str, Any], incoming: IncomingSession
) -> Iterator[Entry]:
    for key in members:
        yield from read_member(reader, key, facts)
        if key in PREFERENCE_KEYS and key in facts:
            yield from preference_entries(key, facts.pop(key), incoming.location)
    _update_header(incoming, facts)


def _update_header(incoming: IncomingSession, facts: dict[str, Any]) -> None:
    """Set the session header from the keys read so far; an id may follow the messages."""
    source_key = facts.get("id")
    source_id = str(source_key) if isinstance(source_key, int) else text_of(source_key)
    if source_id:
        incoming.header.update(session_header("sharegpt", source_id, tools=facts.get("tools")))
    elif facts.get("tools"):
        incoming.header["metadata"] = {"source": {"format": "sharegpt", "tools": facts["tools"]}}


def _system_entry(facts: dict[str, Any], location: str) -> Iterator[Entry]:
    if prompt := text_of(facts.get("system")):
        yield MessageEntry(location, message("system", prompt))


def _converted(entries: Iterable[Entry]) -> Iterator[Entry]:
    for entry in entries:
        if isinstance(entry, MessageEntry):
            try:
                yield MessageEntry(entry.location, _to_record(entry.record))
            except InvalidRecord as error:
                yield problem(entry.location, error)
        else:
            yield entry


def _to_record(turn: Any) -> dict[str, Any]:
    """Return the message record of one turn.

    Raises:
        InvalidRecord: the turn is not valid.
    """
    if not isinstance(turn, dict):
        raise InvalidRecord("message must be an object")
    sender = text_of(turn.get("from")) or text_of(turn.get("role"))
    role = _ROLES.get(sender)
    value = turn.get("value", turn.get("content"))
    if role is None:
        raise InvalidRecord(f"unknown sender {sender!r}; must be one of {', '.join(_ROLES)}")
    if role == "call":
        return message("assistant", "", tool_calls=_calls(value))
    return message(role, as_text(value))


def _calls(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, str):
        try:
            value = parse(value)
        except BadValue:
            return [tool_call("", "tool", value)]
    calls = value if isinstance(value, list) else [value]
    return [
        tool_call("", call.get("name"), call.get("arguments", call.get("parameters")))
        for call in map(object_of, calls)
    ]


def _to_turns(record: dict[str, Any]) -> Iterator[dict[str, str]]:
    text = content_text(record.get("content") or "")
    calls = [call["function"] for call in record.get("tool_calls") or ()]
    if text or not calls:
        yield {"from": _SENDERS[record["role"]], "value": text}
    if calls:
        calls_json = [
            {"name": call["name"], "arguments": _arguments(call.get("arguments", ""))}
            for call in calls
        ]
        yield {
            "from": "function_call",
            "value": dump(calls_json[0] if len(calls_json) == 1 else calls_json).decode(),
        }


def _arguments(text: str) -> Any:
    """Return the arguments of a call as a JSON value, or as text if they are not valid JSON."""
    try:
        parsed = parse(text)
        dump(parsed)
    except (BadValue, InvalidRecord):
        return text
    return parsed
