"""The body of a Responses request: messages as input items, tools, settings.

Shapes: `openai.types.responses.response_create_params` and `response_input_item_param` of the `openai` library.
History is sent whole in each request (``store: false``), with the encrypted reasoning of this model in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omniagent_cli.agent.events import ModelSettings
from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.agent.models.request_body import call_id, with_instruction
from omniagent_cli.agent.structured_output import response_format
from omniagent_cli.models import content_text, part_label

Item = dict[str, Any]

ITEMS = "items"
"""The key in a message's ``extra`` of the output items it was built from, in their order."""

SEPARATOR = "\n\n"
"""Between the texts of two output messages of one answer, which are one message here."""

REASONING_KEYS = ("type", "id", "summary", "content", "encrypted_content")
ENCRYPTED = "reasoning.encrypted_content"


def request_body(
    endpoint: Endpoint,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    settings: ModelSettings,
) -> dict[str, Any]:
    """Return the body of a request; what is None in the settings is left to the provider.

    The protocol has no seed.
    """
    items = [item for message in messages for item in input_items(message, endpoint)]
    schema = settings.schema
    if schema is not None and not endpoint.provider.obeys_schema:
        items = with_instruction(items, schema)
    reasoning = {"summary": "auto", "effort": settings.reasoning_effort}
    options = {
        "tools": [_tool(tool) for tool in tools] or None,
        "temperature": settings.temperature,
        "max_output_tokens": settings.max_tokens,
        "text": None if schema is None else {"format": text_format(schema)},
    }
    return {
        "model": endpoint.model,
        "input": items,
        "stream": True,
        "store": False,
        "include": [ENCRYPTED],
        "reasoning": {key: value for key, value in reasoning.items() if value is not None},
        **{key: value for key, value in options.items() if value is not None},
    }


def text_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON schema as the format of the answer's text."""
    asked = response_format(schema)
    return {"type": asked["type"], **asked["json_schema"]}


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool["function"]
    return {
        "type": "function",
        "name": function["name"],
        "description": function.get("description") or "",
        "parameters": function.get("parameters") or {"type": "object", "properties": {}},
        "strict": False,  # left out, it would be true, which takes no optional parameters
    }


def input_items(message: Mapping[str, Any], endpoint: Endpoint) -> list[Item]:
    """Return a message in the shape of Chat Completions as the items it is."""
    role = message["role"]
    if role == "assistant":
        return _answer(message, endpoint)
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
    """Yield content parts in the shapes of this protocol; a part that has none is named in words."""
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


def _answer(message: Mapping[str, Any], endpoint: Endpoint) -> list[Item]:
    text = content_text(message.get("content") or "")
    calls = [_call(call, endpoint) for call in message.get("tool_calls") or ()]
    items = _as_it_came(message, text, calls, endpoint)
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


def _as_it_came(
    message: Mapping[str, Any], text: str, calls: Sequence[Item], endpoint: Endpoint
) -> list[Item] | None:
    """Return the items of an answer of this model in their order, with its reasoning.

    Returns None for an answer of another model, and where the text was changed since: reasoning belongs to what
    followed it.
    """
    extra = message.get("extra") or {}
    kept = extra.get(ITEMS)
    name = f"{endpoint.provider.name}:{endpoint.model}"
    if not isinstance(kept, list) or message.get("model") != name:
        return None
    found: list[Item] = []
    rest, waiting = text, list(calls)
    for item in kept:
        kind = item.get("type") if isinstance(item, dict) else None
        if kind == "reasoning":
            found.append({key: item[key] for key in REASONING_KEYS if key in item})
        elif kind == "message" and isinstance(length := item.get("length"), int):
            if any(other["type"] == "message" for other in found):
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
        found.pop()  # refused without the item it led to
    return found
