"""``codex-exec``: the output of ``codex exec --json``, saved to a file.

Events of one thread; only completed items are messages. The prompt is not part of the output. Source: the types of
``@openai/codex-sdk`` 0.163.
"""

from __future__ import annotations

from typing import Any

from omniagent_cli.formats.readers.records import (
    as_text,
    left_out,
    message,
    object_of,
    objects_of,
    text_of,
    tool_call,
    tool_output,
    usage_of,
)
from omniagent_cli.formats.readers.transcripts import TranscriptReader

_USAGE = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cached_input_tokens": "cache_read_tokens",
    "cache_write_input_tokens": "cache_write_tokens",
    "reasoning_output_tokens": "reasoning_tokens",
}


class CodexExec(TranscriptReader):
    """Reader of the events of one thread."""

    format_name = "codex-exec"

    def __init__(self, *, branches: bool = False) -> None:
        super().__init__(branches=branches)
        self._answer: tuple[str, dict[str, Any]] | None = None

    def add_line(self, line: dict[str, Any]) -> None:
        """Add an event."""
        kind = text_of(line.get("type"))
        if kind == "thread.started":
            self.session_id = text_of(line.get("thread_id"))
        elif kind == "item.completed":
            item = object_of(line.get("item"))
            # Items are numbered from 0 in each run that resumes a thread.
            key = f"{len(self._tree)}"
            records = _records(item)
            self.add(records, node_id=key)
            if item.get("type") == "agent_message" and records:
                self._answer = (key, records[0])
        elif kind == "turn.completed" and self._answer is not None:
            key, record = self._answer
            if usage := usage_of(object_of(line.get("usage")), _USAGE):
                self._tree.replace(key, self._location, [record | {"usage": usage}])
        elif kind in ("turn.failed", "error"):
            error = object_of(line.get("error")) or line
            text = text_of(error.get("message"))
            self.add([message("assistant", text, status="failed")] if text else [])


def _records(item: dict[str, Any]) -> list[dict[str, Any]]:
    kind, text = text_of(item.get("type")), text_of(item.get("text"))
    if kind == "agent_message":
        return [message("assistant", text)] if text else [left_out("empty assistant message")]
    if kind == "reasoning":
        return [message("assistant", "", thinking=text)] if text else []
    if kind == "command_execution":
        failed = item.get("status") == "failed"
        return _called("shell", {"command": item.get("command")}, text_of(item.get("aggregated_output")), failed=failed)  # fmt: skip
    if kind == "file_change":
        changes = {"changes": objects_of(item.get("changes"))}
        return _called("apply_patch", changes, text_of(item.get("status")))
    if kind == "mcp_tool_call":
        name = f"{text_of(item.get('server'))}.{text_of(item.get('tool'))}"
        error = object_of(item.get("error"))
        output = text_of(error.get("message")) or tool_output(
            object_of(item.get("result")).get("content")
        )
        return _called(name, item.get("arguments", {}), output, failed=bool(error))
    if kind == "web_search":
        return _called("web_search", {"query": item.get("query")}, "completed")
    return [left_out("to-do list" if kind == "todo_list" else "notice")]


def _called(
    name: str, arguments: Any, output: str, *, failed: bool = False
) -> list[dict[str, Any]]:
    call = tool_call("", name, arguments)
    return [
        message("assistant", "", tool_calls=[call]),
        message("tool", as_text(output) or "(no output)", failed=failed),
    ]
