"""``qwen-code``: chats of Qwen Code, ``~/.qwen/projects/DIRECTORY/chats/SESSION.jsonl``.

One line per message, a tree by ``uuid`` and ``parentUuid``; the content has the parts of Google's API. Source: the
program's recorder (``@qwen-code/qwen-code``, ``chatRecordingService``).
"""

from __future__ import annotations

from typing import Any

from omniagent_cli.formats.readers.records import (
    as_text,
    image_part,
    left_out,
    merge_parts,
    message,
    object_of,
    objects_of,
    text_of,
    tool_call,
    usage_of,
)
from omniagent_cli.formats.readers.transcripts import TranscriptReader

_USAGE = {
    "promptTokenCount": "input_tokens",
    "candidatesTokenCount": "output_tokens",
    "cachedContentTokenCount": "cache_read_tokens",
    "thoughtsTokenCount": "reasoning_tokens",
}


class QwenCode(TranscriptReader):
    """Reader of a chat of Qwen Code."""

    format_name = "qwen-code"

    def add_line(self, line: dict[str, Any]) -> None:
        """Add a line; lines without a message only connect others."""
        self.session_id = self.session_id or text_of(line.get("sessionId"))
        self.add_time(line.get("timestamp"))
        for key, name in (("cwd", "cwd"), ("gitBranch", "git_branch")):
            self.facts[name] = self.facts.get(name) or text_of(line.get(key))
        if line.get("subtype") == "custom_title":
            payload = object_of(line.get("systemPayload"))
            self.facts["title"] = text_of(payload.get("customTitle")) or self.facts.get("title")
        self.add(self._records(line), node_id=line.get("uuid"), parent=line.get("parentUuid"))

    def _records(self, line: dict[str, Any]) -> list[dict[str, Any]]:
        kind, id_, at = text_of(line.get("type")), text_of(line.get("uuid")), line.get("timestamp")
        parts = objects_of(object_of(line.get("message")).get("parts"))
        if kind in ("user", "tool_result"):
            results = [_result(part, f"{id_}-{n}" if n else id_, at) for n, part in enumerate(parts) if "functionResponse" in part]  # fmt: skip
            content = merge_parts([_part(part) for part in parts if "functionResponse" not in part])
            asked = [message("user", content, id_=id_, at=at)] if content and kind == "user" else []
            return [*results, *asked]
        if kind != "assistant":
            return []
        model = text_of(line.get("model"))
        self.facts["model"] = f"qwen:{model}" if model else self.facts.get("model")
        thoughts = [text_of(part.get("text")) for part in parts if part.get("thought") is True]
        calls = [
            tool_call(call.get("id"), call.get("name"), call.get("args", {}))
            for part in parts
            if (call := object_of(part.get("functionCall")))
        ]
        content = merge_parts(
            [
                _part(part)
                for part in parts
                if not (part.get("thought") is True or "functionCall" in part)
            ]
        )
        thinking = "\n\n".join(filter(None, thoughts))
        if not (content or thinking or calls):
            return [left_out("empty assistant message")]
        usage = usage_of(object_of(line.get("usageMetadata")), _USAGE)
        return [
            message(
                "assistant", content, id_=id_, at=at, model=f"qwen:{model}" if model else "",
                thinking=thinking, tool_calls=calls, usage=usage,
            )
        ]  # fmt: skip


def _part(part: dict[str, Any]) -> dict[str, Any]:
    inline = object_of(part.get("inlineData"))
    if data := text_of(inline.get("data")):
        return image_part(f"data:{text_of(inline.get('mimeType'))};base64,{data}")
    if file := object_of(part.get("fileData")):
        return {"type": "text", "text": f"[file: {text_of(file.get('fileUri')) or 'unnamed'}]"}
    return {"type": "text", "text": text_of(part.get("text"))}


def _result(part: dict[str, Any], id_: str, at: Any) -> dict[str, Any]:
    raw = object_of(part.get("functionResponse"))
    response = object_of(raw.get("response"))
    text = as_text(response.get("output", response.get("error", response)))
    return message(
        "tool", text, id_=id_, at=at, name=text_of(raw.get("name")), tool_call_id=text_of(raw.get("id")),
        failed="error" in response,
    )  # fmt: skip
