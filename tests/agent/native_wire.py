"""Requests in the providers' own protocols, read back into chat-completions messages, for tests that compare engines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def as_chat(name: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of a request as chat-completions objects, without its system prompt."""
    messages = body["contents" if name == "gemini" else "messages"]
    return [said for message in messages for said in _READERS[name](message)]


def _plain(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content") or ""
    if not isinstance(content, str):
        content = "".join(part["text"] for part in content)
    return [{**message, "content": content}]


def _anthropic(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    blocks = message["content"]
    if isinstance(blocks, str):
        return [dict(message)]
    results = [
        _result(block["tool_use_id"], block["content"])
        for block in blocks
        if block["type"] == "tool_result"
    ]
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    calls = [
        _call(block["id"], block["name"], block["input"])
        for block in blocks
        if block["type"] == "tool_use"
    ]
    return results + _said(message["role"], texts, calls)


def _bedrock(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    blocks = message["content"]
    results = [block["toolResult"] for block in blocks if "toolResult" in block]
    uses = [block["toolUse"] for block in blocks if "toolUse" in block]
    texts = [block["text"] for block in blocks if "text" in block]
    calls = [_call(use["toolUseId"], use["name"], use["input"]) for use in uses]
    told = [_result(result["toolUseId"], _of_bedrock(result["content"][0])) for result in results]
    return told + _said(message["role"], texts, calls)


def _of_bedrock(content: Mapping[str, Any]) -> str:
    return content["text"] if "text" in content else json.dumps(content["json"])


def _gemini(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    parts = message["parts"]
    results = [part["functionResponse"] for part in parts if "functionResponse" in part]
    made = [part["functionCall"] for part in parts if "functionCall" in part]
    texts = [part["text"] for part in parts if "text" in part]
    calls = [_call(call["id"], call["name"], call["args"]) for call in made]
    told = [_result(r["id"], next(iter(r["response"].values()))) for r in results]
    role = "assistant" if message["role"] == "model" else message["role"]
    return told + _said(role, texts, calls)


def _call(call_id: str, name: str, arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": call_id, "type": "function", "function": function}


def _result(call_id: str, content: Any) -> dict[str, Any]:
    if isinstance(content, list):
        content = "".join(block["text"] for block in content)
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def _said(role: str, texts: list[str], calls: list[Any]) -> list[dict[str, Any]]:
    if not texts and not calls:
        return []
    made = {"tool_calls": calls} if calls else {}
    return [{"role": role, "content": "".join(texts), **made}]


_READERS = {
    "anthropic": _anthropic,
    "bedrock": _bedrock,
    "gemini": _gemini,
    "mistral": _plain,
    "groq": _plain,
}
