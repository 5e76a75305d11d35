"""``gemini``: chats of the Gemini command line, ``~/.gemini/tmp/PROJECT/chats/session-*.jsonl`` or ``.json``, and saved chats.

A ``.jsonl`` file is a log: a message with a known id replaces it, ``$set`` changes session fields (or all messages),
``$rewindTo`` removes a message and all after it. Older files hold one object with the same fields; ``/chat save``
writes the history in the API's format. Source: the program's recorder
(https://github.com/google-gemini/gemini-cli, ``chatRecordingService.ts``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.json_helpers import (
    feed_lines,
    is_json_lines,
    line_objects,
    list_entries,
    read_member,
)
from omniagent_cli.formats.json_stream import BadDocument, JsonReader
from omniagent_cli.formats.readers.message_tree import MessageTree, session_threads
from omniagent_cli.formats.readers.records import (
    as_text,
    image_part,
    merge_parts,
    message,
    object_of,
    objects_of,
    session_header,
    text_of,
    tool_call,
    usage_of,
)
from omniagent_cli.formats.types import MessageEntry, Problem, ReaderItem

_LIST = re.compile(rb'"(?:messages|history)"\s*:\s*\[')
_ROLES = {"user": "user", "model": "assistant", "gemini": "assistant"}
_USAGE = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cached": "cache_read_tokens",
    "thoughts": "reasoning_tokens",
}


_CONTEXT = re.compile(
    r"\s*(?:<session_context>|This is the Gemini CLI\. We are setting up the context)"
)
"""Start of the message that the program inserts before the user's first one."""

_CONTEXT_REPLY = re.compile(r"\s*Got it\. Thanks for the (?:additional )?context!\s*")


class Gemini:
    """Reader of one session per file."""

    def __init__(self, *, branches: bool = False) -> None:
        self._branches = branches

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the session at its end; rewound messages are another thread of it."""
        chat = _Chat()
        with chat.tree:
            lines = line_objects(source) if _is_log(source.head()) else _document_lines(source)
            yield from feed_lines(lines, chat.add_line)
            if chat.fields.get("kind") != "subagent":
                yield from self._threads(chat, source)

    def _threads(self, chat: _Chat, source: ByteSource) -> Iterator[ReaderItem]:
        name = Path(source.name).name
        name = name.removesuffix(".jsonl").removesuffix(".json")
        source_id = text_of(chat.fields.get("sessionId")) or name
        tag = unquote(name.removeprefix("checkpoint-")) if name.startswith("checkpoint-") else ""

        def header(branch: str) -> dict[str, Any]:
            return session_header(
                "gemini",
                source_id,
                title=text_of(chat.fields.get("summary")) or tag,
                created=chat.fields.get("startTime"),
                updated=chat.fields.get("lastUpdated"),
                model=chat.model,
                branch=branch,
                project=text_of(chat.fields.get("projectHash")),
            )

        yield from session_threads(
            chat.tree, chat.last, source.name, header, branches=self._branches
        )


def _is_log(head: bytes) -> bool:
    start = head.lstrip()
    first, _, _ = start.partition(b"\n")
    return start[:1] == b"{" and is_json_lines(head) and not _LIST.search(first)


def _document_lines(source: ByteSource) -> Iterator[MessageEntry | Problem]:
    """Yield the content of a single document as equivalent log lines."""
    reader = JsonReader(source)
    location = reader.location
    try:
        if reader.peek() == "[":
            yield from list_entries(reader)
            return
        for key in reader.members():
            location = reader.location
            if key in ("messages", "history"):
                yield from list_entries(reader)
                continue
            change: dict[str, Any] = {}
            yield from read_member(reader, key, change)
            if change:
                yield MessageEntry(location, {"$set": change})
    except BadDocument as error:
        yield Problem(error.location, error.message)


class _Chat:
    """Builder of a session from the lines of a file."""

    def __init__(self) -> None:
        self.tree = MessageTree()
        self.fields: dict[str, Any] = {}
        self.model = ""
        self.last: str | None = None
        self._length = 0

    def add_line(self, entry: MessageEntry) -> None:
        """Add a line.

        Raises:
            InvalidRecord: the line is not an object, or contains an unsupported value.
        """
        line = entry.record
        if not isinstance(line, dict):
            raise InvalidRecord("not an object")
        change = line.get("$set")
        if isinstance(change, dict):
            self.fields.update({key: value for key, value in change.items() if key != "messages"})
            if "messages" in change:
                self._replace_messages(objects_of(change["messages"]), entry.location)
        elif "$rewindTo" in line:
            self._rewind(text_of(line["$rewindTo"]))
        elif "sessionId" in line and "type" not in line:
            self.fields = {**line, "startTime": self.fields.get("startTime", line.get("startTime"))}
        else:
            self._add_message(line, entry.location)

    def _replace_messages(self, messages: list[dict[str, Any]], location: str) -> None:
        """Replace all messages by a list.

        A resumed session starts with such a list, in the API's format without times and tokens; messages that are
        already known keep their first version.
        """
        self.tree.drop_notes("live")
        self.last, self._length = None, 0
        for raw in messages:
            message_id = text_of(raw.get("id"))
            if message_id in self.tree and not self.tree.get_note("live", message_id):
                self.tree.move(message_id, self.last)
                self._append(message_id, message_id)
            else:
                self._add_message(raw, location)

    def _rewind(self, message_id: str) -> None:
        """Remove a message and all after it; all messages if the id is unknown."""
        live = self.tree.get_note("live", message_id)
        position = int(live.partition(" ")[0]) if live else 1
        while self._length >= position:
            self.tree.set_note("live", self.tree.get_note("place", f"{self._length}"), "")
            self._length -= 1
        before = self.tree.get_note("live", self.tree.get_note("place", f"{self._length}"))
        self.last = before.partition(" ")[2] or None

    def _append(self, message_id: str, node: str) -> None:
        """Append a message, with its position and its node of the tree."""
        self._length += 1
        self.tree.set_note("live", message_id, f"{self._length} {node}")
        self.tree.set_note("place", f"{self._length}", message_id)
        self.last = node

    def _add_message(self, raw: dict[str, Any], location: str) -> None:
        count = len(self.tree)
        message_id = text_of(raw.get("id")) or f"message-{count}"
        records = self._records(raw, text_of(raw.get("id")))
        if live := self.tree.get_note("live", message_id):
            self.tree.replace(live.partition(" ")[2], location, records)
            return
        node = message_id if message_id not in self.tree else f"{message_id}~{count}"
        self.tree.add(node, self.last, location, records)
        self._append(message_id, node)

    def _records(self, raw: dict[str, Any], message_id: str) -> list[dict[str, Any]]:
        kind, at = text_of(raw.get("type")), raw.get("timestamp")
        role = _ROLES.get(text_of(raw.get("role")) or kind)
        if role is None:
            return []
        content = raw.get("displayContent") if role == "user" else None
        parts = _parts(content or raw.get("content") or raw.get("parts"))
        calls = [object_of(part["functionCall"]) for part in parts if "functionCall" in part]
        results = [
            object_of(part["functionResponse"]) for part in parts if "functionResponse" in part
        ]
        listed_calls = objects_of(raw.get("toolCalls"))
        record = self._message(role, raw, parts, message_id, listed_calls or calls)
        finished = [one for one in listed_calls if one.get("result") is not None]
        results += [response for one in finished for response in _responses(one)]
        records = [record] if record else []
        return records + [self._result(one, at) for one in results if self._is_new(one, message_id)]

    def _message(
        self,
        role: str,
        raw: dict[str, Any],
        parts: list[dict[str, Any]],
        id_: str,
        calls: list[dict[str, Any]],
    ) -> dict[str, Any] | None:
        read_member = [
            part for part in parts if not {"functionCall", "functionResponse"} & set(part)
        ]
        content = merge_parts(
            [_part(part) for part in read_member if part.get("thought") is not True]
        )
        if isinstance(content, str) and (_CONTEXT if role == "user" else _CONTEXT_REPLY).match(
            content
        ):
            return None
        thoughts = [
            text_of(part.get("text")) for part in read_member if part.get("thought") is True
        ]
        thinking = "\n\n".join(filter(None, map(_thought_text, objects_of(raw.get("thoughts")))))
        thinking = thinking or "\n\n".join(filter(None, thoughts))
        if not (content or calls or thinking):
            return None
        name = text_of(raw.get("model"))
        self.model = f"google:{name}" if name else self.model
        return message(
            role, content, id_=id_, at=raw.get("timestamp"), model=self.model if name else "", thinking=thinking,
            usage=usage_of(object_of(raw.get("tokens")), _USAGE),
            tool_calls=[tool_call(one.get("id"), one.get("name"), object_of(one.get("args"))) for one in calls],
        )  # fmt: skip

    def _is_new(self, response: dict[str, Any], message_id: str) -> bool:
        """Return True if this result was not read with another message; the following message repeats it."""
        call_id = text_of(response.get("id"))
        listed_calls = self.tree.get_note("answered", call_id) if call_id else ""
        if call_id and not listed_calls:
            self.tree.set_note("answered", call_id, f"by {message_id}")
        return listed_calls in ("", f"by {message_id}")

    def _result(self, response: dict[str, Any], at: Any) -> dict[str, Any]:
        call_id = text_of(response.get("id"))
        return message(
            "tool", _response_text(response), id_=f"{call_id}-result" if call_id else "", at=at,
            name=text_of(response.get("name")), tool_call_id=call_id,
            failed=response.get("failed") is True,
        )  # fmt: skip


def _thought_text(thought: dict[str, Any]) -> str:
    lines = (text_of(thought.get("subject")), text_of(thought.get("description")))
    return "\n".join(filter(None, lines))


def _responses(call: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the responses of a call in the API's format."""
    result = call.get("result")
    response_parts = [part for part in objects_of(result) if "functionResponse" in part]
    responses = [object_of(part["functionResponse"]) for part in response_parts]
    if not responses:
        texts = [text_of(part.get("text")) for part in objects_of(result)]
        text = "\n".join(filter(None, texts)) if isinstance(result, list) else as_text(result)
        responses = [{"response": {"output": text}}]
    fields = {
        "id": call.get("id"),
        "name": call.get("name"),
        "failed": call.get("status") == "error",
    }
    return [{**one, **fields} for one in responses[:1]]


def _response_text(part: dict[str, Any]) -> str:
    response = object_of(part.get("response"))
    return as_text(response.get("output", response.get("error", response))) if response else ""


def _parts(content: Any) -> list[dict[str, Any]]:
    """Return a content as parts: the API accepts text, a part, or a list of either."""
    items = content if isinstance(content, list) else [content]
    parts = [{"text": one} if isinstance(one, str) else one for one in items]
    return objects_of(parts)


def _part(part: dict[str, Any]) -> dict[str, Any]:
    inline, file = object_of(part.get("inlineData")), object_of(part.get("fileData"))
    kind, data = text_of(inline.get("mimeType")), text_of(inline.get("data"))
    if kind.startswith("image/") and data:
        return image_part(f"data:{kind};base64,{data}")
    if inline or file:
        name = text_of(file.get("fileUri")).rpartition("/")[2]
        return {"type": "text", "text": f"[file: {name or kind or 'unnamed'}]"}
    return {"type": "text", "text": text_of(part.get("text"))}
