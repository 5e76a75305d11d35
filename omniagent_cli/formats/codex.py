"""``codex``: sessions of the Codex command line, ``~/.codex/sessions/YYYY/MM/DD/rollout-*.jsonl``, also packed as ``.zst``.

Each line is ``{"timestamp", "type", "payload"}``. What was said is in the ``response_item`` lines, as items of the
Responses API; ``event_msg`` repeats it for the screen and tells what was taken back. The shape is that of the
program's own recorder (https://github.com/openai/codex, ``codex-rs/rollout``), which changes with its versions:
unknown types are passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omniagent_cli.formats.exchange import Incoming, MessageEntry, Problem
from omniagent_cli.formats.foreign import (
    content_of,
    header_of,
    message,
    moment,
    object_of,
    objects_of,
    picture,
    said_of,
    text_of,
    tool_call,
)  # fmt: skip
from omniagent_cli.formats.incremental import objects_by_line
from omniagent_cli.formats.source import Source
from omniagent_cli.formats.tree import Tree, threads

_INJECTED = re.compile(
    r"\s*(?:<([a-zA-Z_][\w-]*)[\s>].*</\1>\s*\Z|# AGENTS\.md instructions)", re.DOTALL
)
"""What the program puts among a person's words: the environment, instructions of files."""

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_INDEX = "session_index.jsonl"


class Codex:
    """Reads one session a file."""

    def __init__(self, *, branches: bool = False) -> None:
        self._branches = branches

    def read(self, source: Source) -> Iterator[Incoming | Problem]:
        """Yield the session as it stood at its end; what was rolled back is another thread of it."""
        rollout = _Rollout()
        with rollout.tree:
            for entry in objects_by_line(source):
                if isinstance(entry, Problem):
                    yield entry
                else:
                    rollout.take(entry)
            facts = rollout.facts
            named = _ID.search(Path(source.name).name)
            source_id = text_of(facts.get("id")) or (named.group() if named else source.name)
            title = rollout.title or _title_in_index(source, source_id)

            def header(branch: str) -> dict[str, Any]:
                return header_of(
                    "codex",
                    source_id,
                    title=title,
                    created=facts.get("timestamp"),
                    updated=rollout.last_at,
                    model=rollout.model,
                    branch=branch,
                    cwd=facts.get("cwd"),
                    forked_from=facts.get("forked_from_id"),
                    git_branch=object_of(facts.get("git")).get("branch"),
                )

            yield from threads(
                rollout.tree, rollout.last, source.name, header, branches=self._branches
            )


class _Rollout:
    """The lines of a file, put together."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.facts: dict[str, Any] = {}
        self.title = ""
        self.model = ""
        self.last_at: Any = None
        self.last: str | None = None
        self._provider = "openai"
        self._number = 0
        self._questions: list[str | None] = []

    def take(self, entry: MessageEntry) -> None:
        """Take in a line."""
        line = entry.record
        payload = object_of(line.get("payload"))
        kind = line.get("type")
        self.last_at = line.get("timestamp") or self.last_at
        if kind == "session_meta" and not self.facts:
            self.facts = payload
            self._provider = text_of(payload.get("model_provider")) or self._provider
        elif kind == "turn_context":
            name = text_of(payload.get("model"))
            self.model = f"{self._provider}:{name}" if name else self.model
        elif kind == "event_msg":
            self._happened(payload)
        elif kind == "response_item":
            self._said(payload, line.get("timestamp"), entry.place)
        elif kind == "message":  # of 2025, without an envelope
            self._said(line, None, entry.place)

    def _happened(self, event: dict[str, Any]) -> None:
        if event.get("type") == "thread_name_updated":
            self.title = text_of(event.get("thread_name")) or self.title
        elif event.get("type") == "thread_rolled_back":
            turns = event.get("num_turns")
            if isinstance(turns, int) and turns > 0:
                gone = self._questions[-turns:]
                del self._questions[-turns:]
                self.last = gone[0] if gone else self.last

    def _said(self, item: dict[str, Any], at: Any, place: str) -> None:
        record = _record(item, self.model)
        if record is None:
            return
        if (created := moment(at)) is not None:
            record["created_at"] = created
        if record["role"] == "user":
            self._questions.append(self.last)
        self._number += 1
        node_id = f"{self._number}"
        record["id"] = text_of(item.get("id")) or f"{record['role']}-{node_id}"
        self.tree.add(node_id, self.last, place, [record])
        self.last = node_id


def _record(item: dict[str, Any], model: str) -> dict[str, Any] | None:
    """Return the message record of an item; None for what nobody said."""
    kind = text_of(item.get("type"))
    if kind == "message":
        return _message(item, model)
    if kind == "reasoning":
        thoughts = [
            text_of(part.get("text"))
            for part in objects_of(item.get("summary")) + objects_of(item.get("content"))
        ]
        thinking = "\n\n".join(filter(None, thoughts))
        return message("assistant", "", thinking=thinking) if thinking else None
    if kind.endswith("_output"):
        output = item.get("output")
        if isinstance(output, dict):
            output = output.get("content", output)
        if isinstance(output, list):
            output = "\n".join(
                text_of(part.get("text")) or said_of(part) for part in objects_of(output)
            )
        return message("tool", said_of(output), tool_call_id=text_of(item.get("call_id")))
    if kind.endswith("_call"):
        name = text_of(item.get("name")) or kind.removesuffix("_call")
        given: Any = next(
            (item[key] for key in ("arguments", "input", "action") if item.get(key) is not None), {}
        )
        return message(
            "assistant", "", model=model, tool_calls=[tool_call(item.get("call_id"), name, given)]
        )
    return None


def _message(item: dict[str, Any], model: str) -> dict[str, Any] | None:
    role = text_of(item.get("role"))
    content = content_of([_part(part) for part in objects_of(item.get("content"))])
    if role == "assistant":
        return message(role, content, model=model) if content else None
    if role != "user" or not content or (isinstance(content, str) and _INJECTED.match(content)):
        return None
    return message(role, content)


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") == "input_image":
        return picture(text_of(part.get("image_url")))
    return {"type": "text", "text": text_of(part.get("text"))}


def _title_in_index(source: Source, source_id: str) -> str:
    """Return the name the program's list of sessions gives this one; its newest line wins."""
    title = ""
    for directory in list(source.path.parents)[:5] if source.path else []:
        try:
            lines = (directory / _INDEX).read_bytes().splitlines()
        except OSError:
            continue
        for line in lines:
            if source_id.encode() not in line:
                continue
            try:
                found = object_of(json.loads(line))
            except (ValueError, RecursionError):
                continue
            if found.get("id") == source_id:
                title = text_of(found.get("thread_name")) or title
        break
    return title
