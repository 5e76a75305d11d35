"""The events of a turn, as yielded by `Agent.stream` and by engines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from omniagent_cli.models import Message, ToolCall


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer's text, in order."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """A piece of the model's thinking, in order."""

    text: str


@dataclass(frozen=True, slots=True)
class Retrying:
    """A retry is scheduled: the provider is rate limiting, or failed temporarily."""

    reason: str
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of an engine: one complete response.

    Attributes:
        reason: the provider's finish reason: ``stop``, ``tool_calls``, ``length`` or ``content_filter``; empty if the
            stream ended without one, that is, was cut off.
        usage: ``input_tokens``, ``output_tokens`` and other counts of the provider; empty if not reported.
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
    """A tool has finished while others of the same response still run; `ToolReturned` follows when all have finished.

    Attributes:
        denied_by: the source of the decision not to run it, see `Decision`; empty if it ran.
    """

    call: ToolCall
    text: str
    failed: bool = False
    denied_by: str = ""


@dataclass(frozen=True, slots=True)
class ToolReturned:
    """A tool has finished; the message is its stored result.

    Attributes:
        denied_by: as in `ToolEnded`.
    """

    call: ToolCall
    message: Message
    failed: bool = False
    denied_by: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """One line of information for the user.

    Attributes:
        detail: shown only in verbose mode.
    """

    text: str
    detail: bool = False


@dataclass(frozen=True, slots=True)
class TurnDone:
    """The turn is complete and stored.

    Attributes:
        message: the final assistant message.
        session_id: the session it is stored in; empty for a stateless turn. It differs from the requested id if the
            session was deleted during the turn, which is then stored in a recovered session.
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
    """Options of a model request; None leaves an option to the provider.

    Attributes:
        max_tokens: the maximum length of the answer, in tokens.
        schema: the JSON schema requested for the answer; validating the answer is left to the caller.
        first_token_timeout_seconds: the maximum wait for the first token.
        token_timeout_seconds: the maximum pause between tokens.
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
    """Sends one request to a model: messages and tools in, a stream of events out.

    An engine whose attribute `uses_tools` is False gets no tools, and no skill is opened for it. A method `preload`, if
    present, is called in a thread to import dependencies while the user types.

    `stream` yields deltas as they arrive and ends with exactly one `Finished`. It raises `ModelError` if the request
    fails; events yielded before remain valid. Cancelling the task aborts the request. `messages` are chat-completions
    messages and `tools` chat-completions tool definitions.
    """

    name: str
    """``provider:model``, as displayed and as stored with each answer."""

    def stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        settings: ModelSettings,
    ) -> AsyncIterator[EngineEvent]:
        """Send one request."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
