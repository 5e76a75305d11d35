"""``jan``: threads of Jan, ``~/.local/share/Jan/data/threads/ID/messages.jsonl``, with their titles in ``thread.json``.

A line is a message in the form of OpenAI's threads: ``content`` is a list of ``{"type": "text", "text": {"value"}}``, in
newer versions also of ``reasoning`` and ``tool_call`` parts; older ones write thinking as ``<think>`` and calls to
``metadata.tool_calls``. Edited messages are a tree by ``metadata.parentId``. Source: https://github.com/janhq/jan
(``core/src/types/message``, ``web-app/src/lib/messages.ts`` and ``message-branching.ts``).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from omniagent_cli.formats.byte_source import MAX_RECORD_BYTES, ByteSource
from omniagent_cli.formats.readers.answer_steps import AnswerSteps
from omniagent_cli.formats.readers.records import (
    as_text,
    image_part,
    left_out,
    object_of,
    objects_of,
    text_of,
    tool_call,
    tool_output,
)
from omniagent_cli.formats.readers.transcripts import TranscriptReader

_THINKING = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)


class Jan(TranscriptReader):
    """Reader of one thread per file."""

    format_name = "jan"

    def _header(self, source: ByteSource, branch: str) -> dict[str, Any]:
        thread = _thread_file(source.path)
        self.session_id = text_of(thread.get("id")) or self.session_id
        self.facts["title"] = thread.get("title")
        return super()._header(source, branch)

    def add_line(self, line: dict[str, Any]) -> None:
        """Add a message."""
        role, at = text_of(line.get("role")), line.get("created_at")
        self.session_id = self.session_id or text_of(line.get("thread_id"))
        self.add_time(at)
        facts = object_of(line.get("metadata"))
        # A program error detached some answers from the message they answer.
        is_detached = self._has_parents and role == "assistant"
        parent = text_of(facts.get("parentId")) or (self._last if is_detached else None)
        model = text_of(facts.get("model")) if role == "assistant" else ""
        status = {"stopped": "interrupted", "error": "failed"}.get(text_of(line.get("status")), "")
        if role in ("system", "user", "assistant"):
            steps = _steps(line, facts, answers=role == "assistant")
            records = list(steps.records(role, text_of(line.get("id")), at, status=status, model=model))  # fmt: skip
        else:
            records = []
        self.add(records or [left_out("empty message")], node_id=line.get("id"), parent=parent)


def _steps(line: dict[str, Any], facts: dict[str, Any], *, answers: bool) -> AnswerSteps:
    steps = AnswerSteps()
    steps.add_thinking(text_of(facts.get("reasoning_content")))
    for part in objects_of(line.get("content")):
        kind, text = part.get("type"), part.get("text")
        value = text if isinstance(text, str) else text_of(object_of(text).get("value"))
        if kind == "tool_call":
            call = tool_call(part.get("tool_call_id"), part.get("tool_name"), part.get("input") or {})  # fmt: skip
            output = part.get("output")
            steps.add_call(call, None if output is None else _output(output))
        elif kind == "image_url":
            steps.add_part(image_part(text_of(object_of(part.get("image_url")).get("url"))))
        elif kind == "reasoning":
            steps.add_thinking(value)
        else:
            if answers and (thought := _THINKING.match(value)):
                steps.add_thinking(thought[1].strip())
                value = value[thought.end() :]
            steps.add_part({"type": "text", "text": value})
    for one in objects_of(facts.get("tool_calls")):
        tool, response = object_of(one.get("tool")), one.get("response")
        function = object_of(tool.get("function"))
        call = tool_call(tool.get("id"), function.get("name"), function.get("arguments", {}))
        steps.add_call(call, None if response is None else _output(response))
    for file in objects_of(facts.get("inline_file_contents")):
        name, text = text_of(file.get("name")) or "unnamed", text_of(file.get("content"))
        steps.add_part({"type": "text", "text": f"[file: {name}]\n{text}".strip()})
    return steps


def _output(output: Any) -> str:
    """Return the text of a result, which may be that of an MCP tool."""
    content = object_of(output).get("content")
    return as_text(output) if content is None else tool_output(content)


def _thread_file(messages: Path | None) -> dict[str, Any]:
    """Return the file of the thread beside its messages; empty if there is none."""
    path = messages.with_name("thread.json") if messages else None
    try:
        if path is None or path.stat().st_size > MAX_RECORD_BYTES:
            return {}
        return object_of(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return {}
