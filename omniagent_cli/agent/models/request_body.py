"""The body of a Chat Completions request, built from messages, tools and settings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from omniagent_cli.agent.events import ModelSettings
from omniagent_cli.agent.models.normalization import normalized
from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.agent.structured_output import instruction, response_format

_MESSAGE_KEYS = ("role", "content", "name", "tool_calls", "tool_call_id", "refusal")

_CALL_IDS = {
    "anthropic": r"[a-zA-Z0-9_-]{1,64}",
    "bedrock": r"[a-zA-Z0-9_-]{1,64}",
    "openai": r".{1,40}",
    "mistral": r"[a-zA-Z0-9]{9}",
}
"""Allowed tool call ids by provider; the others accept any."""

_OF_MISTRAL = re.compile(r"mistral|ministral|codestral|devstral|magistral|mixtral", re.IGNORECASE)
"""Mistral's models on other servers: their chat templates have the same rule for ids."""

_SIGNING_GEMINI = re.compile(r"gemini-(?:[3-9]|\d\d)")
_UNSIGNED = {"google": {"thought_signature": "skip_thought_signature_validator"}}
"""The signature that Google documents for calls of other models: https://ai.google.dev/gemini-api/docs/thought-signatures."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def chat_request_body(
    endpoint: Endpoint,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    settings: ModelSettings,
    *,
    echo_thinking: bool = False,
) -> dict[str, Any]:
    """Return the body of a request; settings that are None are left to the provider.

    Args:
        endpoint: the model and its address.
        messages: the history, with or without the keys of stored messages.
        tools: definitions in the form of Chat Completions.
        settings: the options of the request.
        echo_thinking: the server requires the thinking of earlier answers.
    """
    valid = normalized(messages, [tool["function"]["name"] for tool in tools])
    sent = [api_message(message, endpoint) for message in valid]
    if echo_thinking or endpoint.provider.echoes_thinking:
        sent = _with_thinking(sent, valid, endpoint)
    if settings.schema is not None and not endpoint.provider.enforces_schema:
        sent = with_instruction(sent, settings.schema)
    body: dict[str, Any] = {
        "model": endpoint.model,
        "messages": sent,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return body | _options(endpoint, tools, settings)


def _options(
    endpoint: Endpoint, tools: Sequence[Mapping[str, Any]], settings: ModelSettings
) -> dict[str, Any]:
    # Only OpenAI's newer models reject the name that all servers support.
    at_openai = endpoint.provider.name == "openai" and endpoint.is_default_address
    schema = settings.schema
    options = {
        "tools": list(tools) or None,
        "temperature": settings.temperature,
        "max_completion_tokens" if at_openai else "max_tokens": settings.max_tokens,
        endpoint.provider.seed_name: settings.seed,
        "reasoning_effort": settings.reasoning_effort,
        "response_format": None if schema is None else response_format(schema),
    }
    return {key: value for key, value in options.items() if value is not None}


def with_instruction(
    messages: Sequence[Mapping[str, Any]], schema: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the messages with the schema as an instruction in the first one.

    An existing system message is extended, because several chat templates reject a second one.
    """
    told = instruction(schema)
    first = dict(messages[0]) if messages else {}
    if first.get("role") == "system" and isinstance(first.get("content"), str):
        first["content"] = f"{first['content']}\n\n{told}"
        return [first, *map(dict, messages[1:])]
    return [{"role": "system", "content": told}, *map(dict, messages)]


def api_message(message: Mapping[str, Any], endpoint: Endpoint) -> dict[str, Any]:
    """Return a message with the keys of Chat Completions only, and with thinking only for its own provider.

    The ``extra`` of a stored message may be present; only its own provider receives its content.
    """
    provider = endpoint.provider.name
    sent = {key: message[key] for key in _MESSAGE_KEYS if message.get(key) is not None}
    calls = sent.pop("tool_calls", None)
    if calls:
        sent["tool_calls"] = _calls(calls, endpoint)
    if "tool_call_id" in sent:
        sent["tool_call_id"] = call_id(sent["tool_call_id"], endpoint)
    extra = message.get("extra") or {}
    if extra.get("provider") != provider:
        return sent
    for key in endpoint.provider.echoes:
        if key in extra:
            sent[key] = extra[key]
    return sent


def _with_thinking(
    sent: Sequence[dict[str, Any]], messages: Sequence[Mapping[str, Any]], endpoint: Endpoint
) -> list[dict[str, Any]]:
    """Return messages with the thinking of each answer in a turn with tool calls.

    Answers of other models have none, and Moonshot rejects an empty text as missing, so a blank is sent:
    https://github.com/theopenco/llmgateway/pull/2093.
    """
    echoed = []
    amid_tools = False
    for message, stored in zip(sent, messages, strict=True):
        amid_tools = message["role"] != "user" and (amid_tools or bool(message.get("tool_calls")))
        extra = stored.get("extra") or {}
        own = extra.get("thinking") if extra.get("provider") == endpoint.provider.name else None
        wanted = message["role"] == "assistant" and amid_tools
        thinking = (own or " ") if wanted and (own or message.get("tool_calls")) else ""
        echoed.append({**message, "reasoning_content": thinking} if thinking else message)
    return echoed


def _calls(calls: Sequence[Mapping[str, Any]], endpoint: Endpoint) -> list[dict[str, Any]]:
    signed = endpoint.provider.name == "gemini"  # Google's signatures are sent to Google only
    keys = ("id", "type", "function") + (("extra_content",) if signed else ())
    sent = [{key: call[key] for key in keys if key in call} for call in calls]
    for call in sent:
        if "id" in call:
            call["id"] = call_id(call["id"], endpoint)
    if signed and _SIGNING_GEMINI.search(endpoint.model) and "extra_content" not in sent[0]:
        sent[0]["extra_content"] = _UNSIGNED  # of parallel calls only the first is signed
    return sent


def call_id(given: Any, endpoint: Endpoint) -> str:
    """Return an id that the provider accepts; equal for a call and its result, in every request."""
    rule = _CALL_IDS.get(endpoint.provider.name, "")
    if not rule and _OF_MISTRAL.search(endpoint.model):
        rule = _CALL_IDS["mistral"]
    text = str(given)
    if not rule or re.fullmatch(rule, text):
        return text
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8])
    digits = ""
    for _ in range(9):
        number, digit = divmod(number, len(_ALPHABET))
        digits += _ALPHABET[digit]
    return digits
