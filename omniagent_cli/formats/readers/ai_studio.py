"""``ai-studio``: prompts of Google AI Studio as it saves them to Google Drive, one JSON file each.

``chunkedPrompt.chunks`` is the conversation; a chunk with ``isThought`` is thinking. There are no ids, and times only
in newer files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omniagent_cli.formats.readers.conversations import ConversationReader
from omniagent_cli.formats.readers.records import (
    image_part,
    left_out,
    merge_parts,
    message,
    object_of,
    objects_of,
    text_of,
    tool_call,
)
from omniagent_cli.formats.types import ReaderItem

_MEDIA = {
    "driveImage": "image",
    "driveDocument": "file",
    "driveVideo": "video",
    "driveAudio": "audio",
    "youtubeVideo": "video",
}
"""Keys of media by reference, and their kinds."""


class AiStudio(ConversationReader):
    """Reader of a prompt of Google AI Studio."""

    format_name = "ai-studio"
    nested_keys = frozenset({"chunkedPrompt", "chunks"})

    def _conversation(self, raw: dict[str, Any], location: str) -> Iterator[ReaderItem]:
        name = Path(self._source.name).name.removesuffix(".json")
        model = text_of(object_of(raw.get("runSettings")).get("model")).removeprefix("models/")
        model = f"google:{model}" if model else ""
        chunks = objects_of(object_of(raw.get("chunkedPrompt")).get("chunks"))
        first = next((chunk.get("createTime") for chunk in chunks), None)
        header = self._header(name, title=name, created=first, model=model)
        return self._thread(_records(raw, chunks, model), location, header)


def _records(
    raw: dict[str, Any], chunks: list[dict[str, Any]], model: str
) -> Iterator[dict[str, Any]]:
    instruction = object_of(raw.get("systemInstruction"))
    system = text_of(instruction.get("text")) or "\n".join(
        text_of(part.get("text")) for part in objects_of(instruction.get("parts"))
    )
    if system.strip():
        yield message("system", system)
    for chunk in chunks:
        role = "user" if chunk.get("role") == "user" else "assistant"
        at, answered_by = chunk.get("createTime"), model if role == "assistant" else ""
        if chunk.get("isThought") is True:
            yield message(role, "", at=at, model=answered_by, thinking=text_of(chunk.get("text")))
            continue
        content = merge_parts(list(_parts(chunk)))
        calls = _code_calls(chunk)
        if content or calls:
            yield message(role, content, at=at, model=answered_by, tool_calls=calls)
        else:
            yield left_out(f"empty {role} message")
        if result := object_of(chunk.get("codeExecutionResult")):
            yield message("tool", text_of(result.get("output")), at=at)


def _parts(chunk: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if text := text_of(chunk.get("text")):
        yield {"type": "text", "text": text}
    inline = object_of(chunk.get("inlineImage")) or object_of(chunk.get("inlineFile"))
    if data := text_of(inline.get("data")):
        media_type = text_of(inline.get("mimeType"))
        is_image = media_type.startswith("image/")
        url = f"data:{media_type};base64,{data}"
        yield image_part(url) if is_image else {"type": "text", "text": f"[file: {media_type}]"}
    for key, kind in _MEDIA.items():
        if media := object_of(chunk.get(key)):
            yield {"type": "text", "text": f"[{kind}: {text_of(media.get('id')) or 'unnamed'}]"}


def _code_calls(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    code = object_of(chunk.get("executableCode"))
    return [tool_call("", "code_execution", {"code": text_of(code.get("code"))})] if code else []
