"""What a turn tells while it happens: the events that `Agent.stream` yields and engines produce."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from omniagent_cli.models import Message, ToolCall


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer, in order."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """A piece of the model's thinking, in order."""

    text: str


@dataclass(frozen=True, slots=True)
class Retrying:
    """The provider asked to wait, or failed in a way worth trying again."""

    reason: str
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """An engine's last event: one whole answer of the model.

    Attributes:
        reason: the provider's finish reason; ``stop``, ``tool_calls``, ``length``, ``content_filter``;
            empty when the stream ended without one, which means it was cut.
        usage: ``input_tokens``, ``output_tokens`` and what else the provider counted; empty if untold.
        extra: provider data that must survive a round trip, such as thinking and its signature.
    """

    reason: str
    text: str = ""
    tool_calls: Sequence[ToolCall] = ()
    usage: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """A tool is about to run."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A tool has run while others of the same answer still do; its `ToolReturned` follows when all have."""

    call: ToolCall
    text: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class ToolReturned:
    """A tool has run; the message is its stored result."""

    call: ToolCall
    message: Message
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the person should know, in one line.

    Attributes:
        detail: only somebody who asked to be told more wants to know it.
    """

    text: str
    detail: bool = False


@dataclass(frozen=True, slots=True)
class TurnDone:
    """The turn is over and stored.

    Attributes:
        message: the final assistant message.
        session_id: where it is stored; empty for a stateless turn. Another id than asked for when the session
            was deleted meanwhile and the turn was kept in a recovered one.
    """

    message: Message
    session_id: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)


EngineEvent = TextDelta | ThinkingDelta | Retrying | Notice | Finished
TurnEvent = (
    TextDelta | ThinkingDelta | Retrying | ToolCalled | ToolEnded | ToolReturned | Notice | TurnDone
)


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """How to ask a model; None leaves a setting to the provider.

    Attributes:
        max_tokens: the longest answer, in tokens.
        schema: the JSON schema the answer is to follow; it is asked for, and whether it does is for the caller to see.
        first_token_timeout_seconds: how long to wait for the answer to begin.
        token_timeout_seconds: the longest silence inside an answer.
    """

    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    reasoning_effort: str | None = None
    schema: Mapping[str, Any] | None = None
    first_token_timeout_seconds: float = 120.0
    token_timeout_seconds: float = 60.0
    max_retries: int = 2


class Engine(Protocol):
    """Asks one model one question: messages and tools in, a stream of events out.

    One with an attribute `uses_tools` that is False is given no tools, and none are set up for it. One with an
    attribute `pins_sessions` that is False does not become the model of a session. One with a method
    `preload` is told to import what it needs, in a thread, while the person types.

    `stream` yields deltas as they come and ends with exactly one `Finished`. It raises a `ModelError`
    when the provider does not answer properly; what was yielded before stays valid. Cancelling the task
    stops the request. `messages` are chat-completions objects; `tools` are chat-completions tool definitions.
    """

    name: str
    """``provider:model``, as shown to people and stored with each answer."""

    def stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        settings: ModelSettings,
    ) -> AsyncIterator[EngineEvent]:
        """Ask once."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...
