"""``copilot-cli``: sessions of GitHub Copilot CLI, ``~/.copilot/session-state/ID/events.jsonl``.

One event per line: ``{"type", "data", "id", "timestamp", "parentId"}``. Source: the types of the package
``@github/copilot`` (``session-events``).
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
    usage_of,
)
from omniagent_cli.formats.readers.transcripts import TranscriptReader


class CopilotCli(TranscriptReader):
    """Reader of a session of GitHub Copilot CLI."""

    format_name = "copilot-cli"

    def add_line(self, line: dict[str, Any]) -> None:
        """Add an event; events without a message are skipped."""
        kind, data = text_of(line.get("type")), object_of(line.get("data"))
        self.add_time(line.get("timestamp"))
        if kind == "session.start":
            self.session_id = text_of(data.get("sessionId"))
            context = object_of(data.get("context"))
            self.facts |= {
                "cwd": text_of(context.get("cwd")),
                "git_branch": text_of(context.get("branch")),
            }
            self.facts["model"] = _model(data.get("selectedModel"))
        elif kind == "session.model_change":
            self.facts["model"] = _model(data.get("newModel"))
        elif kind == "session.title_changed":
            self.facts["title"] = data.get("title")
        elif records := self._records(kind, data, line.get("timestamp"), text_of(line.get("id"))):
            self.add(records, node_id=line.get("id"))

    def _records(self, kind: str, data: dict[str, Any], at: Any, id_: str) -> list[dict[str, Any]]:
        text = text_of(data.get("content"))
        if kind == "user.message":
            if text_of(data.get("source")) not in ("", "user"):
                return [left_out("program message")]
            names = [text_of(one.get("displayName")) or text_of(one.get("path")) for one in objects_of(data.get("attachments"))]  # fmt: skip
            text = "\n".join(filter(None, [text, *(f"[file: {name}]" for name in names if name)]))
            return (
                [message("user", text, id_=id_, at=at)]
                if text
                else [left_out("empty user message")]
            )
        if kind == "assistant.message":
            calls = [
                tool_call(one.get("toolCallId"), one.get("name"), one.get("arguments", {}))
                for one in objects_of(data.get("toolRequests"))
            ]
            thinking = text_of(data.get("reasoningText"))
            if not (text or calls or thinking):
                return [left_out("empty assistant message")]
            return [
                message(
                    "assistant", text, id_=id_, at=at, model=self.facts.get("model"), thinking=thinking, tool_calls=calls,
                    usage=usage_of(data, {"outputTokens": "output_tokens"}),
                )
            ]  # fmt: skip
        if kind == "tool.execution_complete":
            result = data.get("result")
            output = object_of(result).get("content", result)
            error = text_of(object_of(data.get("error")).get("message"))
            return [
                message(
                    "tool", error or as_text(output), id_=id_, at=at, tool_call_id=text_of(data.get("toolCallId")),
                    failed=data.get("success") is False,
                )
            ]  # fmt: skip
        return []


def _model(name: Any) -> str:
    return f"copilot:{name}" if text_of(name) else ""
