"""Conversion between the content blocks of the protocol and messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from acp import schema
from acp.helpers import (
    start_tool_call,
    text_block,
    tool_content,
    update_agent_message_text,
    update_agent_thought_text,
    update_tool_call,
    update_user_message_text,
)

from omniagent_cli.adapters.acp.file_changes import changes, locations
from omniagent_cli.agent.context.attachments import Attachment, parse_attachment
from omniagent_cli.agent.events import (
    Notice,
    Retrying,
    TextDelta,
    ThinkingDelta,
    ToolCalled,
    ToolEnded,
    ToolReturned,
    TurnEvent,
)
from omniagent_cli.errors import OmniAgentError, UsageError
from omniagent_cli.models import ToolCall
from omniagent_cli.parsing import parse_json

if TYPE_CHECKING:
    from omniagent_cli.models import Message

_KINDS: dict[str, schema.ToolKind] = {
    "sessions_search": "search",
    "sessions_list": "search",
    "sessions_history": "read",
    "sessions_get": "read",
    "sessions_metadata_get": "read",
    "sessions_metadata_set": "edit",
    "sessions_clear": "delete",
    "sessions_delete": "delete",
}


def message_parts(blocks: Sequence[Any]) -> tuple[str, list[Attachment]]:
    """Return the text and the attachments of a prompt.

    Embedded files and pictures become attachments with the limits of attached files; a link becomes its address.

    Raises:
        UsageError: an attachment is too large or has an unsupported type.
    """
    texts: list[str] = []
    attachments: list[Attachment] = []
    for number, block in enumerate(blocks, start=1):
        if isinstance(block, schema.TextContentBlock):
            texts.append(block.text)
        elif isinstance(block, schema.ResourceContentBlock):
            texts.append(f"[{block.name}]({block.uri})")
        elif isinstance(block, schema.ImageContentBlock):
            suffix = block.mime_type.rpartition("/")[2]
            name = _name(block.uri or "") or f"image-{number}.{suffix}"
            attachments.append(parse_attachment(name, _decoded(block.data)))
        elif isinstance(block, schema.EmbeddedResourceContentBlock):
            attachments.append(_embedded(block.resource))
        else:
            raise UsageError("audio is not supported; send text, pictures or PDF files")
    return "\n".join(texts), attachments


def _embedded(resource: Any) -> Attachment:
    name = _name(resource.uri) or resource.uri
    if isinstance(resource, schema.TextResourceContents):
        return parse_attachment(name, resource.text.encode("utf-8", "replace"))
    return parse_attachment(name, _decoded(resource.blob))


def _name(uri: str) -> str:
    return PurePosixPath(unquote(urlsplit(uri).path)).name


def _decoded(data: str) -> bytes:
    from base64 import b64decode

    try:
        return b64decode(data, validate=True)
    except ValueError as error:
        raise UsageError("an attachment is not valid base64") from error


def event_updates(event: TurnEvent) -> Iterator[Any]:
    """Yield the session updates of an event of a turn."""
    match event:
        case TextDelta(text=text):
            yield update_agent_message_text(text)
        case ThinkingDelta(text=text):
            yield update_agent_thought_text(text)
        case Retrying(reason=reason, wait_seconds=seconds):
            yield update_agent_thought_text(f"{reason}; retrying in {seconds:.0f} s\n")
        case Notice(text=text, detail=False):
            yield update_agent_thought_text(f"{text}\n")
        case ToolCalled(call=call):
            yield _started(call)
        case ToolEnded(call=call, text=text, failed=failed):
            yield _ended(call, text, failed=failed)
        case ToolReturned(call=call, message=message, failed=failed):
            yield _ended(call, message.text, failed=failed)


def replay_updates(messages: Sequence[Message]) -> Iterator[Any]:
    """Yield the session updates that show stored messages."""
    calls: dict[str, ToolCall] = {}
    for message in messages:
        if message.role == "user":
            yield update_user_message_text(message.text)
        elif message.role == "assistant":
            if isinstance(thinking := (message.extra or {}).get("thinking"), str):
                yield update_agent_thought_text(thinking)
            if message.text:
                yield update_agent_message_text(message.text)
            for call in message.tool_calls or ():
                calls[call.get("id", "")] = call
                yield _started(call)
        elif message.role == "tool" and (found := calls.get(message.tool_call_id or "")):
            yield _ended(found, message.text, failed=bool((message.extra or {}).get("failed")))


def call_arguments(call: ToolCall) -> Any:
    """Return the arguments of a call; the text if it is not JSON."""
    text = call["function"].get("arguments") or "{}"
    try:
        return parse_json(text)
    except (ValueError, OmniAgentError):
        return text


def tool_kind(name: str, arguments: Any) -> schema.ToolKind:
    """Return the kind under which editors show a call."""
    return _KINDS.get(name, "edit" if changes(arguments) else "other")


def _started(call: ToolCall) -> Any:
    name, arguments = call["function"]["name"], call_arguments(call)
    return start_tool_call(
        call.get("id", ""),
        name,
        kind=tool_kind(name, arguments),
        status="in_progress",
        content=changes(arguments) or None,
        locations=locations(arguments) or None,
        raw_input=arguments,
    )


def _ended(call: ToolCall, text: str, *, failed: bool) -> Any:
    return update_tool_call(
        call.get("id", ""),
        status="failed" if failed else "completed",
        content=[
            *([] if failed else changes(call_arguments(call))),
            tool_content(text_block(text)),
        ],
    )
