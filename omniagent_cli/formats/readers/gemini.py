"""``gemini``: chats of the Gemini command line, ``~/.gemini/tmp/PROJECT/chats/session-*.jsonl`` or ``.json``, and saved ones.

A ``.jsonl`` file is a log: a message with an id that was there takes its place, ``$set`` changes what is known of the
session (or all of its messages), ``$rewindTo`` drops a message and all after it. Older files hold one object of the
same; what ``/chat save`` writes is the history as the API has it. The shapes are those of the program's recorder
(https://github.com/google-gemini/gemini-cli, ``chatRecordingService.ts``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.formats.byte_source import Source
from omniagent_cli.formats.json_helpers import is_by_line, kept, list_entries, objects_by_line
from omniagent_cli.formats.json_stream import BadDocument, JsonReader
from omniagent_cli.formats.readers.message_tree import Tree, threads
from omniagent_cli.formats.readers.records import (
    content_of,
    header_of,
    message,
    object_of,
    objects_of,
    picture,
    said_of,
    text_of,
    tool_call,
    usage_of,
)
from omniagent_cli.formats.types import Incoming, MessageEntry, Problem, problem

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
"""How the message begins that the program puts before what a person says."""

_CONTEXT_HEARD = re.compile(r"\s*Got it\. Thanks for the (?:additional )?context!\s*")


class Gemini:
    """Reads one session a file."""

    def __init__(self, *, branches: bool = False) -> None:
        self._branches = branches

    def read(self, source: Source) -> Iterator[Incoming | Problem]:
        """Yield the session as it stood at its end; what was taken back is another thread of it."""
        chat = _Chat()
        with chat.tree:
            for found in objects_by_line(source) if _is_log(source.head()) else _whole(source):
                if isinstance(found, Problem):
                    yield found
                    continue
                try:
                    chat.take(found)
                except InvalidRecord as error:
                    yield problem(found.place, error)
            if chat.facts.get("kind") != "subagent":
                yield from self._threads(chat, source)

    def _threads(self, chat: _Chat, source: Source) -> Iterator[Incoming | Problem]:
        name = Path(source.name).name
        name = name.removesuffix(".jsonl").removesuffix(".json")
        source_id = text_of(chat.facts.get("sessionId")) or name
        tag = unquote(name.removeprefix("checkpoint-")) if name.startswith("checkpoint-") else ""

        def header(branch: str) -> dict[str, Any]:
            return header_of(
                "gemini",
                source_id,
                title=text_of(chat.facts.get("summary")) or tag,
                created=chat.facts.get("startTime"),
                updated=chat.facts.get("lastUpdated"),
                model=chat.model,
                branch=branch,
                project=text_of(chat.facts.get("projectHash")),
            )

        yield from threads(chat.tree, chat.last, source.name, header, branches=self._branches)


def _is_log(head: bytes) -> bool:
    start = head.lstrip()
    first, _, _ = start.partition(b"\n")
    return start[:1] == b"{" and is_by_line(head) and not _LIST.search(first)


def _whole(source: Source) -> Iterator[MessageEntry | Problem]:
    """Yield what one document holds as the lines of a log would say it."""
    reader = JsonReader(source)
    place = reader.place
    try:
        if reader.peek() == "[":
            yield from list_entries(reader)
            return
        for key in reader.members():
            place = reader.place
            if key in ("messages", "history"):
                yield from list_entries(reader)
                continue
            change: dict[str, Any] = {}
            yield from kept(reader, key, change)
            if change:
                yield MessageEntry(place, {"$set": change})
    except BadDocument as error:
        yield Problem(error.place, error.what)


class _Chat:
    """The lines of a file, put together."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.facts: dict[str, Any] = {}
        self.model = ""
        self.last: str | None = None
        self._length = 0

    def take(self, entry: MessageEntry) -> None:
        """Take in a line.

        Raises:
            InvalidRecord: it is none, or holds what cannot be kept.
        """
        line = entry.record
        if not isinstance(line, dict):
            raise InvalidRecord("it is no object")
        change = line.get("$set")
        if isinstance(change, dict):
            self.facts.update({key: value for key, value in change.items() if key != "messages"})
            if "messages" in change:
                self._begin_again(objects_of(change["messages"]), entry.place)
        elif "$rewindTo" in line:
            self._rewind(text_of(line["$rewindTo"]))
        elif "sessionId" in line and "type" not in line:
            self.facts = {**line, "startTime": self.facts.get("startTime", line.get("startTime"))}
        else:
            self._said(line, entry.place)

    def _begin_again(self, messages: list[dict[str, Any]], place: str) -> None:
        """Take a list of messages for all there are.

        A session that is gone on with begins with such a list. It has the messages as the API does, without times and
        tokens: those that were there are left as they were told first.
        """
        self.tree.drop_notes("live")
        self.last, self._length = None, 0
        for said in messages:
            message_id = text_of(said.get("id"))
            if message_id in self.tree and not self.tree.noted("live", message_id):
                self.tree.move(message_id, self.last)
                self._go_on(message_id, message_id)
            else:
                self._said(said, place)

    def _rewind(self, message_id: str) -> None:
        """Drop a message and all after it; all of them when nobody knows it."""
        found = self.tree.noted("live", message_id)
        place = int(found.partition(" ")[0]) if found else 1
        while self._length >= place:
            self.tree.note("live", self.tree.noted("place", f"{self._length}"), "")
            self._length -= 1
        before = self.tree.noted("live", self.tree.noted("place", f"{self._length}"))
        self.last = before.partition(" ")[2] or None

    def _go_on(self, message_id: str, node: str) -> None:
        """Let a message be the newest: it has a place, and a node of the tree."""
        self._length += 1
        self.tree.note("live", message_id, f"{self._length} {node}")
        self.tree.note("place", f"{self._length}", message_id)
        self.last = node

    def _said(self, said: dict[str, Any], place: str) -> None:
        count = len(self.tree)
        message_id = text_of(said.get("id")) or f"message-{count}"
        records = self._records(said, text_of(said.get("id")))
        if live := self.tree.noted("live", message_id):
            self.tree.replace(live.partition(" ")[2], place, records)
            return
        node = message_id if message_id not in self.tree else f"{message_id}~{count}"
        self.tree.add(node, self.last, place, records)
        self._go_on(message_id, node)

    def _records(self, said: dict[str, Any], message_id: str) -> list[dict[str, Any]]:
        kind, at = text_of(said.get("type")), said.get("timestamp")
        role = _ROLES.get(text_of(said.get("role")) or kind)
        if role is None:
            return []
        content = said.get("displayContent") if role == "user" else None
        parts = _parts(content or said.get("content") or said.get("parts"))
        calls = [object_of(part["functionCall"]) for part in parts if "functionCall" in part]
        results = [
            object_of(part["functionResponse"]) for part in parts if "functionResponse" in part
        ]
        told = objects_of(said.get("toolCalls"))
        record = self._message(role, said, parts, message_id, told or calls)
        given = [one for one in told if one.get("result") is not None]
        results += [response for one in given for response in _responses(one)]
        records = [record] if record else []
        return records + [self._result(one, at) for one in results if self._is_new(one, message_id)]

    def _message(
        self,
        role: str,
        said: dict[str, Any],
        parts: list[dict[str, Any]],
        id_: str,
        calls: list[dict[str, Any]],
    ) -> dict[str, Any] | None:
        kept = [part for part in parts if not {"functionCall", "functionResponse"} & set(part)]
        content = content_of([_part(part) for part in kept if part.get("thought") is not True])
        if isinstance(content, str) and (_CONTEXT if role == "user" else _CONTEXT_HEARD).match(
            content
        ):
            return None
        thoughts = [text_of(part.get("text")) for part in kept if part.get("thought") is True]
        thinking = "\n\n".join(filter(None, map(_thought, objects_of(said.get("thoughts")))))
        thinking = thinking or "\n\n".join(filter(None, thoughts))
        if not (content or calls or thinking):
            return None
        name = text_of(said.get("model"))
        self.model = f"google:{name}" if name else self.model
        return message(
            role, content, id_=id_, at=said.get("timestamp"), model=self.model if name else "", thinking=thinking,
            usage=usage_of(object_of(said.get("tokens")), _USAGE),
            tool_calls=[tool_call(one.get("id"), one.get("name"), object_of(one.get("args"))) for one in calls],
        )  # fmt: skip

    def _is_new(self, response: dict[str, Any], message_id: str) -> bool:
        """Tell whether this result was not told with another message: the next one says it again."""
        call_id = text_of(response.get("id"))
        told = self.tree.noted("answered", call_id) if call_id else ""
        if call_id and not told:
            self.tree.note("answered", call_id, f"by {message_id}")
        return told in ("", f"by {message_id}")

    def _result(self, response: dict[str, Any], at: Any) -> dict[str, Any]:
        call_id = text_of(response.get("id"))
        return message(
            "tool", _response(response), id_=f"{call_id}-result" if call_id else "", at=at,
            name=text_of(response.get("name")), tool_call_id=call_id,
            failed=response.get("failed") is True,
        )  # fmt: skip


def _thought(thought: dict[str, Any]) -> str:
    lines = (text_of(thought.get("subject")), text_of(thought.get("description")))
    return "\n".join(filter(None, lines))


def _responses(call: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what came of a call as the API has it."""
    result = call.get("result")
    found = [part for part in objects_of(result) if "functionResponse" in part]
    made = [object_of(part["functionResponse"]) for part in found]
    if not made:
        texts = [text_of(part.get("text")) for part in objects_of(result)]
        text = "\n".join(filter(None, texts)) if isinstance(result, list) else said_of(result)
        made = [{"response": {"output": text}}]
    facts = {
        "id": call.get("id"),
        "name": call.get("name"),
        "failed": call.get("status") == "error",
    }
    return [{**one, **facts} for one in made[:1]]


def _response(found: dict[str, Any]) -> str:
    response = object_of(found.get("response"))
    return said_of(response.get("output", response.get("error", response))) if response else ""


def _parts(content: Any) -> list[dict[str, Any]]:
    """Return a content as parts: the API takes text, a part, or a list of either."""
    found = content if isinstance(content, list) else [content]
    parts = [{"text": one} if isinstance(one, str) else one for one in found]
    return objects_of(parts)


def _part(part: dict[str, Any]) -> dict[str, Any]:
    inline, file = object_of(part.get("inlineData")), object_of(part.get("fileData"))
    kind, data = text_of(inline.get("mimeType")), text_of(inline.get("data"))
    if kind.startswith("image/") and data:
        return picture(f"data:{kind};base64,{data}")
    if inline or file:
        name = text_of(file.get("fileUri")).rpartition("/")[2]
        return {"type": "text", "text": f"[file: {name or kind or 'unnamed'}]"}
    return {"type": "text", "text": text_of(part.get("text"))}
