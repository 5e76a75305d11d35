"""``lm-studio``: conversations of LM Studio, ``~/.lmstudio/conversations/*.conversation.json``.

Each message has ``versions``, of which one is selected; an answer is a list of ``steps`` with content blocks, tool
calls and their results.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omniagent_cli.formats.readers.conversations import ConversationReader
from omniagent_cli.formats.readers.records import (
    left_out,
    merge_parts,
    message,
    object_of,
    objects_of,
    text_of,
    tool_call,
    tool_output,
)
from omniagent_cli.formats.types import ReaderItem


class LmStudio(ConversationReader):
    """Reader of a conversation of LM Studio."""

    format_name = "lm-studio"
    nested_keys = frozenset({"messages"})

    def _conversation(self, raw: dict[str, Any], location: str) -> Iterator[ReaderItem]:
        name = Path(self._source.name).name.removesuffix(".json").removesuffix(".conversation")
        model = object_of(raw.get("lastUsedModel")).get("identifier")
        header = self._header(
            name,
            title=raw.get("name"),
            created=raw.get("createdAt"),
            updated=raw.get("assistantLastMessagedAt") or raw.get("userLastMessagedAt"),
            model=f"lmstudio:{model}" if text_of(model) else "",
            pinned=raw.get("pinned"),
        )
        return self._thread(_records(raw), location, header)


def _records(raw: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if system := text_of(raw.get("systemPrompt")).strip():
        yield message("system", system)
    for one in objects_of(raw.get("messages")):
        versions, selected = objects_of(one.get("versions")), one.get("currentlySelected")
        if not versions:
            yield left_out("empty message")
            continue
        if versions[1:]:
            yield left_out("unselected version")
        chosen = selected if isinstance(selected, int) and 0 <= selected < len(versions) else -1
        yield from _version(versions[chosen])


def _version(version: dict[str, Any]) -> Iterator[dict[str, Any]]:
    role = text_of(version.get("role"))
    if role not in ("system", "user", "assistant"):
        yield left_out("message of an unknown role")
        return
    name = text_of(object_of(version.get("senderInfo")).get("senderName"))
    model = f"lmstudio:{name}" if name and role == "assistant" else ""
    if version.get("type") != "multiStep":
        yield from _blocks(objects_of(version.get("content")), role, model)
        return
    for step in objects_of(version.get("steps")):
        if step.get("type") == "contentBlock":
            style = object_of(step.get("style")).get("type")
            yield from _blocks(
                objects_of(step.get("content")), role, model, thinks=style == "thinking"
            )
        elif step.get("type") == "toolStatus":
            state = object_of(object_of(step.get("statusState")).get("status"))
            if text_of(state.get("type")) == "toolCallFailed":
                yield message("tool", text_of(state.get("error")), tool_call_id=_call_id(step), failed=True)  # fmt: skip


def _call_id(block: dict[str, Any]) -> str:
    found = block.get("toolCallRequestId", block.get("callId", block.get("toolCallId")))
    return "" if found is None else f"{found}"


def _blocks(
    blocks: list[dict[str, Any]], role: str, model: str, *, thinks: bool = False
) -> Iterator[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for block in blocks:
        kind = block.get("type")
        if kind == "text":
            parts.append({"type": "text", "text": text_of(block.get("text"))})
        elif kind == "file":
            name = text_of(block.get("fileName")) or text_of(block.get("fileIdentifier"))
            label = "image" if block.get("fileType") == "image" else "file"
            parts.append({"type": "text", "text": f"[{label}: {name or 'unnamed'}]"})
        elif kind == "toolCallRequest":
            calls.append(tool_call(_call_id(block), block.get("name"), block.get("parameters", {})))
        elif kind == "toolCallResult":
            output = tool_output(block.get("content"))
            results.append(message("tool", output, tool_call_id=_call_id(block)))
    content = merge_parts(parts)
    if thinks and isinstance(content, str) and content:
        yield message("assistant", "", model=model, thinking=content)
    elif content or calls:
        yield message(role, content, model=model, tool_calls=calls)
    elif not results:
        yield left_out(f"empty {role} message")
    yield from results
