"""``codex``: sessions of the Codex command line, ``~/.codex/sessions/YYYY/MM/DD/rollout-*.jsonl``, also compressed (``.zst``).

Each line is ``{"timestamp", "type", "payload"}``. ``response_item`` lines hold the messages, as items of the
Responses API; ``event_msg`` lines repeat them for display and report rollbacks. The format is that of the
program's recorder (https://github.com/openai/codex, ``codex-rs/rollout``) and changes between versions:
unknown types are skipped.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.json_helpers import feed_lines, line_objects
from omniagent_cli.formats.readers.message_sequence import ANSWER_KEY
from omniagent_cli.formats.readers.message_tree import MessageTree, session_threads
from omniagent_cli.formats.readers.records import (
    image_part,
    merge_parts,
    message,
    message_id,
    object_of,
    objects_of,
    parse_timestamp,
    session_header,
    text_of,
    tool_call,
    tool_output,
    usage_of,
)
from omniagent_cli.formats.types import MessageEntry, ReaderItem

_INJECTED = re.compile(
    r"\s*(?:# AGENTS\.md instructions\b|<(environment_context|user_instructions|INSTRUCTIONS|turn_aborted|skills?"
    r"|skills_instructions|apps_instructions|plugins_instructions|permissions instructions|permissions_instructions"
    r"|collaboration_mode|model_switch|personality_spec|subagent_notification|additional_context|hook_prompt"
    r"|user_shell_command)\b[^>]*>.*</\1>\s*\Z|(?:<image(?: [^>\n]*)?>|</image>)\Z)",
    re.DOTALL | re.IGNORECASE,
)
"""Text that the program adds to user messages: the environment, instruction files, tags around pictures.

Only tags that it is known to write (``codex-rs/core``); HTML pasted by the user is kept."""

_IDE_CONTEXT = re.compile(
    r"\A\s*# Context from my IDE setup:\n.*?\n## My request for Codex:\n", re.DOTALL
)
"""Text that the editor extension puts before a message."""

_USAGE = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cached_input_tokens": "cache_read_tokens",
    "cache_write_input_tokens": "cache_write_tokens",
    "reasoning_output_tokens": "reasoning_tokens",
}
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_INDEX = "session_index.jsonl"
_MAX_INDEX_BYTES = 32 * 1024 * 1024


class Codex:
    """Reader of one session per file."""

    def __init__(self, *, branches: bool = False) -> None:
        self._branches = branches

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the session at its end; rolled-back turns are another thread of it.

        Sessions of sub-agents are skipped.
        """
        rollout = _Rollout()
        with rollout.tree:
            yield from feed_lines(line_objects(source), rollout.add_line)
            if not rollout.is_subagent:
                yield from self._threads(rollout, source)

    def _threads(self, rollout: _Rollout, source: ByteSource) -> Iterator[ReaderItem]:
        meta = rollout.meta
        named = _ID.search(Path(source.name).name)
        source_id = text_of(meta.get("id")) or (named.group() if named else Path(source.name).name)
        title = rollout.title or _title_in_index(source, source_id)

        def header(branch: str) -> dict[str, Any]:
            return session_header(
                "codex",
                source_id,
                title=title,
                created=meta.get("timestamp"),
                updated=rollout.last_at,
                model=rollout.model,
                branch=branch,
                cwd=text_of(meta.get("cwd")),
                forked_from=text_of(meta.get("forked_from_id")),
                git_branch=text_of(object_of(meta.get("git")).get("branch")),
            )

        yield from session_threads(
            rollout.tree, rollout.last, source.name, header, branches=self._branches
        )


class _Rollout:
    """Builder of a session from the lines of a file."""

    def __init__(self) -> None:
        self.tree = MessageTree()
        self.meta: dict[str, Any] = {}
        self.title = ""
        self.model = ""
        self.last_at: Any = None
        self.last: str | None = None
        self._provider = "openai"
        self._number = 0
        self._answer = 0
        self._last_answer: tuple[str, str, dict[str, Any]] | None = None
        self._questions: list[str | None] = []

    @property
    def is_subagent(self) -> bool:
        """True for the session of a sub-agent."""
        source = self.meta.get("source")
        return isinstance(source, dict) and bool({"subagent", "sub_agent"} & set(source))

    def add_line(self, entry: MessageEntry) -> None:
        """Add a line.

        Raises:
            InvalidRecord: the line contains an unsupported value.
        """
        line = entry.record
        payload = object_of(line.get("payload"))
        kind = text_of(line.get("type"))
        self.last_at = line.get("timestamp") or self.last_at
        if kind == "session_meta" and not self.meta:
            self.meta = payload
            self._provider = text_of(payload.get("model_provider")) or self._provider
        elif kind == "turn_context":
            name = text_of(payload.get("model"))
            self.model = f"{self._provider}:{name}" if name else self.model
        elif kind == "event_msg":
            self._apply_event(payload)
        elif kind == "response_item":
            self._add_item(payload, line.get("timestamp"), entry.location)
        elif "payload" not in line:  # format of 2025, without an envelope
            self._add_plain_line(line, kind, entry.location)

    def _add_plain_line(self, line: dict[str, Any], kind: str, location: str) -> None:
        if kind:
            self._add_item(line, line.get("timestamp"), location)
        elif "id" in line and not self.meta:
            self.meta = line

    def _apply_event(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        if kind == "thread_name_updated":
            self.title = text_of(event.get("thread_name")) or self.title
        elif kind == "thread_rolled_back":
            turns = event.get("num_turns")
            if isinstance(turns, int) and turns > 0:
                removed = self._questions[-turns:]
                del self._questions[-turns:]
                self.last = removed[0] if removed else self.last
                self._last_answer = None
        elif kind == "token_count":
            self._set_usage(object_of(object_of(event.get("info")).get("last_token_usage")))

    def _set_usage(self, counts: dict[str, Any]) -> None:
        """Assign token counts to the last answer."""
        usage = usage_of(counts, _USAGE)
        if usage and self._last_answer is not None:
            node_id, location, record = self._last_answer
            self.tree.replace(node_id, location, [record | {"usage": usage}])
            self._last_answer = None

    def _add_item(self, item: dict[str, Any], at: Any, location: str) -> None:
        for record in _records(item, self.model):
            if (created := parse_timestamp(at)) is not None:
                record["created_at"] = created
            self._add(record, message_id(item.get("id")), location)

    def _add(self, record: dict[str, Any], item_id: str, location: str) -> None:
        if record["role"] == "user":
            self._questions.append(self.last)
        self._number += 1
        node_id = f"{self._number}"
        record["id"] = item_id or f"{record['role']}-{node_id}"
        if record["role"] == "assistant":
            record[ANSWER_KEY] = f"{self._answer}"
            self._last_answer = (node_id, location, record)
        else:
            self._answer += 1
        self.tree.add(node_id, self.last, location, [record])
        self.last = node_id


def _records(item: dict[str, Any], model: str) -> list[dict[str, Any]]:
    """Return the message records of an item; none for an item that is not a message."""
    kind = text_of(item.get("type"))
    if kind == "message":
        return _message(item, model)
    if kind == "reasoning":
        parts = objects_of(item.get("summary")) + objects_of(item.get("content"))
        thinking = "\n\n".join(filter(None, (text_of(part.get("text")) for part in parts)))
        return [message("assistant", "", thinking=thinking)] if thinking else []
    if kind.endswith("_output"):
        return [_result(item)]
    return _call(item, kind, model) if kind.endswith("_call") else []


def _call(item: dict[str, Any], kind: str, model: str) -> list[dict[str, Any]]:
    """Return a tool call; for a call that the provider ran itself, such as a search, only its status is known."""
    given = (item[key] for key in ("arguments", "input", "action") if item.get(key) is not None)
    name = text_of(item.get("name")) or kind.removesuffix("_call")
    call_id = text_of(item.get("call_id"))
    call = tool_call(call_id or item.get("id"), name, next(given, {}))
    called = message("assistant", "", model=model, tool_calls=[call])
    if call_id:
        return [called]
    ended = text_of(item.get("status")) or "completed"
    return [called, message("tool", ended, tool_call_id=call["id"])]


def _result(item: dict[str, Any]) -> dict[str, Any]:
    output = item.get("output")
    if isinstance(output, str) and output.startswith('{"output":'):
        output = _unwrap_output(output)
    if isinstance(output, dict):
        output = output.get("content", output)
    return message("tool", tool_output(output), tool_call_id=text_of(item.get("call_id")))


def _unwrap_output(output: str) -> str:
    """Return the output of a tool that is wrapped together with its exit code, as in 2025."""
    try:
        parsed = object_of(json.loads(output)).get("output")
    except (ValueError, RecursionError):
        return output
    return parsed if isinstance(parsed, str) else output


def _message(item: dict[str, Any], model: str) -> list[dict[str, Any]]:
    role, parts = text_of(item.get("role")), objects_of(item.get("content"))
    if role == "user":
        parts = [part for part in parts if not _INJECTED.match(text_of(part.get("text")))]
    content = merge_parts([_part(part) for part in parts])
    if not content or role not in ("user", "assistant"):
        return []
    return [message(role, content, model=model if role == "assistant" else "")]


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") == "input_image":
        return image_part(text_of(part.get("image_url")))
    text = text_of(part.get("text"))
    if context := _IDE_CONTEXT.match(text):
        text = text[context.end() :].strip()
    return {"type": "text", "text": text}


def _title_in_index(source: ByteSource, source_id: str) -> str:
    """Return the title of a session in the program's session index."""
    for directory in list(source.path.parents)[:5] if source.path else []:
        index = directory / _INDEX
        try:
            status = index.stat()
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode) and status.st_size <= _MAX_INDEX_BYTES:
            return _titles(index, status.st_mtime_ns, status.st_size).get(source_id, "")
    return ""


@lru_cache(maxsize=1)
def _titles(index: Path, _changed: int, _size: int) -> dict[str, str]:
    """Return the newest title of each session in an index; cached for all files it covers."""
    titles: dict[str, str] = {}
    try:
        lines = index.read_bytes().splitlines()
    except OSError:
        return titles
    for line in lines:
        try:
            parsed = object_of(json.loads(line))
        except (ValueError, RecursionError):
            continue
        if name := text_of(parsed.get("thread_name")):
            titles[text_of(parsed.get("id"))] = name
    return titles
