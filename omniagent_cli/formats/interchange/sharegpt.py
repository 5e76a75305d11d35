"""``sharegpt``: conversations as sets for training hold them: ``{"conversations": [{"from": "human", "value": "..."}]}``.

A list of them, or one a line. There is no authority for the form; this is what the readers of such sets accept, such as
LLaMA-Factory (https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md): ``function_call`` with the call as
JSON in ``value``, ``observation`` with its result, a ``system`` prompt and ``tools`` beside the conversation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.formats.byte_source import Source
from omniagent_cli.formats.json_helpers import (
    documents,
    is_by_line,
    kept,
    list_entries,
    with_problems,
)
from omniagent_cli.formats.json_stream import BadDocument, BadValue, JsonReader, parse
from omniagent_cli.formats.readers.message_sequence import Thread
from omniagent_cli.formats.readers.records import (
    header_of,
    message,
    object_of,
    said_of,
    text_of,
    tool_call,
)
from omniagent_cli.formats.types import Entry, Incoming, MessageEntry, Outgoing, Problem, problem
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
    """One conversation a line in both directions; written as a list, so that a file is also one JSON document."""

    def write(self, sessions: Iterable[Outgoing]) -> Iterator[bytes]:
        """Yield a list with a conversation on each line; it has roles, texts and tool calls, and nothing else."""
        before = b"[\n"
        for session in sessions:
            yield before + b'{"id":' + dump(session.header.get("id", "")) + b',"conversations":['
            separator = b""
            for record in session.messages:
                for said in _said(record):
                    yield separator + dump(said)
                    separator = b","
            yield b"]}"
            before = b",\n"
        yield b"[]\n" if before == b"[\n" else b"\n]\n"

    def read(self, source: Source) -> Iterator[Incoming | Problem]:
        """Yield one session for each conversation; one without an id gets one from its content."""
        head = source.head()
        by_line = head.lstrip()[:1] == b"{" and is_by_line(head)
        return documents(source, _document, by_line=by_line)


def _document(reader: JsonReader) -> Iterator[Incoming | Problem]:
    if reader.peek() != "[":
        yield from _conversation(reader)
        return
    for _ in reader.array():
        yield from _conversation(reader)


def _conversation(reader: JsonReader) -> Iterator[Incoming | Problem]:
    first, place = reader.peek(), reader.place
    if first != "{":
        reader.skip()
        yield problem(place, "a conversation is an object")
        return
    facts: dict[str, Any] = {}
    members = reader.members()
    for key in members:
        if key in _LISTS:
            incoming = Incoming(place, {}, iter(()))
            found = chain(_system(facts, place), _entries(reader))
            incoming.entries = chain(
                Thread().entries(found), _rest(reader, members, facts, incoming)
            )
            _head(incoming, facts)
            yield from with_problems(incoming)
            return
        yield from kept(reader, key, facts)
    yield problem(place, "there is no list of messages")


def _rest(
    reader: JsonReader, members: Iterator[str], facts: dict[str, Any], incoming: Incoming
) -> Iterator[Problem]:
    for key in members:
        yield from kept(reader, key, facts)
    _head(incoming, facts)


def _head(incoming: Incoming, facts: dict[str, Any]) -> None:
    """Give the session what is known of it by now; an id may stand behind the messages."""
    found = facts.get("id")
    source_id = str(found) if isinstance(found, int) else text_of(found)
    if source_id:
        incoming.header.update(header_of("sharegpt", source_id, tools=facts.get("tools")))
    elif facts.get("tools"):
        incoming.header["metadata"] = {"source": {"format": "sharegpt", "tools": facts["tools"]}}


def _system(facts: dict[str, Any], place: str) -> Iterator[Entry]:
    if prompt := text_of(facts.get("system")):
        yield MessageEntry(place, message("system", prompt))


def _entries(reader: JsonReader) -> Iterator[Entry]:
    try:
        for entry in list_entries(reader):
            if isinstance(entry, MessageEntry):
                try:
                    yield MessageEntry(entry.place, _record(entry.record))
                except InvalidRecord as error:
                    yield problem(entry.place, error)
            else:
                yield entry
    except BadDocument as error:
        yield Problem(error.place, error.what)
        reader.abandon()


def _record(said: Any) -> dict[str, Any]:
    """Return the message record of one entry.

    Raises:
        InvalidRecord: it is none.
    """
    if not isinstance(said, dict):
        raise InvalidRecord("a message is an object")
    sender = text_of(said.get("from")) or text_of(said.get("role"))
    role = _ROLES.get(sender)
    value = said.get("value", said.get("content"))
    if role is None:
        raise InvalidRecord(f"nobody is called {sender!r}; known are {', '.join(_ROLES)}")
    if role == "call":
        return message("assistant", "", tool_calls=_calls(value))
    return message(role, said_of(value))


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


def _said(record: dict[str, Any]) -> Iterator[dict[str, str]]:
    text = content_text(record.get("content") or "")
    calls = [call["function"] for call in record.get("tool_calls") or ()]
    if text or not calls:
        yield {"from": _SENDERS[record["role"]], "value": text}
    if calls:
        shown = [
            {"name": call["name"], "arguments": _arguments(call.get("arguments", ""))}
            for call in calls
        ]
        yield {
            "from": "function_call",
            "value": dump(shown[0] if len(shown) == 1 else shown).decode(),
        }


def _arguments(text: str) -> Any:
    """Return the arguments of a call as JSON, or as the text they are where that is none that can be written."""
    try:
        found = parse(text)
        dump(found)
    except (BadValue, InvalidRecord):
        return text
    return found
