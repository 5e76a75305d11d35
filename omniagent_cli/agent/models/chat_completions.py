"""The engine for Chat Completions, the protocol of all OpenAI-compatible servers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from omniagent_cli.agent.events import ModelSettings
from omniagent_cli.agent.models.normalization import alternating
from omniagent_cli.agent.models.request_body import chat_request_body
from omniagent_cli.agent.models.stream_parser import ChatAnswer
from omniagent_cli.agent.models.streaming_engine import StreamingEngine


class ChatCompletionsEngine(StreamingEngine):
    """One model that is called through Chat Completions."""

    path = "/chat/completions"
    protocol = "Chat Completions"
    after_finish_seconds = 2.0
    elsewhere = re.compile(
        r"\buse (?:the )?(?:/?v1/)?responses\b|only supported in (?:the )?/?(?:v1/)?responses"
        r"|not supported in the /?v1/chat/completions endpoint",
        re.IGNORECASE,
    )

    def new_answer(self) -> ChatAnswer:
        """Return a parser for one answer."""
        return ChatAnswer()

    def body(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        settings: ModelSettings,
    ) -> dict[str, Any]:
        """Return the body of a request, before messages of one side are merged."""
        echo = self._fallbacks.echo_thinking
        return chat_request_body(self.endpoint, messages, tools, settings, echo_thinking=echo)

    def merged(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the body with alternating sides, as chat templates require."""
        return {**body, "messages": alternating(body["messages"])}

    def error_in(self, event: Any) -> Any:
        """Return the error that a chunk reports, beside its choices or as the chunk itself."""
        if not isinstance(event, dict):
            return None
        is_error = event.get("object") == "error" or event.get("type") == "error"
        error = event.get("error") or _error_of_choice(event.get("choices"))
        return error or (event if is_error and not event.get("choices") else None)


def _error_of_choice(choices: Any) -> Any:
    first = choices[0] if isinstance(choices, list) and choices else None
    return first.get("error") if isinstance(first, dict) else None
