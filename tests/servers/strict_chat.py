"""The checks of a strict Chat Completions server: what chat templates and providers refuse in a history.

Sources: the templates of Mistral and Gemma (alternation), vLLM and llama.cpp (arguments are parsed), OpenAI (pattern
of names), Anthropic and Bedrock (unique ids, results follow their calls), parsers built on serde (lone surrogates).
"""

from __future__ import annotations

import json
import re
from typing import Any

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def complaint(raw: bytes) -> str:
    """Return what is wrong with the body of a request, as a provider would write it; empty when it is valid."""
    body = json.loads(raw)
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "The request body is not valid JSON: no low surrogate in string"
    messages = body["messages"]
    return _roles(messages) or _calls(messages) or _results(messages)


def _roles(messages: list[dict[str, Any]]) -> str:
    if any(message["role"] == "system" for message in messages[1:]):
        return "System message must be at the beginning."
    sides = [
        m["role"]
        for m in messages
        if m["role"] in ("user", "assistant") and not m.get("tool_calls")
    ]
    expected = ["user", "assistant"] * len(sides)
    if sides != expected[: len(sides)]:
        return "After the optional system message, conversation roles must alternate user/assistant/user/assistant/..."
    return ""


def _calls(messages: list[dict[str, Any]]) -> str:
    seen: set[str] = set()
    for number, message in enumerate(messages):
        if not _NAME.fullmatch(message.get("name", "x")):
            return f"Invalid 'messages[{number}].name': string does not match pattern."
        for call in message.get("tool_calls") or ():
            function = call["function"]
            if not _NAME.fullmatch(function["name"]):
                return f"Invalid 'messages[{number}].tool_calls[0].function.name': string does not match pattern."
            try:
                arguments = json.loads(function["arguments"])
            except ValueError as error:
                return f"Failed to parse tool call arguments as JSON: {error}"
            if not isinstance(arguments, dict):
                return "Can only get item pairs from a mapping."
            if call["id"] in seen:
                return "messages: `tool_use` ids must be unique"
            seen.add(call["id"])
    return ""


def _results(messages: list[dict[str, Any]]) -> str:
    open_calls: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                return "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
            open_calls.remove(message["tool_call_id"])
        elif open_calls:
            return "An assistant message with 'tool_calls' must be followed by tool messages."
        else:
            open_calls = [call["id"] for call in message.get("tool_calls") or ()]
    return ""
