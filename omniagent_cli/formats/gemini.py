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

from omniagent_cli.formats.elements import is_by_line, list_entries, objects_by_line
from omniagent_cli.formats.exchange import Incoming, MessageEntry, Problem, problem
from omniagent_cli.formats.foreign import (
    content_of,
    header_of,
    message,
    object_of,
    objects_of,
    picture,
    said_of,
    text_of,
    tool_call,
)  # fmt: skip
from omniagent_cli.formats.incremental import BadDocument, BadValue, JsonReader
from omniagent_cli.formats.source import Source
from omniagent_cli.formats.tree import Tree, threads

_LIST = re.compile(rb'"(?:messages|history)"\s*:\s*\[')
_ROLES = {"user": "user", "model": "assistant"}
_USAGE = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cached": "cache_read_tokens",
    "thoughts": "reasoning_tokens",
}


class Gemini:
    """Reads one session a file."""

    def read(self, source: Source) -> Iterator[Incoming | Problem]:
        """Yield the session as it stood at its end."""
        chat = _Chat()
        with chat.tree:
            for found in objects_by_line(source) if _is_log(source.head()) else _whole(source):
                if isinstance(found, Problem):
                    yield found
                elif isinstance(found.record, dict):
                    chat.take(found)
                else:
                    yield problem(found.place, "it is no object")
            name = Path(source.name).name
            saved = name.startswith("checkpoint-")
            source_id = text_of(chat.facts.get("sessionId")) or name.removesuffix(
                ".json"
            ).removesuffix(".jsonl")

            def header(branch: str) -> dict[str, Any]:
                return header_of(
                    "gemini",
                    source_id,
                    title=text_of(chat.facts.get("summary"))
                    or (unquote(source_id[11:]) if saved else ""),
                    created=chat.facts.get("startTime"),
                    updated=chat.facts.get("lastUpdated"),
                    model=chat.model,
                    branch=branch,
                    project=chat.facts.get("projectHash"),
                )

            yield from threads(chat.tree, chat.last, source.name, header, branches=False)


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
            try:
                value = reader.value()
            except BadValue as error:
                yield problem(place, f"{key!r} cannot be read: {error}")
            else:
                yield MessageEntry(place, {"$set": {key: value}})
    except BadDocument as error:
        yield Problem(error.place, error.what)


class _Chat:
    """The lines of a file, put together."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.facts: dict[str, Any] = {}
        self.model = ""
        self.last: str | None = None
        self._number = 0

    def take(self, entry: MessageEntry) -> None:
        """Take in a line."""
        line = entry.record
        change = line.get("$set")
        if isinstance(change, dict):
            self.facts.update({key: value for key, value in change.items() if key != "messages"})
            if "messages" in change:
                self.last = None
                for said in objects_of(change["messages"]):
                    self._said(said, entry.place)
        elif "$rewindTo" in line:
            self._rewind(line["$rewindTo"])
        elif "sessionId" in line and "type" not in line:
            self.facts.update(line)
        else:
            self._said(line, entry.place)

    def _rewind(self, node_id: Any) -> None:
        thread = self.tree.thread(self.last)
        place = thread.index(node_id) if node_id in thread else 0
        self.last = thread[place - 1] if place else None

    def _said(self, said: dict[str, Any], place: str) -> None:
        self._number += 1
        node_id = text_of(said.get("id")) or f"message-{self._number}"
        records = self._records(said, node_id)
        if node_id in self.tree and node_id in self.tree.thread(self.last):
            self.tree.replace(node_id, place, records)
            return
        self.tree.add(node_id, self.last, place, records)
        self.last = node_id

    def _records(self, said: dict[str, Any], node_id: str) -> list[dict[str, Any]]:
        kind = text_of(said.get("type"))
        at = said.get("timestamp")
        if role := _ROLES.get(text_of(said.get("role"))):
            return _of_history(role, objects_of(said.get("parts")), node_id)
        if kind == "user":
            content = _content(said.get("content"))
            return [message("user", content, id_=node_id, at=at)] if content else []
        return self._answer(said, node_id, at) if kind == "gemini" else []

    def _answer(self, said: dict[str, Any], node_id: str, at: Any) -> list[dict[str, Any]]:
        name = text_of(said.get("model"))
        self.model = f"google:{name}" if name else self.model
        thoughts = [
            "\n".join(filter(None, (text_of(one.get("subject")), text_of(one.get("description")))))
            for one in objects_of(said.get("thoughts"))
        ]
        counts = object_of(said.get("tokens"))
        usage = {
            ours: counts[theirs]
            for theirs, ours in _USAGE.items()
            if isinstance(counts.get(theirs), int)
        }
        calls = objects_of(said.get("toolCalls"))
        record = message(
            "assistant", _content(said.get("content")), id_=node_id, at=at, model=self.model if name else "",
            thinking="\n\n".join(filter(None, thoughts)), usage={k: n for k, n in usage.items() if n},
            tool_calls=[tool_call(one.get("id"), one.get("name"), object_of(one.get("args"))) for one in calls],
        )  # fmt: skip
        empty = not (record["content"] or record.get("tool_calls") or record.get("extra"))
        return (
            []
            if empty
            else [record, *(_result(one, node_id, n, at) for n, one in enumerate(calls))]
        )


def _result(call: dict[str, Any], node_id: str, number: int, at: Any) -> dict[str, Any]:
    extra = {"failed": True} if call.get("status") == "error" else {}
    result = call.get("result")
    texts = (
        [_response(part) for part in objects_of(result)]
        if isinstance(result, list)
        else [said_of(result)]
    )
    return message(
        "tool", "\n".join(filter(None, texts)), id_=f"{node_id}-{number + 1}", at=at, name=text_of(call.get("name")),
        tool_call_id=text_of(call.get("id")), extra=extra,
    )  # fmt: skip


def _response(part: dict[str, Any]) -> str:
    response = object_of(object_of(part.get("functionResponse")).get("response"))
    return said_of(response.get("output", response)) if response else text_of(part.get("text"))


def _content(content: Any) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    parts = objects_of(content) if isinstance(content, list) else [object_of(content)]
    return content_of([_part(part) for part in parts])


def _part(part: dict[str, Any]) -> dict[str, Any]:
    inline = object_of(part.get("inlineData"))
    kind, data = text_of(inline.get("mimeType")), text_of(inline.get("data"))
    if kind.startswith("image/") and data:
        return picture(f"data:{kind};base64,{data}")
    return {"type": "text", "text": f"[file: {kind}]" if inline else text_of(part.get("text"))}


def _of_history(role: str, parts: list[dict[str, Any]], node_id: str) -> list[dict[str, Any]]:
    """Return the records of an entry of the API's history: results of tools stand in the person's name there."""
    calls = [object_of(part.get("functionCall")) for part in parts if "functionCall" in part]
    results = [part for part in parts if "functionResponse" in part]
    said = [part for part in parts if not {"functionCall", "functionResponse"} & set(part)]
    thinking = "\n\n".join(
        text_of(part.get("text")) for part in said if part.get("thought") is True
    )
    content = content_of([_part(part) for part in said if part.get("thought") is not True])
    records = [
        message("tool", _response(part), id_=f"{node_id}-{number + 1}", name=text_of(found.get("name")), tool_call_id=text_of(found.get("id")))
        for number, part in enumerate(results)
        for found in [object_of(part.get("functionResponse"))]
    ]  # fmt: skip
    made = [
        tool_call(call.get("id"), call.get("name"), object_of(call.get("args"))) for call in calls
    ]
    if content or made or thinking:
        records.append(message(role, content, id_=node_id, thinking=thinking, tool_calls=made))
    return records
