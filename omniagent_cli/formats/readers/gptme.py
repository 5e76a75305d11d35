"""``gptme``: conversations of gptme, ``~/.local/share/gptme/logs/NAME/conversation.jsonl``.

One line per message with a local time; the name of a conversation is that of its directory. Source: the package gptme
(``gptme/message.py``, ``gptme/logmanager.py``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.readers.records import (
    left_out,
    list_of,
    message,
    object_of,
    text_of,
    usage_of,
)
from omniagent_cli.formats.readers.transcripts import TranscriptReader

_USAGE = {"input_tokens": "input_tokens", "output_tokens": "output_tokens", "cache_read_tokens": "cache_read_tokens", "cache_creation_tokens": "cache_write_tokens"}  # fmt: skip


class Gptme(TranscriptReader):
    """Reader of a conversation of gptme."""

    format_name = "gptme"

    def _header(self, source: ByteSource, branch: str) -> dict[str, Any]:
        path = Path(source.name)
        if path.name == "conversation.jsonl" and path.parent.name:
            self.session_id = path.parent.name
            self.facts["title"] = path.parent.name
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
        files = [f"[file: {text_of(name)}]" for name in list_of(line.get("files")) if text_of(name)]
        text = "\n".join(filter(None, [text, *files]))
        if role not in ("system", "user", "assistant", "tool") or not text:
            self.add([left_out(f"empty {role} message")])
            return
        facts = object_of(line.get("metadata"))
        model = text_of(facts.get("model")).replace("/", ":", 1) if role == "assistant" else ""
        self.facts["model"] = model or self.facts.get("model")
        usage = usage_of(object_of(facts.get("usage")), _USAGE)
        call_id = text_of(line.get("call_id"))
        is_result = role == "tool" or (role == "system" and call_id)
        self.add(
            [
                message(
                    "tool" if is_result else role, text, at=at, model=model, usage=usage,
                    tool_call_id=call_id if is_result else "",
                )
            ]
        )  # fmt: skip
