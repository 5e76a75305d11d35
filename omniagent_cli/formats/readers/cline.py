"""``cline``: tasks of Cline, Roo Code and Kilo Code, ``tasks/ID/ui_messages.json`` in the extension's storage.

A list of what the screen displays: ``say`` and ``ask`` messages, of which the first is the task. The file beside it,
``api_conversation_history.json``, holds the same as requests of Anthropic's API. Source: https://github.com/cline/cline
(``src/shared/ExtensionMessage.ts``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.json_helpers import list_entries, until_damage
from omniagent_cli.formats.json_stream import JsonReader
from omniagent_cli.formats.readers.message_tree import MessageTree, session_threads
from omniagent_cli.formats.readers.records import (
    as_text,
    file_time,
    image_part,
    left_out,
    list_of,
    merge_parts,
    message,
    object_of,
    session_header,
    text_of,
    tool_call,
)
from omniagent_cli.formats.types import MessageEntry, Omission, Problem, ReaderItem, problem

_USER = frozenset({"task", "user_feedback", "user_feedback_diff"})
_ANSWERS = frozenset(
    {"text", "completion_result", "plan_mode_respond", "followup", "plan_mode_response"}
)
_RESULTS = frozenset(
    {"command_output", "mcp_server_response", "browser_action_result", "subtask_result"}
)
_CALLS = frozenset({"tool", "command", "use_mcp_server", "browser_action", "browser_action_launch"})


class Cline:
    """Reader of one task per file."""

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the task."""
        reader = JsonReader(source)
        with MessageTree() as tree:
            task, last = _Task(), None
            for entry in until_damage(reader, list_entries(reader)):
                if isinstance(entry, Problem | Omission):
                    yield entry
                elif isinstance(entry, MessageEntry):
                    node_id = f"m{len(tree)}"
                    try:
                        records = task.records(object_of(entry.record))
                        tree.add(node_id, last, entry.location, records)
                        last = node_id
                    except InvalidRecord as error:
                        yield problem(entry.location, error)
            path = Path(source.name)
            written = file_time(source)

            def header(branch: str) -> dict[str, Any]:
                name = path.parent.name if path.name == "ui_messages.json" else path.stem
                return session_header(
                    "cline", name or path.stem, created=task.first_at or written, updated=task.last_at or written, branch=branch
                )  # fmt: skip

            yield from session_threads(tree, last, source.name, header, branches=False)


class _Task:
    """State of a task: its times, and whether a message was read."""

    def __init__(self) -> None:
        self.first_at: Any = None
        self.last_at: Any = None

    def records(self, raw: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the message records of an element."""
        if raw.get("partial") is True:
            return [left_out("partial message")]
        at = raw.get("ts")
        is_first, self.first_at = self.first_at is None, self.first_at or at
        self.last_at = at or self.last_at
        kind, text = text_of(raw.get(text_of(raw.get("type")))), text_of(raw.get("text"))
        if is_first or kind in _USER:
            images = [
                image_part(text_of(url)) for url in list_of(raw.get("images")) if text_of(url)
            ]
            content = merge_parts([*([{"type": "text", "text": text}] if text else []), *images])
            return (
                [message("user", content, at=at)] if content else [left_out("empty user message")]
            )
        if kind == "reasoning":
            return [message("assistant", "", at=at, thinking=text)] if text else []
        if kind in _ANSWERS:
            answer = _answer(text)
            return [message("assistant", answer, at=at)] if answer else []
        if kind in _CALLS:
            return _call(kind, text, at)
        if kind in _RESULTS:
            return [message("tool", text or "(no output)", at=at)]
        return [left_out("status message")]


def _answer(text: str) -> str:
    """Return the text of an answer, which is JSON for a question with choices."""
    parsed = _parsed(text)
    words = text_of(parsed.get("response")) or text_of(parsed.get("question"))
    return words or text.removesuffix("HAS_CHANGES").strip()


def _call(kind: str, text: str, at: Any) -> list[dict[str, Any]]:
    arguments = _parsed(text)
    name = text_of(arguments.pop("tool", "")) or text_of(arguments.get("toolName")) or kind
    output = arguments.pop("content", None) if kind == "tool" and name.startswith(("read", "list", "search")) else None  # fmt: skip
    call = tool_call("", name, arguments or {"input": text})
    called = message("assistant", "", at=at, tool_calls=[call])
    return [called] if output is None else [called, message("tool", as_text(output), at=at)]


def _parsed(text: str) -> dict[str, Any]:
    try:
        return object_of(json.loads(text))
    except (ValueError, RecursionError):
        return {}
