"""``gptme``: conversations of gptme, ``~/.local/share/gptme/logs/NAME/conversation.jsonl``.

One line per message with a local time; the name of a conversation is that of its directory. Source: the package gptme
(``gptme/message.py``, ``gptme/logmanager.py``).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.readers.records import (
    left_out,
    list_of,
    message,
    object_of,
    text_of,
    tool_call,
    usage_of,
)
from omniagent_cli.formats.readers.transcripts import TranscriptReader

_USAGE = {"input_tokens": "input_tokens", "output_tokens": "output_tokens", "cache_read_tokens": "cache_read_tokens", "cache_creation_tokens": "cache_write_tokens", "reasoning_tokens": "reasoning_tokens"}  # fmt: skip
_GENERATED_NAME = re.compile(r"\d{4}-\d\d-\d\d(-[a-z]+){3}")
_THINKING = re.compile(r"\s*<think(?:ing)?>(.*?)</think(?:ing)?>\s*", re.DOTALL)
_FENCE_OR_CALL = re.compile(r"^(?:`{3,}|@([^\r\n(]+)\(([\w:.-]+)\):\s*(?=\{))", re.MULTILINE)
"""The start of a line that opens or closes a code block, or of a call: ``@shell(call_1): {"command": "ls"}``."""


class Gptme(TranscriptReader):
    """Reader of a conversation of gptme."""

    format_name = "gptme"

    def _header(self, source: ByteSource, branch: str) -> dict[str, Any]:
        path = Path(source.name)
        if path.name == "conversation.jsonl" and path.parent.name:
            self.session_id = path.parent.name
            is_generated = _GENERATED_NAME.fullmatch(path.parent.name)
            self.facts["title"] = "" if is_generated else path.parent.name
        return super()._header(source, branch)

    def add_line(self, line: dict[str, Any]) -> None:
        """Add a line; hidden messages are the program's instructions."""
        role, text, at = (
            text_of(line.get("role")),
            text_of(line.get("content")),
            line.get("timestamp"),
        )
        self.add_time(at)
        if line.get("hide") is True:
            self.add([left_out(f"hidden {role} message")])
            return
        if role == "user" and text.startswith("<system>") and text.endswith("</system>"):
            self.add([left_out("program message")])
            return
        files = [f"[file: {text_of(name)}]" for name in list_of(line.get("files")) if text_of(name)]
        text = "\n".join(filter(None, [text, *files]))
        if role not in ("system", "user", "assistant", "tool") or not text:
            self.add([left_out(f"empty {role} message")])
            return
        thinking = ""
        calls: list[dict[str, Any]] = []
        if role == "assistant":
            thinking, text = _without_thinking(text)
            text, calls = _without_calls(text)
        facts = object_of(line.get("metadata"))
        model = text_of(facts.get("model")).replace("/", ":", 1) if role == "assistant" else ""
        self.facts["model"] = model or self.facts.get("model")
        usage = usage_of(object_of(facts.get("usage")), _USAGE)
        call_id = text_of(line.get("call_id"))
        is_result = role == "tool" or (role == "system" and call_id)
        self.add(
            [
                message(
                    "tool" if is_result else role, text, at=at, model=model, usage=usage, thinking=thinking,
                    tool_calls=calls, tool_call_id=call_id if is_result else "",
                    name=text_of(facts.get("tool")) if is_result else "",
                )
            ]
        )  # fmt: skip


def _without_thinking(text: str) -> tuple[str, str]:
    """Return the thinking at the start of an answer, and the rest."""
    thoughts, end = [], 0
    while found := _THINKING.match(text, end):
        thoughts.append(found[1].strip())
        end = found.end()
    return "\n\n".join(filter(None, thoughts)), text[end:]


def _without_calls(text: str) -> tuple[str, list[dict[str, Any]]]:
    """Return an answer without its calls, and the calls; what a code block contains is text."""
    kept, calls, end, is_code = [], [], 0, False
    for found in _FENCE_OR_CALL.finditer(text):
        if found.start() < end:
            continue
        if not found[1]:
            is_code = not is_code
        elif not is_code:
            try:
                arguments, after = json.JSONDecoder().raw_decode(text, found.end())
            except (ValueError, RecursionError):
                continue
            calls.append(tool_call(found[2], found[1], arguments))
            kept.append(text[end : found.start()])
            end = after
    return ("".join([*kept, text[end:]]).rstrip() if calls else text), calls
