"""What the histories of other tools have in common on their way in: ids, times, turns, tool calls, thinking."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from omniagent_cli.errors import InvalidRecord, InvalidSessionId
from omniagent_cli.formats.types import Entry, MessageEntry, RecordEntry
from omniagent_cli.json_format import dump, format_time, parse_time
from omniagent_cli.models import check_session_id, detached

_LATEST_SECONDS = 253402300799  # the end of the year 9999
_MILLISECONDS_FROM = 1e11
"""A number of seconds this large is the year 5138; tools that write one count milliseconds."""

_ID_TAIL = 16
_MADE_ID = 11
_MAX_EXACT = 50_000
_BITS = 1 << 27
_MAX_JOINED = 8 * 1024 * 1024
"""How many characters of pieces become one answer; what says to be more is no answer of anybody."""
_ID_BYTES = 200
_MESSAGE_ID_LENGTH = 512


def header_of(
    format_name: str,
    source_id: str,
    *,
    title: Any = None,
    created: Any = None,
    updated: Any = None,
    model: Any = None,
    pinned: Any = False,
    archived: Any = False,
    branch: str = "",
    **facts: Any,
) -> dict[str, Any]:
    """Make the header of a session from what another tool knows about it.

    The id is the tool's name and its id there, so that the same conversation is the same session at each import;
    both stand in ``metadata.source`` as ``format`` and ``id``, with what else is worth keeping.

    Args:
        format_name: the key of `formats.FORMATS`.
        source_id: what the tool calls it.
        title: its name; anything but text with something in it is none.
        created: as `moment` takes it, like `updated`.
        updated: its last activity.
        model: the model's name there; it is not pinned, so that whoever is asked here can go on.
        pinned: the tool lists it first.
        archived: the tool hides it.
        branch: what tells a thread that is not the visible one from it.
        facts: more for ``metadata.source``; empty ones are left out.
    """
    session_id = own_id(format_name, f"{source_id}/{branch}" if branch else source_id)
    source = {"format": format_name, "id": source_id, "branch": branch, "model": model, **facts}
    metadata: dict[str, Any] = {"source": {k: v for k, v in source.items() if v not in (None, "")}}
    if branch:
        metadata["forked_from"] = own_id(format_name, source_id)
    if pinned is True and not branch:
        metadata["pinned"] = True
    if archived is True:
        metadata["archived"] = True
    header: dict[str, Any] = {"id": session_id, "metadata": metadata}
    if name := text_of(title).strip():
        header["title"] = " ".join(name.split())
    times = {"created_at": moment(created), "updated_at": moment(updated)}
    return header | {key: at for key, at in times.items() if at}


def own_id(format_name: str, source_id: str) -> str:
    """Return the session id for what another tool calls so; one that cannot be an id is cut, and told apart by a hash."""
    wanted = f"{format_name}-{source_id}"
    try:
        if len(wanted.encode()) <= _ID_BYTES and wanted == wanted.strip():
            return check_session_id(wanted)
    except (InvalidSessionId, UnicodeEncodeError):
        pass
    tail = blake2b(dump(source_id), digest_size=_ID_TAIL // 2).hexdigest()
    plain = "".join(
        c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in source_id[:40]
    )
    return f"{format_name}-{plain}-{tail}"


def moment(value: Any) -> str | None:
    """Return a time as RFC 3339 in UTC: from seconds or milliseconds since 1970, or from an ISO 8601 text.

    None for what is no time, or out of the range of years 1 to 9999.
    """
    if isinstance(value, bool) or value is None:
        return None
    try:
        if isinstance(value, int | float):
            seconds = value / 1000 if abs(value) >= _MILLISECONDS_FROM else value
            in_range = 0 < seconds <= _LATEST_SECONDS
            return format_time(datetime.fromtimestamp(seconds, UTC)) if in_range else None
        return format_time(parse_time(value))
    except (InvalidRecord, TypeError, ValueError, OverflowError):
        return None


def text_of(value: Any) -> str:
    """Return a value when it is text, else the empty text."""
    return value if isinstance(value, str) else ""


def object_of(value: Any) -> dict[str, Any]:
    """Return a value when it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> list[Any]:
    """Return a value when it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def objects_of(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list, and nothing of what is none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def said_of(value: Any) -> str:
    """Return text as it is, nothing for nothing, and anything else as JSON.

    Raises:
        InvalidRecord: it is nested too deeply.
    """
    if isinstance(value, str):
        return value
    return "" if value is None else dump(value).decode()


def picture(url: str, name: str = "") -> dict[str, Any]:
    """Make a content part of a picture; one whose data is not in the file is named instead."""
    if url.startswith("data:"):
        part: dict[str, Any] = {"type": "image_url", "image_url": {"url": url}}
        return part | ({"name": name} if name else {})
    return {"type": "text", "text": f"[image: {name or url.rpartition('/')[2] or 'unnamed'}]"}


def content_of(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Return parts as a content: as text where they are nothing else."""
    if all(part["type"] == "text" for part in parts):
        return "\n".join(filter(None, (part["text"] for part in parts)))
    return parts


def tool_call(call_id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    """Make a tool call; arguments that are no JSON object become one with the key ``input``."""
    if isinstance(arguments, str):
        text = arguments if _is_object(arguments) else dump({"input": arguments}).decode()
    else:
        text = dump(arguments if isinstance(arguments, dict) else {"input": arguments}).decode()
    function = {"name": text_of(name) or "tool", "arguments": text}
    return {"id": text_of(call_id), "type": "function", "function": function}


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def message(
    role: str,
    content: Any,
    *,
    id_: Any = None,
    at: Any = None,
    model: Any = None,
    thinking: str = "",
    extra: dict[str, Any] | None = None,
    **keys: Any,
) -> dict[str, Any]:
    """Make a message record; what is empty is left out."""
    extra = {**(extra or {}), **({"thinking": thinking} if thinking else {})}
    found = {
        "id": message_id(id_),
        "created_at": moment(at),
        "model": text_of(model),
        "extra": extra,
        **keys,
    }
    return {"role": role, "content": content} | {k: v for k, v in found.items() if v}


def message_id(found: Any) -> str:
    """Return what another tool calls a message, or a hash of it where no message can be called so."""
    wanted = text_of(found)
    if not wanted or (len(wanted) <= _MESSAGE_ID_LENGTH and wanted.isprintable()):
        return wanted
    return blake2b(dump(wanted), digest_size=_ID_TAIL).hexdigest()


_LAST_OF = ("model", "usage", "status")

ANSWER = "_answer"
"""Key of a record that says which answer it is a piece of; it is not imported."""


class Thread:
    """Puts the messages of one session in order on their way in.

    Pieces of one answer that follow each other (the same `ANSWER`) become one message again.
    Turns begin with each question; a message without a time has that of the one before it; one without an id gets one
    from what it says and what came before it, and an id that was there already is told apart by its number; thinking
    that stands by itself goes to the answer that follows, and a tool's result to the call before it when it names none.

    Args:
        began: the session's time, for messages before the first that has one.
    """

    def __init__(self, began: str | None = None) -> None:
        self._at = began
        self._turn = ""
        self._number = 0
        self._before = ""
        self._ids = _Seen()
        self._thinking: list[MessageEntry] = []
        self._thought = 0
        self._open_calls: OrderedDict[str, None] = OrderedDict()

    def entries(self, found: Iterable[Entry]) -> Iterator[Entry]:
        """Yield what is to be imported."""
        for entry in _whole(found):
            if isinstance(entry, MessageEntry):
                yield from self._taken(entry)
            else:
                yield entry
        yield from self._left()

    def _taken(self, entry: MessageEntry) -> Iterator[Entry]:
        own = {key: value for key, value in entry.record.items() if key != ANSWER}
        if _is_thinking(own):
            self._thinking.append(MessageEntry(entry.place, own))
            self._thought += len(own["extra"]["thinking"])
            if self._thought > _MAX_JOINED:
                yield from self._left()
            return
        if own["role"] == "assistant" and self._thinking:
            first = _joined(self._thinking).record["extra"]["thinking"]
            self._thinking, self._thought = [], 0
            thoughts = (first, own.get("extra", {}).get("thinking", ""))
            own["extra"] = {**own.get("extra", {}), "thinking": "\n\n".join(filter(None, thoughts))}
        yield from self._left()
        yield from self._placed(MessageEntry(entry.place, own))

    def _left(self) -> Iterator[Entry]:
        """Yield the thinking that no answer followed."""
        if self._thinking:
            entry = _joined(self._thinking)
            self._thinking, self._thought = [], 0
            yield from self._placed(entry)

    def _placed(self, entry: MessageEntry) -> Iterator[Entry]:
        own = entry.record
        if isinstance(own["content"], list):
            own["content"], attachments = detached(own["content"])
            for key, data in attachments.items():
                yield RecordEntry(entry.place, "attachment", key, data)
        self._identify(own)
        self._answer_calls(own)
        if own["role"] == "user" or not self._turn:
            self._turn = own["id"]
        own["turn_id"] = self._turn
        self._at = own.get("created_at") or self._at
        if self._at:
            own["created_at"] = self._at
        yield MessageEntry(entry.place, own)

    def _identify(self, own: dict[str, Any]) -> None:
        """Give it an id that is the same at each import."""
        self._number += 1
        wanted = own.get("id") or self._made_id(own)
        own["id"] = f"{wanted}#{self._number}" if self._ids.meets(wanted) else wanted
        self._before = own["id"]

    def _made_id(self, own: dict[str, Any]) -> str:
        said = [
            self._before,
            self._number,
            *(own.get(key) for key in ("role", "content", "tool_calls")),
        ]
        return blake2b(dump(said), digest_size=_MADE_ID).hexdigest()

    def _answer_calls(self, own: dict[str, Any]) -> None:
        for number, call in enumerate(own.get("tool_calls") or ()):
            call["id"] = call["id"] or f"{own['id']}-{number}"
            self._open_calls[call["id"]] = None
        if own["role"] != "tool":
            return
        call_id = own.get("tool_call_id") or next(iter(self._open_calls), "")
        self._open_calls.pop(call_id, None)
        if call_id:
            own["tool_call_id"] = call_id


class _Seen:
    """Tells which ids were there before, in bounded memory.

    From `_MAX_EXACT` ids on it may take a new one for an old one, once in millions: the id then gets a number that it
    would not have needed, at each import the same.
    """

    def __init__(self) -> None:
        self._exact: set[str] | None = set()
        self._bits = bytearray()

    def meets(self, wanted: str) -> bool:
        """Tell whether this id was there, and note that it is."""
        if self._exact is not None:
            was_there = wanted in self._exact
            self._exact.add(wanted)
            if len(self._exact) > _MAX_EXACT:
                self._bits = bytearray(_BITS // 8)
                for known in self._exact:
                    self._is_marked(known)
                self._exact = None
            return was_there
        return self._is_marked(wanted)

    def _is_marked(self, wanted: str) -> bool:
        """Mark the places of an id, and tell whether all of them were."""
        digest = blake2b(wanted.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        were = True
        for start in range(0, 16, 4):
            place = int.from_bytes(digest[start : start + 4], "little") % _BITS
            byte, bit = divmod(place, 8)
            were &= bool(self._bits[byte] >> bit & 1)
            self._bits[byte] |= 1 << bit
        return were


def _is_thinking(record: dict[str, Any]) -> bool:
    only = record["role"] == "assistant" and not record["content"] and not record.get("tool_calls")
    return only and set(record.get("extra") or {}) == {"thinking"}


def _whole(found: Iterable[Entry]) -> Iterator[Entry]:
    """Put the pieces of an answer together."""
    pieces: list[MessageEntry] = []
    size = 0
    for entry in found:
        answer = entry.record.get(ANSWER) if isinstance(entry, MessageEntry) else None
        if pieces and not (
            answer and pieces[0].record.get(ANSWER) == answer and size < _MAX_JOINED
        ):
            yield _joined(pieces)
            pieces, size = [], 0
        if isinstance(entry, MessageEntry):
            pieces.append(entry)
            size += len(str(entry.record)) if answer else 0
        else:
            yield entry
    if pieces:
        yield _joined(pieces)


def _joined(pieces: list[MessageEntry]) -> MessageEntry:
    """Return pieces of one answer as one; what only one of them can have is that of the last that has it."""
    if len(pieces) == 1:
        return pieces[0]
    records = [piece.record for piece in pieces]
    first: dict[str, Any] = records[0]
    calls = [call for record in records for call in record.get("tool_calls", ())]
    thoughts = [record.get("extra", {}).get("thinking", "") for record in records]
    extra = {key: value for record in records for key, value in record.get("extra", {}).items()}
    if any(thoughts):
        extra["thinking"] = "\n\n".join(filter(None, thoughts))
    whole = {
        **first,
        **{key: record[key] for record in records for key in _LAST_OF if key in record},
    }
    whole |= {"content": _contents([record["content"] for record in records])}
    whole |= {key: value for key, value in (("tool_calls", calls), ("extra", extra)) if value}
    return MessageEntry(pieces[0].place, whole)


def _contents(contents: list[Any]) -> Any:
    """Return several contents as one."""
    if all(isinstance(content, str) for content in contents):
        return "\n\n".join(filter(None, contents))
    parts = [[{"type": "text", "text": c}] if isinstance(c, str) else c for c in contents]
    return [part for some in parts for part in some if part.get("text") != ""]
