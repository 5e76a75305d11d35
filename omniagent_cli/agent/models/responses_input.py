"""The body of a Responses request: messages as input items, tools, settings.

Shapes: `openai.types.responses.response_create_params` and `response_input_item_param` of the `openai` library.
Each request contains the whole history (``store: false``), including the encrypted reasoning of this model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from omniagent_cli.agent.models.normalization import alternating
from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.agent.models.request_body import call_id
from omniagent_cli.models import content_text, part_label

Item = dict[str, Any]

ITEMS = "items"
"""The key in a message's ``extra`` for the output items of the answer, in their order."""

SEPARATOR = "\n\n"
"""Separator between the texts of two output messages of one answer, which are stored as one message."""

REASONING_KEYS = ("type", "id", "summary", "content", "encrypted_content")


def request_body(
    asked: Mapping[str, Any], endpoint: Endpoint, stale: Collection[str] = ()
) -> dict[str, Any]:
    """Return the body of a Responses request from one in the shape of Chat Completions.

    Args:
        asked: the request in the shape of Chat Completions; its other keys are kept unchanged.
        endpoint: the model and its address.
        stale: the ids of rejected reasoning items, which are not sent again; see `reasoning_id`.
    """
    body = dict(asked)
    messages = alternating(body.pop("messages"))
    tools, schema = body.pop("tools", None), body.pop("response_format", None)
    body["input"] = [item for m in messages for item in input_items(m, endpoint, stale)]
    if tools:
        body["tools"] = [_tool(tool) for tool in tools]
    if schema:
        body["text"] = {"format": {"type": schema["type"], **schema["json_schema"]}}
    return body


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool["function"]
    return {
        "type": "function",
        "name": function["name"],
        "description": function.get("description") or "",
        "parameters": function.get("parameters") or {"type": "object", "properties": {}},
        "strict": False,  # the default is true, which allows no optional parameters
    }


def input_items(
    message: Mapping[str, Any], endpoint: Endpoint, stale: Collection[str] = ()
) -> list[Item]:
    """Convert a message in the shape of Chat Completions to input items."""
    role = message["role"]
    if role == "assistant":
        return _answer(message, endpoint, stale)
    content = message.get("content") or ""
    if role == "tool":
        return [
            {
                "type": "function_call_output",
                "call_id": call_id(message.get("tool_call_id") or "", endpoint),
                "output": content if isinstance(content, str) else list(_parts(content)),
            }
        ]
    sent = content if isinstance(content, str) else list(_parts(content))
    return [{"type": "message", "role": role, "content": sent}]


def _parts(content: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield content parts in the shapes of the Responses API; a part without one becomes a text label."""
    for part in content:
        kind = part.get("type")
        inner = part.get(kind) if isinstance(kind, str) else None
        inner = inner if isinstance(inner, dict) else {}
        if kind == "image_url" and inner.get("url"):
            detail = inner.get("detail") or "auto"
            yield {"type": "input_image", "image_url": inner["url"], "detail": detail}
        elif kind == "file" and inner.get("file_data"):
            name = inner.get("filename") or part_label(dict(part))
            yield {"type": "input_file", "filename": name, "file_data": inner["file_data"]}
        else:
            yield {"type": "input_text", "text": content_text([dict(part)])}


def _answer(message: Mapping[str, Any], endpoint: Endpoint, stale: Collection[str]) -> list[Item]:
    text = content_text(message.get("content") or "")
    calls = [_call(call, endpoint) for call in message.get("tool_calls") or ()]
    kept = stored_items(message, endpoint)
    items = _original_items(kept, text, calls, stale)
    if items is None:
        items = [_text(text)] if text.strip() else []
        items += calls
    return items


def _text(text: str, phase: Any = None) -> Item:
    item = {"type": "message", "role": "assistant", "content": text}
    return {**item, "phase": phase} if phase else item


def _call(call: Mapping[str, Any], endpoint: Endpoint) -> Item:
    function = call["function"]
    return {
        "type": "function_call",
        "call_id": call_id(call.get("id") or "", endpoint),
        "name": function["name"],
        "arguments": function.get("arguments") or "{}",
    }


def stored_items(message: Mapping[str, Any], endpoint: Endpoint) -> list[Item]:
    """Return the output items stored with an answer of this model; an empty list for another model's answer."""
    kept = (message.get("extra") or {}).get(ITEMS)
    is_own = message.get("model") == f"{endpoint.provider.name}:{endpoint.model}"
    if not is_own or not isinstance(kept, list):
        return []
    return kept if all(isinstance(item, dict) for item in kept) else []


def reasoning_id(item: Mapping[str, Any]) -> str:
    """Return the identity of a reasoning item: its encrypted content, or else its id."""
    return str(item.get("encrypted_content") or item.get("id") or "")


def _original_items(
    kept: Sequence[Item], text: str, calls: Sequence[Item], stale: Collection[str]
) -> list[Item] | None:
    """Return the items of an answer in their order, with the reasoning; None if the text was edited since.

    Reasoning is only accepted together with the item that followed it.
    """
    found: list[Item] = []
    rest, waiting = text, list(calls)
    for item in kept:
        kind = item.get("type")
        if kind == "reasoning":
            if reasoning_id(item) not in stale:
                found.append({key: item[key] for key in REASONING_KEYS if key in item})
        elif kind == "message" and isinstance(length := item.get("length"), int):
            if rest is not text:
                rest = rest.removeprefix(SEPARATOR)
            found.append(_text(rest[:length], item.get("phase")))
            rest = rest[length:]
        elif kind == "function_call" and waiting:
            found.append(waiting.pop(0))
        else:
            return None
    if rest or waiting:
        return None
    found = [item for item in found if item["type"] != "message" or item["content"].strip()]
    while found and found[-1]["type"] == "reasoning":
        found.pop()
    return found
