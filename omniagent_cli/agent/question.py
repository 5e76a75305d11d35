"""What a Chat Completions server is asked: messages, tools and settings -> the body of the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omniagent_cli.agent.events import ModelSettings
from omniagent_cli.agent.providers import Endpoint, Provider

_MESSAGE_KEYS = ("role", "content", "name", "tool_calls", "tool_call_id", "refusal")


def question(
    endpoint: Endpoint,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    settings: ModelSettings,
) -> dict[str, Any]:
    """Return the body of a request; what is None in the settings is left to the provider."""
    provider = endpoint.provider
    body: dict[str, Any] = {
        "model": endpoint.model,
        "messages": [sendable(message, provider) for message in messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    longest = "max_completion_tokens" if provider.name == "openai" else "max_tokens"
    options = {
        "tools": list(tools) or None,
        "temperature": settings.temperature,
        longest: settings.max_tokens,
        "seed": settings.seed,
        "reasoning_effort": settings.reasoning_effort,
    }
    return body | {key: value for key, value in options.items() if value is not None}


def sendable(message: Mapping[str, Any], provider: Provider) -> dict[str, Any]:
    """Return a message with the keys of Chat Completions only, and thinking only where it came from.

    A stored message's ``extra`` may be left in: DeepSeek wants its own thinking back beside a tool call,
    and nobody else is sent it. Google's signatures on calls go back to Google alone.
    """
    sent = {key: message[key] for key in _MESSAGE_KEYS if message.get(key) is not None}
    if not sent.get("tool_calls"):
        sent.pop("tool_calls", None)
        return sent
    keys = ("id", "type", "function") + (("extra_content",) if provider.name == "gemini" else ())
    sent["tool_calls"] = [{k: call[k] for k in keys if k in call} for call in sent["tool_calls"]]
    extra = message.get("extra") or {}
    if provider.echoes_thinking and extra.get("provider") == provider.name:
        sent["reasoning_content"] = extra.get("thinking", "")
    return sent
