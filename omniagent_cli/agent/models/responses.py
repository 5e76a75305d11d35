"""The engine for OpenAI's Responses API; requests carry the whole history, and the server stores nothing."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from omniagent_cli.agent.events import EngineEvent, ModelSettings, Notice
from omniagent_cli.agent.models.fallbacks import ServerFallbacks
from omniagent_cli.agent.models.normalization import normalized
from omniagent_cli.agent.models.protocol_memory import ProtocolMemory
from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.agent.models.request_body import with_instruction
from omniagent_cli.agent.models.responses_input import reasoning_id, request_body, stored_items
from omniagent_cli.agent.models.responses_stream import ResponseAnswer
from omniagent_cli.agent.models.streaming_engine import StreamingEngine
from omniagent_cli.agent.structured_output import response_format

_STALE_REASONING = re.compile(
    r"invalid_encrypted_content|encrypted content.{0,200}could not be (?:verified|decrypted)"
    r"|without its required|item with id '?rs_|item\['content'\]",
    re.IGNORECASE | re.DOTALL,
)
"""Rejections of reasoning items by OpenAI (another account or model, wrong position) and llama.cpp (encrypted ones)."""

_NO_SUMMARY = re.compile(r"reasoning\.summary|reasoning summar", re.IGNORECASE)
_NO_ENCRYPTED = re.compile(r"encrypted[ _]content|\binclude\b", re.IGNORECASE)
_NO_REASONING = re.compile(
    r"(?:unsupported|unknown|unrecogni|not permitted|extra).{0,40}\breasoning\b(?!\.)",
    re.IGNORECASE,
)
_UNSUPPORTED = re.compile(
    r"unsupported|not supported|unknown|unrecogni|not permitted|extra", re.IGNORECASE
)


_REMEMBERED = frozenset({"include", "stream", "summary"})
"""Options that models without reasoning and unverified accounts reject; remembered, because each costs a request."""


class ResponsesFallbacks(ServerFallbacks):
    """The options that a server rejected in the Responses API.

    Attributes:
        stale: the ids of rejected reasoning items.
    """

    def __init__(self, endpoint: Endpoint, memory: ProtocolMemory) -> None:
        super().__init__(endpoint)
        self.stale: set[str] = set()
        self._memory = memory
        self._key = f"without {endpoint.base_url} {endpoint.model}"
        self._without |= _REMEMBERED & set((memory.get(self._key) or "").split())

    def adapt(self, request: Mapping[str, Any], settings: ModelSettings) -> dict[str, Any]:
        """Return the body of a request without the rejected options."""
        body = super().adapt(request, settings)
        if "summary" in self._without and "reasoning" in body:
            body["reasoning"] = {k: v for k, v in body["reasoning"].items() if k != "summary"}
        if not body.get("reasoning", True):
            del body["reasoning"]
        return body

    def learn(self, status: int, error_text: str, body: Mapping[str, Any]) -> bool:
        """Record a rejection; return True if there is another body to try."""
        if status in (400, 404, 422) and _STALE_REASONING.search(error_text):
            sent = [item for m in body["messages"] for item in stored_items(m, self._endpoint)]
            refused = {reasoning_id(item) for item in sent if item.get("type") == "reasoning"}
            if refused - self.stale:
                self.stale |= refused
                return True
        known = super().learn(status, error_text, body)
        if learned := self._without & _REMEMBERED:
            self._memory.set(self._key, " ".join(sorted(learned)))
        return known

    def _rejected_option(self, error_text: str, body: Mapping[str, Any]) -> str:
        if (
            "include" in body
            and _NO_ENCRYPTED.search(error_text)
            and _UNSUPPORTED.search(error_text)
        ):
            # A model without encrypted reasoning has no summaries either.
            self._without.add("summary")
            return "include"
        if "summary" in body.get("reasoning", {}) and _NO_SUMMARY.search(error_text):
            if "verified" not in error_text:
                self._without.add("include")
            return "summary"
        if "response_format" in body and "text.format" in error_text:
            return "response_format"
        is_wanted = "effort" in body.get("reasoning", {})
        if "reasoning" in body and not is_wanted and _NO_REASONING.search(error_text):
            return "reasoning"
        return super()._rejected_option(error_text, body)


class ResponsesEngine(StreamingEngine):
    """One model that is called through the Responses API."""

    _fallbacks: ResponsesFallbacks
    path = "/responses"
    protocol = "the Responses API"
    after_finish_seconds = 0.1
    elsewhere = re.compile(
        r"\buse (?:the )?(?:/?v1/)?chat[/ ]completions\b"
        r"|only supported in (?:the )?/?(?:v1/)?chat/completions"
        r"|not supported (?:in|with|by) the (?:/?(?:v1/)?responses\b|responses api)",
        re.IGNORECASE,
    )

    def new_fallbacks(self) -> ResponsesFallbacks:
        """Return an empty memory of rejected options."""
        return ResponsesFallbacks(self.endpoint, self.memory)

    def new_answer(self) -> ResponseAnswer:
        """Return a parser for one answer."""
        return ResponseAnswer()

    def body(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        settings: ModelSettings,
    ) -> dict[str, Any]:
        """Return the body of a request, with messages, tools and schema in the shape of Chat Completions."""
        schema = settings.schema
        valid = normalized(messages, [tool["function"]["name"] for tool in tools])
        if schema is not None and not self.endpoint.provider.enforces_schema:
            valid = with_instruction(valid, schema)
        reasoning = {"summary": "auto", "effort": settings.reasoning_effort}
        options = {
            "tools": list(tools) or None,
            "temperature": settings.temperature,
            "max_output_tokens": settings.max_tokens,
            "response_format": None if schema is None else response_format(schema),
        }
        return {
            "model": self.endpoint.model,
            "messages": valid,
            "stream": True,
            "store": False,
            "include": ["reasoning.encrypted_content"],
            "reasoning": {key: value for key, value in reasoning.items() if value is not None},
            **{key: value for key, value in options.items() if value is not None},
        }

    def merged(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the body in the shape of the Responses API."""
        return request_body(body, self.endpoint, self._fallbacks.stale)

    def error_in(self, event: Any) -> Any:
        """Return the error that an event reports."""
        if not isinstance(event, dict):
            return None
        response = event if event.get("object") == "response" else event.get("response")
        if isinstance(response, dict):
            failed = event.get("type") == "response.failed" or response.get("status") == "failed"
            return (response.get("error") or "no reason given") if failed else None
        return event.get("error") or (event if event.get("type") == "error" else None)

    async def stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        settings: ModelSettings,
    ) -> AsyncGenerator[EngineEvent, None]:
        """Send one request; see `StreamingEngine.stream`. A seed is not sent, and a notice says so once."""
        if settings.seed is not None and not self._seedless:
            self._seedless = True
            yield Notice("The Responses API does not support seed; sending the request without it")
        async with aclosing(super().stream(messages, tools, settings)) as events:
            async for event in events:
                yield event

    _seedless = False
