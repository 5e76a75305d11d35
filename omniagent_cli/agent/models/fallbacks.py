"""Request fallbacks: options that a server rejected, and how to retry without them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from omniagent_cli.agent.events import ModelSettings, Notice
from omniagent_cli.agent.models.failures import error_message
from omniagent_cli.agent.models.normalization import has_parts, without_parts, without_system
from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.agent.models.request_body import with_instruction
from omniagent_cli.text.sanitize import one_line

_REJECTION_STATUSES = (400, 404, 415, 422, 500, 501)
_NO_TOOLS = re.compile(
    r"not support (?:\w+ ){0,2}(?:tools?\b|tool[ _-](?:use|call)|function[ _-]call)|support tool use"
    r"|tools?(?: (?:use|calling|calls?))?\W{1,2}(?:is |are )?not supported"
    r"|tools param requires|requires --enable-auto-tool-choice",
    re.IGNORECASE,
)
"""Messages of Ollama, OpenRouter, Groq, llama.cpp (without --jinja) and vLLM (without --enable-auto-tool-choice)."""

_NO_SCHEMA = re.compile(
    r"response[ _]?format|json_schema|structured[ _-]outputs?|guided", re.IGNORECASE
)
_UNKNOWN = re.compile(
    r"unknown|unrecogni|unsupported|unexpected|not permitted|extra", re.IGNORECASE
)
_LENGTHS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


_NO_PARTS = {
    "image_url": re.compile(r"image|vision|multi-?modal|mmproj|must be a string", re.IGNORECASE),
    "file": re.compile(r"\bpdf\b|\bfiles?\b|\bdocuments?\b|must be a string", re.IGNORECASE),
    "input_audio": re.compile(r"audio|must be a string", re.IGNORECASE),
}
"""Rejections by type of content part: OpenRouter ("No endpoints found that support image input", 404),
llama.cpp ("you may need to provide the mmproj", 500), vLLM, DeepSeek ("unknown variant `image_url`", 422),
Groq ("content must be a string")."""

_NO_SYSTEM = re.compile(
    r"system (?:role|messages?|prompts?) (?:is |are )?not (?:supported|allowed)"
    r"|not support (?:the )?system|developer instruction is not enabled",
    re.IGNORECASE,
)
"""Messages of Gemma 2's template on vLLM ("System role not supported") and of Google's compatible API."""

_PART_NAMES = {"image_url": "images", "file": "files", "input_audio": "audio"}
_NO_THINKING = re.compile(
    r"reasoning_content\W.{0,60}(?:missing|required|must|need)"
    r"|(?:missing|required?|must include|need).{0,40}\breasoning_content",
    re.IGNORECASE | re.DOTALL,
)
"""Messages of Moonshot ("reasoning_content is missing in assistant tool call message"), DeepSeek ("must be passed back")
and litellm ("must include reasoning_content")."""


_NO_EFFORT = re.compile(r"set reasoning_effort to \W?none", re.IGNORECASE)
"""The message of OpenAI for function tools in Chat Completions."""

_NEEDS_EFFORT = re.compile(
    r"\bnone\b.{0,40}\bnot supported|not support.{0,20}\bnone\b|reasoning_effort", re.IGNORECASE
)
"""Messages of OpenAI for models that require reasoning."""

_NO_STREAM = re.compile(r"verified to stream", re.IGNORECASE)
"""The message of OpenAI for organizations that are not verified."""


class ServerFallbacks:
    """The options that one model at one address rejected; later requests are sent without them.

    Attributes:
        echo_thinking: the server requires the thinking of earlier answers.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.echo_thinking = False
        self._endpoint = endpoint
        self._without: set[str] = set()
        self._notices: list[Notice] = []

    def adapt(self, request: Mapping[str, Any], settings: ModelSettings) -> dict[str, Any]:
        """Return the body of a request without the rejected options."""
        body = {key: value for key, value in request.items() if key not in self._without}
        for name, other in _LENGTHS.items():
            if name in self._without and name in request:
                body[other] = request[name]
        if kinds := self._without & _NO_PARTS.keys():
            body["messages"] = without_parts(body["messages"], kinds)
        instructed = not self._endpoint.provider.enforces_schema
        if "response_format" in self._without and settings.schema is not None and not instructed:
            body["messages"] = with_instruction(body["messages"], settings.schema)
        if "effort" in self._without and "tools" in body:
            body["reasoning_effort"] = "none"
        if "system" in self._without:
            body["messages"] = without_system(body["messages"])
        return body

    def learn(self, status: int, error_text: str, body: Mapping[str, Any]) -> bool:
        """Record a rejection; return True if there is another body to try."""
        if (
            status in _REJECTION_STATUSES
            and not self.echo_thinking
            and _NO_THINKING.search(error_text)
        ):
            self.echo_thinking = True
            return True
        option = self._rejected_option(error_text, body) if status in _REJECTION_STATUSES else ""
        if not option:
            return False
        self._without.add(option)
        reason = error_message(error_text, self._endpoint.api_key)
        model = one_line(self._endpoint.model)
        if option == "tools":
            self._notices.append(
                Notice(f"{model} does not support tools; sending requests without them: {reason}")
            )
        elif option == "effort":
            text = (
                f"{model} is called without reasoning, which its server does not combine with tools"
            )
            self._notices.append(Notice(f"{text}: {reason}"))
        elif option == "stream":
            self._notices.append(
                Notice(
                    f"{model} does not stream; its answers appear when they are complete: {reason}"
                )
            )
        elif option in _PART_NAMES:
            names = _PART_NAMES[option]
            text = f"{model} does not accept {names}; omitting those of earlier messages"
            self._notices.append(Notice(f"{text}: {reason}"))
        elif option == "response_format":
            text = f"{model} cannot be forced to follow a schema; sending the schema as an instruction: {reason}"
            self._notices.append(Notice(text, detail=True))
        return True

    def pop_notices(self) -> list[Notice]:
        """Return the pending notices for the user and clear them."""
        notices, self._notices = self._notices, []
        return notices

    def _rejected_option(self, error_text: str, body: Mapping[str, Any]) -> str:
        if "stream" in body and _NO_STREAM.search(error_text):
            self._without.add("stream_options")
            return "stream"
        if "stream_options" in body and "stream_options" in error_text:
            return "stream_options"
        for name, other in _LENGTHS.items():
            unknown = re.search(rf"\b{name}\b", error_text) and _UNKNOWN.search(error_text)
            unknown = unknown or re.search(rf"\b{other}\b", error_text)
            if name in body and other not in self._without and unknown:
                return name
        if option := self._refused_tools(error_text, body):
            return option
        if "response_format" in body and _NO_SCHEMA.search(error_text):
            return "response_format"
        roles = [message.get("role") for message in body["messages"]]
        if "system" in roles and _NO_SYSTEM.search(error_text):
            return "system"
        return self._rejected_part(error_text, body["messages"])

    def _refused_tools(self, error_text: str, body: Mapping[str, Any]) -> str:
        """Return ``effort`` if tools require a request without reasoning, ``tools`` if the server supports none."""
        if "tools" not in body:
            return ""
        if "effort" not in self._without:
            if "reasoning" not in body and _NO_EFFORT.search(error_text):  # not in Responses
                return "effort"
        elif _NEEDS_EFFORT.search(error_text):
            return "tools"
        return "tools" if _NO_TOOLS.search(error_text) else ""

    def _rejected_part(self, error_text: str, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return the type of the content parts to leave out; those of the last question are never left out."""
        last = next((m for m in reversed(messages) if m.get("role") == "user"), None)
        for kind, pattern in _NO_PARTS.items():
            holders = [message for message in messages if has_parts(message, (kind,))]
            if kind not in self._without and holders and pattern.search(error_text):
                return "" if last in holders else kind
        return ""
