"""Conversion of messages to items of OpenAI's Conversations API and back.

The API keeps texts, tool calls and tool results. What it cannot store (ids, times, turns, usage, attachments, invalid
text) stays in the local map, as a message with placeholders for the rest.
Shapes: https://platform.openai.com/docs/api-reference/conversations
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omniagent_cli.json_format import clone

Item = dict[str, Any]


def split(role: str, message_id: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], list[Item]]:
    """Split a message into the part that stays in the map and the items to send.

    Returns:
        ``{"body": the message without the sent parts, "said": placeholders in its content, "calls": placeholders in its
        tool calls}``, where "said" is True for the whole content, or the numbers of the parts whose text is sent; and
        the items.
    """
    rest = clone(dict(body))
    items: list[Item] = []
    content = body.get("content", "")
    said: bool | list[int] = False
    if isinstance(content, str):
        if _is_sendable(content):
            items.append(_said(role, [content], body.get("tool_call_id") or message_id))
            del rest["content"]
            said = True
    else:
        places = [n for n, part in enumerate(content) if _is_sendable(part.get("text"))]
        if places:
            texts = [rest["content"][n].pop("text") for n in places]
            items.append(_said(role, texts, body.get("tool_call_id") or message_id))
            said = places
    calls = []
    for number, call in enumerate(body.get("tool_calls") or ()):
        function = call["function"]
        arguments = function.get("arguments")
        if _is_sendable(function["name"]) and _is_sendable(arguments):
            call_id = call.get("id") or f"{message_id}-{number}"
            item = {"type": "function_call", "call_id": call_id, "name": function["name"]}
            items.append({**item, "arguments": arguments})
            for key in ("name", "arguments"):
                del rest["tool_calls"][number]["function"][key]
            calls.append(number)
    return {"body": rest, "said": said, "calls": calls}, items


def join(kept: Mapping[str, Any], items: Sequence[Item]) -> dict[str, Any]:
    """Fill the placeholders of a message with fetched items.

    Raises:
        ValueError: the items do not match.
    """
    body: dict[str, Any] = clone(kept["body"])
    rest = list(items)
    said = kept["said"]
    if said is not False:
        texts = _texts(rest.pop(0))
        if said is True:
            body["content"] = "".join(texts)
        else:
            for number, text in zip(said, texts, strict=True):
                body["content"][number]["text"] = text
    for number, item in zip(kept["calls"], rest, strict=True):
        function = body["tool_calls"][number]["function"]
        body["tool_calls"][number]["function"] = {
            "name": item["name"],
            "arguments": item["arguments"],
            **function,
        }
    return body


def adopted(items: Sequence[Item]) -> list[tuple[dict[str, Any], list[str]]]:
    """Convert items of another program to message records, each with the ids of its items.

    Items that are neither text nor a function call are not converted.
    """
    found: list[tuple[dict[str, Any], list[str]]] = []
    for item in items:
        kind = item.get("type")
        if kind == "function_call":
            call = {"id": item["call_id"], "type": "function"}
            call["function"] = {"name": item["name"], "arguments": item["arguments"]}
            if (
                found and found[-1][0]["role"] == "assistant"
            ):  # calls belong to the text before them
                found[-1][0].setdefault("tool_calls", []).append(call)
                found[-1][1].append(item["id"])
            else:
                record = {"role": "assistant", "content": "", "tool_calls": [call]}
                found.append((record, [item["id"]]))
        elif kind == "function_call_output":
            text = "".join(_texts(item))
            record = {"role": "tool", "content": text, "tool_call_id": item.get("call_id") or ""}
            found.append((record, [item["id"]]))
        elif kind == "message" and any(_texts(item)):
            role = {"developer": "system"}.get(item["role"], item["role"])
            role = role if role in ("system", "user") else "assistant"
            found.append(({"role": role, "content": "".join(_texts(item))}, [item["id"]]))
    return found


def _is_sendable(text: Any) -> bool:
    """Return True if the API accepts a text: not empty, valid Unicode, no NUL characters."""
    if not isinstance(text, str) or not text or "\x00" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _said(role: str, texts: Sequence[str], call_id: str) -> Item:
    kind = "output_text" if role == "assistant" else "input_text"
    parts = [{"type": kind, "text": text} for text in texts]
    if role == "tool":
        output: Any = texts[0] if len(texts) == 1 else parts
        return {"type": "function_call_output", "call_id": call_id, "output": output}
    return {"type": "message", "role": role, "content": parts}


def _texts(item: Item) -> list[str]:
    content = (
        item.get("output") if item.get("type") == "function_call_output" else item.get("content")
    )
    if isinstance(content, str):
        return [content]
    texts = (part.get("text", part.get("refusal")) for part in content or ())
    return [text for text in texts if isinstance(text, str)]
