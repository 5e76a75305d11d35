"""What a server was found to refuse, and how it is asked instead: an answer matters more than an option."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from omniagent_cli.agent.events import ModelSettings, Notice
from omniagent_cli.agent.models.failures import said_in
from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.agent.models.request_body import with_instruction
from omniagent_cli.text.sanitize import one_line

_REFUSING = (400, 404, 422, 500, 501)
_NO_TOOLS = re.compile(
    r"not support (?:\w+ ){0,2}(?:tools?\b|tool[ _-](?:use|call)|function[ _-]call)|support tool use"
    r"|tools?(?: (?:use|calling|calls?))?\W{1,2}(?:is |are )?not supported"
    r"|tools param requires|requires --enable-auto-tool-choice",
    re.IGNORECASE,
)
"""As Ollama, OpenRouter, Groq, llama.cpp (without --jinja) and vLLM (without --enable-auto-tool-choice) say it."""

_NO_SCHEMA = re.compile(
    r"response[ _]?format|json_schema|structured[ _-]outputs?|guided", re.IGNORECASE
)
_UNKNOWN = re.compile(
    r"unknown|unrecogni|unsupported|unexpected|not permitted|extra", re.IGNORECASE
)
_LENGTHS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


class Concessions:
    """What one model at one address does without; learned from its refusals, and kept to from then on."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._without: set[str] = set()
        self._notices: list[Notice] = []

    def adapted(self, asked: Mapping[str, Any], settings: ModelSettings) -> dict[str, Any]:
        """Return the body of a request as this server takes it."""
        body = {key: value for key, value in asked.items() if key not in self._without}
        for name, other in _LENGTHS.items():
            if name in self._without and name in asked:
                body[other] = asked[name]
        told = not self._endpoint.provider.obeys_schema
        if "response_format" in self._without and settings.schema is not None and not told:
            body["messages"] = with_instruction(body["messages"], settings.schema)
        return body

    def learn(self, status: int, said: str, body: Mapping[str, Any]) -> bool:
        """Take a refusal for a lesson; tell whether there is another way to ask."""
        option = self._refused(said, body) if status in _REFUSING else ""
        if not option:
            return False
        self._without.add(option)
        reason = said_in(said, self._endpoint.api_key)
        model = one_line(self._endpoint.model)
        if option == "tools":
            self._notices.append(
                Notice(f"{model} is asked without tools, for it takes none: {reason}")
            )
        elif option == "response_format":
            text = f"{model} is told the schema in words, for its server does not hold it to one: {reason}"
            self._notices.append(Notice(text, detail=True))
        return True

    def take_notices(self) -> list[Notice]:
        """Return what the person is to be told of this, once."""
        notices, self._notices = self._notices, []
        return notices

    def _refused(self, said: str, body: Mapping[str, Any]) -> str:
        if "stream_options" in body and "stream_options" in said:
            return "stream_options"
        for name, other in _LENGTHS.items():
            unknown = re.search(rf"\b{name}\b", said) and _UNKNOWN.search(said)
            unknown = unknown or re.search(rf"\b{other}\b", said)
            if name in body and other not in self._without and unknown:
                return name
        if "tools" in body and _NO_TOOLS.search(said):
            return "tools"
        if "response_format" in body and _NO_SCHEMA.search(said):
            return "response_format"
        return ""
