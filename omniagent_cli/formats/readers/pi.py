"""``pi``: sessions of the pi coding agent, ``~/.pi/agent/sessions/DIRECTORY/TIME_ID.jsonl``, also of OpenClaw and Oh My Pi.

The first line is the session; ``message`` lines are a tree by ``id`` and ``parentId``. Source: the types of
``@earendil-works/pi-coding-agent`` 0.74 (``core/session-manager.d.ts``).
"""

from __future__ import annotations

import re
from typing import Any

from omniagent_cli.formats.readers.records import (
    image_part,
    left_out,
    merge_parts,
    message,
    object_of,
    objects_of,
    text_of,
    tool_call,
    tool_output,
    usage_of,
)
from omniagent_cli.formats.readers.transcripts import TranscriptReader

_USAGE = {"input": "input_tokens", "output": "output_tokens", "cacheRead": "cache_read_tokens", "cacheWrite": "cache_write_tokens", "reasoning": "reasoning_tokens"}  # fmt: skip
_FILES = re.compile(r'(?:<file name="[^"\n]*">.*?</file>\n)+', re.DOTALL)
"""The files named on the command line (``pi @notes.md "Summarize"``), which pi writes before the prompt."""


class Pi(TranscriptReader):
    """Reader of a session of pi."""

    format_name = "pi"

    def add_line(self, line: dict[str, Any]) -> None:
        """Add a line; entries that are not messages only connect others."""
        kind = text_of(line.get("type"))
        self.add_time(line.get("timestamp"))
        if kind == "session":
            self.session_id = text_of(line.get("id"))
            self.facts["cwd"] = text_of(line.get("cwd"))
            self.facts.setdefault("title", line.get("title"))
            return
        if kind == "title":
            self.facts["title"] = line.get("title")
        elif kind == "session_info":
            self.facts["title"] = text_of(line.get("name")) or self.facts.get("title")
        elif kind == "model_change":
            self.facts["model"] = _model(line.get("provider"), line.get("modelId"))
        records = self._records(line) if kind == "message" else []
        if kind in ("compaction", "branch_summary"):
            records = [left_out("summary")]
        self.add(records, node_id=line.get("id"), parent=line.get("parentId"))

    def _records(self, line: dict[str, Any]) -> list[dict[str, Any]]:
        raw = object_of(line.get("message"))
        role, id_, at = text_of(raw.get("role")), line.get("id"), line.get("timestamp")
        content = raw.get("content")
        blocks = (
            [{"type": "text", "text": content}] if isinstance(content, str) else objects_of(content)
        )
        if role == "toolResult":
            output = tool_output([block for block in blocks if block.get("type") != "image"])
            return [
                message(
                    "tool", output, id_=id_, at=at, name=text_of(raw.get("toolName")),
                    tool_call_id=text_of(raw.get("toolCallId")), failed=raw.get("isError") is True,
                )
            ]  # fmt: skip
        if role == "bashExecution":
            text = f"!{text_of(raw.get('command'))}\n{text_of(raw.get('output'))}"
            return [message("user", text.strip(), id_=id_, at=at)]
        if role == "system":
            return [left_out("hidden system message")]
        if role not in ("user", "assistant"):
            return [left_out("message of an extension")]
        model = _model(raw.get("provider"), raw.get("model")) if role == "assistant" else ""
        self.facts["model"] = model or self.facts.get("model")
        thoughts = [text_of(one.get("thinking")) for one in blocks if one.get("type") == "thinking"]
        calls = [
            tool_call(one.get("id"), one.get("name"), one.get("arguments", {}))
            for one in blocks
            if one.get("type") == "toolCall"
        ]
        said = merge_parts([_part(one) for one in blocks if one.get("type") in ("text", "image")])
        thinking = "\n\n".join(filter(None, thoughts))
        if not (said or thinking or calls):
            return [left_out(f"empty {role} message")]
        stopped = raw.get("stopReason")
        return [
            message(
                role, said, id_=id_, at=at, model=model, thinking=thinking, tool_calls=calls,
                usage=usage_of(object_of(raw.get("usage")), _USAGE),
                status={"aborted": "interrupted", "error": "failed"}.get(text_of(stopped), ""),
            )
        ]  # fmt: skip


def _model(provider: Any, name: Any) -> str:
    return f"{text_of(provider)}:{text_of(name)}".strip(":") if text_of(name) else ""


def _part(block: dict[str, Any]) -> dict[str, Any]:
    if block.get("type") == "image":
        return image_part(
            f"data:{text_of(block.get('mimeType'))};base64,{text_of(block.get('data'))}"
        )
    text = text_of(block.get("text"))
    if (files := _FILES.match(text)) and files.end() < len(text):
        text = f"{text[files.end() :]}\n\n{files[0].rstrip()}"
    return {"type": "text", "text": text}
